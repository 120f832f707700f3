//! Why a partition cannot go on, and what becomes of it: tried again, an event parked, or
//! a person told.

use std::sync::Arc;

use eventlog::{Gap, LogError};
use kernel::{CodecError, Position, SealError};
use readmodel::ReadError;

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error(transparent)]
    Log(LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("{0}")]
    Gap(#[from] Gap),
    #[error("the event at {position} cannot be read: {source}")]
    Unreadable {
        position: Position,
        source: Arc<CodecError>,
    },
    #[error(
        "the checkpoint is at {at}, but the log ends at {head}: it has lost what was read; restore it, or rebuild the projection"
    )]
    Ahead { at: Position, head: Position },
    #[error(
        "the log has another event at {at} than was read: it was put back from an old copy, and has lost what was read; rebuild the projection"
    )]
    Replaced { at: Position },
}

impl From<LogError> for WorkError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Gap(gap) => Self::Gap(gap),
            error => Self::Log(error),
        }
    }
}

impl WorkError {
    /// Whether it will be the same the next time, so that a person must look.
    pub(crate) fn stops(&self) -> bool {
        match self {
            Self::Gap(_)
            | Self::Unreadable { .. }
            | Self::Ahead { .. }
            | Self::Replaced { .. }
            | Self::Log(LogError::Damaged(_))
            | Self::Seal(SealError::Damaged(_)) => true,
            Self::Read(error) => error.lasts(),
            Self::Log(_) | Self::Seal(_) => false,
        }
    }

    /// Whether it is about an event alone, which can wait while others go on.
    pub(crate) fn parks(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Seal(SealError::Damaged(_)) => true,
            Self::Read(error) => error.blames_values(),
            Self::Gap(_)
            | Self::Ahead { .. }
            | Self::Replaced { .. }
            | Self::Log(_)
            | Self::Seal(_) => false,
        }
    }

    /// Whether the projection has read what the log does not have.
    pub(crate) fn diverged(&self) -> bool {
        matches!(
            self,
            Self::Gap(Gap::Diverged { .. }) | Self::Ahead { .. } | Self::Replaced { .. }
        )
    }
}
