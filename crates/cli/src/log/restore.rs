//! `headwater log restore` and `rebuild-state`: what commands need beside the
//! events is made from the events alone.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use anyhow::Context;
use archive::Archive;
use clap::Args;
use domain::{Event, State};
use eventlog::{Beside, EPOCH_STARTED, History, Log, LogSettings, RECEIPT_SECONDS};
use kernel::{AccountId, AggregateId, Partition, Position, Recorded};
use readmodel::{Projection, dead_letters, generations, origin};
use worker::rebuilding::{Report, Reports};

use crate::{
    log::versions::Versions,
    node::{self, Node, now},
    operator, reach,
    reporting::Shown,
    settings::Settings,
};

const READ_EVENTS: usize = 5_000;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log restore
  headwater log restore --dry-run

For a Redis that has lost the log. Positions go on in a new epoch after what is
archived; events that were not archived are lost. Projections that had read those
have diverged: `headwater doctor` names them, and `headwater projections rebuild`
makes them anew. Killed, the same command goes on.")]
pub struct Restore {
    /// Say what would be restored, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(arguments: &Restore, settings: Settings) -> anyhow::Result<()> {
    let found = Log::find(&node::log_settings(&settings)).await;
    let found = found.context("the log server does not answer")?;
    anyhow::ensure!(
        found.is_none_or(|found| !found.missing.is_empty()),
        "there is a log: it is not overwritten. To look at it: headwater log stats"
    );
    let archive = node::open_archive(&settings)?;
    let archive = archive.context("there is no archive: set ARCHIVE_URL")?;
    let partitions = archive.partitions().await?;
    anyhow::ensure!(partitions > 0, "the archive is empty");
    anyhow::ensure!(
        partitions == settings.log_partitions,
        "the archive has {partitions} partitions: set LOG_PARTITIONS to it"
    );
    let mut all = 0;
    for partition in (0..settings.log_partitions).map(Partition) {
        let segments = archive.segments(partition).await?;
        all += segments.iter().map(|segment| segment.events).sum::<u64>();
        let end = archive.end(partition).await?;
        eprintln!("partition {partition} ends at {}", end.entry_id());
    }
    eprintln!("{all} events are archived; later ones are lost");
    if arguments.dry_run {
        return Ok(());
    }
    let database = node::connect_database(&settings).await?;
    let pool = database.get_postgres_connection_pool();
    // It stays the same log, which the archive and the database belong to.
    let archived = archive.log(Partition(0)).await?;
    let origin = origin::of(pool).await?;
    if let (Some(archived), Some(origin)) = (archived, &origin) {
        anyhow::ensure!(
            archived == origin.id,
            "the archive is that of the log {archived}, and the database belongs to {}: set \
             ARCHIVE_URL and DATABASE_URL to what belongs together",
            origin.id
        );
    }
    let log_settings = LogSettings {
        id: archived.or(origin.map(|origin| origin.id)),
        ..node::log_settings(&settings)
    };
    let log = reach::usable(&settings, Log::restore(&log_settings).await).await?;
    let turn = generations::begin_archiving(pool).await?;
    let _turn = turn.context("a worker still archives what it had: stop all processes first")?;
    // Nobody has seen it before: no archive, and no projection that was ahead of
    // what is archived.
    let mut epoch = generations::last_epoch(pool).await?;
    for partition in (0..settings.log_partitions).map(Partition) {
        epoch = epoch.max(archive.end(partition).await?.epoch);
    }
    let epoch = epoch + 1;
    let skipped = dead_letters::skipped(pool, Projection::SOCIAL).await?;
    let skipped = skipped.into_iter().collect();
    let shown = Shown::start();
    tell(&shown.reports, "restoring", all);
    for partition in (0..settings.log_partitions).rev().map(Partition) {
        if log.has(partition).await? {
            // Restored before this was killed, and perhaps written to since.
            continue;
        }
        let end = archive.end(partition).await?;
        let source = Source::Archive(&archive);
        let beside = derive(&log, source, partition, end, &skipped, &shown.reports).await?;
        log.restore_beside(partition, &beside).await?;
        kernel::crash::point("restore.partition");
        log.begin_epoch(end, epoch, now()).await?;
    }
    // From now on the archive knows the epoch: it is never given again.
    for head in log.heads().await? {
        archive.seal(&log, head, true).await?;
    }
    shown.end().await;
    crate::origin::claim(&log, pool).await?;
    let node = Node::connect(settings).await?;
    operator::record(&node, "log restore", "log", None).await?;
    eprintln!(
        "the log is restored. To see which projections had read what is lost:\n  \
         headwater doctor"
    );
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log rebuild-state
  headwater log rebuild-state --yes

Also for an upgrade that changes the shape of states: run it with the new release
before it serves. A state that a command moves meanwhile is left as it is.")]
pub struct RebuildState {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn rebuild_state(arguments: &RebuildState, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    operator::confirm(
        "makes every state that commands decide on anew from the events",
        arguments.yes,
    )?;
    operator::record(&node, "log rebuild-state", "log", None).await?;
    let heads = node.log.heads().await?;
    let pool = node.database.get_postgres_connection_pool();
    let skipped = dead_letters::skipped(pool, Projection::SOCIAL).await?;
    let skipped = skipped.into_iter().collect();
    let (shown, context) = (Shown::start(), node.worker_context());
    tell(
        &shown.reports,
        "folding",
        heads.iter().map(|head| head.seq).sum(),
    );
    let mut states = 0;
    for head in heads {
        let source = Source::History(&context.history);
        let mut beside = derive(
            &node.log,
            source,
            head.partition,
            head,
            &skipped,
            &shown.reports,
        )
        .await?;
        // Receipts have a time of their own, and last positions only go on.
        beside.retain(|one| matches!(one, Beside::State { .. }));
        states += beside.len();
        node.log.restore_beside(head.partition, &beside).await?;
    }
    shown.end().await;
    eprintln!("{states} states were made anew");
    Ok(())
}

fn tell(reports: &Reports, stage: &'static str, all: u64) {
    reports.send_replace(Report {
        stage,
        done: 0,
        all,
    });
}

enum Source<'a> {
    Archive(&'a Archive),
    History(&'a History),
}

impl Source<'_> {
    async fn read(&self, after: Position) -> anyhow::Result<Vec<Recorded>> {
        Ok(match self {
            Self::Archive(archive) => archive.read(after, READ_EVENTS).await?,
            Self::History(history) => history.read(after, READ_EVENTS).await?,
        })
    }
}

struct Receipt {
    fingerprint: u64,
    aggregate: AggregateId,
    version: u64,
    first: Position,
    last: Position,
    lifetime: Duration,
}

/// What stands beside the events of a partition up to `end`.
async fn derive(
    log: &Log,
    source: Source<'_>,
    partition: Partition,
    end: Position,
    skipped: &BTreeSet<Position>,
    reports: &Reports,
) -> anyhow::Result<Vec<Beside>> {
    let mut states: HashMap<AggregateId, (u64, State)> = HashMap::new();
    let mut lasts: HashMap<AccountId, Position> = HashMap::new();
    let mut receipts: HashMap<u128, Receipt> = HashMap::new();
    let mut versions = Versions::default();
    let mut at = Log::beginning(partition);
    while at < end {
        let events = source.read(at).await?;
        anyhow::ensure!(!events.is_empty(), "events are missing after {at}");
        for recorded in &events {
            eventlog::check_contiguous(at, recorded)?;
            if recorded.position > end {
                break;
            }
            at = recorded.position;
            let envelope = &recorded.envelope;
            if envelope.event_type == EPOCH_STARTED {
                continue;
            }
            anyhow::ensure!(
                log.partition_of(&envelope.aggregate) == partition,
                "the event at {at} does not belong there: LOG_PARTITIONS is not what it was"
            );
            log.check(recorded)?;
            versions.check(recorded)?;
            match Event::decode(envelope) {
                Ok(event) => {
                    let before = states.remove(&envelope.aggregate).map(|(_, state)| state);
                    let state = State::evolve(before, &event);
                    let state = state.with_context(|| format!("at {at}"))?;
                    states.insert(envelope.aggregate, (envelope.version, state));
                }
                // An operator left it out for good: its version counts, no more.
                Err(_) if skipped.contains(&at) => {
                    if let Some((version, _)) = states.get_mut(&envelope.aggregate) {
                        *version = envelope.version;
                    }
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!(
                            "the event at {at} cannot be read: run this with the release that \
                             wrote it"
                        )
                    });
                }
            }
            if log.partition_of_account(envelope.actor) == partition {
                lasts.insert(envelope.actor, at);
            }
            if let Some((hash, fingerprint)) = envelope.receipt {
                let age = now().0.saturating_sub(envelope.recorded_at.0).max(0) as u64;
                let lifetime =
                    Duration::from_secs(RECEIPT_SECONDS).saturating_sub(Duration::from_millis(age));
                let first = receipts.get(&hash).map_or(at, |receipt| receipt.first);
                let receipt = Receipt {
                    fingerprint,
                    aggregate: envelope.aggregate,
                    version: envelope.version,
                    first,
                    last: at,
                    lifetime,
                };
                receipts.insert(hash, receipt);
            }
        }
        reports.send_modify(|report| report.done += events.len() as u64);
    }
    let mut beside = Vec::with_capacity(states.len() + lasts.len());
    for (aggregate, (version, state)) in states {
        let (shape, state) = state.stored()?;
        beside.push(Beside::State {
            aggregate,
            shape,
            version,
            state,
        });
    }
    let last = |(account, at)| Beside::Last { account, at };
    beside.extend(lasts.into_iter().map(last));
    let alive = receipts
        .into_iter()
        .filter(|(_, receipt)| !receipt.lifetime.is_zero());
    beside.extend(alive.map(|(key_hash, receipt)| Beside::Receipt {
        key_hash,
        fingerprint: receipt.fingerprint,
        aggregate: receipt.aggregate,
        version: receipt.version,
        first: receipt.first,
        last: receipt.last,
        lifetime: receipt.lifetime,
    }));
    Ok(beside)
}
