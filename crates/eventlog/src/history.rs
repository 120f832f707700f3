//! Where events are read from that may be long ago: the log, or the log and its
//! archive as one.

use std::{future::Future, pin::Pin};

use kernel::{Position, Recorded};

use crate::log::{Log, LogError};

pub type HistoryFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Recorded>, LogError>> + Send + 'a>>;

pub trait History: Send + Sync {
    /// At most `count` events after `after`; none at the head. The first may
    /// not be the next one: whoever folds checks that.
    fn read(&self, after: Position, count: usize) -> HistoryFuture<'_>;
}

impl History for Log {
    fn read(&self, after: Position, count: usize) -> HistoryFuture<'_> {
        Box::pin(Log::read(self, after, count))
    }
}
