#![doc = include_str!("../README.md")]

mod earlier;
mod manifest;
mod place;
mod sealing;
mod segment;
mod store;

use eventlog::LogError;
use kernel::{Partition, Position, Recorded};

pub use manifest::Segment;
pub use sealing::Sealed;
pub use store::Archive;

/// Events of a segment, at most.
pub const SEGMENT_EVENTS_MAX: usize = 50_000;
/// A segment that takes so much on disk grows no more.
pub const SEGMENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("ARCHIVE_URL cannot be used: {0}")]
    Url(String),
    #[error("the archive does not answer as it should: {0}")]
    Store(#[from] object_store::Error),
    #[error(
        "the archive does not answer within {seconds} s: see that {url}, which ARCHIVE_URL names, can be reached"
    )]
    Silent { url: String, seconds: u64 },
    #[error("{file} of the archive is damaged: {why}")]
    Damaged { file: String, why: String },
    #[error("another process archives partition {0} at the same time")]
    Raced(Partition),
    #[error("events are missing between the archive, which ends at {after}, and {found}")]
    Gap { after: Position, found: Position },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ArchiveError {
    pub(crate) fn damaged(file: &str, why: impl std::fmt::Display) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            why: why.to_string(),
        }
    }
}

impl From<ArchiveError> for LogError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Log(error) => error,
            ArchiveError::Damaged { .. } | ArchiveError::Gap { .. } => {
                Self::Damaged(error.to_string())
            }
            error => Self::Archive(error.to_string()),
        }
    }
}

/// Fails where `events` do not follow `after` without a gap; gives where they
/// end.
pub(crate) fn check_follow(after: Position, events: &[Recorded]) -> Result<Position, ArchiveError> {
    let mut at = after;
    for recorded in events {
        let found = recorded.position;
        eventlog::check_contiguous(at, recorded)
            .map_err(|_| ArchiveError::Gap { after: at, found })?;
        at = found;
    }
    Ok(at)
}

/// What a segment of `events` takes on disk.
pub fn bytes_of(events: &[Recorded]) -> Result<usize, ArchiveError> {
    let bytes = segment::write(events);
    Ok(bytes
        .map_err(|error| ArchiveError::damaged("a segment", error))?
        .len())
}
