//! The document and a page to read and try it, with poem-openapi's own copy of
//! Swagger UI: nothing comes from another host. It refuses inline scripts.

use hyper::body::Bytes;
use poem::{
    Body, IntoEndpoint, Response, Route,
    endpoint::make_sync,
    get,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use poem_openapi::OpenApiService;

pub(crate) const DOCUMENT_PATH: &str = "/openapi.json";
pub(crate) const DOCS_PATH: &str = "/docs";
pub(crate) const STYLE_PATH: &str = "/docs/swagger-ui.css";
pub(crate) const SCRIPT_PATH: &str = "/docs/swagger-ui.js";
pub(crate) const START_PATH: &str = "/docs/start.js";
/// All pages here, for the surface.
pub(crate) const PAGES: [&str; 5] = [
    DOCUMENT_PATH,
    DOCS_PATH,
    STYLE_PATH,
    SCRIPT_PATH,
    START_PATH,
];

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Headwater API</title>
<link rel=\"stylesheet\" href=\"/docs/swagger-ui.css\">
<div id=\"ui\"></div>
<script src=\"/docs/swagger-ui.js\"></script>
<script src=\"/docs/start.js\"></script>
</html>
";
const START: &str =
    "SwaggerUIBundle({ dom_id: '#ui', url: '/openapi.json', deepLinking: true });\n";
/// Swagger UI sets styles from its script and draws images from data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Adds the document and its pages.
pub(crate) fn add(route: Route, document: String) -> Route {
    let html = OpenApiService::new((), "", "").swagger_ui_html();
    let style = between(&html, "<style charset=\"UTF-8\">", "</style>");
    let script = between(&html, "<script charset=\"UTF-8\">", "</script>");
    route
        .at(DOCUMENT_PATH, page("application/json", document))
        .at(DOCS_PATH, page("text/html; charset=utf-8", PAGE.into()))
        .at(STYLE_PATH, page("text/css; charset=utf-8", style.into()))
        .at(
            SCRIPT_PATH,
            page("text/javascript; charset=utf-8", script.into()),
        )
        .at(
            START_PATH,
            page("text/javascript; charset=utf-8", START.into()),
        )
}

fn page(media_type: &'static str, text: String) -> impl IntoEndpoint<Endpoint: 'static> {
    let text = Bytes::from(text);
    get(make_sync(move |_| {
        Response::builder()
            .header(CONTENT_TYPE, media_type)
            .header(CACHE_CONTROL, "no-cache")
            .header(CONTENT_SECURITY_POLICY, POLICY)
            .body(Body::from_bytes(text.clone()))
    }))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_page_still_has_its_script_and_style() {
        let html = OpenApiService::new((), "", "").swagger_ui_html();
        assert!(between(&html, "<style charset=\"UTF-8\">", "</style>").len() > 10_000);
        let script = between(&html, "<script charset=\"UTF-8\">", "</script>");
        assert!(script.contains("SwaggerUIBundle"));
    }
}
