//! Puts features and edge together, in the one right order. It refuses to hold
//! state: what features need is in the requests' data, put there by the caller
//! with `.data(…)` around the result.

use std::any::Any;

use poem::{
    Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Result, Route,
    http::StatusCode, middleware::CatchPanic,
};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService};
use serde_json::Value;

use crate::{
    contract::{self, ContractError},
    contract_parts,
    contract_rules::Rules,
    docs,
    layer::Edge,
    surface::Surface,
    system::System,
};

/// Of all operations, after what they are about.
const DESCRIPTION: &str = "\n\n\
Writes answer with what they made or changed, as its GET shows it, and with \
`Event-Position`; one's own next read has seen it. With `Prefer: return=minimal` (RFC 7240) \
the answer is short and does not wait for the read model: `id` and `version`, or 204 where \
there is no version. `Preference-Applied: return=minimal` marks it. Where the read model \
is too far behind to show what was written, or the one who asks does not see it, the \
answer is short, too: it was written. \
Refusals are problem documents (RFC 9457) with a stable `code`; each operation lists its own, \
and the page that `type` names says what to do. `Accept-Language` chooses the language of \
`title` and `detail` (`en`, `de`). [The guide](/docs/guide) tells how all of it is used.\n\n\
Answers may get new fields, and enumerations in them (`x-extensible-enum`) new values: ignore \
the ones you do not know. Requests are strict: what is unknown is refused.\n\n\
Null in a body says the same everywhere. Where something is made or replaced, an \
optional field that is null counts as left out. In a `PATCH`, null clears a field that \
may be missing, and what is left out stays. A field that must be there is never null: \
the answer is 422 and points at it.";

/// The features as one service, with what is asked about the server itself.
fn service<A: OpenApi>(features: A, rules: &Rules) -> OpenApiService<(System, A), ()> {
    OpenApiService::new((System, features), "Headwater", env!("CARGO_PKG_VERSION"))
        .description(format!(
            "{}{DESCRIPTION}\n\n{}",
            rules.about,
            contract_parts::headers_of_all()
        ))
        .license(
            LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"),
        )
        .contact(ContactObject::new().name("The operators of this server"))
}

/// The contract of `features`: what `openapi/openapi.json` holds.
pub fn document<A: OpenApi>(
    features: A,
    rules: &Rules,
) -> std::result::Result<Value, ContractError> {
    contract::document(&service(features, rules), rules)
}

/// Everything that is served. Wrap it with the data that extractors want:
/// `Arc<EdgeServices>`, and the features' own.
pub fn assemble<A: OpenApi + 'static>(
    features: A,
    rules: &Rules,
) -> std::result::Result<Edge<impl Endpoint<Output = Response>>, ContractError> {
    let service = service(features, rules);
    let document = contract::document(&service, rules)?;
    let surface = Surface::of(&document, rules);
    let surface = docs::paths().fold(surface, |surface, path| surface.with_page(&path));
    let doors = Doors {
        pages: docs::add(Route::new(), &document, rules.guide)?,
        features: service.into_endpoint(),
    };
    let panics = CatchPanic::new().with_handler(panicked);
    Ok(Edge::new(doors.with(panics), surface))
}

/// To the pages or, with every other path, to the features: a `Route` around
/// the features' own would match each path twice.
struct Doors<F> {
    pages: Route,
    features: F,
}

impl<F: Endpoint> Endpoint for Doors<F> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if docs::has(request.uri().path()) {
            return self.pages.call(request).await;
        }
        let answer = self.features.call(request).await?;
        Ok(answer.into_response())
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("a panic that says nothing");
    // Not a problem document yet: the edge makes it one, with the request id.
    tracing::error!(panic = text, "a handler panicked");
    Response::builder()
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .finish()
}
