//! What is archived, as its manifests tell it, read back and checked.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kernel::{Partition, Position, Recorded, Timestamp, Uuid};
use object_store::path::Path;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    ArchiveError, check_follow,
    manifest::{Manifest, Segment, folder, manifest_number},
    place::Place,
    segment,
};

/// How often a segment is looked for again that grew since its manifest was read.
const READ_TRIES: u32 = 5;

/// Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    pub(crate) place: Place,
    /// The newest that was seen.
    pub(crate) manifests: Arc<Mutex<BTreeMap<Partition, Manifest>>>,
    /// The segment of each partition that was read last.
    read: Arc<Mutex<BTreeMap<Partition, Read>>>,
}

/// The checksum of a file, and its events.
type Read = (String, Arc<Vec<Recorded>>);

impl Archive {
    /// The one that is there: `file:///folder`, or `s3://bucket/prefix` (with the usual
    /// AWS_ variables of the environment).
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        Ok(Self::at(Place::open(url)?))
    }

    /// The same, for those who add to it: a local folder is made where there is none.
    pub fn make(url: &str) -> Result<Self, ArchiveError> {
        Ok(Self::at(Place::make(url)?))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            manifests: Arc::default(),
            read: Arc::default(),
        }
    }

    /// Looks anew which segments a partition has.
    pub(crate) async fn manifest(&self, partition: Partition) -> Result<Manifest, ArchiveError> {
        let files = self.place.list(&Path::from(folder(partition))).await?;
        let number = |path: &&Path| path.filename().and_then(manifest_number);
        let manifest = match files
            .iter()
            .max_by_key(number)
            .filter(|p| number(p).is_some())
        {
            None => Manifest::empty(partition),
            Some(newest) => Manifest::read(newest.as_ref(), &self.place.get(newest).await?)?,
        };
        let mut known = self.manifests.lock();
        known.insert(partition, manifest.clone());
        Ok(manifest)
    }

    /// What was seen last: for a process that archives alone, since the store
    /// refuses its next manifest where it does not.
    pub(crate) async fn known(&self, partition: Partition) -> Result<Manifest, ArchiveError> {
        let known = self.manifests.lock().get(&partition).cloned();
        match known {
            Some(manifest) => Ok(manifest),
            None => self.manifest(partition).await,
        }
    }

    /// One that says what comes after `after`, if anything does.
    async fn manifest_beyond(&self, after: Position) -> Result<Manifest, ArchiveError> {
        let known = self.manifests.lock().get(&after.partition).cloned();
        match known {
            Some(manifest) if after < manifest.end() => Ok(manifest),
            _ => self.manifest(after.partition).await,
        }
    }

    /// Looks anew at everything: another process may have archived.
    pub fn forget(&self) {
        self.manifests.lock().clear();
        self.read.lock().clear();
    }

    pub(crate) fn forget_one(&self, partition: Partition) {
        self.manifests.lock().remove(&partition);
    }

    /// The end, as far as this process knows.
    pub async fn known_end(&self, partition: Partition) -> Result<Position, ArchiveError> {
        Ok(self.known(partition).await?.end())
    }

    /// How many partitions it has something of: one more than the last.
    pub async fn partitions(&self) -> Result<u16, ArchiveError> {
        let number = |path: &Path| path.filename()?.strip_prefix('p')?.parse::<u16>().ok();
        let folders = self.place.folders().await?;
        let last = folders.iter().filter_map(number).max();
        Ok(last.map_or(0, |last| last + 1))
    }

    /// The segments of a partition, the first first.
    pub async fn segments(&self, partition: Partition) -> Result<Vec<Segment>, ArchiveError> {
        Ok(self.manifest(partition).await?.segments)
    }

    /// The last position of a partition that is archived; before everything
    /// where there is none.
    pub async fn end(&self, partition: Partition) -> Result<Position, ArchiveError> {
        Ok(self.manifest(partition).await?.end())
    }

    /// Which log a partition's events are of; none where it has nothing.
    pub async fn log(&self, partition: Partition) -> Result<Option<Uuid>, ArchiveError> {
        let manifest = self.known(partition).await?;
        Ok((manifest.number > 0).then_some(manifest.log))
    }

    /// At most `count` events after `after`; none at the archive's end. The first
    /// may not be the next one, where `after` was lost: `eventlog::History` checks
    /// that.
    pub async fn read(&self, after: Position, count: usize) -> Result<Vec<Recorded>, ArchiveError> {
        let Some((_, events)) = self.segment_after(after).await? else {
            return Ok(Vec::new());
        };
        let from = events.partition_point(|recorded| recorded.position <= after);
        Ok(events[from..].iter().take(count).cloned().collect())
    }

    /// The first event of a partition that was recorded at `time` or later.
    pub async fn recorded_from(
        &self,
        partition: Partition,
        time: Timestamp,
    ) -> Result<Option<Recorded>, ArchiveError> {
        self.manifest(partition).await?;
        let in_time = |manifest: &Manifest| manifest.recorded_from(time.0).cloned();
        let found = self.current(partition, in_time).await?;
        let mut events = found.iter().flat_map(|(_, events)| events.iter());
        Ok(events
            .find(|event| event.envelope.recorded_at >= time)
            .cloned())
    }

    /// The segment that has what comes after `after`, with its events; none at
    /// the archive's end.
    pub async fn segment_after(
        &self,
        after: Position,
    ) -> Result<Option<(Segment, Arc<Vec<Recorded>>)>, ArchiveError> {
        self.manifest_beyond(after).await?;
        let next = |manifest: &Manifest| manifest.after(after).cloned();
        self.current(after.partition, next).await
    }

    /// A segment of the newest manifest, with its events: one that is read while it
    /// grows is looked for again.
    async fn current(
        &self,
        partition: Partition,
        which: impl Fn(&Manifest) -> Option<Segment>,
    ) -> Result<Option<(Segment, Arc<Vec<Recorded>>)>, ArchiveError> {
        let mut tries = 0;
        let mut wanted = which(&self.known(partition).await?);
        loop {
            let Some(segment) = wanted else {
                return Ok(None);
            };
            match self.events(&segment).await {
                Ok(events) => return Ok(Some((segment, events))),
                Err(error) => {
                    tries += 1;
                    let newest = which(&self.manifest(partition).await?);
                    let grew = newest.as_ref() != Some(&segment);
                    if !grew || tries == READ_TRIES {
                        return Err(error);
                    }
                    wanted = newest;
                }
            }
        }
    }

    /// The events of a segment whose checksum is right.
    pub async fn events(&self, segment: &Segment) -> Result<Arc<Vec<Recorded>>, ArchiveError> {
        if let Some(events) = self.read_last(segment) {
            return Ok(events);
        }
        let published = self.events_of(&segment.file, segment).await;
        if let Ok(Some(events)) = published {
            return Ok(events);
        }
        // Its process ended before it was published.
        if let Ok(Some(events)) = self.events_of(&segment.staged(), segment).await {
            return Ok(events);
        }
        match published? {
            Some(events) => Ok(events),
            None => Err(ArchiveError::damaged(&segment.file, "it is not there")),
        }
    }

    /// None where there is no such file.
    pub(crate) async fn events_of(
        &self,
        file: &str,
        segment: &Segment,
    ) -> Result<Option<Arc<Vec<Recorded>>>, ArchiveError> {
        let Some(bytes) = self.place.get_segment(&Path::from(file)).await? else {
            return Ok(None);
        };
        let (digest, bytes) = elsewhere(move || (digest(&bytes), bytes)).await;
        if digest != segment.sha256 {
            let why = "its checksum is not the manifest's";
            return Err(ArchiveError::damaged(file, why));
        }
        if let Some(events) = self.read_last(segment) {
            return Ok(Some(events));
        }
        let events = Arc::new(decoded(file, segment, bytes).await?);
        let kept = (digest, events.clone());
        self.read.lock().insert(segment.first.partition, kept);
        Ok(Some(events))
    }

    fn read_last(&self, segment: &Segment) -> Option<Arc<Vec<Recorded>>> {
        let read = self.read.lock();
        let (digest, events) = read.get(&segment.first.partition)?;
        (*digest == segment.sha256).then(|| events.clone())
    }
}

/// The events of a file, which are those of its segment.
async fn decoded(
    file: &str,
    segment: &Segment,
    bytes: Bytes,
) -> Result<Vec<Recorded>, ArchiveError> {
    let damaged = |why: &str| ArchiveError::damaged(file, why);
    let partition = segment.first.partition;
    let events = elsewhere(move || segment::read(partition, bytes)).await;
    let events = events.map_err(|error| damaged(&error.to_string()))?;
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err(damaged("it is empty"));
    };
    if (first.position, last.position) != (segment.first, segment.last) {
        let why = "it begins or ends elsewhere than the manifest says";
        return Err(damaged(why));
    }
    check_follow(first.position, &events[1..])?;
    Ok(events)
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Long work for a processor, away from those that answer.
pub(crate) async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
