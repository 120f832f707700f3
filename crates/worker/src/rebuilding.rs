//! Folds the log again beside the live generation, from its beginning, until
//! both are at the same place; then they can be compared, and swapped. What is
//! done stays done: whoever begins again goes on where it was. It refuses to
//! have side effects: nothing here but rows, and lists of a generation that
//! nobody reads.

mod lists;
mod pace;
mod tables;

use std::time::Duration;

use kernel::Position;
use readmodel::{
    Generation, Projection, ReadError, checkpoints,
    generations::{self, Plan, Role},
};
use tokio::sync::watch;

pub use lists::{ListsChecked, RebuiltLists, check, remove};
pub use pace::Pace;
pub use tables::RebuiltTables;

use crate::{context::WorkerContext, error::WorkError};

/// Together less than a transaction may idle, 4 s.
const SWAP_TRIES_MAX: u32 = 150;
const SWAP_PAUSE: Duration = Duration::from_millis(10);

/// How far a rebuild is, for whoever watches.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub stage: &'static str,
    /// Events, tables or lists.
    pub done: u64,
    pub all: u64,
}

/// Where reports go.
pub type Reports = watch::Sender<Report>;

fn tell(reports: &Reports, stage: &'static str, all: u64) {
    reports.send_replace(Report {
        stage,
        done: 0,
        all,
    });
}

fn told_more(reports: &Reports, done: u64) {
    reports.send_modify(|report| report.done += done);
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error(transparent)]
    Tables(#[from] sea_orm::DbErr),
    #[error("no generation of {0} is live: run `headwater migrate`")]
    NothingLive(&'static str),
    #[error(
        "events come faster than they are folded here: raise --rate, or try when less is written"
    )]
    NeverMeets,
    #[error(
        "the aggregate has {0} events, more than one step takes: rebuild the projection instead"
    )]
    TooLong(usize),
    #[error("the kept generation is behind the live one: see that workers run, or rebuild instead")]
    KeptBehind,
    #[error("stopped; run the same command again to go on")]
    Stopped,
}

impl From<ReadError> for RebuildError {
    fn from(error: ReadError) -> Self {
        Self::Work(error.into())
    }
}

/// Makes the kept generation live again. Workers fold both, the one a moment
/// behind the other: the live one waits for it.
pub async fn swap_back(
    context: &WorkerContext,
    live: Generation,
    kept: Generation,
) -> Result<(), RebuildError> {
    let held = generations::hold(context.pool(), live).await?;
    let wanted = held.positions.iter().copied().collect();
    for _ in 0..SWAP_TRIES_MAX {
        if checkpoints::of(context.pool(), kept).await?.reach(&wanted) {
            return Ok(held.swap(kept, false).await?);
        }
        tokio::time::sleep(SWAP_PAUSE).await;
    }
    held.release().await?;
    Err(RebuildError::KeptBehind)
}

pub(crate) fn live(plan: &Plan, projection: Projection) -> Result<Generation, RebuildError> {
    let live = plan.of(projection, Role::Live);
    let live = live.ok_or(RebuildError::NothingLive(projection.name()))?;
    Ok(live.generation)
}

/// Where the live generation is in every partition of the log. One that stands
/// still because it is ahead of the log is no aim: the log's end is.
pub(crate) async fn aim(
    context: &WorkerContext,
    live: Generation,
) -> Result<Vec<Position>, WorkError> {
    let reached = checkpoints::of(context.pool(), live).await?;
    let heads = context.log.heads().await.map_err(WorkError::from)?;
    let diverged = |head: &Position| {
        reached
            .get(head.partition)
            .is_some_and(|at| at.epoch < head.epoch || at > *head)
    };
    let at = |head: Position| match reached.get(head.partition) {
        _ if diverged(&head) => head,
        Some(at) => at,
        None => eventlog::Log::beginning(head.partition),
    };
    Ok(heads.into_iter().map(at).collect())
}

/// Events between a checkpoint and an aim, as far as their numbers tell.
pub(crate) fn distance(from: Position, to: Position) -> u64 {
    match from.epoch == to.epoch {
        true => to.seq.saturating_sub(from.seq),
        false if from < to => to.seq + 1,
        false => 0,
    }
}
