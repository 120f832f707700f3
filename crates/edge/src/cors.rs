//! Which pages of other origins may call the API from a browser. It refuses to
//! let credentials be sent along: whoever calls shows a token.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

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
     Prefer, Traceparent",
);
const SEEN: HeaderValue = HeaderValue::from_static(
    "As-Of, Deprecation, ETag, Event-Position, Idempotent-Replayed, Link, Location, \
     Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, Sunset, \
     Traceresponse, X-Request-Id",
);
/// The longest that browsers keep what a preflight told.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// Any page that this machine serves, on any port: `http://localhost:5173`, and names
/// below `localhost` and all of 127.0.0.0/8 too (RFC 6761, 6.3; RFC 1122, 3.2.1.3).
pub const LOOPBACK: &str = "loopback";

/// Origins with commas between, such as `https://example.org`; `loopback`; `*`: any.
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
        let text = origin.to_str().ok()?;
        let here = || self.0.contains(LOOPBACK) && is_loopback(text);
        (self.0.contains(text) || here()).then(|| origin.clone())
    }
}

/// Whether an origin is of a host that only this machine can be: `scheme://host[:port]`.
fn is_loopback(origin: &str) -> bool {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    let Some(rest) = rest else {
        return false;
    };
    let (host, port) = match rest.rfind(']') {
        Some(end) => rest.split_at(end + 1),
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let is_port = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        digits && port.parse::<u16>().is_ok()
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) && is_loopback_host(host)
}

fn is_loopback_host(host: &str) -> bool {
    let literal = host.strip_prefix('[');
    if let Some(address) = literal.and_then(|literal| literal.strip_suffix(']')) {
        let address = address.parse::<Ipv6Addr>();
        return address.is_ok_and(|address| address.to_canonical().is_loopback());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(fits)
    };
    let names = host.strip_suffix("localhost");
    names.is_some_and(|names| match names.strip_suffix('.') {
        Some(names) => names.split('.').all(is_label),
        None => names.is_empty(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(origins: &str, origin: &str) -> bool {
        let Ok(origins) = origins.parse::<Origins>();
        let request = Request::builder().header(ORIGIN, origin).finish();
        origins.grant(&request).is_some()
    }

    #[test]
    fn loopback_is_any_page_of_this_machine() {
        for here in [
            "http://localhost:5173",
            "https://127.0.0.1",
            "http://[::1]:8080",
            "http://localhost:65535",
            "http://app.localhost:3000",
            "https://a.b-c.localhost",
            "http://127.0.0.2:1",
            "http://127.255.255.254",
            "http://[::ffff:7f00:1]:80",
        ] {
            assert!(granted("loopback", here), "{here}");
            assert!(granted("https://example.org, loopback", here), "{here}");
            assert!(!granted("https://example.org", here), "{here}");
        }
        for elsewhere in [
            "http://localhost.example.org",
            "http://localhost:",
            "http://localhost:80.example.org",
            "http://127.0.0.1@example.org",
            "http://example.org",
            "http://localhost:65536",
            "http://localhost:99999999999",
            "http://localhost:+80",
            "http://.localhost",
            "http://a..localhost",
            "http://a@b.localhost",
            "http://example.org/.localhost",
            "http://applocalhost",
            "http://app.localhost.example.org",
            "http://128.0.0.1",
            "http://127.0.0.1.example.org",
            "http://127.1",
            "http://[::2]",
            "http://[::1",
            "http://[::1]x",
            "http://::1",
            "ftp://localhost",
            "null",
            "localhost",
        ] {
            assert!(!granted("loopback", elsewhere), "{elsewhere}");
        }
    }
}
