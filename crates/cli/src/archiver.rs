//! Archives and trims while the workers run, in one process at a time. It
//! refuses to trim what is not archived, or what a projection has not passed.

use std::time::Duration;

use archive::{Archive, ArchiveError, SEGMENT_EVENTS_MAX, Sealed};
use eventlog::{Log, PartitionSize};
use kernel::{Partition, Position};
use readmodel::{
    PgPool, Projections, ReadError,
    generations::{self, Operation},
};
use tokio::{sync::watch, time::Instant};

/// How often the archiver looks, and whoever is not tries to be it.
const LOOK: Duration = Duration::from_millis(250);
/// A partition that has this share more than it keeps is sealed at once.
const OVERFLOW_SHARE: u64 = 20;
/// A segment is written again for this share of it at least, unless events wait for
/// long: so that each is written a few times only.
const GROWTH_SHARE: u64 = 8;

/// What archiving works with.
#[derive(Clone)]
pub struct Archiver {
    pub log: Log,
    pub archive: Archive,
    pub pool: PgPool,
    pub projections: Projections,
    /// Events that a partition keeps in Redis.
    pub hot_events: u64,
    /// Memory that they may take there.
    pub hot_bytes: u64,
    /// How long an event waits at most until it is archived.
    pub patience: Duration,
    /// The run of the log server in which it was seen to go on where the archive
    /// ends.
    pub checked: Option<String>,
}

impl Archiver {
    /// Until `stopped` says so.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut turn = None;
        let mut sealed_at = Instant::now();
        while !*stopped.borrow() {
            match self.take_turn(&mut turn).await {
                Ok(true) => {
                    let all = sealed_at.elapsed() >= self.patience;
                    self.look(all).await;
                    if all {
                        sealed_at = Instant::now();
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot tell who archives; tries again");
                    turn = None;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Whether this process archives.
    async fn take_turn(&self, turn: &mut Option<Operation>) -> Result<bool, ReadError> {
        if let Some(held) = turn {
            held.check().await?;
            return Ok(true);
        }
        *turn = generations::begin_archiving(&self.pool).await?;
        if turn.is_some() {
            // Others have archived since this process did, and one may have died.
            self.archive.forget();
            for partition in self.log.partitions() {
                self.finish(partition).await;
            }
        }
        Ok(turn.is_some())
    }

    /// The next sealing tries it again.
    async fn finish(&self, partition: Partition) {
        if let Err(error) = self.archive.finish(partition).await {
            let partition = partition.0;
            tracing::warn!(partition, %error, "what was half archived is left as it is");
        }
    }

    /// A partition that cannot be archived does not keep others from it.
    async fn look(&mut self, all: bool) {
        let looked = tokio::try_join!(self.log.heads(), self.log.sizes(), self.log.run());
        let (heads, sizes, run) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                tracing::warn!(%error, "cannot see what is to be archived; tries again");
                return;
            }
        };
        if self.checked.as_ref() != Some(&run) {
            if let Err(error) = self.check_same(&heads).await {
                let error = format!("{error:#}");
                tracing::error!(error, "nothing is archived and nothing is trimmed");
                return;
            }
            self.checked = Some(run);
        }
        for (head, size) in heads.into_iter().zip(sizes) {
            if let Err(error) = self.look_at(head, size, all).await {
                let error = format!("{error:#}");
                tracing::warn!(
                    partition = head.partition.0,
                    error,
                    "cannot archive; tries again"
                );
                self.archive.forget();
            }
        }
    }

    /// A log that holds a twentieth more than it keeps is sealed at once, without
    /// patience, and trimmed from half of that on.
    async fn look_at(&self, head: Position, size: PartitionSize, all: bool) -> anyhow::Result<()> {
        let partition = head.partition;
        let end = self.archive.known_end(partition).await?;
        let waiting = match head.epoch == end.epoch {
            true => head.seq.saturating_sub(end.seq),
            false => head.seq + 1,
        };
        let kept = self.kept(size);
        let over = size.events.saturating_sub(kept);
        let share = kept / OVERFLOW_SHARE;
        let open = self.archive.open_events(partition).await?;
        let all = all || (over > share && waiting > share.max(open / GROWTH_SHARE));
        // What would not fill a segment is not even read.
        if all || open + waiting >= SEGMENT_EVENTS_MAX as u64 {
            self.archive.seal(&self.log, head, all).await?;
        }
        if over > share / 2 {
            self.trim(partition, kept).await?;
        }
        Ok(())
    }

    /// How many events a partition of that size may keep: where they take too much, as
    /// many as would fit, were all of the same length. The next look knows better.
    fn kept(&self, size: PartitionSize) -> u64 {
        let fit = u128::from(size.events) * u128::from(self.hot_bytes)
            / u128::from(size.event_bytes.max(1));
        let fit = u64::try_from(fit).unwrap_or(u64::MAX);
        match size.event_bytes > self.hot_bytes {
            true => self.hot_events.min(fit.max(1)),
            false => self.hot_events,
        }
    }

    /// A log that was put back from an old copy has other events where the archive
    /// ends, or none: what is sealed then would not follow, and what is trimmed
    /// would be lost.
    pub async fn check_same(&self, heads: &[Position]) -> anyhow::Result<()> {
        for head in heads {
            let end = self.archive.end(head.partition).await?;
            if end == Log::beginning(head.partition) {
                continue;
            }
            let before = Position {
                seq: end.seq.saturating_sub(1),
                ..end
            };
            let archived = self.archive.read(before, 1).await?;
            let archived = archived.first().filter(|event| event.position == end);
            let there = self.log.at(end).await?;
            let differs = archived
                .zip(there)
                .is_some_and(|(one, other)| *one != other);
            let behind = *head < end;
            anyhow::ensure!(
                !differs && !behind,
                "the archive ends at {end}, and the log, which ends at {head}, does not go on \
                 there: it was put back from an old copy. Empty the log server and run \
                 `headwater log restore`: what was written since is lost by that"
            );
        }
        Ok(())
    }

    /// Seals what is there now.
    pub async fn seal(&self, partition: Partition, all: bool) -> Result<Sealed, ArchiveError> {
        let head = self.head(partition).await?;
        self.archive.finish(partition).await?;
        self.archive.seal(&self.log, head, all).await
    }

    async fn head(&self, partition: Partition) -> Result<Position, ArchiveError> {
        let heads = self.log.heads().await?;
        let head = heads.into_iter().find(|head| head.partition == partition);
        Ok(head.unwrap_or(Log::beginning(partition)))
    }

    /// Forgets what is archived, passed by every projection, and not among the
    /// last `keep` events. Returns how many that were.
    pub async fn trim(&self, partition: Partition, keep: u64) -> anyhow::Result<u64> {
        let head = self.head(partition).await?;
        let firsts = self.log.firsts().await?;
        let hot = Position {
            seq: (head.seq + 1).saturating_sub(keep),
            ..head
        };
        let known = next(self.archive.known_end(partition).await?).min(hot);
        let first = firsts
            .into_iter()
            .flatten()
            .find(|first| first.partition == partition);
        if first.is_none_or(|first| first >= known) {
            return Ok(0);
        }
        // What this process remembers is no proof.
        let archived = self.archive.end(partition).await?;
        let passed = generations::passed(&self.pool, &self.projections, partition).await?;
        let passed = passed.unwrap_or(Log::beginning(partition));
        let first = next(archived).min(next(passed)).min(hot);
        kernel::crash::point("archive.trim");
        Ok(self.log.trim(first).await?)
    }
}

fn next(position: Position) -> Position {
    Position {
        seq: position.seq + 1,
        ..position
    }
}
