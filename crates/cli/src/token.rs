//! `headwater token`: an access token for an account, printed alone, so that
//! operators can act as one that has no password (imported ones).

use api::Tokens;

use crate::{accounts::holder, node::Node, settings::Settings};

pub async fn run(handle: &str, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let account = holder(&node, handle).await?;
    if let Some(reason) = node.vault.barred(account).await? {
        anyhow::bail!("{handle} is suspended ({reason}): nobody acts as it until it is restored");
    }
    let tokens = Tokens::new(node.token_settings())?;
    println!("{}", tokens.issue_for_tool(account, api::now())?);
    Ok(())
}
