//! `headwater log verify`: whether the archive is whole, and says what the log
//! says.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use archive::Archive;
use clap::Args;
use eventlog::{EPOCH_STARTED, Gap, Log};
use kernel::{Partition, Position, Recorded};
use serde_json::json;

use super::{archive::open, versions::Versions};
use crate::{
    outcome::Outcome,
    settings::Settings,
    table::{self, Tone},
};

const READ_EVENTS: usize = 5_000;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log verify
  headwater log verify | jq 'select(.trouble)'

Every segment is read: its checksum, that each event follows the one before from
the first to the last and so do the versions of each post and account, that each was
signed with LOG_SECRET, that the log goes on where the archive ends, and that what
both have is the same. Exit status 3 where anything is wrong.")]
pub struct Verify {}

/// What was found of a partition.
#[derive(Default)]
struct Found {
    segments: usize,
    archived: u64,
    /// Events that log and archive both have, and that are the same.
    compared: u64,
    trouble: Option<String>,
}

pub async fn run(_: &Verify, settings: Settings) -> anyhow::Result<Outcome> {
    let (node, archiver) = open(settings).await?;
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    let mut outcome = Outcome::Done;
    for partition in node.log.partitions() {
        let mut found = Found::default();
        if let Err(error) = look(&node.log, &archiver.archive, partition, &mut found).await {
            found.trouble = Some(format!("{error:#}"));
            outcome = Outcome::Problems;
        }
        let verdict = found.trouble.as_deref().unwrap_or("whole");
        let tone = if found.trouble.is_none() {
            Tone::Well
        } else {
            Tone::Bad
        };
        rows.push(vec![
            table::number(partition),
            table::number(found.segments),
            table::number(found.archived),
            table::number(found.compared),
            table::toned(verdict, tone),
        ]);
        lines.push(json!({
            "partition": partition,
            "segments": found.segments,
            "archived_events": found.archived,
            "compared_events": found.compared,
            "trouble": found.trouble,
        }));
    }
    let mut out = std::io::stdout().lock();
    if std::io::stdout().is_terminal() {
        let headers = ["PARTITION", "SEGMENTS", "ARCHIVED", "COMPARED", "VERDICT"];
        table::write(&mut out, &headers, &rows, table::colours())?;
    } else {
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    if outcome == Outcome::Problems {
        eprintln!(
            "a damaged segment is mended from a copy of the archive; what the log still has \
             is archived again once its file and the later manifests are moved away"
        );
    }
    Ok(outcome)
}

async fn look(
    log: &Log,
    archive: &Archive,
    partition: Partition,
    found: &mut Found,
) -> anyhow::Result<()> {
    let first = first(log, partition).await?;
    let mut at = Log::beginning(partition);
    let mut versions = Versions::default();
    archive.forget();
    if let Some(found) = archive.log(partition).await? {
        let wanted = log.id();
        anyhow::ensure!(found == wanted, Gap::AnotherArchive { found, wanted });
    }
    while let Some((_, events)) = archive.segment_after(at).await? {
        // It may have been put together with what was seen already.
        let seen = events.partition_point(|recorded| recorded.position <= at);
        let events = &events[seen..];
        for recorded in events {
            eventlog::check_contiguous(at, recorded)?;
            log.check(recorded)?;
            check_version(&mut versions, recorded)?;
            at = recorded.position;
        }
        found.segments += 1;
        found.archived += events.len() as u64;
        let hot: Vec<_> = events
            .iter()
            .filter(|recorded| first.is_some_and(|first| recorded.position >= first))
            .collect();
        let Some(mut from) = hot.first().map(|first| before(first.position)) else {
            continue;
        };
        let mut left = hot.as_slice();
        while !left.is_empty() {
            let wanted = left.len().min(READ_EVENTS);
            let there = log.read(from, wanted).await?;
            let mut pairs = left.iter().zip(&there);
            if let Some((archived, _)) = pairs.find(|(archived, hot)| **archived != *hot) {
                // A worker may have trimmed meanwhile what was still there.
                let now = self::first(log, partition).await?;
                let now = now.filter(|now| left[0].position < *now);
                let now = now
                    .with_context(|| format!("log and archive differ at {}", archived.position))?;
                left = &left[left.partition_point(|archived| archived.position < now)..];
                from = before(now);
                continue;
            }
            anyhow::ensure!(
                !there.is_empty(),
                "the log ends at {from}, before the archive"
            );
            found.compared += there.len() as u64;
            from = there.last().map_or(from, |last| last.position);
            left = &left[there.len().min(left.len())..];
        }
    }
    // The log goes on where the archive ends; it looks at the signature of what it gives.
    let heads = log.heads().await?;
    let head = heads.iter().find(|head| head.partition == partition);
    while head.is_some_and(|head| at < *head) {
        let events = log.read(at, READ_EVENTS).await?;
        anyhow::ensure!(!events.is_empty(), "the log ends at {at}, before its end");
        for recorded in &events {
            if let Err(gap) = eventlog::check_contiguous(at, recorded) {
                // Unless a worker has archived more meanwhile, and trimmed it.
                archive.forget();
                let more = archive.end(partition).await?;
                anyhow::ensure!(more > at, gap);
                return Ok(());
            }
            check_version(&mut versions, recorded)?;
            at = recorded.position;
        }
    }
    Ok(())
}

fn check_version(versions: &mut Versions, recorded: &Recorded) -> anyhow::Result<()> {
    match recorded.envelope.event_type == EPOCH_STARTED {
        true => Ok(()),
        false => versions.check(recorded),
    }
}

/// The first position that the log still has of a partition.
async fn first(log: &Log, partition: Partition) -> anyhow::Result<Option<Position>> {
    let firsts = log.firsts().await?;
    let mut firsts = firsts.into_iter().flatten();
    Ok(firsts.find(|at| at.partition == partition))
}

/// For whoever reads from `position` on.
fn before(position: Position) -> Position {
    match position.seq.checked_sub(1) {
        Some(seq) => Position { seq, ..position },
        None => Position {
            epoch: position.epoch - 1,
            seq: u64::MAX,
            ..position
        },
    }
}
