//! Which segments a partition has, in order and without a gap.

use kernel::{Partition, Position, Uuid};
use serde::{Deserialize, Serialize};

use crate::{ArchiveError, SEGMENT_BYTES_MAX, SEGMENT_EVENTS_MAX};

const VERSION: u32 = 1;

/// A sealed file, as long as it was when it was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Below the archive's root.
    pub file: String,
    pub first: Position,
    pub last: Position,
    pub events: u64,
    /// Of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The earliest and the latest time of its events: milliseconds since
    /// 1970-01-01 UTC.
    pub recorded: (i64, i64),
}

impl Segment {
    /// Whether events may be added to it.
    pub(crate) fn is_open(&self) -> bool {
        self.events < SEGMENT_EVENTS_MAX as u64 && self.bytes < SEGMENT_BYTES_MAX
    }

    /// Where it is written and compared before it is published as `file`.
    pub(crate) fn staged(&self) -> String {
        let folder = staging(self.first.partition);
        let (first, last) = (self.first.entry_id(), self.last.entry_id());
        // Others that stage the same events write another file.
        let digest = self.sha256.get(..16).unwrap_or_default();
        format!("{folder}/{first}_{last}_{digest}")
    }
}

/// What one manifest file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    pub partition: Partition,
    /// Which log its events are of.
    pub log: Uuid,
    /// Goes up with every change.
    pub number: u64,
    pub segments: Vec<Segment>,
}

impl Manifest {
    pub fn empty(partition: Partition) -> Self {
        Self {
            version: VERSION,
            partition,
            log: Uuid::nil(),
            number: 0,
            segments: Vec::new(),
        }
    }

    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, ArchiveError> {
        let damaged = |why: String| ArchiveError::damaged(file, why);
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if manifest.version != VERSION {
            let found = manifest.version;
            return Err(damaged(format!("its version is {found}, not {VERSION}")));
        }
        for two in manifest.segments.windows(2) {
            let (end, next) = (two[0].last, two[1].first);
            let goes_on = end.epoch == next.epoch && end.seq + 1 == next.seq;
            let begins = end.epoch < next.epoch && next.seq == 0;
            if !goes_on && !begins {
                let why = format!("it names no segment of what is between {end} and {next}");
                return Err(damaged(why));
            }
        }
        Ok(manifest)
    }

    pub fn write(&self) -> Result<Vec<u8>, ArchiveError> {
        serde_json::to_vec_pretty(self).map_err(|error| ArchiveError::damaged("a manifest", error))
    }

    /// With one more segment, or a longer one in place of its last.
    pub fn with(&self, segment: Segment, log: Uuid) -> Self {
        let mut next = self.clone();
        next.log = log;
        next.number += 1;
        let grows = |last: &mut Segment| last.file == segment.file;
        next.segments.pop_if(grows);
        next.segments.push(segment);
        next
    }

    /// The last position; before everything where there is none.
    pub fn end(&self) -> Position {
        let last = self.segments.last().map(|segment| segment.last);
        last.unwrap_or(eventlog::Log::beginning(self.partition))
    }

    /// The segment that goes on after `after`.
    pub fn after(&self, after: Position) -> Option<&Segment> {
        let at = self
            .segments
            .partition_point(|segment| segment.last <= after);
        self.segments.get(at)
    }

    /// The first segment with an event recorded at `time` or later.
    pub fn recorded_from(&self, time: i64) -> Option<&Segment> {
        self.segments
            .iter()
            .find(|segment| segment.recorded.1 >= time)
    }
}

pub(crate) fn folder(partition: Partition) -> String {
    format!("p{:02}", partition.0)
}

/// No pattern for files of events, `*/*.parquet`, finds anything in it.
pub(crate) fn staging(partition: Partition) -> String {
    format!("{}/staged", folder(partition))
}

/// The last position of a staged file's events, by its name.
pub(crate) fn staged_until(partition: Partition, name: &str) -> Option<Position> {
    let (_, last) = name.split_once('_')?;
    let (last, _) = last.split_once('_')?;
    format!("{partition}:{last}").parse().ok()
}

pub(crate) fn manifest_path(partition: Partition, number: u64) -> String {
    format!("{}/manifest-{number:010}.json", folder(partition))
}

/// None where it is no manifest.
pub(crate) fn manifest_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("manifest-")?.strip_suffix(".json")?;
    number.parse().ok()
}
