//! The layer around everything: a request id, the body under its caps, one
//! deadline, a problem document for every refusal, security headers, and one
//! log line. It refuses to log queries, headers and bodies.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, ETAG, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS},
    },
};
use uuid::{Builder, Uuid};

use crate::{
    admission::Admission,
    body,
    compression::Wanted,
    cors,
    identity::{self, now},
    limits::{self, Metered},
    paging::Here,
    problem::{Code, FieldError, PROBLEM_MEDIA_TYPE, Problem},
    services::Services,
    surface::{Found, Operation, Surface},
    trace_context::{TRACERESPONSE, TraceContext},
};

/// From the first byte of the head to the first byte of the answer.
pub const REQUEST_SECONDS_MAX: u64 = 30;
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Of an answer, about.
const HEADERS: usize = 13;
const NO_TEMPLATE: &str = "(no such path)";

/// Names the request in the log line and in the events it makes. It is always
/// drawn here: it scopes the receipts of commands without a key, so a client
/// must not choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

impl RequestId {
    fn draw() -> Self {
        let milliseconds = u64::try_from(now().0).unwrap_or_default();
        let random = rand::random();
        Self(Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }
}

impl<'a> poem::FromRequest<'a> for RequestId {
    async fn from_request(request: &'a Request, _: &mut poem::RequestBody) -> Result<Self> {
        let id = request.data::<Self>().copied();
        Ok(id.ok_or_else(|| Problem::internal("no request id in the request's data"))?)
    }
}

/// The outermost layer but for the requests' data.
pub struct Edge<E> {
    inner: E,
    surface: Arc<Surface>,
    admission: Admission,
    deadline: Duration,
}

impl<E: Endpoint> Edge<E> {
    pub fn new(inner: E, surface: Surface) -> Self {
        Self {
            inner,
            surface: Arc::new(surface),
            admission: Admission::new(),
            deadline: Duration::from_secs(REQUEST_SECONDS_MAX),
        }
    }

    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn answer(
        &self,
        mut request: Request,
        operation: Option<Arc<Operation>>,
    ) -> Result<Response, Problem> {
        if let Some(operation) = &operation {
            request.extensions_mut().insert(operation.clone());
        }
        let answered = self.inner.call(request).await;
        let response = match answered {
            Ok(response) => response.into_response(),
            Err(error) => return Err(named(error, operation.as_deref())),
        };
        let status = response.status();
        let refused = status.is_client_error() || status.is_server_error();
        match refused && response.content_type() != Some(PROBLEM_MEDIA_TYPE) {
            true => Err(poem::Error::from_status(status).into()),
            false => Ok(response),
        }
    }
}

impl<E: Endpoint> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let started = Instant::now();
        let id = RequestId::draw();
        let trace = TraceContext::of(request.headers(), id.0);
        request.extensions_mut().insert(id);
        let here = Here::of(request.uri());
        request.extensions_mut().insert(here);
        let method = request.method().clone();
        let (mut operation, mut allow) = (None, None);
        match self.surface.find(&method, request.uri().path()) {
            Found::Operation(found) => operation = Some(found.clone()),
            Found::Path(methods) => allow = Some(methods),
            Found::Nothing => {}
        }
        identity::look(&mut request);
        let account = identity::account_of(&request);
        let services = request.data::<Arc<Services>>();
        let granted = services.and_then(|services| services.origins.grant(&request));
        // A browser asks this by itself: nothing is done, and nothing is spent.
        let preflight = match &allow {
            Some(methods) if cors::is_preflight(&request) => Some(cors::preflight(methods)),
            _ => None,
        };
        let metered = match preflight {
            Some(_) => None,
            None => Metered::spend(&request).await,
        };
        let checked = metered.as_ref().map_or(Ok(()), Metered::check);
        let always = limits::always_answered(request.uri().path());
        let wanted = Wanted::of(&method, request.headers());
        let answer = async {
            if let Some(preflight) = preflight {
                return Ok(preflight);
            }
            if let Err(problem) = checked {
                body::refuse(&mut request).await;
                return Err(problem);
            }
            // Whoever sends slowly takes no place meanwhile.
            if !operation.as_ref().is_some_and(|o| o.streams_body) {
                body::read(&mut request).await?;
            }
            let _place = match always {
                true => None,
                false => Some(self.admission.enter().await?),
            };
            self.answer(request, operation.clone()).await
        };
        let answered = match tokio::time::timeout(self.deadline, answer).await {
            Ok(answered) => answered,
            Err(_) => Err(Problem::new(
                Code::DeadlineExceeded,
                "Try again, with the same Idempotency-Key: it may have been done.",
            )),
        };
        let (mut response, problem) = match answered {
            Ok(response) => (response, None),
            Err(mut problem) => {
                if let (Code::MethodNotAllowed, Some(methods)) = (problem.code(), &allow) {
                    problem = problem.allowing(methods);
                }
                (problem.respond(Some(id.0)), Some(problem))
            }
        };
        if let Some(wanted) = wanted {
            wanted.apply(&mut response).await;
        }
        dress(&mut response, &method, id, started);
        if let Some(trace) = trace.header() {
            response.headers_mut().insert(TRACERESPONSE, trace);
        }
        if let Some(metered) = metered {
            metered.dress(response.headers_mut());
        }
        if let Some(granted) = granted {
            cors::dress(response.headers_mut(), granted);
        }
        let path = operation.as_ref().map_or(NO_TEMPLATE, |o| o.path.as_str());
        let seen = Seen {
            method,
            path,
            status: response.status(),
            milliseconds: started.elapsed().as_micros() as f64 / 1_000.0,
            request_id: id.0,
            trace_id: trace.trace,
            account: account.map(|account| account.0),
        };
        seen.report(problem);
        Ok(response)
    }
}

