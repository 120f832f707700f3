//! The loop of one generation in one partition: folds tables, or fans out after them,
//! until it is told to end; after an error again from its checkpoint.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use kernel::{Partition, Position};
use readmodel::{
    Generation, Projection, ReadError,
    checkpoints::{self, Standing},
};
use tokio::sync::{Notify, watch};

use crate::{
    context::WorkerContext,
    error::WorkError,
    fanning::{self, Fanning},
    feed::{Feed, Next, TAIL_MILLISECONDS},
    folding::{self, Folding},
    front::Front,
    spans::Telling,
};

/// A batch of so many says that events come quickly.
const BUSY_EVENTS: usize = 6;
const GATHER_MILLISECONDS_MIN: u64 = 25;
const GATHER_MILLISECONDS_MAX: u64 = 100;
/// How long a checkpoint rests over events that ask nothing of the projection: no read
/// waits for it.
const REST_MILLISECONDS: u64 = 50;
/// How often a loop that has nothing to do looks whether the database still
/// knows what was done: one that crashed forgets its last moments.
const VERIFY_MILLISECONDS: u64 = 1_000;
const RETRY_MILLISECONDS_MIN: u64 = 100;
const RETRY_MILLISECONDS_MAX: u64 = 5_000;

pub(crate) struct PartitionLoop {
    pub context: WorkerContext,
    pub telling: Telling,
    pub generation: Generation,
    pub partition: Partition,
    /// What is read for all folds of the partition.
    pub feed: Arc<Feed>,
    /// How far the tables are that timelines follow.
    pub folded: watch::Sender<Front>,
    /// A loop has seen that its generation is not live any more.
    pub swapped: Arc<Notify>,
    pub ended: watch::Receiver<bool>,
}

