//! Which pages of other origins may call the API from a browser. It refuses to
//! let credentials be sent along: whoever calls shows a token.

use std::{collections::BTreeSet, convert::Infallible, str::FromStr};

use poem::{
    Request, Response,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
            ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
        },
    },
};

/// What a page may send, and what it may see of an answer.
const SENT: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Min-Position, \
     Traceparent",
);
const SEEN: HeaderValue = HeaderValue::from_static(
    "As-Of, ETag, Event-Position, Link, Location, RateLimit, RateLimit-Policy, Retry-After, \
     Server-Timing, \
     Traceresponse, X-Request-Id",
);
/// The longest that browsers keep what a preflight told.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// Origins with commas between, such as `https://example.org`; `*`: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeSet<String>);

impl Origins {
    /// What an answer to `request` says about who may read it; none where its
    /// origin may not.
    pub(crate) fn grant(&self, request: &Request) -> Option<HeaderValue> {
        let origin = request.headers().get(ORIGIN)?;
        if self.0.contains("*") {
            return Some(HeaderValue::from_static("*"));
        }
        let known = self.0.contains(origin.to_str().ok()?);
        known.then(|| origin.clone())
    }
}

impl FromStr for Origins {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let all = text
            .split(',')
            .map(|origin| origin.trim().trim_end_matches('/'));
        Ok(Self(
            all.filter(|one| !one.is_empty())
                .map(str::to_owned)
                .collect(),
        ))
    }
}

/// Whether a browser only asks what it may do.
pub(crate) fn is_preflight(request: &Request) -> bool {
    let asks = |name: HeaderName| request.headers().contains_key(name);
    *request.method() == Method::OPTIONS && asks(ORIGIN) && asks(ACCESS_CONTROL_REQUEST_METHOD)
}

/// `methods` that the path takes.
pub(crate) fn preflight(methods: &str) -> Response {
    let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
    let headers = response.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    response
}

pub(crate) fn dress(headers: &mut HeaderMap, granted: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, granted);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SEEN);
}
