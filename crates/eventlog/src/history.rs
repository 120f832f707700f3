//! The one reader of events: what the log has, and what was trimmed from it out
//! of its archive. It gives events without a hole, or says which are missing.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use kernel::{Partition, Position, Recorded, Timestamp, Uuid};
use parking_lot::Mutex;

use crate::{
    log::{Log, LogError},
    read::{CLOCKS_MILLISECONDS_MAX, Gap, check_contiguous},
};

pub type EarlierFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// What has the events that were trimmed: the archive.
pub trait Earlier: Send + Sync {
    /// At most `count` events after `after`; none at its end.
    fn read(&self, after: Position, count: usize) -> EarlierFuture<'_, Vec<Recorded>>;

    /// The first event of a partition that was recorded at `time` or later.
    fn recorded_from(
        &self,
        partition: Partition,
        time: Timestamp,
    ) -> EarlierFuture<'_, Option<Recorded>>;

    /// Its last position; before everything where it has nothing.
    fn end(&self, partition: Partition) -> EarlierFuture<'_, Position>;

    /// Which log a partition's events are of; none where it has nothing.
    fn log(&self, partition: Partition) -> EarlierFuture<'_, Option<Uuid>>;
}

/// Cheap to clone.
#[derive(Clone)]
pub struct History {
    log: Log,
    archive: Option<Arc<dyn Earlier>>,
    /// What the log begins with, at least: trimming only moves it on.
    begins: Arc<Mutex<BTreeMap<Partition, Position>>>,
}

impl History {
    /// The log alone: what was trimmed cannot be read.
    pub fn of(log: Log) -> Self {
        Self {
            log,
            archive: None,
            begins: Arc::default(),
        }
    }

    #[must_use]
    pub fn with(self, archive: Arc<dyn Earlier>) -> Self {
        Self {
            archive: Some(archive),
            ..self
        }
    }

    /// At most `count` events after `after`, each the next one; none at the head.
    pub async fn read(&self, after: Position, count: usize) -> Result<Vec<Recorded>, LogError> {
        if !self.is_trimmed_after(after) {
            let events = self.log.read(after, count).await?;
            let Err(gap) = starts_after(after, &events) else {
                return Ok(up_to_a_gap(after, events));
            };
            self.look_where_it_begins().await?;
            return self.read_archived(after, count, gap).await;
        }
        let found = self.begins.lock().get(&after.partition).copied();
        let found = found.unwrap_or(after);
        let gap = Gap::Missing { after, found };
        self.read_archived(after, count, gap).await
    }

