//! How the errors of other rooms, and of the HTTP library, become problems.
//! It refuses to guess: what it does not know is an internal error.

use eventlog::{ExecuteError, LogError};
use kernel::SealError;
use poem::{
    error::{MethodNotAllowedError, NotFoundError, ParseJsonError, ReadBodyError},
    http::StatusCode,
};
use poem_openapi::error::{
    ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};
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

/// What the routers and extractors of poem and poem-openapi refuse.
impl From<poem::Error> for Problem {
    fn from(error: poem::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(problem) => return problem,
            Err(error) => error,
        };
        let malformed = |detail: String| Self::new(Code::MalformedRequest, detail);
        if error.is::<NotFoundError>() {
            Self::new(Code::NotFound, "There is nothing at this path.")
        } else if error.is::<MethodNotAllowedError>() {
            Self::new(Code::MethodNotAllowed, "Use one of the methods in Allow.")
        } else if let Some(parameter) = error.downcast_ref::<ParseParamError>() {
            Self::invalid_parameter(parameter.name, reason(&parameter.reason))
        } else if let Some(parameter) = error.downcast_ref::<ParsePathError>() {
            Self::invalid_parameter(parameter.name, reason(&parameter.reason))
        } else if let Some(payload) = error.downcast_ref::<ParseRequestPayloadError>() {
            Self::new(Code::InvalidField, reason(&payload.reason).to_owned())
        } else if error.is::<ContentTypeError>() {
            let detail = "Say what the body is: Content-Type: application/json.";
            Self::new(Code::UnsupportedMediaType, detail)
        } else if let Some(error) = error.downcast_ref::<ParseJsonError>() {
            malformed(format!("The body is not JSON: {error}."))
        } else if let Some(body) = error.downcast_ref::<ReadBodyError>() {
            match body {
                ReadBodyError::PayloadTooLarge => crate::body::too_long(),
                ReadBodyError::BodyHasBeenTaken => Self::internal(error),
                ReadBodyError::Utf8(_) => malformed("The body is not UTF-8.".into()),
                ReadBodyError::Io(_) => malformed("The body broke off.".into()),
            }
        } else {
            by_status(error)
        }
    }
}

/// An error that says no more than its status.
fn by_status(error: poem::Error) -> Problem {
    let code = match error.status() {
        StatusCode::BAD_REQUEST => Code::MalformedRequest,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::NOT_ACCEPTABLE => Code::NotAcceptable,
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::PRECONDITION_FAILED => Code::PreconditionFailed,
        StatusCode::PRECONDITION_REQUIRED => Code::PreconditionRequired,
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidField,
        StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => return Problem::internal(error.to_string()),
    };
    Problem::new(code, format!("{}.", code.title())).caused_by(error.to_string())
}

/// The part of poem-openapi's message that means something to a client.
fn reason(message: &str) -> &str {
    let told = message.split_once("\": ").filter(|(before, _)| {
        before.starts_with("failed to parse \"") || before.starts_with("Expected input type")
    });
    let told = told.map_or(message, |(_, reason)| reason);
    told.split(" (occurred while parsing")
        .next()
        .unwrap_or(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_a_type_becomes_a_code() {
        let code = |status| Problem::from(poem::Error::from_status(status)).code();
        assert_eq!(code(StatusCode::NOT_FOUND), Code::NotFound);
        assert_eq!(code(StatusCode::IM_A_TEAPOT), Code::Internal);
    }

    #[test]
    fn a_problem_survives_the_library() {
        let error: poem::Error = Problem::not_found("post").into();
        assert_eq!(Problem::from(error).code(), Code::NotFound);
    }

    #[test]
    fn the_reason_is_cut_out_of_the_message() {
        let message = "failed to parse \"string_uuid\": invalid character (occurred while parsing \"optional_x\")";
        assert_eq!(reason(message), "invalid character");
    }
}
