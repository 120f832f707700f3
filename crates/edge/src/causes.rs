//! How the errors of the HTTP library become problems. It refuses to guess: what it
//! does not know is an internal error.

use poem::{
    error::{MethodNotAllowedError, NotFoundError, ParseJsonError, ReadBodyError},
    http::StatusCode,
};
use poem_openapi::error::{
    ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};

use crate::problem::{Code, Problem};

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
