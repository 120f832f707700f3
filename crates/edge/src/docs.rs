//! The document, a page to read and try it, a guide, and a page for each problem code; with
//! poem-openapi's own copy of Swagger UI: nothing comes from another host. It refuses
//! inline scripts.

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
use serde_json::Value;

use crate::{
    compression::Forms,
    contract::{self, ContractError},
    contract_parts,
    language::Language,
    preconditions::{IfNoneMatch, representation_digest},
    problem::{self, Code, Problem},
};

pub(crate) const DOCUMENT_PATH: &str = "/openapi.json";
pub(crate) const DOCS_PATH: &str = "/docs";
pub(crate) const GUIDE_PATH: &str = "/docs/guide";
pub(crate) const STYLE_PATH: &str = "/docs/swagger-ui.css";
pub(crate) const SCRIPT_PATH: &str = "/docs/swagger-ui.js";
pub(crate) const PAGE_STYLE_PATH: &str = "/docs/page.css";
pub(crate) const START_PATH: &str = "/docs/start.js";
const PAGES: [&str; 7] = [
    DOCUMENT_PATH,
    DOCS_PATH,
    GUIDE_PATH,
    STYLE_PATH,
    SCRIPT_PATH,
    PAGE_STYLE_PATH,
    START_PATH,
];

const REFERENCE: &str = include_str!("docs/reference.html");
const PAGE_STYLE: &str = include_str!("docs/page.css");
const START: &str = include_str!("docs/start.js");
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
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

/// A whole page, of its title and what is in it.
fn html(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"{PAGE_STYLE_PATH}\">\n{body}</html>\n"
    )
}

/// The same, of text to read.
fn reading(title: &str, body: &str) -> String {
    let nav = format!(
        "<header><nav><a href=\"{GUIDE_PATH}\">Guide</a> <a href=\"{DOCS_PATH}\">Reference</a> \
         <a href=\"{DOCUMENT_PATH}\">openapi.json</a></nav></header>\n"
    );
    html(title, &format!("{nav}<main>\n{body}</main>\n"))
}

/// What a code means and what to do, for who follows `type`.
fn problem_page(code: Code, document: &Value) -> String {
    let (name, status) = (code.name(), code.status());
    let [title, advice] = [code.title(), code.advice()].map(|text| text.of(Language::English));
    let example = serde_json::to_string_pretty(&contract_parts::example(code));
    let example = escaped(&example.unwrap_or_default());
    let operations = operations(document, name);
    let operations = match operations.is_empty() {
        true => "<p>No operation: it is about the request itself.</p>\n".into(),
        false => format!("<ul>\n{operations}</ul>\n"),
    };
    let body = format!(
        "<h1>{title}</h1>\n<p><code>{name}</code>, status {status}</p>\n\
         <h2>What to do</h2>\n<p>{}</p>\n\
         <h2>For example</h2>\n<pre><code>{example}</code></pre>\n\
         <h2>Which operations answer with it</h2>\n{operations}",
        escaped(advice)
    );
    reading(&format!("{name}: {title}"), &body)
}

/// Links to those that answer with a code.
fn operations(document: &Value, code: &str) -> String {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (path, method, operation))
    });
    let answering = all.filter(|(_, _, operation)| {
        let codes = operation["x-codes"].as_array();
        codes.is_some_and(|codes| codes.iter().any(|one| one == code))
    });
    let links = answering.map(|(path, method, operation)| {
        let text = |part: &Value| escaped(part.as_str().unwrap_or_default());
        let (tag, id) = (text(&operation["tags"][0]), text(&operation["operationId"]));
        let (method, summary) = (method.to_uppercase(), text(&operation["summary"]));
        let link = format!("<a href=\"{DOCS_PATH}#/{tag}/{id}\">{summary}</a>");
        format!("<li>{link}: <code>{method} {path}</code></li>\n")
    });
    links.collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Adds the document and its pages.
