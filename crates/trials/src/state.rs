//! What the servers hold, read past the product: events by partition, and how
//! far the projections are. It refuses to judge: `checks.rs` does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use kernel::{Partition, Position, Recorded};
use sea_orm::sqlx::{self, Connection, Row};

use crate::{
    lane::{connect, redis},
    product::{Addresses, KEY_PREFIX},
};

pub const PARTITIONS: u16 = eventlog::PARTITIONS_DEFAULT;
/// From the API's readiness until the read models are at the head: a lease of
/// somebody who died, 5 s, and the fold's longest pause after errors, 5 s.
const SETTLE_SECONDS_MAX: u64 = 20;
const POLL_MILLISECONDS: u64 = 10;

type Entry = (String, Vec<Vec<u8>>);

pub fn events_key(partition: u16) -> String {
    format!("{KEY_PREFIX}:{{p{partition:02}}}:events")
}

/// All events, partition by partition, as they stand.
pub async fn events(log_url: &str) -> anyhow::Result<Vec<Vec<Recorded>>> {
    let mut log = redis(log_url).await?;
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let mut command = redis::cmd("XRANGE");
        command.arg(events_key(partition)).arg("-").arg("+");
        let entries: Vec<Entry> = command.query_async(&mut log).await?;
        let events = entries.into_iter().map(|(id, mut fields)| {
            let position = format!("{partition}:{id}").parse()?;
            let bytes = fields.pop().context("an entry without a value")?;
            Ok(Recorded::from_entry(position, &bytes)?)
        });
        all.push(events.collect::<anyhow::Result<_>>()?);
    }
    Ok(all)
}

pub async fn heads(log_url: &str) -> anyhow::Result<BTreeMap<u16, Position>> {
    let mut log = redis(log_url).await?;
    let mut heads = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut command = redis::cmd("XREVRANGE");
        command
            .arg(events_key(partition))
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1);
        let last: Vec<Entry> = command.query_async(&mut log).await?;
        if let Some((id, _)) = last.first() {
            heads.insert(partition, format!("{partition}:{id}").parse()?);
        }
    }
    Ok(heads)
}

/// How far one projection is, and why where it stands still.
#[derive(Debug, Default)]
pub struct Checkpoints {
    pub social: BTreeMap<u16, Position>,
    pub timelines: BTreeMap<u16, Position>,
    pub stopped: Vec<String>,
}

pub async fn checkpoints(database_url: &str) -> anyhow::Result<Checkpoints> {
    let mut database = connect(database_url).await?;
    let rows = sqlx::query(
        "SELECT projection, partition, epoch, seq, stopped_because
         FROM projections.checkpoints WHERE live",
    )
    .fetch_all(&mut database)
    .await?;
    database.close().await?;
    let mut checkpoints = Checkpoints::default();
    for row in rows {
        let projection: String = row.try_get("projection")?;
        let partition = row.try_get::<i32, _>("partition")? as u16;
        let position = Position {
            partition: Partition(partition),
            epoch: row.try_get::<i64, _>("epoch")? as u64,
            seq: row.try_get::<i64, _>("seq")? as u64,
        };
        if let Some(reason) = row.try_get::<Option<String>, _>("stopped_because")? {
            checkpoints
                .stopped
                .push(format!("{projection} {position}: {reason}"));
        }
        match projection.as_str() {
            "social" => checkpoints.social.insert(partition, position),
            _ => checkpoints.timelines.insert(partition, position),
        };
    }
    Ok(checkpoints)
}

/// Waits until both projections are at the head of the log, and returns how
/// long that took.
pub async fn until_settled(addresses: &Addresses) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        let heads = heads(&addresses.log).await?;
        let checkpoints = checkpoints(&addresses.database).await?;
        if checkpoints.social == heads && checkpoints.timelines == heads {
            return Ok(started.elapsed());
        }
        if started.elapsed() > Duration::from_secs(SETTLE_SECONDS_MAX) {
            bail!("not settled in {SETTLE_SECONDS_MAX} s: heads {heads:?}, {checkpoints:?}");
        }
        tokio::time::sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
    }
}
