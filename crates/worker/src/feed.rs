//! One reader of a partition for all folds of this process: each batch is read, decoded
//! and opened once. The loop that leads reads on from its own checkpoint; others take what
//! it has read, as long as they are where it is. One that is behind it, or beyond it since
//! it stands still, reads for itself and waits for nobody.

use std::{sync::Arc, time::Duration};

use kernel::{Partition, Position};
use parking_lot::Mutex;
use readmodel::Generation;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    batch::Batch, context::WorkerContext, error::WorkError, folding::BATCH_EVENTS_MAX, reading,
};

/// How long a loop waits for an event, or for what the leader reads.
pub(crate) const TAIL_MILLISECONDS: u64 = 500;
/// How long a loop waits for a leader, which reads once in `TAIL_MILLISECONDS` at least.
const FOLLOW_MILLISECONDS_MAX: u64 = 1_000;
/// What was read longer ago is not used any more: the log may have been put back from an
/// old copy since. And personal fields are not kept open for longer while nothing comes.
const KEPT_MILLISECONDS_MAX: u64 = 500;

pub(crate) struct Feed {
    read: watch::Sender<Read>,
    leader: Mutex<Option<Generation>>,
}

/// What the leader read last.
#[derive(Clone)]
struct Read {
    batch: Arc<Batch>,
    since: Instant,
}

/// A batch in which the next events are, if there are any.
pub(crate) struct Next {
    pub batch: Arc<Batch>,
    /// By whoever asked; if not, whoever read it has let events gather.
    pub read_here: bool,
}

impl Feed {
    pub fn new(partition: Partition) -> Self {
        let nothing = Batch::empty(eventlog::Log::beginning(partition));
        Self {
            read: watch::channel(Read::now(nothing)).0,
            leader: Mutex::default(),
        }
    }

    pub fn led_by(&self, leader: Option<Generation>) {
        *self.leader.lock() = leader;
    }

    /// What comes after `at`, waiting up to `patience` for the first event.
    pub async fn next(
        &self,
        context: &WorkerContext,
        asking: Generation,
        at: Position,
        patience: Duration,
    ) -> Result<Next, WorkError> {
        if *self.leader.lock() == Some(asking) {
            return self.lead(context, at, patience).await;
        }
        let mut reads = self.read.subscribe();
        let last = reads.borrow_and_update().clone();
        if let Some(batch) = last.after(at) {
            return Ok(Next::taken(batch));
        }
        if last.batch.end() != at {
            return read(context, at, patience).await.map(Next::read);
        }
        let tail = Duration::from_millis(TAIL_MILLISECONDS);
        let most = Duration::from_millis(FOLLOW_MILLISECONDS_MAX);
        let rests = patience < tail;
        let left = if rests { patience } else { most };
        match timeout(left, reads.changed()).await {
            // It may be empty: the leader has looked.
            Ok(_) => Ok(Next::taken(reads.borrow().batch.clone())),
            Err(_) if rests => Ok(Next::taken(last.batch)),
            // The leader makes no progress.
            Err(_) => read(context, at, Duration::ZERO).await.map(Next::read),
        }
    }

    async fn lead(
        &self,
        context: &WorkerContext,
        at: Position,
        patience: Duration,
    ) -> Result<Next, WorkError> {
        // It may have folded a part.
        let last = self.read.borrow().clone();
        if let Some(batch) = last.after(at) {
            return Ok(Next::taken(batch));
        }
        let batch = read(context, at, patience).await?;
        if batch.end() != at || last.batch.end() != at || last.is_old() {
            self.read.send_replace(Read::now(batch.clone()));
        }
        Ok(Next::read(batch))
    }
}

impl Read {
    fn now(batch: impl Into<Arc<Batch>>) -> Self {
        Self {
            batch: batch.into(),
            since: Instant::now(),
        }
    }

    fn is_old(&self) -> bool {
        self.since.elapsed() > Duration::from_millis(KEPT_MILLISECONDS_MAX)
    }

    /// The batch, where it has what comes after `at`.
    fn after(&self, at: Position) -> Option<Arc<Batch>> {
        let usable = !self.is_old() && self.batch.after(at).is_some();
        usable.then(|| self.batch.clone())
    }
}

impl Next {
    fn taken(batch: Arc<Batch>) -> Self {
        Self {
            batch,
            read_here: false,
        }
    }

    fn read(batch: Arc<Batch>) -> Self {
        Self {
            batch,
            read_here: true,
        }
    }
}

async fn read(
    context: &WorkerContext,
    at: Position,
    patience: Duration,
) -> Result<Arc<Batch>, WorkError> {
    let events = match patience.is_zero() {
        true => reading::read(context, at, BATCH_EVENTS_MAX).await?,
        false => reading::tail(context, at, BATCH_EVENTS_MAX, patience).await?,
    };
    Ok(Arc::new(Batch::open(context, at, events).await?))
}
