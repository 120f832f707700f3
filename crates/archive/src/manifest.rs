//! Which segments a partition has, in order and without a gap.

use std::ops::Range;

use kernel::{Partition, Position};
use serde::{Deserialize, Serialize};

use crate::ArchiveError;

const VERSION: u32 = 1;

/// A sealed file.
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
    /// Milliseconds since 1970-01-01 UTC, of its first and its last event.
    pub recorded: (i64, i64),
}

/// What one manifest file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    pub partition: Partition,
    /// Goes up with every change.
    pub number: u64,
    pub segments: Vec<Segment>,
    /// Files that the manifest before this one names and this one does not.
    #[serde(default)]
    pub replaced: Vec<String>,
}

impl Manifest {
    pub fn empty(partition: Partition) -> Self {
        Self {
            version: VERSION,
            partition,
            number: 0,
            segments: Vec::new(),
            replaced: Vec::new(),
        }
    }

    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, ArchiveError> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| ArchiveError::damaged(file, error))?;
        if manifest.version != VERSION {
            let why = format!("its version is {}, not {VERSION}", manifest.version);
            return Err(ArchiveError::damaged(file, why));
        }
        Ok(manifest)
    }

    pub fn write(&self) -> Result<Vec<u8>, ArchiveError> {
        serde_json::to_vec_pretty(self).map_err(|error| ArchiveError::damaged("a manifest", error))
    }

    /// With one more segment.
    pub fn with(&self, segment: Segment) -> Self {
        let mut next = self.clone();
        next.number += 1;
        next.segments.push(segment);
        next.replaced.clear();
        next
    }

    /// With `whole` in place of its `parts`.
    pub fn merged(&self, parts: Range<usize>, whole: Segment) -> Self {
        let mut next = self.clone();
        next.number += 1;
        let parts = next.segments.splice(parts, [whole]);
        next.replaced = parts.map(|part| part.file).collect();
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
}
