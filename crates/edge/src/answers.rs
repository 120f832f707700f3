//! What handlers answer with: a body and the headers that say how fresh it is,
//! or where its effect stands. The contract lists these headers. It refuses
//! to build problems.

use kernel::Position;
use poem::{
    IntoResponse, Response,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, ETAG, LINK, LOCATION},
    },
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};

use crate::{
    preconditions::{IfNoneMatch, etag, page_etag, representation_digest, representation_etag},
    preferences::MINIMAL,
};

pub const EVENT_POSITION: HeaderName = HeaderName::from_static("event-position");
pub const AS_OF: HeaderName = HeaderName::from_static("as-of");
/// Whether an idempotency key gave what was answered before.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Of an answer, about: its own, and what every answer wears.
const HEADERS: usize = 16;

/// An answer to a read: 200, or 304 where the reader has this version.
pub struct Found<T> {
    body: Body<T>,
    headers: Headers,
    tagged: Option<(Tagged, IfNoneMatch)>,
}

/// What the tag of an answer is made of, beside its bytes.
enum Tagged {
    Version(u64),
    Page,
}

enum Body<T> {
    Value(T),
    /// As `T` would be written.
    Written(Vec<u8>),
    Nothing,
}

impl<T> Found<T> {
    pub fn new(body: T) -> Self {
        Self::with(Body::Value(body))
    }

    /// An answer that is written already, as `T` would be.
    pub fn written(bytes: Vec<u8>) -> Self {
        Self::with(Body::Written(bytes))
    }

    /// 304: the reader has what `tag` names.
    pub fn known() -> Self {
        Self::with(Body::Nothing)
    }

    fn with(body: Body<T>) -> Self {
        Self {
            body,
            headers: Headers::default(),
            tagged: None,
        }
    }

    /// How far the read model was.
    #[must_use]
    pub fn as_of(mut self, positions: Option<HeaderValue>) -> Self {
        self.headers.0.extend(positions.map(|at| (AS_OF, at)));
        self
    }

    #[must_use]
    pub fn tag(mut self, tag: Option<HeaderValue>) -> Self {
        self.headers.0.extend(tag.map(|tag| (ETAG, tag)));
        self
    }

    #[must_use]
    pub fn version(mut self, version: u64, known: &IfNoneMatch) -> Self {
        self.tagged = Some((Tagged::Version(version), known.clone()));
        self
    }

    /// A page with an `ETag` of its bytes, which is therefore strong. `As-Of` is a header
    /// and a cursor is sealed from its key alone, so the tag changes only with what the
    /// page shows.
    #[must_use]
    pub fn page(mut self, known: &IfNoneMatch) -> Self {
        self.tagged = Some((Tagged::Page, known.clone()));
        self
    }

    /// As `paging::Here::links` gives them.
    #[must_use]
    pub fn links(mut self, links: &str) -> Self {
        self.headers.put(LINK, links);
        self
    }
}

/// An answer to a write that gives something back: 200; 204 where the short answer has
/// nothing.
pub struct Changed<T>(Effect<T>);

/// An answer to a write that made something: 201 with `Location`.
pub struct Created<T>(Effect<T>);

/// An answer to a write that gives nothing back: 204.
pub struct Done(Effect<()>);

struct Effect<T> {
    body: Body<T>,
    headers: Headers,
}

/// The headers of both: the position of the event, whether the write is a replay, and the
/// `ETag` of the result.
macro_rules! effects {
    ($($answer:ident),+) => {$(
        impl<T> $answer<T> {
            #[must_use]
            pub fn at(mut self, position: Option<Position>) -> Self {
                self.0.at(position);
                self
            }

            #[must_use]
            pub fn replayed(mut self, again: bool) -> Self {
                self.0.replayed(again);
                self
            }

            #[must_use]
            pub fn version(mut self, version: u64) -> Self {
                self.0.headers.put(ETAG, &etag(version));
                self
            }

            #[must_use]
            pub fn tag(mut self, tag: Option<HeaderValue>) -> Self {
                self.0.headers.0.extend(tag.map(|tag| (ETAG, tag)));
                self
            }
        }
    )+};
}

effects!(Changed, Created);

impl<T> Changed<T> {
    pub fn new(body: T) -> Self {
        Self(Effect::new(Body::Value(body)))
    }

    /// An answer that is written already, as `T` would be.
    pub fn written(bytes: Vec<u8>) -> Self {
        Self(Effect::new(Body::Written(bytes)))
    }

    /// The short answer (RFC 7240, `return=minimal`), which has nothing or `body`.
    pub fn short<S: ToJSON>(body: Option<&S>) -> Self {
        Self(Effect::short(body))
    }

    #[must_use]
    pub fn with(mut self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        self.0.headers.0.extend(headers);
        self
    }
}

impl<T> Created<T> {
    /// `location` is a path such as `/v1/posts/<id>`.
    pub fn new(location: &str, body: T) -> Self {
        Self(Effect::new(Body::Value(body)).made(location))
    }

    /// An answer that is written already, as `T` would be.
    pub fn written(location: &str, bytes: Vec<u8>) -> Self {
        Self(Effect::new(Body::Written(bytes)).made(location))
    }

    /// The short answer (RFC 7240, `return=minimal`).
    pub fn short<S: ToJSON>(location: &str, body: &S) -> Self {
        Self(Effect::short(Some(body)).made(location))
    }
}

