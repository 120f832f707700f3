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
  headwater accounts sign-out ada")]
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
    /// End all sessions of an account, on every process within seconds
    SignOut(SignOut),
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

#[derive(Args)]
#[command(after_help = "Examples:
  headwater accounts sign-out ada
  headwater accounts sign-out ada --reason 'a stolen telephone'

Whoever knows the password may sign in again.")]
struct SignOut {
    /// The account's handle
    handle: String,
    /// Kept in the log, with your name
    #[arg(long)]
    reason: Option<String>,
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
    match arguments.command {
        Command::Grant(change) => grant(&node, &change).await,
        Command::Revoke(change) => revoke(&node, &change).await,
        Command::SignOut(wanted) => sign_out(&node, &wanted).await,
    }
}

async fn grant(node: &Node, change: &Change) -> anyhow::Result<()> {
    let account = holder(node, &change.handle).await?;
    let (role, handle) = (Role::from(change.role), &change.handle);
    let target = format!("{} {account}", role.name());
    operator::record(node, "accounts grant", &target, None).await?;
    match node.vault.grant(account, role, &operator::name()).await? {
        true => eprintln!("{handle} has the role {} from now on", role.name()),
        false => eprintln!("{handle} had the role {} already", role.name()),
    }
    Ok(())
}

async fn revoke(node: &Node, change: &Change) -> anyhow::Result<()> {
    let account = holder(node, &change.handle).await?;
    let (role, handle) = (Role::from(change.role), &change.handle);
    let target = format!("{} {account}", role.name());
    operator::record(node, "accounts revoke", &target, None).await?;
    match node.vault.revoke(account, role).await? {
        true => eprintln!("{handle} has the role {} no more", role.name()),
        false => eprintln!("{handle} did not have the role {}", role.name()),
    }
    Ok(())
}

async fn sign_out(node: &Node, wanted: &SignOut) -> anyhow::Result<()> {
    let account = holder(node, &wanted.handle).await?;
    let (target, reason) = (account.to_string(), wanted.reason.as_deref());
    operator::record(node, "accounts sign-out", &target, reason).await?;
    let ended = node.vault.end_all_sessions(account).await?.len();
    eprintln!("{} is signed out of {ended} sessions", wanted.handle);
    Ok(())
}

/// The account that has a handle.
pub async fn holder(node: &Node, handle: &str) -> anyhow::Result<AccountId> {
    let handle: Handle = handle.parse()?;
    let unknown = || format!("nobody has the handle {handle}");
    let held = node.log.state::<Handles>(handle.aggregate()).await?;
    let account = held.state.holder.with_context(unknown)?.account;
    let state = node.log.state::<Accounts>(Accounts::id(account)).await?;
    anyhow::ensure!(state.state.standing == Standing::Registered, unknown());
    Ok(account)
}
