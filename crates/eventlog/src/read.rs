//! Reading the log by position: a range, or a tail that waits. It refuses to
//! jump: whoever folds checks that each event follows the one before.

use std::time::Duration;

use kernel::{Partition, Position, Recorded, Timestamp, Uuid};

use crate::{
    log::{Log, LogError, damaged},
    receipt::parse_entry_id,
};

/// Events that one read gives at most, a partition.
pub const READ_EVENTS_MAX: usize = 10_000;
/// How long a tail waits at most, whatever it is asked.
pub const PATIENCE_SECONDS_MAX: u64 = 60;
/// By how much the clocks of processes that append may differ.
pub(crate) const CLOCKS_MILLISECONDS_MAX: i64 = 5_000;
/// Events that one step of a search by time reads.
const SCAN_EVENTS: usize = 1_000;
/// The first entry of every epoch; its data is the end of the epoch before.
pub const EPOCH_STARTED: &str = "EpochStarted";

/// The log does not go on where the reader is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    #[error("expected the event after {after}, found {found}: events are missing")]
    Missing { after: Position, found: Position },
    #[error(
        "partition {} of the log begins at {found}: what comes after {after} was trimmed from it, and is in its archive; set ARCHIVE_URL", .found.partition
    )]
    Trimmed { after: Position, found: Position },
    #[error(
        "what comes after {after} and before {found} is neither in the log nor in the archive, which ends at {end}: see that ARCHIVE_URL names the archive of this log"
    )]
    NotArchived {
        after: Position,
        found: Position,
        /// The archive's.
        end: Position,
    },
    #[error(
        "the archive that ARCHIVE_URL names is that of another log, {found}: this one is {wanted}"
    )]
    AnotherArchive { found: Uuid, wanted: Uuid },
    #[error("{at} is after the end of its partition of the log, which is {head}")]
    After { at: Position, head: Position },
    #[error(
        "the log went on from {previous_end} in a new epoch, but this reader is at {at}: it has read what the log lost; rebuild it"
    )]
    Diverged {
        at: Position,
        previous_end: Position,
    },
}

/// Whether `next` is the event after `after` (seq + 1, or the start of an
/// epoch that begins where `after` is). Position `0-0` is before everything.
pub fn check_contiguous(after: Position, next: &Recorded) -> Result<(), Gap> {
    let found = next.position;
    if found.partition != after.partition {
        return Err(Gap::Missing { after, found });
    }
    if found.epoch == after.epoch && found.seq == after.seq + 1 {
        return Ok(());
    }
    if found.seq != 0 || next.envelope.event_type != EPOCH_STARTED {
        return Err(Gap::Missing { after, found });
    }
    let previous: Option<Position> = kernel::decode(&next.envelope.data).unwrap_or_default();
    let previous_end = previous.unwrap_or(Position {
        partition: after.partition,
        epoch: 0,
        seq: 0,
    });
    if previous_end == after {
        return Ok(());
    }
    if after < previous_end {
        return Err(Gap::Missing { after, found });
    }
    let at = after;
    Err(Gap::Diverged { at, previous_end })
}

type Entry = (String, Vec<Vec<u8>>);

impl Log {
    /// The position before the first event of a partition.
    pub fn beginning(partition: Partition) -> Position {
        Position {
            partition,
            epoch: 0,
            seq: 0,
        }
    }

    /// At most `count` events after `after`, at once; none at the head.
    pub async fn read(&self, after: Position, count: usize) -> Result<Vec<Recorded>, LogError> {
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("XRANGE")
            .arg(self.inner.keys.events(after.partition))
            .arg(format!("({}", after.entry_id()))
            .arg("+")
            .arg("COUNT")
            .arg(count.min(READ_EVENTS_MAX));
        self.ask_which(&mut pipeline, after.partition);
        let (entries, id): (Vec<Entry>, Option<String>) =
            self.inner.connection.read(&pipeline).await?;
        self.check_which(id.as_deref())?;
        self.parse(after.partition, entries)
    }

    /// Which log the answer is from: another one has other events at our positions.
    fn ask_which(&self, pipeline: &mut redis::Pipeline, partition: Partition) {
        let meta = self.inner.keys.meta(partition);
        pipeline.cmd("HGET").arg(meta).arg("id");
    }

    fn check_which(&self, id: Option<&str>) -> Result<(), LogError> {
        let wanted = self.inner.id;
        match id.map(Uuid::parse_str) {
            Some(Ok(id)) if id == wanted => Ok(()),
            Some(Ok(found)) => Err(LogError::Another { found, wanted }),
            Some(Err(error)) => Err(damaged(error)),
            None => Err(LogError::Missing),
        }
    }

    /// The event at a position; none where the log does not have it, or no more.
    pub async fn at(&self, position: Position) -> Result<Option<Recorded>, LogError> {
        let id = position.entry_id();
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("XRANGE")
            .arg(self.inner.keys.events(position.partition))
            .arg(&id)
            .arg(&id);
        let (entries,): (Vec<Entry>,) = self.inner.connection.read(&pipeline).await?;
        Ok(self.parse(position.partition, entries)?.pop())
    }

