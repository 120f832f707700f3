//! The source of a file, which its ids derive from: its first 64 KiB. A short
//! file that grew is known again: the log knows who holds its first name.

use domain::handles::{Handle, Handles};
use kernel::AccountId;
use sha2::{Digest, Sha256};

use super::{
    activity::{Ids, Operation},
    lines::Lines,
};
use crate::node::Node;

/// What mends lines that are refused for what is not in this run.
pub const HINT: &str = "\
Some names are taken, or are not in these files before they are used. Lines of an earlier
import are known again in their old place under their old --source: name the parts of one
file in one run and in order (headwater import FIRST SECOND), and add lines at the end only.";

/// Of a file with this beginning.
pub async fn find(node: &Node, head: &[u8]) -> anyhow::Result<String> {
    let whole = named(Sha256::digest(head));
    let Some((line, user)) = first_registered(head) else {
        return Ok(whole);
    };
    let Ok(handle) = user.parse::<Handle>() else {
        return Ok(whole);
    };
    let held = node.log.state::<Handles>(handle.aggregate()).await?;
    let Some(holder) = held.state.holder.map(|holder| holder.account) else {
        return Ok(whole);
    };
    let gives = |source: &String| first_account(source, &user, line) == holder;
    if gives(&whole) {
        return Ok(whole);
    }
    // Where it ended when it was imported; it may have been cut anywhere.
    let mut digest = Sha256::new();
    for byte in head {
        digest.update([*byte]);
        let source = named(digest.clone().finalize());
        if gives(&source) {
            return Ok(source);
        }
    }
    Ok(whole)
}

fn first_registered(head: &[u8]) -> Option<(u64, String)> {
    let mut lines = Lines::of(head);
    for number in 1.. {
        let text = lines.next().ok()??;
        let read = text.ok().and_then(|text| Operation::parse(&text).ok());
        if let Some(Some(Operation::Register { user })) = read {
            return Some((number, user));
        }
    }
    None
}

fn first_account(source: &str, user: &str, line: u64) -> AccountId {
    Ids::new(source.to_owned()).register(user, line)
}

fn named(digest: impl AsRef<[u8]>) -> String {
    hex::encode(digest)
}
