//! Archives and trims while the workers run, in one process at a time. It
//! refuses to trim what is not archived, or what a projection has not passed.

use std::time::Duration;

use archive::{Archive, ArchiveError, Sealed};
use eventlog::Log;
use kernel::{Partition, Position};
use readmodel::{PgPool, generations};
use tokio::{sync::watch, time::Instant};

/// How often the archiver looks, and whoever is not tries to be it.
const LOOK_SECONDS: u64 = 1;

/// What archiving works with.
#[derive(Clone)]
pub struct Archiver {
    pub log: Log,
    pub archive: Archive,
    pub pool: PgPool,
    /// Events that a partition keeps in Redis.
    pub hot_events: u64,
    /// How long an event waits at most until it is archived.
    pub patience: Duration,
}

impl Archiver {
    /// Until `stopped` says so.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut turn = None;
        let mut sealed_at = Instant::now();
        while !*stopped.borrow() {
            let all = sealed_at.elapsed() >= self.patience;
            match self.look(&mut turn, all).await {
                Ok(()) if all => sealed_at = Instant::now(),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "cannot archive; tries again");
                    turn = None;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        }
    }

    async fn look(
        &self,
        turn: &mut Option<generations::Operation>,
        all: bool,
    ) -> anyhow::Result<()> {
        if turn.is_none() {
            *turn = generations::begin_archiving(&self.pool).await?;
        }
        let Some(held) = turn else { return Ok(()) };
        held.check().await?;
        for partition in self.log.partitions() {
            self.seal(partition, all).await?;
            self.trim(partition, self.hot_events).await?;
        }
        Ok(())
    }

    /// Seals what is there now.
    pub async fn seal(&self, partition: Partition, all: bool) -> Result<Sealed, ArchiveError> {
        let head = self.head(partition).await?;
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
        let archived = self.archive.known_end(partition).await?;
        let passed = generations::passed(&self.pool, partition).await?;
        let passed = passed.unwrap_or(Log::beginning(partition));
        let hot = Position {
            seq: (head.seq + 1).saturating_sub(keep),
            ..head
        };
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
