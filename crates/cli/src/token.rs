//! `headwater token`: an access token for an account, printed alone, so that
//! operators can act as one that has no password (imported ones). Its session stands
//! among the account's others, and ends with them.

use anyhow::bail;
use edge::{
    identity::now,
    tokens::{ACCESS_TOKEN_SECONDS, Tokens},
};
use time::Duration;
use vault::Device;

use crate::{accounts::holder, node::Node, operator, settings::Settings};

/// More than two clocks differ by: the session must not end before its tokens.
const LONGER_SECONDS: i64 = 60;

pub async fn run(handle: &str, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let account = holder(&node, handle).await?;
    operator::record(&node, "token", &account.to_string(), None).await?;
    let device = Device::new(Some("headwater token"), None);
    let lifetime = Duration::seconds(ACCESS_TOKEN_SECONDS + LONGER_SECONDS);
    let session = node.vault.begin_tool_session(account, &device, lifetime);
    let Some(session) = session.await? else {
        let reason = node.vault.barred(account).await?.unwrap_or_default();
        bail!("{handle} is suspended ({reason}): nobody acts as it until it is restored");
    };
    let tokens = Tokens::new(node.token_settings())?;
    println!("{}", tokens.issue(account, session, now())?);
    Ok(())
}
