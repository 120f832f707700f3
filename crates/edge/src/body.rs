//! Request bodies: read whole under a cap before the handler, and handed to it
//! as they came. `Input` is the payload that handlers take: JSON checked
//! against the operation's own schema, so that every wrong field is named at
//! once. It refuses long bodies, deep ones, and what the contract does not say.

use std::{pin::pin, sync::Arc, time::Duration};

use poem::{
    Body, Request, RequestBody, Result,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ContentTypeError,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, Type},
};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::{
    causes, json,
    problem::{Code, FieldCode, Problem},
    request::Head,
    schema, text,
};

/// A longest post with every character escaped is well below it.
pub const BODY_BYTES_MAX: usize = 256 * 1_024;
/// How much of a refused body is still taken in, so that its answer arrives.
const BODY_BYTES_DISCARDED_MAX: u64 = 8 * 1_024 * 1_024;
const DISCARD_MILLISECONDS_MAX: u64 = 3_000;
/// Arrays and objects inside each other.
pub const JSON_DEPTH_MAX: usize = 32;

/// The body as it came, for fingerprints; empty where there was none.
#[derive(Clone, Default)]
pub struct RawBody(pub Arc<[u8]>);

/// A JSON body of exactly the documented shape.
pub struct Input<T>(pub T);

/// Reads the whole body into the request's data, and leaves it readable.
pub(crate) async fn read(request: &mut Request) -> Result<(), Problem> {
    let body = request.take_body();
    if body.is_empty() {
        return Ok(());
    }
    let mut body = pin!(body.into_async_read());
    if let Err(problem) = announced(request) {
        if !waits(request) {
            discard(body).await;
        }
        return Err(problem);
    }
    let mut bytes = Vec::new();
    let mut whole = (&mut body).take(BODY_BYTES_MAX as u64 + 1);
    if let Err(error) = whole.read_to_end(&mut bytes).await {
        tracing::debug!(%error, "a body broke off");
        return Err(causes::broken_off());
    }
    if bytes.len() > BODY_BYTES_MAX {
        discard(body).await;
        return Err(too_long());
    }
    if depth(&bytes) > JSON_DEPTH_MAX && is_json(request) {
        let detail = text!(
            "Nest at most {0} arrays and objects.",
            "Verschachteln Sie höchstens {0} Listen und Objekte."
        );
        let detail = detail.with([(JSON_DEPTH_MAX as u64).into()]);
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    let raw = RawBody(Arc::from(&bytes[..]));
    request.extensions_mut().insert(raw);
    request.set_body(Body::from_bytes(bytes.into()));
    Ok(())
}

/// What the head alone says against the body.
fn announced(request: &Request) -> Result<(), Problem> {
    let length = request.header(CONTENT_LENGTH.as_str());
    if length.and_then(|length| length.parse().ok()) > Some(BODY_BYTES_MAX) {
        return Err(too_long());
    }
    let encoding = request.header(CONTENT_ENCODING.as_str());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let detail = text!(
            "Send the body as it is, without Content-Encoding.",
            "Senden Sie den Inhalt, wie er ist, ohne Content-Encoding."
        );
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    Ok(())
}

/// Leaves the body of a request that is refused by its head unread.
pub(crate) async fn refuse(request: &mut Request) {
    if !waits(request) {
        discard(request.take_body().into_async_read()).await;
    }
}

/// Who waits for `100 Continue` sends nothing when told of a refusal instead, and is
/// told to go on as soon as its body is asked for.
fn waits(request: &Request) -> bool {
    request.header(EXPECT.as_str()).is_some()
}

/// Takes in what a refused client still sends: a connection that is closed with
/// bytes unread is reset, and the client may never see the answer (RFC 9112,
/// 9.6). Longer or slower bodies are cut off.
async fn discard(body: impl AsyncRead) {
    let body = pin!(body.take(BODY_BYTES_DISCARDED_MAX));
    let discarded = async {
        let mut buffered = BufReader::new(body);
        tokio::io::copy_buf(&mut buffered, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(Duration::from_millis(DISCARD_MILLISECONDS_MAX), discarded).await;
}

pub(crate) fn too_long() -> Problem {
    let detail = text!("Send at most {0} bytes.", "Senden Sie höchstens {0} Bytes.");
    let detail = detail.with([(BODY_BYTES_MAX as u64).into()]);
    Problem::new(Code::PayloadTooLarge, detail)
}

fn is_json(request: &Request) -> bool {
    is_json_type(request.content_type().unwrap_or_default())
}

/// `application/json`, in UTF-8: what the contract says, and nothing near it.
fn is_json_type(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let parameters = parts.all(|parameter| {
        let parameter = parameter.to_ascii_lowercase();
        matches!(
            parameter.as_str(),
            "charset=utf-8" | "charset=\"utf-8\"" | ""
        )
    });
    media_type.eq_ignore_ascii_case("application/json") && parameters
}

/// The deepest nesting, without regard to whether the rest is JSON.
fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<T: Type> Payload for Input<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        is_json_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ParseFromJSON> ParsePayload for Input<T> {
    const IS_REQUIRED: bool = T::IS_REQUIRED;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = body.take()?.into_bytes().await?;
        if bytes.is_empty() && !Self::IS_REQUIRED {
            return T::parse_from_json(None).map(Self).map_err(refused);
        }
        let (value, twice) = json::parse(&bytes).map_err(|error| {
            Problem::new(Code::MalformedRequest, causes::not_json(&error.to_string()))
        })?;
        if !twice.is_empty() {
            let problem = Problem::from(Code::InvalidField);
            let named =
                |problem: Problem, pointer| problem.with_field(pointer, FieldCode::Duplicate);
            return Err(twice.into_iter().fold(problem, named).into());
        }
        let head = request.data::<Head>();
        if let Some(operation) = head.and_then(|head| head.operation.as_ref()) {
            let wrong = schema::check_body(operation, &value);
            if !wrong.is_empty() {
                let problem = Problem::from(Code::InvalidField);
                return Err(wrong.into_iter().fold(problem, Problem::with_error).into());
            }
        }
        T::parse_from_json(Some(value)).map(Self).map_err(refused)
    }
}

fn refused<T: Type>(error: ParseError<T>) -> poem::Error {
    let reason = error.into_message();
    poem_openapi::error::ParseRequestPayloadError { reason }.into()
}

/// As poem-openapi has it for payloads, but a body that may be left out needs no
/// `Content-Type`.
impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Input<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: Self::CONTENT_TYPE,
                schema: Self::schema_ref(),
            }],
            required: <Self as ParsePayload>::IS_REQUIRED,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let raw = request.data::<RawBody>();
        let is_left_out = raw.is_none_or(|raw| raw.0.is_empty());
        match request.content_type() {
            Some(content_type) if !Self::check_content_type(content_type) => {
                let content_type = content_type.to_owned();
                Err(ContentTypeError::NotSupported { content_type }.into())
            }
            None if <Self as ParsePayload>::IS_REQUIRED || !is_left_out => {
                Err(ContentTypeError::ExpectContentType.into())
            }
            Some(_) | None => <Self as ParsePayload>::from_request(request, body).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_not_nesting() {
        assert_eq!(depth(br#"{"a": ["[[[", "\"[{", {}]}"#), 3);
        assert_eq!(depth(b"12"), 0);
        assert_eq!(depth(&[b'['; 40]), 40);
    }
}
