//! The layer around everything: a request id, the body under its caps, one
//! deadline, and a problem document for every refusal. It refuses to dress the
//! answer: that is `asked`'s.

use std::{pin::pin, sync::Arc, time::Duration};

use poem::{Endpoint, IntoResponse, Request, Response, Result, http::Method};

use crate::{
    admission::Admission,
    asked::Asked,
    body, limits,
    problem::{Code, PROBLEM_MEDIA_TYPE, Problem},
    surface::{Operation, Surface},
};

/// From the first byte of the head to the first byte of the answer.
pub const REQUEST_SECONDS_MAX: u64 = 30;

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

    /// In turn: what a browser asks by itself, what is too much, the body, a place,
    /// the handler.
    async fn answer(&self, mut request: Request, asked: &mut Asked) -> Result<Response, Problem> {
        if let Some(preflight) = asked.preflight.take() {
            return Ok(preflight);
        }
        let operation = match asked.check() {
            Ok(operation) => operation,
            Err(problem) => {
                body::refuse(&mut request).await;
                return Err(problem);
            }
        };
        // The answer is made, and its body left out: the headers are those of GET.
        if *request.method() == Method::HEAD {
            request.set_method(Method::GET);
        }
        // Whoever sends slowly takes no place meanwhile.
        if !operation.streams_body {
            body::read(&mut request).await?;
            asked.charge_body(&request).await?;
        }
        let _place = match limits::always_answered(request.uri().path()) {
            true => None,
            false => Some(self.admission.enter().await?),
        };
        self.handle(request, &operation).await
    }

    async fn handle(&self, request: Request, operation: &Operation) -> Result<Response, Problem> {
        let answered = self.inner.call(request).await;
        let response = match answered {
            Ok(response) => response.into_response(),
            Err(error) => return Err(named(error, operation)),
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
        let mut asked = Asked::look(&mut request, &self.surface).await;
        let trace = asked.trace;
        let answered = {
            // Stays where it is: it is large, and would be copied into each that waits.
            let answer = pin!(self.answer(request, &mut asked));
            tokio::time::timeout(self.deadline, trace.around(answer)).await
        };
        let answered = answered.unwrap_or_else(|_| Err(Code::DeadlineExceeded.into()));
        Ok(asked.dress(answered).await)
    }
}

/// A problem with the names that poem-openapi forgot: `param0` is the first
/// parameter of the path.
fn named(error: poem::Error, operation: &Operation) -> Problem {
    let parameter = error.downcast_ref::<poem_openapi::error::ParsePathError>();
    let index = parameter.and_then(|parameter| parameter.name.strip_prefix("param")?.parse().ok());
    let name = index.and_then(|index| operation.path_parameter(index));
    let problem = Problem::from(error);
    let (Some(name), Some(error)) = (name, problem.errors().first()) else {
        return problem;
    };
    Problem::invalid_parameter(name, error.wrong.clone())
}
