//! Who runs a command: asks them before something is destroyed, and records in
//! the log what they do, before it begins.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use domain::{
    operations::{OperatorActed, RecordOperation},
    text::is_blank,
};
use eventlog::Intent;
use kernel::{AccountId, Route, Uuid, compose_id};

use crate::node::{Node, now};

/// `user@host`.
pub fn name() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].map(|name| std::env::var(name).ok());
    let number = || format!("uid-{}", rustix::process::getuid().as_raw());
    let user = named.into_iter().flatten().next().unwrap_or_else(number);
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

/// Of a reason that is kept.
const REASON_CHARACTERS_MAX: usize = 500;

/// Why something is done, as it is kept.
pub fn reason(text: &str) -> Result<String, String> {
    line("a reason", text, REASON_CHARACTERS_MAX)
}

/// What others will read in one line of a terminal.
pub fn line(what: &str, text: &str, characters_max: usize) -> Result<String, String> {
    let fits = |text: &&str| !is_blank(text) && text.chars().count() <= characters_max;
    let kept = domain::text::line(text).filter(fits).map(str::to_owned);
    kept.ok_or_else(|| {
        format!("{what} is one line of 1 to {characters_max} characters with something to see")
    })
}

/// Appends `OperatorActed`.
pub async fn record(
    node: &Node,
    action: &str,
    target: &str,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let now = now();
    // Route 0: all of them are in one partition, in order.
    let operation = compose_id(now.0 as u64, random, Route(0));
    let command = RecordOperation {
        operation,
        acted: OperatorActed {
            operator: name(),
            action: action.to_owned(),
            target: target.to_owned(),
            reason: reason.map(str::to_owned),
        },
    };
    let intent = Intent {
        actor: AccountId(Uuid::nil()),
        now,
        correlation: operation,
        causation: None,
        key: None,
        trace: None,
    };
    node.log
        .execute(&command, &intent, node.sealer.as_ref())
        .await
        .context("what you do cannot be recorded in the log, so it is not done")?;
    Ok(())
}

/// The same for what frees memory: where the log is full, it goes on.
pub async fn record_if_there_is_room(node: &Node, action: &str) -> anyhow::Result<()> {
    match record(node, action, "log", None).await {
        Err(error) if node.log.is_full().await? => {
            eprintln!(
                "the log is full: it is not recorded there ({:#})",
                error.root_cause()
            );
            Ok(())
        }
        recorded => recorded,
    }
}

/// Says `what` will be destroyed, and goes on where `yes` was given or is
/// answered.
pub fn confirm(what: &str, yes: bool) -> anyhow::Result<()> {
    eprintln!("{what}");
    if yes {
        return Ok(());
    }
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "nobody is there to say yes: pass --yes"
    );
    eprint!("Type yes to go on: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(answer.trim() == "yes", "nothing was done");
    Ok(())
}
