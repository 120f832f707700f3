//! The one shape of every refusal: a problem document (RFC 9457) with a stable
//! code. It refuses to show causes to clients: they are kept for the log line.

use std::{borrow::Cow, error::Error as StdError};

use poem::{
    IntoResponse, Response,
    error::ResponseError,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaResponses, Registry},
};
use serde::Serialize;
use uuid::Uuid;

/// Below it is a page for each code.
pub(crate) const PAGES: &str = "/problems/";
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
/// A problem never tells more about one thing than this.
const DETAIL_CHARACTERS_MAX: usize = 300;
const POINTER_CHARACTERS_MAX: usize = 512;
/// More wrong fields than this are not listed.
pub const FIELD_ERRORS_MAX: usize = 32;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $title:literal, $advice:literal;)+) => {
        /// What clients may branch on. A released code is never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What a client does about it, in Markdown's code marks.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

codes! {
    /// Not JSON, too deep, or a header that cannot be read.
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request cannot be read",
        "Send a request line, headers and JSON as RFC 9112 and RFC 8259 have them; `detail` names the place.";
    /// In the path or the query.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A parameter cannot be read",
        "Correct the parameters that `errors` names.";
    UnknownPosition = "unknown_position", BAD_REQUEST, "There is no such position",
        "Send a position that an answer of this server gave as `Event-Position` or `As-Of`.";
    InvalidCursor = "invalid_cursor", BAD_REQUEST, "The cursor is not of this query",
        "Take `next_cursor` or `prev_cursor` as it came, with the same path and filters; or begin again without a cursor.";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Sign in first",
        "Send `Authorization: Bearer` with an access token.";
    InvalidToken = "invalid_token", UNAUTHORIZED, "The access token is not valid",
        "Refresh the session; where that is refused too, sign in again.";
    TokenExpired = "token_expired", UNAUTHORIZED, "The access token has expired",
        "Refresh the session with its refresh token, and send the request again.";
    SessionEnded = "session_ended", UNAUTHORIZED, "The session was ended",
        "Sign in again: the session was ended here or elsewhere.";
    InvalidRefreshToken = "invalid_refresh_token", UNAUTHORIZED, "The refresh token is not valid",
        "Sign in again: this refresh token is not one of ours, or has expired.";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, "The credentials are wrong",
        "Check the login and the password. An unknown account gives the same answer.";
    SecondFactorRequired = "second_factor_required", UNAUTHORIZED, "The second factor is missing",
        "The password was right: send the same request with `one_time_code`.";
    WrongPassword = "wrong_password", FORBIDDEN, "The password is wrong",
        "Ask for the current password again.";
    InvalidCode = "invalid_code", FORBIDDEN, "The one-time code does not count",
        "Type the newest code, or ask for another one.";
    EmailUnverified = "email_unverified", FORBIDDEN, "The e-mail address is not verified",
        "Verify the address with the code that was sent to it, then try again.";
    /// Told to those alone who know its password.
    AccountSuspended = "account_suspended", FORBIDDEN, "The account is suspended",
        "An operator has suspended the account. Write to the operators.";
    Forbidden = "forbidden", FORBIDDEN, "This is not allowed",
        "Nothing: this account may not do this.";
    /// It is for followers, and who asks is none.
    AccountPrivate = "account_private", FORBIDDEN, "The account is private",
        "Ask to follow the account; what it shows is for followers.";
    /// It is for followers, and who asks is not its author.
    NotRepostable = "not_repostable", FORBIDDEN, "The post cannot be reposted",
        "Nothing: what is not for everybody is reposted by its author alone.";
    NotFound = "not_found", NOT_FOUND, "There is no such thing",
        "Check the id or the path. What is hidden from you gives the same answer.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here",
        "Use a method that `Allow` names.";
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "No acceptable representation",
        "Accept `application/json`.";
    Conflict = "conflict", CONFLICT, "The state does not allow this",
        "Read what it is now; `detail` says what is in the way.";
    HandleTaken = "handle_taken", CONFLICT, "The handle is taken",
        "Choose another handle.";
    EmailTaken = "email_taken", CONFLICT, "The e-mail address is taken",
        "Sign in, or reset the password, if the address is yours.";
    VersionMismatch = "version_mismatch", PRECONDITION_FAILED, "It has changed since it was read",
        "Read it again, apply the change to what it is now, and send its new `ETag`.";
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "A precondition does not hold",
        "Leave the precondition out, or send one that holds.";
    /// The edit does not say which version it is of.
    PreconditionRequired = "precondition_required", PRECONDITION_REQUIRED, "The edit must say what it edits",
        "Send `If-Match` with the `ETag` that was read, or `*`.";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too long",
        "Send less; the contract gives each body's limit.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The media type is not supported",
        "Send `Content-Type: application/json`.";
    /// JSON, but a field is missing, unknown or has a value that is not taken.
    InvalidField = "invalid_field", UNPROCESSABLE_ENTITY, "A field is not acceptable",
        "Correct the fields that `errors` names; each has a pointer into the body.";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key was used with another body",
        "Make a new key for a new request; send a key again only with the same body.";
    /// All that stands before the body.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too long",
        "Send fewer or shorter headers, or a shorter path.";
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "Too many requests",
        "Wait as many seconds as `Retry-After` says. `RateLimit-Policy` names the limit.";
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong here",
        "Try again later. Tell the operators the `request_id`.";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "A server that this needs does not answer",
        "Try again after `Retry-After` seconds, a write with the same `Idempotency-Key`.";
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too much is going on",
        "Try again after `Retry-After` seconds, a write with the same `Idempotency-Key`.";
    ProjectionBehind = "projection_behind", SERVICE_UNAVAILABLE, "The read model is behind",
        "Try again after `Retry-After` seconds: it will have caught up.";
    /// Events of what was asked for wait for an operator.
    Parked = "parked", SERVICE_UNAVAILABLE, "This waits for an operator",
        "Try again later: an operator has to look at it. Everything else works.";
    DeadlineExceeded = "deadline_exceeded", SERVICE_UNAVAILABLE, "The request took too long",
        "Try again after `Retry-After` seconds, a write with the same `Idempotency-Key`: it may have been done.";
}

/// What is wrong with one field or parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The name of a path, query or header parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    pub detail: String,
}

