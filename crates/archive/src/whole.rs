//! One reader over both halves of the log.

use std::collections::BTreeMap;

use eventlog::{History, HistoryFuture, Log};
use kernel::{Partition, Position, Recorded};
use parking_lot::Mutex;

use crate::Archive;

/// The log, and what it no longer has.
pub struct Whole {
    log: Log,
    archive: Archive,
    /// What the log begins with, at least: trimming only moves it on.
    begins: Mutex<BTreeMap<Partition, Position>>,
}

impl Whole {
    pub fn new(log: Log, archive: Archive) -> Self {
        Self {
            log,
            archive,
            begins: Mutex::default(),
        }
    }
}

impl History for Whole {
    fn read(&self, after: Position, count: usize) -> HistoryFuture<'_> {
        Box::pin(async move {
            let begins = self.begins.lock().get(&after.partition).copied();
            if begins.is_none_or(|begins| follows(after, begins)) {
                let events = self.log.read(after, count).await?;
                if events.is_empty() || starts_after(after, &events) {
                    return Ok(events);
                }
                let first = events.first().map(|first| first.position);
                self.begins
                    .lock()
                    .extend(first.map(|at| (after.partition, at)));
            }
            let archived = self.archive.read(after, count).await?;
            match archived.is_empty() {
                false => Ok(archived),
                // Whoever asked sees the gap.
                true => self.log.read(after, count).await,
            }
        })
    }
}

/// Whether the log, which begins at `begins`, may have what comes after `after`.
fn follows(after: Position, begins: Position) -> bool {
    after >= begins || (after.epoch == begins.epoch && after.seq + 1 >= begins.seq)
}

fn starts_after(after: Position, events: &[Recorded]) -> bool {
    let first = events.first();
    first.is_some_and(|first| eventlog::check_contiguous(after, first).is_ok())
}