    /// At most `count` events a partition after each position of `after`; waits up to
    /// `patience` for the first. None where none came.
    pub async fn tail(
        &self,
        after: &[Position],
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Recorded>, LogError> {
        let trimmed = after.iter().find(|at| self.is_trimmed_after(**at));
        if let Some(at) = trimmed {
            return self.read(*at, count).await;
        }
        let events = self.log.tail(after, count, patience).await?;
        let mut reached: BTreeMap<_, _> = after.iter().map(|at| (at.partition, *at)).collect();
        let mut broken = BTreeMap::new();
        let mut whole = Vec::with_capacity(events.len());
        for recorded in events {
            let partition = recorded.position.partition;
            let Some(at) = reached.get_mut(&partition) else {
                continue;
            };
            if broken.contains_key(&partition) {
                continue;
            }
            if check_contiguous(*at, &recorded).is_err() {
                broken.insert(partition, *at);
                continue;
            }
            *at = recorded.position;
            whole.push(recorded);
        }
        for (_, at) in broken {
            // Where some came before the hole, the next read meets it.
            if after.contains(&at) {
                whole.extend(self.read(at, count).await?);
            }
        }
        Ok(whole)
    }

    /// The position before the first event of a partition that was recorded at
    /// `time` or later. What was trimmed and is not archived is not passed over:
    /// whoever reads on from there is told that it is missing.
    pub async fn position_at(
        &self,
        partition: Partition,
        time: Timestamp,
    ) -> Result<Position, LogError> {
        let beginning = Log::beginning(partition);
        let first = self.log.read(beginning, 1).await?.pop();
        let is_whole = first
            .as_ref()
            .is_none_or(|first| check_contiguous(beginning, first).is_ok());
        let earlier = time.0.saturating_sub(CLOCKS_MILLISECONDS_MAX);
        let begins_before = first
            .as_ref()
            .is_some_and(|first| first.envelope.recorded_at.0 < earlier);
        if is_whole || begins_before {
            return self.log.position_at(partition, time).await;
        }
        let Some(archive) = &self.archive else {
            return Ok(beginning);
        };
        self.check_same_log(partition).await?;
        if let Some(found) = archive.recorded_from(partition, time).await? {
            return Ok(before(found.position));
        }
        let end = archive.end(partition).await?;
        let goes_on = first
            .is_some_and(|first| first.position <= end || check_contiguous(end, &first).is_ok());
        match goes_on {
            true => Ok(self.log.position_at(partition, time).await?.max(end)),
            false => Ok(end),
        }
    }

    /// Whether each position is one that can be read on from.
    pub async fn check(&self, from: &[Position]) -> Result<(), LogError> {
        let heads = self.log.heads().await?;
        for at in from {
            let head = heads.iter().find(|head| head.partition == at.partition);
            let head = head.copied().unwrap_or(Log::beginning(at.partition));
            if *at > head {
                return Err(Gap::After { at: *at, head }.into());
            }
            if *at < head {
                self.read(*at, 1).await?;
            }
        }
        Ok(())
    }

    /// Where the log is, or has lost what was read.
    pub async fn check_reaches(&self, read: &[Position]) -> Result<(), LogError> {
        let heads = self.log.heads().await?;
        let lost = read.iter().find_map(|at| {
            let head = heads.iter().find(|head| head.partition == at.partition)?;
            (head < at).then_some((*at, *head))
        });
        match lost {
            Some((at, head)) => Err(Gap::After { at, head }.into()),
            None => Ok(()),
        }
    }

    /// Which events can be read nowhere, if any.
    pub async fn missing(&self) -> Result<Option<Gap>, LogError> {
        for partition in self.log.partitions() {
            let mut from = vec![Log::beginning(partition)];
            if let Some(archive) = &self.archive {
                match self.check_same_log(partition).await {
                    Err(LogError::Gap(gap)) => return Ok(Some(gap)),
                    checked => checked?,
                }
                let end = archive.end(partition).await?;
                let head = self.log.heads().await?;
                let head = head.into_iter().find(|head| head.partition == partition);
                // A log that ends before its archive is another trouble.
                from.extend(head.filter(|head| *head >= end).map(|_| end));
            }
            match self.check(&from).await {
                Err(LogError::Gap(gap)) => return Ok(Some(gap)),
                checked => checked?,
            }
        }
        Ok(None)
    }

    /// Whether it is known that the log does not have what comes after `after`.
    fn is_trimmed_after(&self, after: Position) -> bool {
        let begins = self.begins.lock().get(&after.partition).copied();
        begins.is_some_and(|begins| {
            after < begins && (after.epoch != begins.epoch || after.seq + 1 < begins.seq)
        })
    }

    async fn look_where_it_begins(&self) -> Result<(), LogError> {
        let firsts = self.log.firsts().await?;
        let firsts = firsts.into_iter().flatten();
        let mut begins = self.begins.lock();
        begins.extend(firsts.map(|first| (first.partition, first)));
        Ok(())
    }

    /// Positions mean something else in another log.
    async fn check_same_log(&self, partition: Partition) -> Result<(), LogError> {
        let Some(archive) = &self.archive else {
            return Ok(());
        };
        let wanted = self.log.id();
        match archive.log(partition).await? {
            Some(found) if found != wanted => Err(Gap::AnotherArchive { found, wanted }.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// What the log does not have: `gap` says what it has instead.
    async fn read_archived(
        &self,
        after: Position,
        count: usize,
        gap: Gap,
    ) -> Result<Vec<Recorded>, LogError> {
        let Some(archive) = &self.archive else {
            return Err(self.explained(gap, None).into());
        };
        self.check_same_log(after.partition).await?;
        let events = archive.read(after, count).await?;
        let events = self.checked(events)?;
        if !events.is_empty() {
            return match starts_after(after, &events) {
                Ok(()) => Ok(up_to_a_gap(after, events)),
                Err(gap) => Err(self
                    .explained(gap, Some(archive.end(after.partition).await?))
                    .into()),
            };
        }
        // What it begins with may have been seen long ago.
        let events = self.log.read(after, count).await?;
        match starts_after(after, &events) {
            Ok(()) => Ok(up_to_a_gap(after, events)),
            Err(gap) => Err(self
                .explained(gap, Some(archive.end(after.partition).await?))
                .into()),
        }
    }

    /// The events before one of the archive that is not ours; an error where that is the
    /// first.
    fn checked(&self, mut events: Vec<Recorded>) -> Result<Vec<Recorded>, LogError> {
        let wrong = |(place, recorded)| self.log.check(recorded).err().map(|why| (place, why));
        match events.iter().enumerate().find_map(wrong) {
            Some((0, why)) => return Err(why),
            Some((place, _)) => events.truncate(place),
            None => {}
        }
        Ok(events)
    }

    /// Why events are missing, and what may have them.
    fn explained(&self, gap: Gap, archive: Option<Position>) -> Gap {
        let Gap::Missing { after, found } = gap else {
            return gap;
        };
        let begins = self.begins.lock().get(&found.partition).copied();
        match archive {
            Some(end) => Gap::NotArchived { after, found, end },
            None if begins == Some(found) => Gap::Trimmed { after, found },
            None => gap,
        }
    }
}

/// The position before an event's.
fn before(position: Position) -> Position {
    match position.seq.checked_sub(1) {
        Some(seq) => Position { seq, ..position },
        // Of an epoch's first event it is not known how long the one before was.
        None => Log::beginning(position.partition),
    }
}

fn starts_after(after: Position, events: &[Recorded]) -> Result<(), Gap> {
    match events.first() {
        Some(first) => check_contiguous(after, first),
        None => Ok(()),
    }
}

/// What comes before the first hole.
fn up_to_a_gap(after: Position, mut events: Vec<Recorded>) -> Vec<Recorded> {
    let mut at = after;
    let whole = events.iter().take_while(|next| {
        let follows = check_contiguous(at, next).is_ok();
        at = next.position;
        follows
    });
    let whole = whole.count();
    events.truncate(whole);
    events
}
