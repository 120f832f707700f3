//! The object store: the local disk by default, S3 by its URL. What is written
//! is fsynced, read back and compared before a manifest names it.

use std::{collections::BTreeMap, os::unix::fs::DirBuilderExt, sync::Arc};

use bytes::Bytes;
use eventlog::Log;
use futures_util::TryStreamExt;
use kernel::{Partition, Position, Recorded, crash};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, aws::AmazonS3Builder,
    local::LocalFileSystem, memory::InMemory, path::Path, prefix::PrefixStore,
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    ArchiveError, SEGMENT_EVENTS_MAX, check_follow,
    manifest::{Manifest, Segment},
    segment,
};

/// Older manifests are deleted.
const MANIFESTS_KEPT: u64 = 2;

/// Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// The newest that was seen.
    manifests: Arc<Mutex<BTreeMap<Partition, Manifest>>>,
    /// The segment of each partition that was read last.
    read: Arc<Mutex<BTreeMap<Partition, Read>>>,
}

/// A file and its events.
type Read = (String, Arc<Vec<Recorded>>);

/// What one step of sealing did.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    pub segments: u64,
    pub events: u64,
    pub bytes: u64,
}

impl Archive {
    /// `file:///folder`, `s3://bucket/prefix` (with the usual AWS_ variables of
    /// the environment), or `memory:` for tests.
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        let wrong = |error: object_store::Error| ArchiveError::Url(error.to_string());
        let store: Arc<dyn ObjectStore> = match url.split_once(':') {
            Some(("memory", _)) => Arc::new(InMemory::new()),
            Some(("file", rest)) => {
                let folder = rest.strip_prefix("//").unwrap_or(rest);
                let mut builder = std::fs::DirBuilder::new();
                // It holds all that was ever written.
                let made = builder.recursive(true).mode(0o700).create(folder);
                made.map_err(|error| ArchiveError::Url(format!("{folder}: {error}")))?;
                let local = LocalFileSystem::new_with_prefix(folder).map_err(wrong)?;
                Arc::new(local.with_fsync(true))
            }
            Some(("s3", rest)) => {
                let rest = rest.trim_start_matches('/');
                let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
                let s3 = AmazonS3Builder::from_env().with_url(url);
                let s3 = s3.build().map_err(wrong)?;
                Arc::new(PrefixStore::new(s3, prefix))
            }
            _ => {
                let why = "it is file:///folder or s3://bucket/prefix";
                return Err(ArchiveError::Url(why.into()));
            }
        };
        Ok(Self {
            store,
            manifests: Arc::default(),
            read: Arc::default(),
        })
    }

    /// Looks anew which segments a partition has.
    async fn manifest(&self, partition: Partition) -> Result<Manifest, ArchiveError> {
        let folder = Path::from(folder(partition));
        let mut files: Vec<Path> = self
            .store
            .list(Some(&folder))
            .map_ok(|file| file.location)
            .try_filter(|path| std::future::ready(path.filename().is_some_and(is_manifest)))
            .try_collect()
            .await?;
        files.sort_unstable();
        let manifest = match files.last() {
            None => Manifest::empty(partition),
            Some(newest) => {
                let bytes = self.store.get(newest).await?.bytes().await?;
                Manifest::read(newest.as_ref(), &bytes)?
            }
        };
        let mut known = self.manifests.lock();
        known.insert(partition, manifest.clone());
        Ok(manifest)
    }

    /// What was seen last: for whoever archives alone, and is told by the store
    /// where that is not so.
    pub(crate) async fn known(&self, partition: Partition) -> Result<Manifest, ArchiveError> {
        let known = self.manifests.lock().get(&partition).cloned();
        match known {
            Some(manifest) => Ok(manifest),
            None => self.manifest(partition).await,
        }
    }

    /// One that says what comes after `after`, if anything does.
    pub(crate) async fn manifest_beyond(&self, after: Position) -> Result<Manifest, ArchiveError> {
        let known = self.manifests.lock().get(&after.partition).cloned();
        match known {
            Some(manifest) if after < manifest.end() => Ok(manifest),
            _ => self.manifest(after.partition).await,
        }
    }

    /// Looks anew at everything: somebody else may have archived.
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
        let top = self.store.list_with_delimiter(None).await?;
        let number = |path: &Path| path.filename()?.strip_prefix('p')?.parse::<u16>().ok();
        let last = top.common_prefixes.iter().filter_map(number).max();
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
            let mut events = Vec::new();
            let mut at = manifest.end();
            while events.len() < SEGMENT_EVENTS_MAX && at < until {
                let wanted = SEGMENT_EVENTS_MAX - events.len();
                let mut more = log.read(at, wanted).await?;
                more.retain(|recorded| recorded.position <= until);
                if more.is_empty() {
                    break;
                }
                // Epochs are apart: each segment is of one.
                let epoch = events.first().or(more.first());
                let epoch = epoch.map_or(0, |first: &Recorded| first.position.epoch);
                let before = more.len();
                more.retain(|recorded| recorded.position.epoch == epoch);
                let ends = more.len() < before;
                at = check_follow(at, &more)?;
                events.extend(more);
                if ends {
                    break;
                }
            }
            let more_epochs = at < until && events.len() < SEGMENT_EVENTS_MAX;
            if events.is_empty() || (events.len() < SEGMENT_EVENTS_MAX && !all && !more_epochs) {
                return Ok(sealed);
            }
            // Whoever archived meanwhile may have deleted what was seen last.
            let newest = self.manifest(until.partition).await?;
            if newest.number != manifest.number {
                manifest = newest;
                continue;
            }
            let segment = self.write_segment(events).await?;
            sealed.segments += 1;
            sealed.events += segment.events;
            sealed.bytes += segment.bytes;
            manifest = self.write_manifest(manifest.with(segment)).await?;
        }
    }

    pub(crate) async fn write_segment(
        &self,
        events: Vec<Recorded>,
    ) -> Result<Segment, ArchiveError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err(ArchiveError::damaged("a segment", "it has no events"));
        };
        let partition = first.position.partition;
        // Whoever seals other events writes another file.
        let entries = (first.position.entry_id(), last.position.entry_id());
        let file = format!("{}/{}_{}.parquet", folder(partition), entries.0, entries.1);
        let (first, last) = ((*first).clone(), (*last).clone());
        let (events, bytes) = elsewhere(move || {
            let bytes = segment::write(&events);
            (events, bytes)
        })
        .await;
        let bytes = bytes.map_err(|error| ArchiveError::damaged(&file, error))?;
        let bytes = Bytes::from(bytes);
        let path = Path::from(file.as_str());
        self.store
            .put(&path, PutPayload::from_bytes(bytes.clone()))
            .await?;
        crash::point("archive.segment");
        // What the store has, not what was sent to it.
        let written = self.store.get(&path).await?.bytes().await?;
        let size = written.len() as u64;
        let count = events.len() as u64;
        let (same, digest) = elsewhere(move || {
            let digest = hex::encode(Sha256::digest(&written));
            let same = written == bytes;
            let read = segment::read(partition, written);
            (read.map(|read| same && read == events), digest)
        })
        .await;
        if !same.map_err(|error| ArchiveError::damaged(&file, error))? {
            return Err(ArchiveError::damaged(&file, "it is not what was written"));
        }
        Ok(Segment {
            file,
            first: first.position,
            last: last.position,
            events: count,
            bytes: size,
            sha256: digest,
            recorded: (first.envelope.recorded_at.0, last.envelope.recorded_at.0),
        })
    }

    pub(crate) async fn write_manifest(
        &self,
        manifest: Manifest,
    ) -> Result<Manifest, ArchiveError> {
        let partition = manifest.partition;
        let path = manifest_path(partition, manifest.number);
        let options = PutOptions::from(PutMode::Create);
        let bytes = PutPayload::from(manifest.write()?);
        match self.store.put_opts(&path, bytes, options).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                self.forget_one(partition);
                return Err(ArchiveError::Raced(partition));
            }
            put => put?,
        };
        crash::point("archive.manifest");
        let previous = self.manifests.lock().insert(partition, manifest.clone());
        self.delete_left(previous, &manifest).await;
        Ok(manifest)
    }

    /// The manifest before the previous one, and the segments that it alone
    /// names. What a crash leaves is in nobody's way.
    async fn delete_left(&self, previous: Option<Manifest>, newest: &Manifest) {
        let old = newest.number.checked_sub(MANIFESTS_KEPT);
        let mut left: Vec<Path> = old
            .map(|old| manifest_path(newest.partition, old))
            .into_iter()
            .collect();
        let replaced = previous
            .map(|previous| previous.replaced)
            .unwrap_or_default();
        left.extend(replaced.iter().map(|file| Path::from(file.as_str())));
        for path in left {
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, "an old file of the archive is left"),
            }
        }
    }

    /// At most `count` events after `after`; none at the archive's end. The first
    /// may not be the next one, where `after` was lost: whoever folds checks that.
    pub async fn read(&self, after: Position, count: usize) -> Result<Vec<Recorded>, ArchiveError> {
        let Some((_, events)) = self.segment_after(after).await? else {
            return Ok(Vec::new());
        };
        let from = events.partition_point(|recorded| recorded.position <= after);
        Ok(events[from..].iter().take(count).cloned().collect())
    }

    /// The events of a segment whose checksum is right.
    pub async fn events(&self, segment: &Segment) -> Result<Arc<Vec<Recorded>>, ArchiveError> {
        let partition = segment.first.partition;
        if let Some((file, events)) = self.read.lock().get(&partition)
            && *file == segment.file
            && events.last().map(|last| last.position) == Some(segment.last)
        {
            return Ok(events.clone());
        }
        let file = &segment.file;
        let bytes = self
            .store
            .get(&Path::from(file.as_str()))
            .await?
            .bytes()
            .await?;
        let damaged = |why: &str| ArchiveError::damaged(file, why);
        let (digest, events) = elsewhere(move || {
            let digest = hex::encode(Sha256::digest(&bytes));
            (digest, segment::read(partition, bytes))
        })
        .await;
        if digest != segment.sha256 {
            return Err(damaged("its checksum is not the manifest's"));
        }
        let events = events.map_err(|error| damaged(&error.to_string()))?;
        let ends = (events.first(), events.last());
        let (Some(first), Some(last)) = ends else {
            return Err(damaged("it is empty"));
        };
        if (first.position, last.position) != (segment.first, segment.last) {
            return Err(damaged(
                "it begins or ends elsewhere than the manifest says",
            ));
        }
        check_follow(first.position, &events[1..])?;
        let events = Arc::new(events);
        let kept = (file.clone(), events.clone());
        self.read.lock().insert(partition, kept);
        Ok(events)
    }
}

/// Long work for a processor, where nobody waits for a turn.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn folder(partition: Partition) -> String {
    format!("p{:02}", partition.0)
}

fn is_manifest(name: &str) -> bool {
    name.starts_with("manifest-") && name.ends_with(".json")
}

fn manifest_path(partition: Partition, number: u64) -> Path {
    Path::from(format!("{}/manifest-{number:010}.json", folder(partition)))
}
