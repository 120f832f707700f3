//! How the errors of other rooms become problems. It refuses to guess: what it does not
//! know is an internal error.

use std::convert::Infallible;

use edge::{language::Text, text};
use eventlog::{ExecuteError, LogError};
use kernel::SealError;
use readmodel::ReadError;
use vault::VaultError;

use crate::problem::{Code, FieldCode, Problem};

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        let unavailable = |detail: Text| Self::new(Code::Unavailable, detail);
        let because =
            |detail: Text, why: &str| Self::new(Code::Unavailable, detail.with([why.into()]));
        match &error {
            LogError::Unavailable(_) => unavailable(text!(
                "Try again, with the same Idempotency-Key: the log does not answer, and it may have been done.",
                "Versuchen Sie es mit demselben Idempotency-Key noch einmal: Das Log antwortet nicht, und es kann geschehen sein.",
            )),
            LogError::Full => unavailable(text!(
                "Try again later: the log takes nothing more for now.",
                "Versuchen Sie es später noch einmal: Das Log nimmt zurzeit nichts mehr auf.",
            ))
            .retry_after(FULL_RETRY_SECONDS),
            LogError::Missing | LogError::Incomplete(_) | LogError::Another { .. } => unavailable(text!(
                "Try again later: the log is lost and must be restored, and nothing is written until then.",
                "Versuchen Sie es später noch einmal: Das Log ist verloren und muss wiederhergestellt werden, bis dahin wird nichts geschrieben.",
            ))
            .retry_after(LOST_RETRY_SECONDS),
            LogError::Unsafe(why) => because(
                text!(
                    "Try again later: nothing is written while the log server is not safe: {0}.",
                    "Versuchen Sie es später noch einmal: Solange der Log-Server nicht sicher ist, wird nichts geschrieben: {0}.",
                ),
                why,
            ),
            LogError::NotWritable(why) => because(
                text!(
                    "Try again later: the log server takes no writes: {0}.",
                    "Versuchen Sie es später noch einmal: Der Log-Server nimmt nichts an: {0}.",
                ),
                why,
            ),
            LogError::Held(why) => because(
                text!(
                    "Try again later: nothing is written for now: {0}.",
                    "Versuchen Sie es später noch einmal: Zurzeit wird nichts geschrieben: {0}.",
                ),
                why,
            ),
            LogError::Refused(_) => unavailable(text!(
                "Try again later: the log server refuses this, nothing was written, and an operator must look.",
                "Versuchen Sie es später noch einmal: Der Log-Server lehnt dies ab, nichts wurde geschrieben, und die Betreiber müssen es ansehen.",
            )),
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
                text!(
                    "Try again shortly: too many are changing this at once.",
                    "Versuchen Sie es gleich noch einmal: Zu viele ändern dies zugleich.",
                ),
            ),
            ExecuteError::KeyReused => Code::IdempotencyKeyReused.into(),
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
            SealError::NoKey(_) => Self::no_account().caused_by(error),
            SealError::Damaged(_) => Self::internal(error),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match &error {
            VaultError::EmailTaken(_) => {
                Self::from(Code::EmailTaken).with_field("/email", FieldCode::Taken)
            }
            VaultError::Busy => Self::new(
                Code::Overloaded,
                text!(
                    "Try again shortly: too many are signing in at once.",
                    "Versuchen Sie es gleich noch einmal: Zu viele melden sich zugleich an.",
                ),
            )
            .caused_by(error),
            VaultError::Database(_) | VaultError::Slow => vault_unavailable(error),
            VaultError::Breached(_) => {
                let detail = text!(
                    "Try again shortly: the list of leaked passwords cannot be read.",
                    "Versuchen Sie es gleich noch einmal: Die Liste bekannt gewordener Passwörter ist nicht lesbar.",
                );
                Self::new(Code::Unavailable, detail).caused_by(error)
            }
            _ => Self::internal(error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = READ_MODEL_AWAY;
        Self::new(Code::Unavailable, detail).caused_by(error)
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

pub(crate) const READ_MODEL_AWAY: Text = text!(
    "Try again shortly: the read model does not answer.",
    "Versuchen Sie es gleich noch einmal: Das Lesemodell antwortet nicht.",
);
/// How long to leave a log alone that has no memory left.
const FULL_RETRY_SECONDS: u32 = 30;
/// How long to leave a log alone that an operator must mend.
const LOST_RETRY_SECONDS: u32 = 30;

fn vault_unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Problem {
    let read_only = error.to_string().contains("read-only transaction");
    let detail = match read_only {
        true => text!(
            "Try again later: the accounts' store takes no writes, since the database is read-only.",
            "Versuchen Sie es später noch einmal: Der Speicher der Konten nimmt nichts an, weil die Datenbank nur lesbar (read-only) ist.",
        ),
        false => text!(
            "Try again shortly: the accounts' store does not answer.",
            "Versuchen Sie es gleich noch einmal: Der Speicher der Konten antwortet nicht.",
        ),
    };
    Problem::new(Code::Unavailable, detail).caused_by(error)
}
