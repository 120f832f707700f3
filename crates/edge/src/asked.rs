//! What is known of a request before it is answered, and what of that its answer
//! says: who asks for what, in which trace, and what it costs them. It refuses to
//! answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{AccountId, Spans};
use poem::{
    Request, Response,
    http::{
        HeaderName, HeaderValue, Method,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, ETAG,
            REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
};
use uuid::Uuid;

use crate::{
    acceptance,
    answers::EVENT_POSITION,
    caller::Caller,
    causes,
    compression::{self, Wanted},
    cors,
    header_text::HeaderText,
    identity,
    language::{Language, Text},
    limits::{self, Metered},
    positions::SealedPositions,
    problem::{Code, FieldError, Problem},
    query,
    request::{Head, RequestId, X_REQUEST_ID},
    seen::Seen,
    server::{host::Unaddressed, unread},
    services::EdgeServices,
    surface::{Found, Operation, Surface},
    target,
    trace_context::{TRACERESPONSE, TraceContext},
};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const PADDING: HeaderName = HeaderName::from_static("padding");
const PADDING_BYTES_MAX: usize = 64;

pub(crate) struct Asked {
    pub id: RequestId,
    started: Instant,
    pub trace: TraceContext,
    method: Method,
    pub operation: Option<Arc<Operation>>,
    /// What a path takes that does not take this method.
    allow: Option<String>,
    account: Option<AccountId>,
    spans: Option<Arc<dyn Spans>>,
    /// Who may read the answer beside our own pages.
    granted: Option<HeaderValue>,
    wanted: Option<Wanted>,
    takes_json: bool,
    /// The language of a refusal.
    language: Language,
    has_too_long_a_head: bool,
    /// What is wrong with whom or what it asks for.
    malformed: Option<Text>,
    /// What is wrong with the parameters of its query.
    wrong_query: Vec<FieldError>,
    /// What a browser asks by itself.
    pub preflight: Option<Response>,
    metered: Option<Metered>,
    positions: Option<Arc<SealedPositions>>,
}

impl Asked {
    /// Reads the head, spends what it costs, and leaves in the request's data what
    /// handlers ask for.
    pub async fn look(request: &mut Request, surface: &Surface) -> Self {
        let started = Instant::now();
        let id = RequestId::draw();
        let method = request.method().clone();
        let addressed = request.data::<Unaddressed>().map(|wrong| wrong.0);
        // First of all: what follows looks at the path.
        let malformed = addressed.or(target::normalise(request).err());
        let (mut operation, mut allow) = (None, None);
        match surface.find(&method, request.uri().path()) {
            Found::Operation(found) => operation = Some(found.clone()),
            Found::Path(methods) => allow = Some(methods),
            Found::Nothing => {}
        }
        let asker = identity::look(request);
        let account = asker.account();
        let services = EdgeServices::of(request);
        let spans = services.and_then(|services| services.spans.clone());
        let is_known = || account.is_some() || Caller::is_behind_proxy(request);
        let preflight = match &allow {
            Some(methods) if malformed.is_none() && cors::is_preflight(request) => {
                Some(cors::preflight(methods))
            }
            _ => None,
        };
        let takes_token = operation
            .as_ref()
            .is_none_or(|operation| operation.takes_token);
        let asked = Self {
            id,
            started,
            trace: TraceContext::of(request.headers(), id.0, spans.as_deref(), is_known),
            account,
            granted: services.and_then(|services| services.origins.grant(request)),
            wanted: Wanted::of(&method, request.headers()),
            takes_json: acceptance::takes_json(request.headers()),
            language: Language::of(request.headers()),
            has_too_long_a_head: unread::has_too_long_a_head(request),
            malformed,
            wrong_query: match &operation {
                Some(operation) => query::check(request, operation),
                None => Vec::new(),
            },
            metered: match preflight {
                // Nothing is done, and nothing is spent.
                Some(_) => None,
                // Whoever signs in, or registers, pays as a stranger whatever they send.
                None => Metered::spend(request, account.filter(|_| takes_token)).await,
            },
            positions: services.map(|services| services.positions.clone()),
            preflight,
            method,
            operation: operation.clone(),
            allow,
            spans,
        };
        let head = Head {
            id,
            asker,
            uri: request.uri().clone(),
            operation,
        };
        request.extensions_mut().insert(head);
        if let Some(metered) = &asked.metered {
            request.extensions_mut().insert(metered.clone());
        }
        asked
    }

    /// What they ask for, if it is there, made as they want it, and not too much.
    pub fn check(&self) -> Result<Arc<Operation>, Problem> {
        let pays_later = self.operation.as_ref().is_some_and(|o| o.pays_later);
        if !pays_later {
            self.metered.as_ref().map_or(Ok(()), Metered::check)?;
        }
        if self.has_too_long_a_head {
            return Err(unread::too_long_a_head());
        }
        if let Some(detail) = self.malformed {
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
        // Routers take more paths for one of theirs, such as those with empty parts.
        let operation = self.operation.clone().ok_or_else(|| self.nothing())?;
        let of_contract = operation.id.is_some() && !limits::always_answered(&operation.path);
        if of_contract && !self.takes_json {
            return Err(Code::NotAcceptable.into());
        }
        match self.wrong_query.is_empty() {
            true => Ok(operation),
            false => Err(query::problem(&self.wrong_query)),
        }
    }

    /// Spends what its body costs, which is read.
    pub async fn charge_body(&mut self, request: &Request) -> Result<(), Problem> {
        limits::charge_body(request, self.account, self.metered.as_mut()).await
    }

    fn nothing(&self) -> Problem {
        match &self.allow {
            Some(methods) => Problem::from(Code::MethodNotAllowed).allowing(methods),
            None => causes::nothing_there(),
        }
    }

    /// Handlers say where a write stands, and clients have it sealed.
    fn seal_position(&self, response: &mut Response) {
        let Some(plain) = response.headers_mut().remove(EVENT_POSITION) else {
            return;
        };
        let position = plain.to_str().ok().and_then(|text| text.parse().ok());
        let sealed = position.and_then(|at| self.positions.as_ref()?.one(at));
        if let Some(sealed) = sealed {
            response.headers_mut().insert(EVENT_POSITION, sealed);
        }
    }

    /// Puts on what every answer wears, and tells the log and the trace of it.
    pub async fn dress(&mut self, answered: Result<Response, Problem>) -> Response {
        let (mut response, problem) = match answered {
            Ok(response) => (response, None),
            Err(problem) => {
                let response = problem.respond(Some(self.id.0), self.language);
                (response, Some(problem))
            }
        };
        self.seal_position(&mut response);
        if let Some(wanted) = self.wanted.take() {
            wanted.apply(&mut response).await;
            if self.account.is_some() && response.headers().contains_key(CONTENT_ENCODING) {
                pad(&mut response);
            }
        }
        if self.method == Method::HEAD {
            compression::strip(&mut response).await;
        }
        let took = self.started.elapsed();
        dress(&mut response, &self.method, self.id, took);
        let headers = response.headers_mut();
        if let Some(trace) = self.trace.header() {
            headers.insert(TRACERESPONSE, trace);
        }
        if let Some(metered) = &self.metered {
            metered.dress(headers);
        }
        if let Some(deprecation) = self.operation.as_ref().and_then(|o| o.deprecation.as_ref()) {
            deprecation.dress(headers);
        }
        if let Some(granted) = self.granted.take() {
            cors::dress(headers, granted);
        }
        let seen = Seen {
            method: &self.method,
            number: self.operation.as_ref().map_or(0, |o| o.number),
            route: self.operation.as_ref().map(|o| o.path.as_str()),
            status: response.status(),
            took,
            request_id: self.id.0,
            trace: self.trace,
            account: self.account.map(|account| account.0),
            problem,
        };
        seen.report();
        if let Some(spans) = self.spans.as_ref().filter(|_| self.trace.sampled) {
            spans.record(seen.span());
        }
        response
    }
}

/// What one reader sees has texts of several people, and how small they become together
/// tells of what is common to them (BREACH): so its length is not told exactly.
fn pad(response: &mut Response) {
    // Each of these has 8 bits in HTTP/2, too (RFC 7541, Appendix B).
    const PADS: &str = "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";
    let length = rand::random_range(0..=PADDING_BYTES_MAX);
    let mut padding = HeaderValue::from_static(&PADS[..length]);
    // Never indexed (RFC 7541, 7.1.3): a length that was sent before would have one byte.
    padding.set_sensitive(true);
    response.headers_mut().insert(PADDING, padding);
}

fn dress(response: &mut Response, method: &Method, id: RequestId, took: Duration) {
    let headers = response.headers_mut();
    let mut text = Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(id.0.hyphenated().encode_lower(&mut text)) {
        headers.insert(X_REQUEST_ID, id);
    }
    let set = HeaderValue::from_static;
    headers.insert(X_CONTENT_TYPE_OPTIONS, set("nosniff"));
    headers.insert(REFERRER_POLICY, set("no-referrer"));
    // Pages of /docs have a policy of their own.
    let policy = headers.entry(CONTENT_SECURITY_POLICY);
    policy.or_insert(set("default-src 'none'; frame-ancestors 'none'"));
    // Of loads without CORS alone, such as images and scripts: pages that CORS_ORIGINS
    // names ask with CORS.
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, set("same-origin"));
    headers.insert(
        VARY,
        set(match headers.contains_key(CONTENT_LANGUAGE) {
            true => "Authorization, Origin, Accept-Encoding, Accept-Language",
            false => "Authorization, Origin, Accept-Encoding",
        }),
    );
    if let Some(timing) = server_timing(took).value() {
        headers.insert(SERVER_TIMING, timing);
    }
    // What is read and has a tag may be kept, and is asked for again each time.
    let reads = *method == Method::GET || *method == Method::HEAD;
    let kept = headers.contains_key(ETAG) && reads;
    let caching = match kept {
        true => "private, no-cache",
        false => "no-store",
    };
    headers.entry(CACHE_CONTROL).or_insert(set(caching));
}

/// Milliseconds, as <https://www.w3.org/TR/server-timing/> has it; the tens alone: more
/// would tell strangers what was found in a cache, or was there at all.
fn server_timing(took: Duration) -> HeaderText<36> {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    HeaderText::new("total;dur=").number(milliseconds / 10 * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_in_tens_of_milliseconds() {
        for (micros, told) in [
            (0, "total;dur=0"),
            (9_999, "total;dur=0"),
            (10_000, "total;dur=10"),
            (30_019_007, "total;dur=30010"),
        ] {
            let timing = server_timing(Duration::from_micros(micros));
            assert_eq!(timing.as_str(), told);
        }
    }
}
