//! Adds to the archive. A partition's last segment grows until it is full: a
//! longer file takes its place in one step, so that a reader of all files finds
//! each event once at any moment, also where a process ends half-way.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{Gap, Log, LogError};
use kernel::{Partition, Position, Recorded, crash};
use object_store::path::Path;

use crate::{
    Archive, ArchiveError, SEGMENT_EVENTS_MAX, check_follow,
    manifest::{Manifest, Segment, folder, manifest_number, manifest_path, staged_until, staging},
    segment,
    store::{digest, elsewhere},
};

/// Older manifests are deleted.
const MANIFESTS_KEPT: u64 = 2;
/// How often a segment is put in its place while others seal too.
const PUBLISH_TRIES: u32 = 5;

/// What one step of sealing did.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// Files that were written.
    pub segments: u64,
    pub events: u64,
    /// Of the files.
    pub bytes: u64,
}

/// What is sealed next.
struct Next {
    events: Vec<Recorded>,
    /// Whether they go into the last segment.
    grows: bool,
    /// Whether nothing can be added to it afterwards.
    fills: bool,
}

impl Archive {
    /// Seals what the log has and the archive has not, up to `until`; what does
    /// not fill a segment only where `all` is asked for.
    pub async fn seal(
        &self,
        log: &Log,
        until: Position,
        all: bool,
    ) -> Result<Sealed, ArchiveError> {
        let mut manifest = self.known(until.partition).await?;
        let mut sealed = Sealed::default();
        loop {
            if manifest.number > 0 && manifest.log != log.id() {
                self.forget_one(until.partition);
                let (found, wanted) = (manifest.log, log.id());
                return Err(LogError::from(Gap::AnotherArchive { found, wanted }).into());
            }
            let next = next(log, &manifest, until).await?;
            if next.events.is_empty() || !(next.fills || all) {
                return Ok(sealed);
            }
            // Its staged copy is deleted soon: the last segment has to be where it
            // belongs. And another process may have archived meanwhile.
            let (newest, mut events) = self.publish(until.partition).await?;
            if newest.number != manifest.number {
                manifest = newest;
                continue;
            }
            let count = next.events.len() as u64;
            match next.grows {
                true => Arc::make_mut(&mut events).extend(next.events),
                false => events = Arc::new(next.events),
            }
            let segment = self.stage(events).await?;
            sealed.segments += 1;
            sealed.events += count;
            sealed.bytes += segment.bytes;
            self.write_manifest(manifest.with(segment, log.id()))
                .await?;
            (manifest, _) = self.publish(until.partition).await?;
            crash::point("archive.published");
            self.sweep(&manifest).await;
        }
    }

    /// Ends what a process left half-done that ended while it archived.
    pub async fn finish(&self, partition: Partition) -> Result<(), ArchiveError> {
        let (manifest, _) = self.publish(partition).await?;
        self.sweep(&manifest).await;
        Ok(())
    }

    /// Events of the last segment, if more may be added to it.
    pub async fn open_events(&self, partition: Partition) -> Result<u64, ArchiveError> {
        let manifest = self.known(partition).await?;
        let last = manifest.segments.last().filter(|last| last.is_open());
        Ok(last.map_or(0, |last| last.events))
    }

