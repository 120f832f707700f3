//! Every row of the read model against what the log adds up to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::Row;

use crate::{
    Unreachable,
    counts::Counts,
    database::{Database, unsigned},
    entries::Position,
    features::World,
    findings::Findings,
    sealed::{Keys, unwrap},
};

/// Projections that are not at the head by then stand still.
pub const CATCH_UP_SECONDS_MAX: u64 = 30;
const LOOK_MILLISECONDS: u64 = 50;
const PROJECTIONS: [&str; 2] = ["social", "timelines"];

pub fn keys(database: &mut Database, vault_secrets: &[String]) -> Result<Keys, Unreachable> {
    let mut keys = BTreeMap::new();
    for row in database.rows("SELECT account_id, key FROM vault.account_keys")? {
        let account = row.try_get("account_id")?;
        let wrapped: Option<Vec<u8>> = row.try_get("key")?;
        keys.insert(
            account,
            wrapped.map(|wrapped| unwrap(vault_secrets, account, &wrapped)),
        );
    }
    Ok(Keys(keys))
}

/// Waits for the projections; whether both are where the log ends.
pub fn wait_for_heads(
    database: &mut Database,
    heads: &BTreeMap<u16, Position>,
    patience: Duration,
    findings: &mut Findings,
) -> Result<bool, Unreachable> {
    let deadline = Instant::now() + patience;
    loop {
        let checkpoints = checkpoints(database)?;
        let wanted = || {
            let all = PROJECTIONS.iter();
            all.flat_map(|name| heads.iter().map(move |(p, head)| ((*name, *p), *head)))
        };
        let found = |key: &(&str, u16)| {
            let found = checkpoints.get(&(key.0.to_owned(), key.1));
            found.cloned().unwrap_or_default()
        };
        let there = wanted().all(|(key, head)| found(&key).at >= Some(head));
        let stopped = wanted().any(|(key, _)| found(&key).stopped.is_some());
        if !there && !stopped && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(LOOK_MILLISECONDS));
            continue;
        }
        let before = findings.violations.len();
        for (key, head) in wanted() {
            let (projection, partition) = key;
            let found = found(&key);
            if let Some(reason) = found.stopped {
                findings.violation(format!(
                    "{projection} stands still in partition {partition}: {reason}"
                ));
            }
            let what = format_args!("the checkpoint of {projection} in partition {partition}");
            findings.same(what, &Some(head), &found.at);
        }
        return Ok(findings.violations.len() == before);
    }
}

#[derive(Clone, Debug, Default)]
struct Checkpoint {
    at: Option<Position>,
    stopped: Option<String>,
}

fn checkpoints(
    database: &mut Database,
) -> Result<BTreeMap<(String, u16), Checkpoint>, Unreachable> {
    let rows = database.rows(
        "SELECT projection, partition, epoch, seq, stopped_because
         FROM projections.checkpoints WHERE live",
    )?;
    let mut checkpoints = BTreeMap::new();
    for row in rows {
        let partition = row.try_get::<i32, _>("partition")? as u16;
        let at = Position {
            partition,
            epoch: unsigned(&row, "epoch")?,
            seq: unsigned(&row, "seq")?,
        };
        let (at, stopped) = (Some(at), row.try_get("stopped_because")?);
        let key = (row.try_get("projection")?, partition);
        checkpoints.insert(key, Checkpoint { at, stopped });
    }
    Ok(checkpoints)
}

/// Every row of every feature's tables, and of the tables of counters.
pub fn compare(
    database: &mut Database,
    world: &World,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    for feature in world.features() {
        feature.compare(database, findings)?;
    }
    Counts::of(world).compare(database, findings)
}
