//! The one shape of every refusal: a problem document (RFC 9457) with a stable
//! code, in the language that the client asks for. Causes are not shown to clients: they
//! are kept for the log line.

mod codes;
mod fields;

use std::{borrow::Cow, error::Error as StdError};

use poem::{
    IntoResponse, Response,
    error::ResponseError,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaResponses, Registry},
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    codes::Code,
    fields::{FieldCode, FieldError, Place, Wrong},
};
use crate::{
    language::{Language, Text, Told},
    text,
};

/// Below it is a page for each code.
pub(crate) const PAGES: &str = "/problems/";
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
/// A problem never tells more about one thing than this.
const DETAIL_CHARACTERS_MAX: usize = 300;
const POINTER_CHARACTERS_MAX: usize = 512;
/// More wrong fields than this are not listed.
pub const FIELD_ERRORS_MAX: usize = 32;

/// A refusal. Handlers return `Result<_, Problem>`.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .0.code.name(), .0.detail)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Told,
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
    errors: &'a [Value],
}

impl Problem {
    /// `detail` says what to do, where it is more than the code's own advice.
    pub fn new(code: Code, detail: impl Into<Told>) -> Self {
        let retry = code.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: retry.then_some(1),
            limits: Vec::new(),
            allow: None,
            cause: None,
        }))
    }

    /// `thing` as what there is not: "post", "diesen Beitrag".
    pub fn not_found(thing: Text) -> Self {
        let detail = text!("There is no such {0}.", "Es gibt {0} nicht.");
        Self::new(Code::NotFound, detail.with([thing.into()]))
    }

    /// Of `Min-Position`. It does not say what is wrong with it, and so not where the log
    /// ends.
    pub fn unknown_position() -> Self {
        let wrong = FieldCode::NotFound.saying(text!(
            "Send the Event-Position of a write to this server.",
            "Senden Sie die Event-Position eines Schreibens auf diesem Server."
        ));
        Self::from(Code::UnknownPosition).with_parameter("Min-Position", wrong)
    }

    /// A value that reads well and is not taken. `pointer` starts with `/`.
    pub fn invalid_field(pointer: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        Self::from(Code::InvalidField).with_field(pointer, wrong)
    }

    pub fn invalid_parameter(name: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        Self::from(Code::InvalidParameter).with_parameter(name, wrong)
    }

    /// Something that should not happen; the cause goes to the log only.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::from(Code::Internal).caused_by(cause)
    }

    pub fn with_field(self, pointer: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        self.with_error(FieldError {
            place: Place::Pointer(pointer.into()),
            wrong: wrong.into(),
        })
    }

    pub fn with_parameter(self, name: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        self.with_error(FieldError {
            place: Place::Parameter(name.into()),
            wrong: wrong.into(),
        })
    }

    pub fn with_error(mut self, mut error: FieldError) -> Self {
        if self.0.errors.len() < FIELD_ERRORS_MAX {
            if let Place::Pointer(pointer) = &mut error.place {
                *pointer = printable(pointer);
            }
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
    pub(crate) fn document(&self, request_id: Option<Uuid>, language: Language) -> Vec<u8> {
        let inner = &*self.0;
        let errors = inner.errors.iter().map(|error| error.told(language));
        let document = Document {
            r#type: format!("{PAGES}{}", inner.code.name()),
            title: inner.code.title().of(language),
            status: inner.code.status().as_u16(),
            code: inner.code.name(),
            detail: &shortened(inner.detail.in_language(language)),
            request_id,
            errors: &errors.collect::<Vec<_>>(),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    pub fn respond(&self, request_id: Option<Uuid>, language: Language) -> Response {
        let inner = &*self.0;
        let status = inner.code.status();
        let body = self.document(request_id, language);
        let mut response = Response::builder().status(status).body(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        headers.insert(CONTENT_LANGUAGE, language.header());
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

/// With its own advice.
impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code, code.advice())
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.0.code.status()
    }

    fn as_response(&self) -> Response {
        self.respond(None, Language::default())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(None, Language::default())
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
        let mut fields: Vec<_> = FieldCode::ALL.iter().map(|code| code.name()).collect();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), FieldCode::ALL.len());
        let snake = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(names.iter().all(snake) && fields.iter().all(snake));
    }

    #[test]
    fn the_cause_is_not_shown() {
        let problem = Problem::internal("password of the database");
        assert!(problem.cause().is_some());
        assert!(!problem.to_string().contains("password"));
    }

    #[test]
    fn a_refused_token_says_how_to_sign_in() {
        let response = Problem::from(Code::TokenExpired).respond(None, Language::German);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers().contains_key(WWW_AUTHENTICATE));
        assert_eq!(response.content_type(), Some(PROBLEM_MEDIA_TYPE));
        assert_eq!(response.header(CONTENT_LANGUAGE.as_str()), Some("de"));
    }
    #[test]
    fn what_is_said_is_said_in_each_language() -> Result<(), serde_json::Error> {
        let problem = Problem::invalid_field("/text", FieldCode::TooLong.limit(500))
            .with_field("/kind", FieldCode::Required);
        let told = |language| -> Result<Value, serde_json::Error> {
            serde_json::from_slice(&problem.document(None, language))
        };
        let english = told(Language::English)?;
        assert_eq!(english["title"], "A field is not acceptable");
        let error = serde_json::json!({
            "pointer": "/text", "code": "too_long", "limit": 500,
            "detail": "Use at most 500 characters.",
        });
        assert_eq!(english["errors"][0], error);
        assert_eq!(english["errors"][1]["limit"], Value::Null);
        let german = told(Language::German)?;
        assert_eq!(german["title"], "Ein Feld ist nicht zulässig");
        let detail = &german["errors"][0]["detail"];
        assert_eq!(detail, "Verwenden Sie höchstens 500 Zeichen.");
        assert_eq!(german["errors"][0]["code"], "too_long");
        Ok(())
    }

    #[test]
    fn every_sentence_of_the_lists_is_another_one_in_german() {
        for code in Code::ALL {
            for text in [code.title(), code.advice()] {
                let [english, german] = [Language::English, Language::German].map(|l| text.of(l));
                assert_ne!(english, german, "{}", code.name());
            }
        }
        for code in FieldCode::ALL {
            let wrong = Wrong::from(*code);
            let [english, german] =
                [Language::English, Language::German].map(|l| wrong.detail.in_language(l));
            assert_ne!(english, german, "{}", code.name());
        }
    }
}
