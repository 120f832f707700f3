//! You read what you wrote: before a read, waits until the projection has what
//! the reader has written, or what they asked for. It refuses to answer with
//! older data in silence.

use std::time::Duration;

use eventlog::Log;
use kernel::{AccountId, Partition, Positions};
use parking_lot::Mutex;
use readmodel::{DatabaseConnection, checkpoints};
use tokio::time::Instant;

use crate::problem::{Code, Problem};

/// How long a read waits for a projection.
const WAIT_MILLISECONDS_MAX: u64 = 2_000;
/// How long a read waits for lists that the database can stand in for.
const WAIT_FOR_LISTS_MILLISECONDS_MAX: u64 = 250;
/// How often one process looks while somebody waits.
const LOOK_MILLISECONDS: u64 = 2;
/// How old the observed checkpoints may be where nobody waits.
const OBSERVED_MILLISECONDS_MAX: u64 = 100;
/// How long the log may take to say what the reader wrote.
const LOG_MILLISECONDS_MAX: u64 = 300;
/// How long a log that did not answer is not asked again.
const LOG_AWAY_MILLISECONDS: u64 = 1_000;
const BEHIND_RETRY_SECONDS: u32 = 2;

/// What a read is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Social,
    Timelines,
}

impl View {
    const ALL: [&'static str; 2] = ["social", "timelines"];

    fn name(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

pub(crate) struct Freshness {
    log: Log,
    database: DatabaseConnection,
    /// By view. The lock is held while one looks, so that all who wait share
    /// one look.
    observed: [tokio::sync::Mutex<Observed>; 2],
    log_away_until: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Observed {
    positions: Positions,
    stopped: Vec<(Partition, String)>,
    at: Option<Instant>,
}

impl Freshness {
    pub fn new(log: Log, database: DatabaseConnection) -> Self {
        Self {
            log,
            database,
            observed: Default::default(),
            log_away_until: Mutex::default(),
        }
    }

    /// Waits, and returns how far the view is at least.
    pub async fn wait(
        &self,
        view: View,
        reader: Option<AccountId>,
        wanted: &Positions,
    ) -> Result<Positions, Problem> {
        let patience = Duration::from_millis(match view {
            View::Social => WAIT_MILLISECONDS_MAX,
            View::Timelines => WAIT_FOR_LISTS_MILLISECONDS_MAX,
        });
        let known = self.log.partitions().count();
        if let Some(position) = wanted.iter().find(|p| usize::from(p.partition.0) >= known) {
            let detail = format!("There is no partition {}.", position.partition);
            return Err(Problem::invalid_parameter("Min-Position", detail));
        }
        let mut wanted = wanted.clone();
        if let Some(reader) = reader
            && let Some(own) = self.own_position(reader).await
        {
            wanted.advance(own);
        }
        let deadline = Instant::now() + patience;
        loop {
            let stopped = {
                let mut observed = self.observed[view as usize].lock().await;
                let reached = observed.positions.reach(&wanted);
                let age_max = if reached {
                    OBSERVED_MILLISECONDS_MAX
                } else {
                    LOOK_MILLISECONDS
                };
                let age_max = Duration::from_millis(age_max);
                if observed.at.is_none_or(|at| at.elapsed() > age_max) {
                    self.look(view, &mut observed).await?;
                }
                if observed.positions.reach(&wanted) {
                    return Ok(observed.positions.clone());
                }
                let waited_for = |p: &&(Partition, String)| wanted.get(p.0).is_some();
                observed.stopped.iter().find(waited_for).cloned()
            };
            if let Some((partition, reason)) = stopped {
                tracing::warn!(
                    view = view.name(),
                    partition = partition.0,
                    reason,
                    "a read waits for what stands still"
                );
                return Err(behind(
                    "The read model stands still and an operator must look.",
                ));
            }
            if Instant::now() >= deadline {
                return Err(behind(
                    "The read model has not caught up yet. Try again shortly.",
                ));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        }
    }

    async fn look(&self, view: View, observed: &mut Observed) -> Result<(), Problem> {
        let pool = self.database.get_postgres_connection_pool();
        let (positions, stopped) = checkpoints::all(pool, view.name()).await?;
        observed.positions = positions;
        observed.stopped = stopped;
        observed.at = Some(Instant::now());
        Ok(())
    }

    /// What the reader wrote last; none where they wrote nothing, or where the
    /// log is away: `As-Of` then tells how far the answer is.
    async fn own_position(&self, reader: AccountId) -> Option<kernel::Position> {
        let away = *self.log_away_until.lock();
        if away.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let patience = Duration::from_millis(LOG_MILLISECONDS_MAX);
        match tokio::time::timeout(patience, self.log.last_position(reader)).await {
            Ok(Ok(position)) => position,
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the log does not answer; reads go on without it");
                let until = Instant::now() + Duration::from_millis(LOG_AWAY_MILLISECONDS);
                *self.log_away_until.lock() = Some(until);
                None
            }
        }
    }
}

fn behind(detail: &'static str) -> Problem {
    Problem::new(Code::ProjectionBehind, detail).retry_after(BEHIND_RETRY_SECONDS)
}
