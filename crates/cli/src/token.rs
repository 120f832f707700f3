//! `headwater token`: an access token for an account, printed alone, so that
//! operators can act as one that has no password (imported ones).

use crate::{accounts::holder, node::Node, settings::Settings};

pub async fn run(handle: &str, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let account = holder(&node, handle).await?;
    if let Some(reason) = node.vault.barred(account).await? {
        anyhow::bail!("{handle} is suspended ({reason}): nobody acts as it until it is restored");
    }
    println!("{}", node.services()?.issue_token(account)?);
    Ok(())
}
