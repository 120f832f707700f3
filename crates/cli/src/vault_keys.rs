//! `headwater vault`: what the vault keeps of keys, wrapped by VAULT_SECRET.

use clap::{Args, Subcommand};

use crate::{node::Node, operator, settings::Settings};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater vault wrap")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Wrap with VAULT_SECRET what one of VAULT_SECRETS_ACCEPTED wrapped; may be stopped
    /// and begun again
    Wrap,
}

pub async fn run(arguments: Arguments, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    match arguments.command {
        Command::Wrap => wrap(&node).await,
    }
}

async fn wrap(node: &Node) -> anyhow::Result<()> {
    let all = node.vault.wrapped_before().await?;
    if all > 0 {
        operator::record(node, "vault wrap", &all.to_string(), None).await?;
    }
    let mut done = 0;
    loop {
        match node.vault.wrap_anew().await? {
            0 => break,
            some => done += some,
        }
        eprintln!("{done} of {all}");
    }
    eprintln!("all is wrapped with VAULT_SECRET; VAULT_SECRETS_ACCEPTED is needed no more");
    Ok(())
}
