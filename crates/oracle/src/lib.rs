#![doc = include_str!("../README.md")]

mod answers;
mod counts;
mod database;
mod entries;
mod features;
mod findings;
mod http;
mod journal;
mod json;
mod lists;
mod log_checks;
mod looks;
mod message_pack;
mod reader;
mod redis;
mod sample;
mod sealed;
mod shown;
mod tables;
mod tokens;
mod visibility;
mod world;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use database::Database;
use features::World;
use findings::Findings;
use redis::Redis;

/// What to examine. Nobody may write meanwhile.
#[derive(Clone, Debug)]
pub struct Target {
    /// `redis://[user:password@]host:port[/database]`
    pub log_url: String,
    /// Before every key.
    pub key_prefix: String,
    /// `postgres://user:password@host:port/database`
    pub database_url: String,
    /// Without it the lists in Redis are not looked at.
    pub views_url: Option<String>,
    /// `http://host:port`; without it the API is not asked.
    pub api_url: Option<String>,
    /// Of HS256; without it and the cursor secret only what anonymous readers see is
    /// compared.
    pub token_secret: Option<String>,
    pub token_issuer: String,
    /// Of the vault: the current one and those before it.
    pub vault_secrets: Vec<String>,
    /// Without it answers may be those of a moment ago, too.
    pub cursor_secret: Option<String>,
    /// How many accounts' homes, lists and posts are read page by page.
    pub home_sample: usize,
    /// Of the sample.
    pub seed: u64,
    /// Acknowledgements, one JSON object a line.
    pub journal: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// At most 100, each with what, expected and found.
    pub violations: Vec<String>,
    /// How much was looked at, and under `violations` how many there are.
    pub counts: BTreeMap<String, u64>,
}

/// Nothing can be said: a server does not answer, or the log goes on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl From<std::io::Error> for Unreachable {
    fn from(error: std::io::Error) -> Self {
        Self(format!("a server: {error}"))
    }
}

impl From<sqlx::Error> for Unreachable {
    fn from(error: sqlx::Error) -> Self {
        Self(format!("the database: {error}"))
    }
}

/// Reads everything and compares it. Waits; may be called from anywhere, since
/// it works in a thread of its own.
pub fn examine(target: &Target) -> Result<Verdict, Unreachable> {
    let ended = std::thread::scope(|scope| scope.spawn(|| examine_here(target)).join());
    ended.unwrap_or_else(|_| Err(Unreachable("the examination broke off".into())))
}

fn examine_here(target: &Target) -> Result<Verdict, Unreachable> {
    let mut findings = Findings::default();
    let mut log = Redis::connect(&target.log_url)?;
    let mut database = Database::connect(&target.database_url)?;
    let prefix = &target.key_prefix;
    let entries = entries::read(&mut log, prefix, &mut findings)?;
    log_checks::order(&entries, &mut findings);
    // Nobody folds a log that is damaged to its end.
    let patience = Duration::from_secs(match findings.violations.is_empty() {
        true => tables::CATCH_UP_SECONDS_MAX,
        false => 0,
    });
    let keys = tables::keys(&mut database, &target.vault_secrets)?;
    let world = World::of(&entries, &keys, &mut findings);
    log_checks::beside(&mut log, prefix, &entries, &world, &mut findings)?;
    if let Some(journal) = &target.journal {
        journal::check(journal, &entries, &mut findings)?;
    }
    if tables::wait_for_heads(&mut database, &entries.heads, patience, &mut findings)? {
        tables::compare(&mut database, &world, &mut findings)?;
        if let Some(url) = &target.api_url {
            answers::compare(target, url, &world, &entries.heads, &mut findings)?;
        }
        if let Some(url) = &target.views_url {
            let mut views = Redis::connect(url)?;
            lists::check(&mut views, prefix, &mut database, &world, &mut findings)?;
        }
    }
    let after = entries::read_heads(&mut log, prefix, entries.partitions)?;
    if after != entries.heads {
        return Err(Unreachable("the log went on while it was examined".into()));
    }
    Ok(Verdict {
        violations: findings.violations,
        counts: findings.counts,
    })
}
