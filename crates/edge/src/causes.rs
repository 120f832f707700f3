//! How the errors of the HTTP library become problems. It refuses to guess: what it
//! does not know is an internal error.

use poem::{
    error::{MethodNotAllowedError, NotFoundError, ParseJsonError, ReadBodyError},
    http::StatusCode,
};
use poem_openapi::error::{
    ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};

use crate::{
    language::Told,
    problem::{Code, FieldCode, Problem, Wrong},
    text,
};

/// How poem-openapi's reason ends where a parameter is missing (`ParseError::expected_input`).
const NOTHING_THERE: &str = "expects an input value.";

/// What the routers and extractors of poem and poem-openapi refuse.
impl From<poem::Error> for Problem {
    fn from(error: poem::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(problem) => return problem,
            Err(error) => error,
        };
        let malformed = |detail: Told| Self::new(Code::MalformedRequest, detail);
        if error.is::<NotFoundError>() {
            nothing_there()
        } else if error.is::<MethodNotAllowedError>() {
            Code::MethodNotAllowed.into()
        } else if let Some(parameter) = error.downcast_ref::<ParseParamError>() {
            let wrong = match parameter.reason.ends_with(NOTHING_THERE) {
                true => FieldCode::Required,
                false => FieldCode::InvalidFormat,
            };
            Self::invalid_parameter(parameter.name, wrong)
        } else if let Some(parameter) = error.downcast_ref::<ParsePathError>() {
            // All that can fail are ids.
            Self::invalid_parameter(parameter.name, not_an_id())
        } else if error.is::<ParseRequestPayloadError>() {
            // What the schema does not say, and the type does not take.
            Code::InvalidField.into()
        } else if error.is::<ContentTypeError>() {
            Code::UnsupportedMediaType.into()
        } else if let Some(error) = error.downcast_ref::<ParseJsonError>() {
            malformed(not_json(&error.to_string()))
        } else if let Some(body) = error.downcast_ref::<ReadBodyError>() {
            match body {
                ReadBodyError::PayloadTooLarge => crate::body::too_long(),
                ReadBodyError::BodyHasBeenTaken => Self::internal(error),
                ReadBodyError::Utf8(_) => malformed(
                    text!("Send the body in UTF-8.", "Senden Sie den Inhalt in UTF-8.").into(),
                ),
                ReadBodyError::Io(_) => broken_off(),
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
        StatusCode::PRECONDITION_FAILED => Code::VersionMismatch,
        StatusCode::PRECONDITION_REQUIRED => Code::PreconditionRequired,
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidField,
        StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => return Problem::internal(error.to_string()),
    };
    Problem::from(code).caused_by(error.to_string())
}

pub(crate) fn nothing_there() -> Problem {
    let detail = text!(
        "Check the path: there is nothing at this one.",
        "Prüfen Sie den Pfad: An diesem gibt es nichts."
    );
    Problem::new(Code::NotFound, detail)
}

pub(crate) fn broken_off() -> Problem {
    let detail = text!(
        "Send the body to its end: it broke off.",
        "Senden Sie den Inhalt bis zum Ende: Er brach ab."
    );
    Problem::new(Code::MalformedRequest, detail)
}

/// `error` says where, in English.
pub(crate) fn not_json(error: &str) -> Told {
    let detail = text!(
        "Send JSON: {0}.",
        "Senden Sie JSON. Der Fehler auf Englisch: {0}."
    );
    detail.with([error.into()])
}

pub(crate) fn not_an_id() -> Wrong {
    FieldCode::InvalidFormat.saying(text!(
        "Send a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057; for an account, @ and its \
         handle will do.",
        "Senden Sie eine UUID wie 01890a5d-ac96-774b-bcce-b302099a8057; bei einem Konto genügen @ \
         und sein Handle."
    ))
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
        let error: poem::Error = Problem::not_found(text!("post", "diesen Beitrag")).into();
        assert_eq!(Problem::from(error).code(), Code::NotFound);
    }
}