    /// Writes a segment where no reader looks, and compares what the store has with
    /// what was sent to it.
    async fn stage(&self, events: Arc<Vec<Recorded>>) -> Result<Segment, ArchiveError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err(ArchiveError::damaged("a segment", "it has no events"));
        };
        let (first, last) = (first.position, last.position);
        let partition = first.partition;
        let times = || events.iter().map(|event| event.envelope.recorded_at.0);
        let recorded = (times().min(), times().max());
        let file = format!("{}/{}.parquet", folder(partition), first.entry_id());
        let written = events.clone();
        let written = elsewhere(move || segment::write(&written).map(|b| (digest(&b), b))).await;
        let (sha256, bytes) = written.map_err(|error| ArchiveError::damaged(&file, error))?;
        let segment = Segment {
            file,
            first,
            last,
            events: events.len() as u64,
            bytes: bytes.len() as u64,
            sha256,
            recorded: (
                recorded.0.unwrap_or_default(),
                recorded.1.unwrap_or_default(),
            ),
        };
        let staged = segment.staged();
        let path = Path::from(staged.as_str());
        self.place.put_segment(&path, Bytes::from(bytes)).await?;
        crash::point("archive.segment");
        match self.events_of(&staged, &segment).await? {
            Some(read) if read == events => Ok(segment),
            _ => Err(ArchiveError::damaged(&staged, "it is not what was written")),
        }
    }

    /// Puts the last segment of the newest manifest in the place of what it was
    /// before. Gives the manifest, and the events of that segment.
    async fn publish(
        &self,
        partition: Partition,
    ) -> Result<(Manifest, Arc<Vec<Recorded>>), ArchiveError> {
        for _ in 0..PUBLISH_TRIES {
            // Anew after each copy: an older one that came late is copied over.
            let manifest = self.manifest(partition).await?;
            let Some(last) = manifest.segments.last() else {
                return Ok((manifest, Arc::default()));
            };
            if let Ok(Some(events)) = self.events_of(&last.file, last).await {
                return Ok((manifest, events));
            }
            // It is where it belongs, or staged, or neither.
            self.events(last).await?;
            let staged = last.staged();
            let (from, to) = (Path::from(staged), Path::from(last.file.as_str()));
            self.place.copy(&from, &to).await?;
        }
        Err(ArchiveError::Raced(partition))
    }

    async fn write_manifest(&self, manifest: Manifest) -> Result<Manifest, ArchiveError> {
        let partition = manifest.partition;
        let path = Path::from(manifest_path(partition, manifest.number));
        let created = self.place.create(&path, manifest.write()?).await?;
        // One that others have written and deleted is created again, and is not the
        // newest.
        let newest = self.manifest(partition).await?;
        if !created || newest.number != manifest.number {
            self.forget_one(partition);
            return Err(ArchiveError::Raced(partition));
        }
        crash::point("archive.manifest");
        Ok(manifest)
    }

    /// Deletes what nothing needs any more: older manifests, and staged files but
    /// the newest and those that may become it.
    async fn sweep(&self, newest: &Manifest) {
        let partition = newest.partition;
        let kept = newest.segments.last().map(Segment::staged);
        let is_left = |path: &Path| {
            let name = path.filename().unwrap_or_default();
            if let Some(number) = manifest_number(name) {
                return number + MANIFESTS_KEPT <= newest.number;
            }
            let is_staged = path.as_ref().starts_with(&staging(partition));
            let until = staged_until(partition, name);
            is_staged
                && Some(path.as_ref()) != kept.as_deref()
                && until.is_none_or(|until| until <= newest.end())
        };
        let swept = async {
            for path in self.place.list(&Path::from(folder(partition))).await? {
                if is_left(&path) {
                    self.place.delete(&path).await?;
                }
            }
            Ok::<_, ArchiveError>(())
        };
        if let Err(error) = swept.await {
            tracing::warn!(%error, "old files of the archive are left");
        }
    }
}

/// What comes after the archive's end, up to `until`, and goes into one segment.
async fn next(log: &Log, manifest: &Manifest, until: Position) -> Result<Next, ArchiveError> {
    let open = manifest.segments.last().filter(|last| last.is_open());
    let mut next = Next {
        events: Vec::new(),
        grows: false,
        fills: false,
    };
    let mut room = SEGMENT_EVENTS_MAX;
    let mut at = manifest.end();
    while next.events.len() < room && at < until {
        let mut more = log.read(at, room - next.events.len()).await?;
        more.retain(|recorded| recorded.position <= until);
        let Some(first) = more.first().map(|first| first.position) else {
            break;
        };
        if next.events.is_empty() {
            next.grows = open.is_some_and(|open| open.last.epoch == first.epoch);
            if let Some(open) = open.filter(|_| next.grows) {
                room -= open.events as usize;
                more.truncate(room);
            }
        }
        // Epochs are apart: each segment is of one.
        let epoch = next.events.first().map_or(first, |event| event.position);
        let before = more.len();
        more.retain(|recorded| recorded.position.epoch == epoch.epoch);
        next.fills = more.len() < before;
        at = check_follow(at, &more)?;
        next.events.extend(more);
        if next.fills {
            break;
        }
    }
    next.fills |= next.events.len() == room;
    Ok(next)
}
