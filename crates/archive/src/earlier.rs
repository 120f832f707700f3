//! The archive as readers of the log see it: what comes before the hot log.

use eventlog::{Earlier, EarlierFuture};
use kernel::{Partition, Position, Recorded, Timestamp, Uuid};

use crate::Archive;

impl Earlier for Archive {
    fn read(&self, after: Position, count: usize) -> EarlierFuture<'_, Vec<Recorded>> {
        Box::pin(async move { Ok(Archive::read(self, after, count).await?) })
    }

    fn recorded_from(
        &self,
        partition: Partition,
        time: Timestamp,
    ) -> EarlierFuture<'_, Option<Recorded>> {
        Box::pin(async move { Ok(Archive::recorded_from(self, partition, time).await?) })
    }

    fn end(&self, partition: Partition) -> EarlierFuture<'_, Position> {
        Box::pin(async move { Ok(Archive::end(self, partition).await?) })
    }

    fn log(&self, partition: Partition) -> EarlierFuture<'_, Option<Uuid>> {
        Box::pin(async move { Ok(Archive::log(self, partition).await?) })
    }
}