/// A refusal. Handlers return `Result<_, Problem>`.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .0.code.name(), .0.detail)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    /// Of the policy that refused: `RateLimit` and its like.
    limits: Vec<(HeaderName, HeaderValue)>,
    allow: Option<HeaderValue>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// `detail` is a sentence that says what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry = code.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self(Box::new(Inner {
            code,
            detail: shortened(detail.into()),
            errors: Vec::new(),
            retry_after_seconds: retry.then_some(1),
            limits: Vec::new(),
            allow: None,
            cause: None,
        }))
    }

    /// `thing` with its article: "no such {thing}".
    pub fn not_found(thing: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {thing}."))
    }

    /// Of `Min-Position`. It does not say what is wrong with it, and so not where the log
    /// ends.
    pub fn unknown_position() -> Self {
        let detail = "Send the Event-Position of a write to this server.";
        let wrong = "Nobody can wait for it here.";
        Self::new(Code::UnknownPosition, detail).with_parameter("Min-Position", wrong)
    }

    /// A value that reads well and is not taken. `pointer` starts with `/`.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidField, "Correct the listed fields.").with_field(pointer, detail)
    }

    pub fn invalid_parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        let problem = Self::new(Code::InvalidParameter, "Correct the listed parameters.");
        problem.with_parameter(name, detail)
    }

    /// Something that should not happen; the cause goes to the log only.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let detail = "This is our fault. Try again later, and tell us the request id.";
        Self::new(Code::Internal, detail).caused_by(cause)
    }

    pub fn with_field(self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.with_error(FieldError {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        })
    }

    pub fn with_parameter(self, name: impl Into<String>, detail: impl Into<String>) -> Self {
        self.with_error(FieldError {
            pointer: None,
            parameter: Some(name.into()),
            detail: detail.into(),
        })
    }

    pub fn with_error(mut self, mut error: FieldError) -> Self {
        if self.0.errors.len() < FIELD_ERRORS_MAX {
            error.detail = shortened(error.detail.into()).into_owned();
            error.pointer = error.pointer.map(|pointer| printable(&pointer));
            self.0.errors.push(error);
        }
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    pub(crate) fn limited(
        mut self,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        self.0.limits.extend(headers);
        self
    }

    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    pub(crate) fn allowing(mut self, methods: &str) -> Self {
        self.0.allow = HeaderValue::from_str(methods).ok();
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// What the log line may tell, and the client may not.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// The document, as JSON.
    pub(crate) fn document(&self, request_id: Option<Uuid>) -> Vec<u8> {
        let inner = &*self.0;
        let document = Document {
            r#type: format!("{PAGES}{}", inner.code.name()),
            title: inner.code.title(),
            status: inner.code.status().as_u16(),
            code: inner.code.name(),
            detail: &inner.detail,
            request_id,
            errors: &inner.errors,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    pub fn respond(&self, request_id: Option<Uuid>) -> Response {
        let inner = &*self.0;
        let status = inner.code.status();
        let body = self.document(request_id);
        let mut response = Response::builder().status(status).body(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        if let Some(seconds) = inner.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        headers.extend(inner.limits.iter().cloned());
        if let Some(methods) = &inner.allow {
            headers.insert(ALLOW, methods.clone());
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = match inner.code {
                Code::InvalidToken | Code::TokenExpired | Code::SessionEnded => {
                    "Bearer error=\"invalid_token\""
                }
                _ => "Bearer",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.0.code.status()
    }

    fn as_response(&self) -> Response {
        self.respond(None)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(None)
    }
}

/// Problems are attached to every operation by its shape, in `contract`.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: Vec::new(),
        }
    }

    fn register(_: &mut Registry) {}
}

/// A pointer may hold what a client made up as a field's name.
fn printable(pointer: &str) -> String {
    let characters = pointer.chars().filter(|c| *c != '\0');
    characters.take(POINTER_CHARACTERS_MAX).collect()
}

fn shortened(text: Cow<'static, str>) -> Cow<'static, str> {
    match text.char_indices().nth(DETAIL_CHARACTERS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_snake_case_and_unique() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        let snake = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(names.iter().all(snake));
    }

    #[test]
    fn the_cause_is_not_shown() {
        let problem = Problem::internal("password of the database");
        assert!(problem.cause().is_some());
        assert!(!problem.to_string().contains("password"));
    }

    #[test]
    fn a_refused_token_says_how_to_sign_in() {
        let response = Problem::new(Code::TokenExpired, "Refresh it.").respond(None);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers().contains_key(WWW_AUTHENTICATE));
        assert_eq!(response.content_type(), Some(PROBLEM_MEDIA_TYPE));
    }
}