impl PartitionLoop {
    /// Works until it ends well; after an error again, later and later. What needs a
    /// person is written down for them.
    pub async fn run(self) {
        let mut delay = RETRY_MILLISECONDS_MIN;
        loop {
            let started = Instant::now();
            let Err(error) = self.work().await else {
                return;
            };
            if started.elapsed() > Duration::from_millis(2 * RETRY_MILLISECONDS_MAX) {
                delay = RETRY_MILLISECONDS_MIN;
            }
            let (partition, generation) = (self.partition.0, self.generation);
            if error.stops() {
                delay = RETRY_MILLISECONDS_MAX;
                tracing::error!(partition, %generation, %error, "stands still");
                self.note(&error).await;
            } else {
                if matches!(error, WorkError::Read(ReadError::CheckpointMoved)) {
                    // Another worker does the work, and may leave it any moment.
                    delay = RETRY_MILLISECONDS_MIN;
                }
                tracing::warn!(partition, %generation, %error, "tries again");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(delay)) => {}
                () = told(self.ended.clone()) => return,
            }
            delay = (delay * 2).min(RETRY_MILLISECONDS_MAX);
        }
    }

    async fn note(&self, error: &WorkError) {
        let (pool, reason) = (self.context.pool(), error.to_string());
        let diverged = error.diverged();
        let noted = checkpoints::stop(pool, self.generation, self.partition, &reason, diverged);
        if let Err(error) = noted.await {
            tracing::error!(%error, "cannot write down why a partition stands still");
        }
    }

    async fn work(&self) -> Result<(), WorkError> {
        if self.generation.projection.has_tables() {
            return self.fold().await;
        }
        // Given up wherever it is: whoever goes on repeats the batch, which changes
        // nothing.
        tokio::select! {
            biased;
            () = told(self.ended.clone()) => Ok(()),
            failed = self.fan_out() => failed,
        }
    }

    /// A batch that is begun is ended; waiting for events is given up.
    async fn fold(&self) -> Result<(), WorkError> {
        let folding = Folding::begin(&self.context, self.generation, self.partition);
        let mut folding = folding.await?;
        let (mut verified, mut moved) = (Instant::now(), Instant::now());
        let mut front = Front::at(folding.standing.at);
        loop {
            let before = folding.standing;
            if before.live && self.generation.projection == Projection::FOLLOWED {
                self.folded.send_replace(front.clone());
            }
            let rest = Duration::from_millis(REST_MILLISECONDS).saturating_sub(moved.elapsed());
            let patience = match folding.rests() {
                true => rest,
                false => Duration::from_millis(TAIL_MILLISECONDS),
            };
            let next = self
                .feed
                .next(&self.context, self.generation, folding.at(), patience);
            let Next { batch, read_here } = tokio::select! {
                biased;
                () = told(self.ended.clone()) => return Ok(()),
                next = next => next?,
            };
            let events = batch.after(folding.at()).unwrap_or(batch.none());
            // A full batch says that there is more already.
            let gathered = events.len();
            let busy = (BUSY_EVENTS..folding::BATCH_EVENTS_MAX).contains(&gathered);
            let started = SystemTime::now();
            if gathered > 0 && !rest.is_zero() && !folding.wants_any(events) {
                folding.look(events)?;
            } else if let Some(folded) = folding.fold(&self.context, events).await? {
                let recorded = events.recorded();
                self.telling
                    .tell("fold", self.generation, started, recorded, &folded);
                // Its checkpoint was compared with what the database has.
                (verified, moved) = (Instant::now(), Instant::now());
                if before.live && !folded.standing.live {
                    self.swapped.notify_one();
                }
                front = Front::new(folded.standing.at, batch);
            } else {
                front = Front::at(before.at);
                if verified.elapsed() > Duration::from_millis(VERIFY_MILLISECONDS) {
                    folding.standing = self.verify(before.at).await?;
                    verified = Instant::now();
                }
            }
            if busy && read_here {
                tokio::time::sleep(gathering(gathered)).await;
            }
        }
    }

    /// Follows the live fold, which outlives it.
    async fn fan_out(&self) -> Result<(), WorkError> {
        let mut folded = self.folded.subscribe();
        let fanning = Fanning::begin(&self.context, self.generation, self.partition);
        let (fanning, standing) = fanning.await?;
        let mut at = standing.at;
        // Up to where it is known that events ask nothing of the timelines.
        let mut looked = at;
        let mut here = Front::at(at);
        let (mut verified, mut moved) = (Instant::now(), Instant::now());
        loop {
            let front = folded.borrow_and_update().clone();
            if at < front.at {
                let rest = Duration::from_millis(REST_MILLISECONDS).saturating_sub(moved.elapsed());
                if !rest.is_zero() && !front.asks_after(at.max(looked)) {
                    // The checkpoint takes along what comes meanwhile.
                    looked = front.at;
                    match tokio::time::timeout(rest, folded.changed()).await {
                        Ok(Err(_)) => return Ok(()),
                        Ok(Ok(())) | Err(_) => continue,
                    }
                }
                if here.after(at).is_none() {
                    here = match front.after(at) {
                        Some(_) => front,
                        None => fanning::read_folded(&self.context, at, front.at).await?,
                    };
                }
                let Some(events) = here.after(at).map(fanning::turn) else {
                    continue;
                };
                let started = SystemTime::now();
                if let Some(fanned) = fanning.fan_out(&self.context, at, events).await? {
                    let recorded = events.recorded();
                    self.telling
                        .tell("fan out", self.generation, started, recorded, &fanned);
                    at = fanned.standing.at;
                }
                (verified, moved) = (Instant::now(), Instant::now());
                continue;
            }
            here = Front::at(at);
            if verified.elapsed() > Duration::from_millis(VERIFY_MILLISECONDS) {
                self.verify(at).await?;
                verified = Instant::now();
            }
            // An idle fold says where it is again and again.
            if folded.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Fails where the database has another checkpoint than `at`.
    async fn verify(&self, at: Position) -> Result<Standing, ReadError> {
        let pool = self.context.pool();
        let standing = checkpoints::load(pool, self.generation, at.partition).await?;
        match standing.at == at {
            true => Ok(standing),
            false => Err(ReadError::CheckpointMoved),
        }
    }
}

/// A transaction costs about the same for one event and for fifty: where they
/// come quickly, let some gather. The root makes the time follow the rate, not
/// the time that was taken before.
fn gathering(events: usize) -> Duration {
    let times = (events as f64 / BUSY_EVENTS as f64).sqrt();
    let milliseconds = (GATHER_MILLISECONDS_MIN as f64 * times) as u64;
    Duration::from_millis(milliseconds.min(GATHER_MILLISECONDS_MAX))
}

/// Waits until a receiver is told to end, or nobody is left to tell it.
pub(crate) async fn told(mut end: watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}