    /// At most `count` events a partition after each position of `after`;
    /// waits up to `patience` (of `PATIENCE_SECONDS_MAX`) for the first. None
    /// where none came.
    pub async fn tail(
        &self,
        after: &[Position],
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Recorded>, LogError> {
        if count == 0 {
            // To the server it would mean: without a limit.
            return Ok(Vec::new());
        }
        let patience = patience.min(Duration::from_secs(PATIENCE_SECONDS_MAX));
        let mut pipeline = redis::pipe();
        let command = pipeline.cmd("XREAD");
        command.arg("COUNT").arg(count.min(READ_EVENTS_MAX));
        command.arg("BLOCK").arg(patience.as_millis().max(1) as u64);
        command.arg("STREAMS");
        for position in after {
            command.arg(self.inner.keys.events(position.partition));
        }
        for position in after {
            command.arg(position.entry_id());
        }
        // Answered when the waiting ends.
        for position in after {
            self.ask_which(&mut pipeline, position.partition);
        }
        let mut replies: Vec<redis::Value> = self.inner.waiting.query(&pipeline, patience).await?;
        for id in replies.split_off(replies.len().min(1)) {
            let id: Option<String> = redis::from_redis_value(id).map_err(damaged)?;
            self.check_which(id.as_deref())?;
        }
        type Streams = Option<Vec<(Vec<u8>, Vec<Entry>)>>;
        let streams = replies.pop().unwrap_or(redis::Value::Nil);
        let streams: Streams = redis::from_redis_value(streams).map_err(damaged)?;
        let mut events = Vec::new();
        for (key, entries) in streams.unwrap_or_default() {
            let is_it = |p: &&Position| self.inner.keys.events(p.partition) == key;
            let position = after.iter().find(is_it);
            let position = position.ok_or_else(|| damaged("a stream nobody asked for"))?;
            events.extend(self.parse(position.partition, entries)?);
        }
        Ok(events)
    }

    /// The last position of every partition.
    pub async fn heads(&self) -> Result<Vec<Position>, LogError> {
        let mut pipeline = redis::pipe();
        for partition in self.partitions() {
            let key = self.inner.keys.events(partition);
            pipeline.cmd("XREVRANGE").arg(key);
            pipeline.arg("+").arg("-").arg("COUNT").arg(1);
        }
        let last: Vec<Vec<Entry>> = self.inner.connection.read(&pipeline).await?;
        self.partitions()
            .zip(last)
            .map(|(partition, entries)| match entries.first() {
                Some((id, _)) => {
                    parse_entry_id(partition, id).ok_or_else(|| damaged("an entry id"))
                }
                None => Ok(Self::beginning(partition)),
            })
            .collect()
    }

    /// When the event after each position was recorded; none where there is
    /// none, or one that cannot be read.
    pub async fn waiting_since(
        &self,
        after: &[Position],
    ) -> Result<Vec<Option<Timestamp>>, LogError> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for position in after {
            pipeline.cmd("XRANGE");
            pipeline.arg(self.inner.keys.events(position.partition));
            pipeline.arg(format!("({}", position.entry_id()));
            pipeline.arg("+").arg("COUNT").arg(1);
        }
        let next: Vec<Vec<Entry>> = self.inner.connection.read(&pipeline).await?;
        let events = after.iter().zip(next).map(|(position, entries)| {
            let event = self.parse(position.partition, entries).ok()?.pop();
            event.map(|event| event.envelope.recorded_at)
        });
        Ok(events.collect())
    }

    /// The position before the first event recorded at `time` or later, of what the
    /// log has. Where the partition has several epochs, its beginning: earlier, never
    /// later.
    pub(crate) async fn position_at(
        &self,
        partition: Partition,
        time: Timestamp,
    ) -> Result<Position, LogError> {
        let beginning = Self::beginning(partition);
        let Some(first) = self.read(beginning, 1).await?.pop() else {
            return Ok(beginning);
        };
        let heads = self.heads().await?;
        let head = heads.into_iter().find(|head| head.partition == partition);
        let head = head.unwrap_or(beginning);
        let at = |seq| Position {
            seq,
            ..first.position
        };
        if head.epoch != first.position.epoch {
            return Ok(beginning);
        }
        if first.envelope.recorded_at >= time {
            let before = first.position.seq.checked_sub(1);
            return Ok(before.map_or(beginning, at));
        }
        // Times rise, but for what the clocks of processes differ.
        let earlier = Timestamp(time.0.saturating_sub(CLOCKS_MILLISECONDS_MAX));
        let (mut low, mut high) = (first.position.seq, head.seq);
        while low < high {
            let middle = low + (high - low) / 2;
            let event = self.read(at(middle), 1).await?.pop();
            if event.is_some_and(|event| event.envelope.recorded_at < earlier) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut reached = at(low);
        loop {
            let events = self.read(reached, SCAN_EVENTS).await?;
            let Some(last) = events.last().map(|last| last.position) else {
                return Ok(reached);
            };
            for event in events {
                if event.envelope.recorded_at >= time {
                    return Ok(reached);
                }
                reached = event.position;
            }
            reached = last;
        }
    }

    /// Whatever is read here is an event that was signed with our key, in its partition.
    fn parse(&self, partition: Partition, entries: Vec<Entry>) -> Result<Vec<Recorded>, LogError> {
        entries
            .into_iter()
            .map(|(id, mut fields)| {
                let position =
                    parse_entry_id(partition, &id).ok_or_else(|| damaged("an entry id"))?;
                let entry = fields.pop().unwrap_or_default();
                let recorded = self.inner.key.read(position, &entry)?;
                self.check_home(&recorded)?;
                Ok(recorded)
            })
            .collect()
    }
}