pub(crate) fn add(route: Route, document: &Value, guide: &str) -> Result<Route, ContractError> {
    let swagger = OpenApiService::new((), "", "").swagger_ui_html();
    let style = between(&swagger, "<style charset=\"UTF-8\">", "</style>");
    let script = between(&swagger, "<script charset=\"UTF-8\">", "</script>");
    let route = Code::ALL.iter().fold(route, |route, code| {
        route.at(
            problem_path(*code),
            page(HTML, problem_page(*code, document)),
        )
    });
    let name = document["info"]["title"].as_str().unwrap_or_default();
    let guide = reading(&format!("{name}: guide"), guide);
    Ok(route
        .at(
            DOCUMENT_PATH,
            page("application/json", contract::text(document)?),
        )
        .at(
            DOCS_PATH,
            page(HTML, html(&format!("{name}: reference"), REFERENCE)),
        )
        .at(GUIDE_PATH, page(HTML, guide))
        .at(STYLE_PATH, page(CSS, style.into()))
        .at(SCRIPT_PATH, page(JAVASCRIPT, script.into()))
        .at(PAGE_STYLE_PATH, page(CSS, PAGE_STYLE.into()))
        .at(START_PATH, page(JAVASCRIPT, START.into())))
}

fn page(media_type: &'static str, text: String) -> impl IntoEndpoint<Endpoint: 'static> {
    let (text, forms) = (Bytes::from(text), Forms::default());
    let tag = format!("\"{}\"", representation_digest(&text));
    get(make_sync(move |request| {
        let known = IfNoneMatch::parse(&request)?.has(&tag);
        let answer = Response::builder()
            .header(CACHE_CONTROL, "no-cache")
            .header(ETAG, &tag)
            // Of what is kept too: a browser takes it from the answer that says so.
            .header(CONTENT_SECURITY_POLICY, POLICY)
            .extension(forms.clone());
        Ok::<_, Problem>(match known {
            true => answer.status(StatusCode::NOT_MODIFIED).finish(),
            false => answer
                .header(CONTENT_TYPE, media_type)
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
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_page_is_sent_again_only_where_it_is_another() -> Result<(), ContractError> {
        let pages = add(Route::new(), &Value::Null, "")?;
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
        let policy = same.header(CONTENT_SECURITY_POLICY.as_str());
        assert_eq!(
            policy,
            Some(POLICY),
            "a page that is loaded again runs its scripts"
        );
        let compressed = tag.replacen("\"", "", 1).replace('"', ".br\"");
        let same = ask(Some(&format!("\"{compressed}"))).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(Some("\"other\"")).await.status(), StatusCode::OK);
        Ok(())
    }

    #[tokio::test]
    async fn each_problem_code_has_a_page() -> Result<(), ContractError> {
        let document = json!({"paths": {"/v1/things": {"get": {
            "x-codes": ["not_found"], "operationId": "listThings", "summary": "All <things>",
            "tags": ["Things"],
        }}}});
        let pages = add(Route::new(), &document, "")?;
        for code in Code::ALL {
            let path = problem_path(*code);
            assert!(has(&path) && paths().any(|known| known == path), "{path}");
            let uri: Result<Uri, _> = path.parse();
            let request = Request::builder().uri(uri.unwrap_or_default()).finish();
            let page = pages.get_response(request).await;
            assert_eq!(page.status(), StatusCode::OK, "{path}");
            let text = page.into_body().into_string().await.unwrap_or_default();
            let [title, advice] = [code.title(), code.advice()].map(|t| t.of(Language::English));
            assert!(text.contains(title) && text.contains(advice), "{text}");
            assert!(
                text.contains(&format!("\"code\": \"{}\"", code.name())),
                "{text}"
            );
            let link = "<a href=\"/docs#/Things/listThings\">All &lt;things></a>";
            assert_eq!(text.contains(link), *code == Code::NotFound, "{text}");
        }
        Ok(())
    }

    #[test]
    fn the_embedded_page_still_has_its_script_and_style() {
        let html = OpenApiService::new((), "", "").swagger_ui_html();
        assert!(between(&html, "<style charset=\"UTF-8\">", "</style>").len() > 10_000);
        let script = between(&html, "<script charset=\"UTF-8\">", "</script>");
        assert!(script.contains("SwaggerUIBundle"));
    }
}
