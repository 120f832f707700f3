//! Blocks: an edge between accounts. What it hides is in `visibility.rs`; the follows
//! that it ends have events of their own.

use uuid::Uuid;

use super::{
    Kind, World,
    edges::{Edge, Far},
};

#[derive(Debug)]
pub struct Block;

impl Edge for Block {
    const KIND: Kind = (7, "block");
    const FAR: Far = Far::Account;
    const EVENTS: (&'static str, &'static str) = ("Blocked", "Unblocked");
    const ROWS: (&'static str, &'static str) = (
        "blocks",
        "SELECT blocker_id, blocked_id, blocked_at FROM social.blocks",
    );
    const FLAG: &'static str = "blocking";
    const OWN_LIST: Option<&'static str> = Some("blocks");

    /// Also those who block back.
    fn lists(world: &World, _: Uuid, account: Uuid) -> bool {
        world.finds(None, account)
    }
}
