//! `headwater accounts`: what operators do to accounts. It refuses to act as
//! one: `headwater token` is for that.

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use domain::{
    accounts::{Accounts, Standing},
    handles::{Handle, Handles},
};
use kernel::AccountId;
use vault::Role;

use crate::{node::Node, operator, settings::Settings};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater accounts grant ada operator
  headwater accounts revoke ada operator")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Give an account a role, on every process at once
    Grant(Change),
    /// Take a role back, on every process at once
    Revoke(Change),
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater accounts grant ada operator
  headwater accounts revoke ada operator

Roles: moderator, analyst, operator (sees /v1/operations). Whoever has none is a
member.")]
struct Change {
    /// The account's handle
    handle: String,
    role: RoleName,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Moderator,
    Analyst,
    Operator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Moderator => Self::Moderator,
            RoleName::Analyst => Self::Analyst,
            RoleName::Operator => Self::Operator,
        }
    }
}

pub async fn run(arguments: Arguments, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let (change, grants) = match arguments.command {
        Command::Grant(change) => (change, true),
        Command::Revoke(change) => (change, false),
    };
    let account = holder(&node, &change.handle).await?;
    let (role, handle) = (Role::from(change.role), &change.handle);
    let target = format!("{} {account}", role.name());
    if grants {
        operator::record(&node, "accounts grant", &target, None).await?;
        match node.vault.grant(account, role, &operator::name()).await? {
            true => eprintln!("{handle} has the role {} from now on", role.name()),
            false => eprintln!("{handle} had the role {} already", role.name()),
        }
    } else {
        operator::record(&node, "accounts revoke", &target, None).await?;
        match node.vault.revoke(account, role).await? {
            true => eprintln!("{handle} has the role {} no more", role.name()),
            false => eprintln!("{handle} did not have the role {}", role.name()),
        }
    }
    Ok(())
}

/// The account that has a handle.
pub async fn holder(node: &Node, handle: &str) -> anyhow::Result<AccountId> {
    let handle: Handle = handle.parse()?;
    let unknown = || format!("nobody has the handle {handle}");
    let held = node.log.state::<Handles>(handle.aggregate()).await?;
    let account = held.state.holder.with_context(unknown)?.account;
    let state = node.log.state::<Accounts>(Accounts::id(account)).await?;
    let there = matches!(
        state.state.standing,
        Standing::Registered | Standing::Deactivated
    );
    anyhow::ensure!(there, unknown());
    Ok(account)
}