/// A problem with the names that poem-openapi forgot: `param0` is the first
/// parameter of the path.
fn named(error: poem::Error, operation: Option<&Operation>) -> Problem {
    let parameter = error.downcast_ref::<poem_openapi::error::ParsePathError>();
    let index = parameter.and_then(|parameter| parameter.name.strip_prefix("param")?.parse().ok());
    let name = operation.and_then(|operation| operation.path_parameter(index?));
    let problem = Problem::from(error);
    let Some(name) = name else {
        return problem;
    };
    let detail = problem.errors().first().map(|error| error.detail.clone());
    let code = Problem::new(problem.code(), "Correct the listed parameters.");
    code.with_error(FieldError {
        pointer: None,
        parameter: Some(name.to_owned()),
        detail: detail.unwrap_or_default(),
    })
}

fn dress(response: &mut Response, method: &Method, id: RequestId, started: Instant) {
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    let mut text = Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(id.0.hyphenated().encode_lower(&mut text)) {
        headers.insert(X_REQUEST_ID, id);
    }
    let set = HeaderValue::from_static;
    headers.insert(X_CONTENT_TYPE_OPTIONS, set("nosniff"));
    headers.insert(REFERRER_POLICY, set("no-referrer"));
    headers.insert(VARY, set("Authorization, Origin, Accept-Encoding"));
    if let Ok(timing) = HeaderValue::try_from(server_timing(started.elapsed())) {
        headers.insert(SERVER_TIMING, timing);
    }
    // What is read and has a tag may be kept, and is asked for again each time.
    let kept = headers.contains_key(ETAG) && *method == Method::GET;
    let caching = match kept {
        true => "private, no-cache",
        false => "no-store",
    };
    headers.entry(CACHE_CONTROL).or_insert(set(caching));
}

/// Milliseconds, as <https://www.w3.org/TR/server-timing/> has it.
fn server_timing(took: Duration) -> String {
    let micros = took.as_micros();
    format!("total;dur={}.{:03}", micros / 1_000, micros % 1_000)
}

/// What the log is told of a request.
struct Seen<'a> {
    method: Method,
    path: &'a str,
    status: StatusCode,
    milliseconds: f64,
    request_id: Uuid,
    trace_id: Uuid,
    account: Option<Uuid>,
}

impl Seen<'_> {
    fn report(self, problem: Option<Problem>) {
        let Self {
            method,
            path,
            milliseconds,
            request_id,
            account,
            ..
        } = self;
        let (status, trace_id) = (self.status.as_u16(), self.trace_id.simple());
        let code = problem.as_ref().map_or("", |problem| problem.code().name());
        match problem.as_ref().and_then(Problem::cause) {
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
}
