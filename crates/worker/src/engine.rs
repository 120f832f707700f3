//! Starts and stops the loops of the partitions that this process holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use eventlog::{Gap, Log, LogError};
use kernel::{CodecError, Partition, Position, SealError, Sealer, Uuid};
use readmodel::{ReadError, Social, checkpoints, timelines::Lists};
use sea_orm::{DatabaseConnection, sqlx::PgPool};
use tokio::{sync::watch, task::JoinSet};

use crate::{fanning, folding, leases};

const SHARE_MILLISECONDS: u64 = 1_000;
const TAIL_MILLISECONDS: u64 = 500;
/// A batch of so many says that events come quickly.
const BUSY_EVENTS: usize = 6;
const GATHER_MILLISECONDS: u64 = 25;
const RETRY_MILLISECONDS_MIN: u64 = 100;
const RETRY_MILLISECONDS_MAX: u64 = 5_000;

/// What the engine works with; cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub log: Log,
    pub database: DatabaseConnection,
    pub sealer: Arc<dyn Sealer>,
    pub social: Social,
    pub lists: Lists,
    /// Followers up to which an author's posts are pushed.
    pub push_followers_max: i64,
}

impl Parts {
    pub(crate) fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("{0}")]
    Gap(#[from] Gap),
    #[error("the event at {position} cannot be read: {source}")]
    Unreadable {
        position: Position,
        source: CodecError,
    },
}

impl WorkError {
    /// Whether it will be the same the next time, so that a person must look.
    fn stops(&self) -> bool {
        match self {
            Self::Gap(_) | Self::Unreadable { .. } | Self::Seal(SealError::Damaged(_)) => true,
            Self::Log(_) | Self::Read(_) | Self::Seal(_) => false,
        }
    }
}

/// A worker of this process.
pub struct Engine {
    parts: Parts,
    owner: Uuid,
}

impl Engine {
    /// `owner` tells this process from all others.
    pub fn new(parts: Parts, owner: Uuid) -> Self {
        Self { parts, owner }
    }

    /// Works until `stop` says so, then ends what is under way and gives its
    /// leases back.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let partitions = self.parts.log.partitions().count() as u16;
        let mut running: BTreeMap<Partition, watch::Sender<bool>> = BTreeMap::new();
        let mut loops = JoinSet::new();
        while !*stop.borrow() {
            let held = match leases::share(&self.parts, self.owner, partitions).await {
                Ok(held) => held,
                Err(error) => {
                    tracing::warn!(%error, "leases cannot be renewed; the work pauses");
                    BTreeSet::new()
                }
            };
            running.retain(|partition, end| {
                let keep = held.contains(partition) && !end.is_closed();
                if !keep {
                    tracing::info!(partition = partition.0, "lets a partition go");
                    end.send_replace(true);
                }
                keep
            });
            for partition in held {
                running.entry(partition).or_insert_with(|| {
                    tracing::info!(partition = partition.0, "takes a partition");
                    let (end, ended) = watch::channel(false);
                    loops.spawn(work(self.parts.clone(), partition, ended));
                    end
                });
            }
            while loops.try_join_next().is_some() {}
            let pause = Duration::from_millis(SHARE_MILLISECONDS);
            let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
        }
        for end in running.values() {
            end.send_replace(true);
        }
        while loops.join_next().await.is_some() {}
        if let Err(error) = readmodel::leases::leave(self.parts.pool(), self.owner).await {
            tracing::warn!(%error, "leases are left to expire");
        }
    }

    /// Folds and fans out until both are at the head of every partition. For
    /// tests and commands that have no other worker beside them.
    pub async fn drain(&self) -> Result<(), WorkError> {
        let partitions = self.parts.log.partitions();
        let drained = partitions.map(|partition| drain(&self.parts, partition));
        futures_util::future::try_join_all(drained).await?;
        Ok(())
    }
}

