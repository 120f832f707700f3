//! `headwater token`: an access token for an account, printed alone, so that
//! operators can act as one that has no password (imported ones).

use anyhow::Context;
use domain::{accounts::Accounts, accounts::Standing, handles::Handle, handles::Handles};

use crate::{node::Node, settings::Settings};

pub async fn run(handle: &str, settings: Settings) -> anyhow::Result<()> {
    let handle: Handle = handle.parse()?;
    let node = Node::connect(settings).await?;
    let unknown = || format!("nobody has the handle {handle}");
    let held = node.log.state::<Handles>(handle.aggregate()).await?;
    let account = held.state.holder.with_context(unknown)?.account;
    let state = node.log.state::<Accounts>(Accounts::id(account)).await?;
    anyhow::ensure!(state.state.standing == Standing::Registered, unknown());
    println!("{}", node.services()?.issue_token(account)?);
    Ok(())
}
