//! How the errors of other rooms become problems. It refuses to guess: what it does not
//! know is an internal error.

use std::convert::Infallible;

use eventlog::{ExecuteError, LogError};
use kernel::SealError;
use readmodel::ReadError;
use vault::VaultError;

use crate::problem::{Code, Problem};

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        let unavailable = |detail: &'static str| Self::new(Code::Unavailable, detail);
        match &error {
            LogError::Unavailable(_) => unavailable(
                "The log does not answer. Try again, with the same Idempotency-Key: it may have been done.",
            ),
            LogError::Full => unavailable("The log takes nothing more for now. Try again later.")
                .retry_after(FULL_RETRY_SECONDS),
            LogError::Missing | LogError::Incomplete(_) | LogError::Another { .. } => unavailable(
                "The log is lost and must be restored: nothing is written until then. Try again later.",
            )
            .retry_after(LOST_RETRY_SECONDS),
            LogError::Unsafe(why) => Self::new(
                Code::Unavailable,
                format!("Nothing is written while the log server is not safe: {why}."),
            ),
            LogError::NotWritable(why) => Self::new(
                Code::Unavailable,
                format!("The log server takes no writes: {why}."),
            ),
            LogError::Held(why) => Self::new(
                Code::Unavailable,
                format!("Nothing is written for now: {why}."),
            ),
            LogError::Refused(_) => unavailable(
                "The log server refuses this. Nothing was written; an operator must look.",
            ),
            LogError::Damaged(_)
            | LogError::Gap(_)
            | LogError::Archive(_)
            | LogError::Partitions { .. } => return Self::internal(error),
        }
        .caused_by(error)
    }
}

impl<E: Into<Problem>> From<ExecuteError<E>> for Problem {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => refusal.into(),
            ExecuteError::Contended => Self::new(
                Code::Overloaded,
                "Too many are changing this at once. Try again shortly.",
            ),
            ExecuteError::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "Use a new Idempotency-Key for a new request, or send the first body again.",
            ),
            ExecuteError::Log(error) => error.into(),
            ExecuteError::Seal(error) => error.into(),
            ExecuteError::Codec(error) => Self::internal(error),
        }
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        match &error {
            SealError::Unavailable(_) => vault_unavailable(error),
            SealError::NoKey(_) => Self::not_found("account").caused_by(error),
            SealError::Damaged(_) => Self::internal(error),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match &error {
            VaultError::EmailTaken(_) => Self::new(
                Code::EmailTaken,
                "Sign in with this address, or use another one.",
            ),
            VaultError::Busy => Self::new(
                Code::Overloaded,
                "Too many are signing in at once. Try again shortly.",
            )
            .caused_by(error),
            VaultError::Database(_) | VaultError::Slow => vault_unavailable(error),
            VaultError::Breached(_) => {
                let detail = "The list of breached passwords cannot be read. Try again shortly.";
                Self::new(Code::Unavailable, detail).caused_by(error)
            }
            _ => Self::internal(error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = "The read model does not answer. Try again shortly.";
        Self::new(Code::Unavailable, detail).caused_by(error)
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// How long to leave a log alone that has no memory left.
const FULL_RETRY_SECONDS: u32 = 30;
/// How long to leave a log alone that an operator must mend.
const LOST_RETRY_SECONDS: u32 = 30;

fn vault_unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Problem {
    let read_only = error.to_string().contains("read-only transaction");
    let detail = match read_only {
        true => "The accounts' store takes no writes: the database is read-only. Try again later.",
        false => "The accounts' store does not answer. Try again shortly.",
    };
    Problem::new(Code::Unavailable, detail).caused_by(error)
}
