//! The document, a page to read and try it, and a page for each problem code; with poem-openapi's own copy of
//! Swagger UI: nothing comes from another host. It refuses inline scripts.

use hyper::body::Bytes;
use poem::{
    Body, IntoEndpoint, Response, Route,
    endpoint::make_sync,
    get,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG},
    },
};
use poem_openapi::OpenApiService;

use crate::{
    compression::Forms,
    preconditions::{IfNoneMatch, representation_digest},
    problem::{self, Code, Problem},
};

pub(crate) const DOCUMENT_PATH: &str = "/openapi.json";
pub(crate) const DOCS_PATH: &str = "/docs";
pub(crate) const STYLE_PATH: &str = "/docs/swagger-ui.css";
pub(crate) const SCRIPT_PATH: &str = "/docs/swagger-ui.js";
pub(crate) const START_PATH: &str = "/docs/start.js";
const PAGES: [&str; 5] = [
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

/// The paths of all pages here: the document's, and one for each problem code.
pub(crate) fn paths() -> impl Iterator<Item = String> {
    let problems = Code::ALL.iter().map(|code| problem_path(*code));
    PAGES.iter().map(|path| (*path).to_owned()).chain(problems)
}

/// Whether a page here answers `path`.
pub(crate) fn has(path: &str) -> bool {
    PAGES.contains(&path) || path.starts_with(problem::PAGES)
}

fn problem_path(code: Code) -> String {
    format!("{}{}", problem::PAGES, code.name())
}

/// What a code means and what to do, for who follows `type`.
fn problem_page(code: Code) -> String {
    let mut marks = ["<code>", "</code>"].iter().cycle();
    let advice = code.advice().split('`');
    let advice: Vec<&str> = advice.collect();
    let mut text = String::new();
    for (index, part) in advice.iter().enumerate() {
        if index > 0 {
            text.push_str(marks.next().unwrap_or(&""));
        }
        text.push_str(part);
    }
    let (name, title, status) = (code.name(), code.title(), code.status());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{name}: {title}</title>\n\
         <h1>{title}</h1>\n<p><code>{name}</code>, status {status}</p>\n<p>{text}</p>\n\
         <p><a href=\"{DOCS_PATH}\">The API</a></p>\n</html>\n"
    )
}

/// Adds the document and its pages.
pub(crate) fn add(route: Route, document: String) -> Route {
    let html = OpenApiService::new((), "", "").swagger_ui_html();
    let style = between(&html, "<style charset=\"UTF-8\">", "</style>");
    let script = between(&html, "<script charset=\"UTF-8\">", "</script>");
    let route = Code::ALL.iter().fold(route, |route, code| {
        let html = problem_page(*code);
        route.at(problem_path(*code), page("text/html; charset=utf-8", html))
    });
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
    let (text, forms) = (Bytes::from(text), Forms::default());
    let tag = format!("\"{}\"", representation_digest(&text));
    get(make_sync(move |request| {
        let known = IfNoneMatch::parse(&request)?.has(&tag);
        let answer = Response::builder()
            .header(CACHE_CONTROL, "no-cache")
            .header(ETAG, &tag)
            .extension(forms.clone());
        Ok::<_, Problem>(match known {
            true => answer.status(StatusCode::NOT_MODIFIED).finish(),
            false => answer
                .header(CONTENT_TYPE, media_type)
                .header(CONTENT_SECURITY_POLICY, POLICY)
                .body(Body::from_bytes(text.clone())),
        })
    }))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(found, _)| found)
}

#[cfg(test)]
mod tests {
    use poem::{
        Endpoint, Request,
        http::{Uri, header::IF_NONE_MATCH},
    };

    use super::*;

    #[tokio::test]
    async fn a_page_is_sent_again_only_where_it_is_another() {
        let pages = add(Route::new(), "{}".into());
        let ask = async |known: Option<&str>| {
            let mut request = Request::builder().uri(Uri::from_static(SCRIPT_PATH));
            if let Some(known) = known {
                request = request.header(IF_NONE_MATCH, known);
            }
            pages.get_response(request.finish()).await
        };
        let page = ask(None).await;
        let tag = page.header(ETAG.as_str()).unwrap_or_default().to_owned();
        assert_eq!((page.status(), tag.len()), (StatusCode::OK, 18));
        let same = ask(Some(&tag)).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(same.header(ETAG.as_str()), Some(tag.as_str()));
        let compressed = tag.replacen("\"", "", 1).replace('"', ".br\"");
        let same = ask(Some(&format!("\"{compressed}"))).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(Some("\"other\"")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn each_problem_code_has_a_page() {
        let pages = add(Route::new(), "{}".into());
        for code in Code::ALL {
            let path = problem_path(*code);
            assert!(has(&path) && paths().any(|known| known == path), "{path}");
            let uri: Result<Uri, _> = path.parse();
            let request = Request::builder().uri(uri.unwrap_or_default()).finish();
            let page = pages.get_response(request).await;
            assert_eq!(page.status(), StatusCode::OK, "{path}");
            let text = page.into_body().into_string().await.unwrap_or_default();
            assert!(text.contains(code.title()) && !text.contains('`'), "{text}");
        }
    }

    #[test]
    fn the_embedded_page_still_has_its_script_and_style() {
        let html = OpenApiService::new((), "", "").swagger_ui_html();
        assert!(between(&html, "<style charset=\"UTF-8\">", "</style>").len() > 10_000);
        let script = between(&html, "<script charset=\"UTF-8\">", "</script>");
        assert!(script.contains("SwaggerUIBundle"));
    }
}
