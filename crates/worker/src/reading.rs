//! Reads the log for all loops, and what it no longer has from its archive; as
//! far as it can be read: what comes before a damaged entry is given, and the
//! entry itself is the error of the next read. It refuses to read on from a
//! checkpoint that the log does not reach.

use std::time::Duration;

use eventlog::{Log, LogError};
use kernel::{Position, Recorded};

use crate::engine::{Parts, WorkError};

/// At most `count` events after `at`, fewer where a damaged entry is among them.
pub(crate) async fn read(
    parts: &Parts,
    at: Position,
    mut count: usize,
) -> Result<Vec<Recorded>, LogError> {
    loop {
        match parts.history.read(at, count).await {
            Err(LogError::Damaged(_)) if count > 1 => count /= 2,
            events => return events,
        }
    }
}

/// The same, waiting up to `patience` for the first.
pub(crate) async fn tail(
    parts: &Parts,
    at: Position,
    count: usize,
    patience: Duration,
) -> Result<Vec<Recorded>, LogError> {
    let events = match parts.log.tail(&[at], count, patience).await {
        Err(LogError::Damaged(_)) => return read(parts, at, count).await,
        events => events?,
    };
    match events.first() {
        // It was trimmed, or restored, and the archive may have what is missing.
        Some(first) if eventlog::check_contiguous(at, first).is_err() => {
            read(parts, at, count).await
        }
        Some(_) | None => Ok(events),
    }
}

/// A log that ends before `at` has lost what was read, and gives new events old
/// positions: they would be passed over. A partition that is trimmed to nothing
/// tells nothing.
pub(crate) async fn check_reaches(log: &Log, at: Position) -> Result<(), WorkError> {
    let heads = log.heads().await?;
    let head = heads
        .into_iter()
        .find(|head| head.partition == at.partition);
    match head {
        Some(head) if head < at && head != Log::beginning(at.partition) => {
            Err(WorkError::Ahead { at, head })
        }
        Some(_) | None => Ok(()),
    }
}
