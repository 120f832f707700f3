//! Whether the contract says that an operation may refuse so: every refusal that a story
//! meets is held against it.

use std::sync::OnceLock;

use reqwest::Method;
use serde_json::Value;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(&api::document().unwrap()).unwrap())
}

/// The operation at a path: literal segments go before parameters.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next()?;
    let fits = |template: &str| {
        let (asked, known) = (path.split('/'), template.split('/'));
        asked.clone().count() == known.clone().count()
            && asked.zip(known).all(|(asked, known)| {
                asked == known || (known.starts_with('{') && !asked.is_empty())
            })
    };
    let paths = document()["paths"].as_object()?.iter();
    let found = paths.filter(|(template, _)| fits(template));
    let (_, methods) = found.min_by_key(|(template, _)| template.matches('{').count())?;
    methods.get(method.as_str().to_lowercase())
}

/// Fails where `problem` has a code that the operation does not list, or an error without
/// one of those of errors.
#[track_caller]
pub(crate) fn check_refusal(method: &Method, path: &str, problem: &Value) {
    let (Some(code), Some(operation)) = (problem["code"].as_str(), operation(method, path)) else {
        return;
    };
    let id = &operation["operationId"];
    let codes = operation["x-codes"].as_array().unwrap();
    assert!(
        codes.iter().any(|known| known == code),
        "{id} does not list {code}: {problem}"
    );
    let schemas = &document()["components"]["schemas"];
    let known = &schemas["FieldError"]["properties"]["code"];
    let known = known["x-extensible-enum"].as_array().unwrap();
    for error in problem["errors"].as_array().into_iter().flatten() {
        assert!(known.contains(&error["code"]), "{id}: {error}");
    }
}