async fn drain(parts: &Parts, partition: Partition) -> Result<(), WorkError> {
    let mut at = folding::checkpoint(parts, partition).await?;
    loop {
        let events = parts.log.read(at, folding::BATCH_EVENTS_MAX).await?;
        if events.is_empty() {
            break;
        }
        at = folding::fold(parts, at, events).await?;
    }
    let mut fanned = fanning::checkpoint(parts, partition).await?;
    while fanned < at {
        let events = parts.log.read(fanned, fanning::BATCH_EVENTS_MAX).await?;
        fanned = fanning::fan_out(parts, fanned, &events).await?;
    }
    Ok(())
}

/// Both loops of one partition, until `ended`.
async fn work(parts: Parts, partition: Partition, ended: watch::Receiver<bool>) {
    let (folded, behind) = watch::channel(Log::beginning(partition));
    tokio::join!(
        again(&parts, partition, Social::NAME, &ended, || {
            fold_until(&parts, partition, &folded, &ended)
        }),
        again(&parts, partition, fanning::TIMELINES, &ended, || {
            fan_out_until(&parts, partition, behind.clone(), &ended)
        }),
    );
}

/// Runs a loop until it ends well; after an error again from its checkpoint,
/// later and later. What needs a person is written down for them.
async fn again<F: Future<Output = Result<(), WorkError>>>(
    parts: &Parts,
    partition: Partition,
    projection: &'static str,
    ended: &watch::Receiver<bool>,
    run: impl Fn() -> F,
) {
    let mut delay = RETRY_MILLISECONDS_MIN;
    loop {
        let started = Instant::now();
        let Err(error) = run().await else { return };
        if started.elapsed() > Duration::from_millis(2 * RETRY_MILLISECONDS_MAX) {
            delay = RETRY_MILLISECONDS_MIN;
        }
        if error.stops() {
            delay = RETRY_MILLISECONDS_MAX;
            tracing::error!(partition = partition.0, projection, %error, "stands still");
            let reason = error.to_string();
            let noted = checkpoints::stop(parts.pool(), projection, partition, &reason).await;
            if let Err(error) = noted {
                tracing::error!(%error, "cannot write down why a partition stands still");
            }
        } else {
            tracing::warn!(partition = partition.0, projection, %error, "tries again");
        }
        let pause = Duration::from_millis(delay);
        let mut ended = ended.clone();
        let over = tokio::time::timeout(pause, ended.wait_for(|ended| *ended)).await;
        if over.is_ok() {
            return;
        }
        delay = (delay * 2).min(RETRY_MILLISECONDS_MAX);
    }
}

async fn fold_until(
    parts: &Parts,
    partition: Partition,
    folded: &watch::Sender<Position>,
    ended: &watch::Receiver<bool>,
) -> Result<(), WorkError> {
    let mut at = folding::checkpoint(parts, partition).await?;
    let patience = Duration::from_millis(TAIL_MILLISECONDS);
    while !*ended.borrow() {
        folded.send_replace(at);
        let events = parts
            .log
            .tail(&[at], folding::BATCH_EVENTS_MAX, patience)
            .await?;
        let busy = events.len() >= BUSY_EVENTS;
        at = folding::fold(parts, at, events).await?;
        if busy {
            // A transaction costs the same for one event and for fifty: where
            // they come quickly, let some gather.
            tokio::time::sleep(Duration::from_millis(GATHER_MILLISECONDS)).await;
        }
    }
    Ok(())
}

async fn fan_out_until(
    parts: &Parts,
    partition: Partition,
    mut folded: watch::Receiver<Position>,
    ended: &watch::Receiver<bool>,
) -> Result<(), WorkError> {
    let mut at = fanning::checkpoint(parts, partition).await?;
    let patience = Duration::from_millis(TAIL_MILLISECONDS);
    while !*ended.borrow() {
        let reached = *folded.borrow_and_update();
        if at >= reached {
            let _ = tokio::time::timeout(patience, folded.changed()).await;
            continue;
        }
        let mut events = parts.log.read(at, fanning::BATCH_EVENTS_MAX).await?;
        events.retain(|event| event.position <= reached);
        at = fanning::fan_out(parts, at, &events).await?;
    }
    Ok(())
}
