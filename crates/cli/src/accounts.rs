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
  headwater accounts sign-out ada
  headwater accounts reset-second-factor ada --reason 'a lost telephone'
  headwater accounts suspend ada --reason 'sends advertisements'")]
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
    /// Let somebody sign in without the second factor that they lost
    ResetSecondFactor(ResetSecondFactor),
    /// Let nobody sign in to an account, and end its sessions
    Suspend(Suspend),
    /// Let people sign in to a suspended account again
    Restore(Restore),
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
    #[arg(long, value_parser = operator::reason)]
    reason: Option<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater accounts reset-second-factor ada --reason 'a lost telephone'

Make sure first that it is they who ask: whoever knows the password signs in with it
alone. All sessions of the account end.")]
struct ResetSecondFactor {
    /// The account's handle
    handle: String,
    /// Kept in the log, with your name
    #[arg(long, value_parser = operator::reason)]
    reason: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater accounts suspend ada --reason 'sends advertisements'
  headwater accounts restore ada

Its tokens stop counting on every process within seconds. What it wrote stays.")]
struct Suspend {
    /// The account's handle
    handle: String,
    /// Kept in the log, with your name
    #[arg(long, value_parser = operator::reason)]
    reason: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater accounts restore ada
  headwater accounts restore ada --reason 'it was a mistake'")]
struct Restore {
    /// The account's handle
    handle: String,
    /// Kept in the log, with your name
    #[arg(long, value_parser = operator::reason)]
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
        Command::ResetSecondFactor(wanted) => reset_second_factor(&node, &wanted).await,
        Command::Suspend(wanted) => suspend(&node, &wanted).await,
        Command::Restore(wanted) => restore(&node, &wanted).await,
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

async fn reset_second_factor(node: &Node, wanted: &ResetSecondFactor) -> anyhow::Result<()> {
    let account = holder(node, &wanted.handle).await?;
    let (handle, reason) = (&wanted.handle, wanted.reason.as_str());
    let target = account.to_string();
    operator::record(node, "accounts reset-second-factor", &target, Some(reason)).await?;
    match node.vault.reset_second_factor(account).await? {
        Some(ended) => eprintln!(
            "{handle} signs in without a second factor, and is signed out of {} sessions",
            ended.len()
        ),
        None => eprintln!("{handle} has no second factor"),
    }
    Ok(())
}

async fn suspend(node: &Node, wanted: &Suspend) -> anyhow::Result<()> {
    let account = holder(node, &wanted.handle).await?;
    let (handle, reason) = (&wanted.handle, wanted.reason.as_str());
    let target = account.to_string();
    operator::record(node, "accounts suspend", &target, Some(reason)).await?;
    match node.vault.bar(account, reason).await? {
        Some(ended) => eprintln!(
            "{handle} is suspended, and signed out of {} sessions",
            ended.len()
        ),
        None => eprintln!("{handle} was suspended already"),
    }
    Ok(())
}

async fn restore(node: &Node, wanted: &Restore) -> anyhow::Result<()> {
    let account = holder(node, &wanted.handle).await?;
    let (handle, target) = (&wanted.handle, account.to_string());
    operator::record(node, "accounts restore", &target, wanted.reason.as_deref()).await?;
    match node.vault.unbar(account).await? {
        true => eprintln!("{handle} may sign in again"),
        false => eprintln!("{handle} was not suspended"),
    }
    Ok(())
}

/// The account that has a handle.
pub async fn holder(node: &Node, handle: &str) -> anyhow::Result<AccountId> {
    let handle = Handle::written(handle)?;
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
