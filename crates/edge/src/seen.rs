//! What the log and the trace are told of a request. It refuses to tell queries,
//! headers, bodies and addresses; of a path it tells the template.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use kernel::{Span, SpanKind};
use poem::http::{Method, StatusCode};
use uuid::Uuid;

use crate::{
    counted,
    problem::{Code, Problem},
    repeated::Repeated,
    trace_context::TraceContext,
};

const NO_TEMPLATE: &str = "(no such path)";
/// Those of RFC 9110 and RFC 5789: any other one is what the client made up.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
];

static OVERLOADS: Repeated = Repeated::new();

pub(crate) struct Seen<'a> {
    pub method: &'a Method,
    /// Of the operation; 0 where there is none.
    pub number: usize,
    /// The template of the path, where there is one.
    pub route: Option<&'a str>,
    pub status: StatusCode,
    pub took: Duration,
    pub request_id: Uuid,
    pub trace: TraceContext,
    pub account: Option<Uuid>,
    pub problem: Option<Problem>,
}

impl Seen<'_> {
    pub fn report(&self) {
        let Self {
            method,
            request_id,
            account,
            ..
        } = self;
        let path = self.route.unwrap_or(NO_TEMPLATE);
        let milliseconds = self.took.as_micros() as f64 / 1_000.0;
        let (status, trace_id) = (self.status.as_u16(), self.trace.trace.simple());
        let code = self.code().unwrap_or_default();
        let known = self.known_method().unwrap_or("_OTHER");
        counted::count(self.number, path, (known, status, code), self.took);
        let overloaded = self.problem.as_ref().map(Problem::code) == Some(Code::Overloaded);
        match self.problem.as_ref().and_then(Problem::cause) {
            // Lines for each would make it more than it is.
            cause if overloaded => {
                if let Some((refused, since)) = OVERLOADS.one_more() {
                    let seconds = since.map(|since| since.as_secs());
                    tracing::warn!(refused, seconds, "refused, since too much is going on");
                }
                let cause = cause.map(ToString::to_string);
                tracing::debug!(
                    %method, path, status, code, milliseconds, %request_id, %trace_id, cause,
                    "too much is going on"
                );
            }
            Some(cause) if status >= 500 => tracing::error!(
                %method, path, status, code, milliseconds, %request_id, %trace_id, %cause,
                "request failed"
            ),
            _ if status >= 500 => tracing::warn!(
                %method, path, status, code, milliseconds, %request_id, %trace_id,
                "request failed"
            ),
            // Who was refused what is for those who watch over it.
            _ if matches!(status, 401 | 403) => tracing::info!(
                %method, path, status, code, ?account, %request_id, %trace_id, "refused"
            ),
            _ => tracing::debug!(
                %method, path, status, code, milliseconds, %request_id, %trace_id, "request"
            ),
        }
    }

    /// By the semantic conventions for HTTP servers. Whose request it was is for
    /// the log alone.
    pub fn span(&self) -> Span {
        let method = self.known_method();
        let name = match (&method, self.route) {
            (Some(method), Some(route)) => Cow::from(format!("{method} {route}")),
            (Some(method), None) => (*method).into(),
            (None, _) => "HTTP".into(),
        };
        let method = method.unwrap_or("_OTHER").to_owned();
        let mut attributes = vec![
            ("http.request.method", method.into()),
            (
                "http.response.status_code",
                i64::from(self.status.as_u16()).into(),
            ),
        ];
        if let Some(route) = self.route {
            attributes.push(("http.route", route.to_owned().into()));
        }
        if let Some(code) = self.code() {
            attributes.push(("error.type", code.into()));
        }
        let ended = SystemTime::now();
        Span {
            context: self.trace.span(),
            parent: self.trace.parent,
            kind: SpanKind::Server,
            name,
            started: ended.checked_sub(self.took).unwrap_or(ended),
            ended,
            attributes,
            failed: self.status.is_server_error(),
        }
    }

    fn known_method(&self) -> Option<&'static str> {
        let method = self.method.as_str();
        METHODS.into_iter().find(|known| *known == method)
    }

    fn code(&self) -> Option<&'static str> {
        let problem = self.problem.as_ref();
        problem.map(|problem| problem.code().name())
    }
}

#[cfg(test)]
mod tests {
    use kernel::SpanValue;
    use poem::http::HeaderMap;

    use super::*;

    #[test]
    fn a_span_names_no_method_that_a_client_made_up() {
        let made_up = Method::from_bytes(b"SECRET").unwrap_or_default();
        for (method, route, name, told) in [
            (Method::GET, Some("/v1/{id}"), "GET /v1/{id}", "GET"),
            (Method::GET, None, "GET", "GET"),
            (made_up, None, "HTTP", "_OTHER"),
        ] {
            let id = Uuid::from_u128(0x11);
            let seen = Seen {
                method: &method,
                number: 0,
                route,
                status: StatusCode::NOT_FOUND,
                took: Duration::ZERO,
                request_id: id,
                trace: TraceContext::of(&HeaderMap::new(), id, None, || false),
                account: None,
                problem: None,
            };
            let span = seen.span();
            assert_eq!(span.name, name);
            let told = SpanValue::from(told);
            assert_eq!(span.attributes[0], ("http.request.method", told));
        }
    }
}