impl Done {
    /// `position`: of the receipt.
    pub fn at(position: Option<Position>) -> Self {
        let mut effect = Effect::new(Body::Nothing);
        effect.at(position);
        Self(effect)
    }

    #[must_use]
    pub fn replayed(mut self, again: bool) -> Self {
        self.0.replayed(again);
        self
    }
}

impl<T> Effect<T> {
    fn new(body: Body<T>) -> Self {
        let headers = Headers::default();
        Self { body, headers }
    }

    fn short<S: ToJSON>(body: Option<&S>) -> Self {
        let mut effect = Self::new(match body {
            Some(body) => Body::Written(bytes(body)),
            None => Body::Nothing,
        });
        effect.headers.put(PREFERENCE_APPLIED, MINIMAL);
        effect
    }

    fn made(mut self, location: &str) -> Self {
        self.headers.put(LOCATION, location);
        self
    }

    fn at(&mut self, position: Option<Position>) {
        if let Some(position) = position {
            self.headers.put(EVENT_POSITION, &position.to_string());
        }
    }

    fn replayed(&mut self, again: bool) {
        if again {
            self.headers.put(IDEMPOTENT_REPLAYED, "true");
        }
    }
}

impl<T: ToJSON> Effect<T> {
    fn respond(self, status: StatusCode) -> Response {
        let body = match self.body {
            Body::Value(body) => bytes(&body),
            Body::Written(bytes) => bytes,
            Body::Nothing => return self.headers.respond(StatusCode::NO_CONTENT, None),
        };
        self.headers.respond(status, Some(body))
    }
}

#[derive(Default)]
struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// What cannot be a header's value is left out.
    fn put(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.push((name, value));
        }
    }

    /// Without what the reader has from before (RFC 9110, 15.4.5).
    fn not_modified(mut self) -> Response {
        self.0.retain(|(name, _)| name != LINK);
        self.respond(StatusCode::NOT_MODIFIED, None)
    }

    fn respond(self, status: StatusCode, body: Option<Vec<u8>>) -> Response {
        let has_body = body.is_some();
        let mut response = match body {
            None => Response::builder().finish(),
            Some(bytes) => Response::builder().body(bytes),
        };
        response.set_status(status);
        let headers = response.headers_mut();
        headers.reserve(HEADERS);
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.extend(self.0);
        response
    }
}

fn bytes<T: ToJSON>(body: &T) -> Vec<u8> {
    serde_json::to_vec(&body.to_json()).unwrap_or_default()
}

impl<T: ToJSON + Send> IntoResponse for Found<T> {
    fn into_response(mut self) -> Response {
        let bytes = match self.body {
            Body::Value(body) => bytes(&body),
            Body::Written(bytes) => bytes,
            Body::Nothing => return self.headers.not_modified(),
        };
        if let Some((tagged, known)) = self.tagged {
            let tag = match tagged {
                Tagged::Version(version) => representation_etag(version, &bytes),
                Tagged::Page => page_etag(representation_digest(&bytes)),
            };
            self.headers.put(ETAG, &tag);
            if known.has(&tag) {
                return self.headers.not_modified();
            }
        }
        self.headers.respond(StatusCode::OK, Some(bytes))
    }
}

impl<T: ToJSON + Send> IntoResponse for Changed<T> {
    fn into_response(self) -> Response {
        self.0.respond(StatusCode::OK)
    }
}

impl<T: ToJSON + Send> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        self.0.respond(StatusCode::CREATED)
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        self.0.headers.respond(StatusCode::NO_CONTENT, None)
    }
}

const WRITES: &[&str] = &["Event-Position", "Idempotent-Replayed"];

impl<T: ToJSON> ApiResponse for Found<T> {
    fn meta() -> MetaResponses {
        // `contract` keeps `ETag` and 304 where the operation takes
        // `If-None-Match`, and `Link` where it takes a cursor.
        let found = &["As-Of", "ETag", "Link"];
        let responses = vec![
            response(200, "What was asked for.", Some(T::schema_ref()), found),
            response(304, "What you have.", None, &["As-Of", "ETag"]),
        ];
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ToJSON> ApiResponse for Changed<T> {
    fn meta() -> MetaResponses {
        let headers = &["Event-Position", "Idempotent-Replayed", "ETag"];
        let changed = response(200, "As it is now.", Some(T::schema_ref()), headers);
        MetaResponses {
            responses: vec![changed],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ToJSON> ApiResponse for Created<T> {
    fn meta() -> MetaResponses {
        let headers = &["Event-Position", "Idempotent-Replayed", "ETag", "Location"];
        let created = response(201, "What was made.", Some(T::schema_ref()), headers);
        MetaResponses {
            responses: vec![created],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl ApiResponse for Done {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![response(204, "Done, now or before.", None, WRITES)],
        }
    }

    fn register(_: &mut Registry) {}
}

fn response(
    status: u16,
    description: &'static str,
    schema: Option<MetaSchemaRef>,
    headers: &[&str],
) -> MetaResponse {
    let content = schema.map(|schema| MetaMediaType {
        content_type: "application/json",
        schema,
    });
    let header = |name: &&str| MetaHeader {
        name: (*name).to_owned(),
        description: None,
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    };
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: content.into_iter().collect(),
        headers: headers.iter().map(header).collect(),
    }
}
