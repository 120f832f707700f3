//! Reads the log for all loops, and what it no longer has from its archive; as
//! far as it can be read: what comes before a damaged entry is given, and the
//! entry itself is the error of the next read. It refuses to read on from a
//! checkpoint that the log does not reach.

use std::time::Duration;

use eventlog::{Log, LogError};
use kernel::{Position, Recorded};
use readmodel::checkpoints::Standing;

use crate::{context::WorkerContext, error::WorkError};

/// At most `count` events after `at`, fewer where a damaged entry is among them.
pub(crate) async fn read(
    context: &WorkerContext,
    at: Position,
    mut count: usize,
) -> Result<Vec<Recorded>, LogError> {
    loop {
        match context.history.read(at, count).await {
            Err(LogError::Damaged(_)) if count > 1 => count /= 2,
            events => return events,
        }
    }
}

/// The same, waiting up to `patience` for the first.
pub(crate) async fn tail(
    context: &WorkerContext,
    at: Position,
    count: usize,
    patience: Duration,
) -> Result<Vec<Recorded>, LogError> {
    match context.history.tail(&[at], count, patience).await {
        Err(LogError::Damaged(_)) => read(context, at, count).await,
        events => events,
    }
}

/// A log that ends before a checkpoint, or has another event there, was put back
/// from an old copy: it has lost what was read, and gives new events old
/// positions, which would be passed over. A partition that is trimmed to nothing,
/// or trimmed at the checkpoint, tells nothing.
pub(crate) async fn check_reaches(log: &Log, standing: Standing) -> Result<(), WorkError> {
    let at = standing.at;
    let heads = log.heads().await?;
    let head = heads
        .into_iter()
        .find(|head| head.partition == at.partition);
    match head {
        Some(head) if head < at && head != Log::beginning(at.partition) => {
            return Err(WorkError::Ahead { at, head });
        }
        Some(_) | None => {}
    }
    let Some(mark) = standing.mark else {
        return Ok(());
    };
    let there = log.at(at).await?;
    match there {
        Some(there) if there.envelope.mark() != mark => Err(WorkError::Replaced { at }),
        Some(_) | None => Ok(()),
    }
}
