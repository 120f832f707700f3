//! What can be asked here: every path template with its methods, read out of
//! the contract. It tells 405s what is allowed, log lines which template a
//! path is, and payloads which schema they have. It refuses to route.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use poem::http::Method;
use serde_json::Value;

use crate::{
    contract_rules::{Meaning, Rules},
    deprecation::Deprecation,
};

/// All templates, as a tree of their segments.
#[derive(Debug, Default)]
pub struct Surface {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// By the segment that comes next.
    literals: BTreeMap<String, Node>,
    /// Where any other segment leads.
    parameter: Option<Box<Node>>,
    /// By method, of the template that ends here.
    operations: BTreeMap<String, Arc<Operation>>,
}

/// One method at one path.
#[derive(Debug)]
pub struct Operation {
    /// Such as `/v1/posts/{post_id}`.
    pub path: String,
    pub method: Method,
    /// In this process, from 1 on.
    pub(crate) number: usize,
    pub id: Option<String>,
    /// The parameters of its query, with their schemas.
    pub(crate) query: Vec<(String, Value)>,
    /// Of the JSON body; none where it has none.
    pub(crate) body: Option<Value>,
    /// Whether the body is something else than JSON, and the handler's own.
    pub(crate) streams_body: bool,
    /// Whether it has any use for a token: what has none is metered by address.
    pub(crate) takes_token: bool,
    /// Whether its handler says who pays: see `limits::OfAddress`.
    pub(crate) pays_later: bool,
    /// What its answers say of its end.
    pub(crate) deprecation: Option<Deprecation>,
    pub(crate) document: Arc<Value>,
    pub(crate) meaning: Meaning,
}

impl Operation {
    /// The name of the nth parameter of the path (poem-openapi forgets it).
    pub(crate) fn path_parameter(&self, index: usize) -> Option<&str> {
        let mut names = self.path.split('/').filter_map(parameter_name);
        names.nth(index)
    }
}

/// Where a path leads.
pub(crate) enum Found<'a> {
    Nothing,
    /// There is such a path, with these methods.
    Path(String),
    Operation(&'a Arc<Operation>),
}

impl Surface {
    /// Of a post-processed OpenAPI document.
    pub fn of(document: &Value, rules: &Rules) -> Self {
        let mut surface = Self::default();
        let document = Arc::new(document.clone());
        let paths = document["paths"].as_object();
        for (path, methods) in paths.into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else {
                    continue;
                };
                let content = operation["requestBody"]["content"].as_object();
                let json = content.and_then(|content| content.get("application/json"));
                let id = operation["operationId"].as_str();
                surface.insert(Operation {
                    path: path.clone(),
                    method,
                    number: next(),
                    id: id.map(str::to_owned),
                    query: query(operation),
                    body: json.map(|json| json["schema"].clone()),
                    streams_body: content.is_some() && json.is_none(),
                    takes_token: takes_token(operation),
                    pays_later: id.is_some_and(|id| rules.pays_later.contains(&id)),
                    deprecation: id.and_then(|id| Deprecation::of(rules, id)),
                    document: document.clone(),
                    meaning: rules.meaning,
                });
            }
        }
        surface
    }

    /// A path outside the contract that is only read, such as the document.
    pub fn with_page(mut self, path: &str) -> Self {
        self.insert(Operation {
            path: path.to_owned(),
            method: Method::GET,
            number: next(),
            id: None,
            query: Vec::new(),
            body: None,
            streams_body: false,
            takes_token: true,
            pays_later: false,
            deprecation: None,
            document: Arc::default(),
            meaning: Rules::NONE.meaning,
        });
        self
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let Some(template) = self.root.find(Some(path)) else {
            return Found::Nothing;
        };
        let own = template.operations.get(method.as_str());
        let read = || template.operations.get("GET");
        match own.or_else(|| (method == Method::HEAD).then(read).flatten()) {
            Some(operation) => Found::Operation(operation),
            None => Found::Path(template.allow()),
        }
    }

    fn insert(&mut self, operation: Operation) {
        let segments = operation.path.split('/');
        let end = segments.fold(&mut self.root, |node, segment| {
            match parameter_name(segment) {
                Some(_) => node.parameter.get_or_insert_default(),
                None => node.literals.entry(segment.to_owned()).or_default(),
            }
        });
        let method = operation.method.to_string();
        end.operations.insert(method, Arc::new(operation));
    }
}

impl Node {
    /// Where `rest` ends; literals go before parameters.
    fn find(&self, rest: Option<&str>) -> Option<&Self> {
        let Some(rest) = rest else {
            return (!self.operations.is_empty()).then_some(self);
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let literal = self.literals.get(segment);
        let parameter = self.parameter.as_deref().filter(|_| !segment.is_empty());
        literal
            .and_then(|node| node.find(rest))
            .or_else(|| parameter?.find(rest))
    }

    /// As the `Allow` header wants it: whoever can GET can HEAD.
    fn allow(&self) -> String {
        let mut methods: Vec<_> = self.operations.keys().map(String::as_str).collect();
        if self.operations.contains_key("GET") && !self.operations.contains_key("HEAD") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }
}

fn query(operation: &Value) -> Vec<(String, Value)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let of_query = parameters.filter(|parameter| parameter["in"] == "query");
    let named = of_query.filter_map(|parameter| {
        let name = parameter["name"].as_str()?;
        Some((name.to_owned(), parameter["schema"].clone()))
    });
    named.collect()
}

fn takes_token(operation: &Value) -> bool {
    let security = operation["security"].as_array();
    security.is_some_and(|ways| !ways.is_empty())
}

/// The next operation's number.
fn next() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn surface() -> Surface {
        let document = json!({"paths": {
            "/v1/accounts/{account_id}": {"get": {"operationId": "get_account"}},
            "/v1/accounts/me": {"get": {"operationId": "get_me"}, "patch": {}},
            "/v1/accounts": {"post": {}},
            "/v1/accounts/{account_id}/posts": {"get": {"operationId": "list_posts"}},
            "/v1/accounts/me/feed": {"get": {"operationId": "get_feed"}},
        }});
        Surface::of(&document, &Rules::NONE)
    }

    /// The operation's id, or the allowed methods.
    fn ask(method: Method, path: &str) -> Option<Result<String, String>> {
        match surface().find(&method, path) {
            Found::Nothing => None,
            Found::Path(allow) => Some(Err(allow)),
            Found::Operation(operation) => Some(Ok(operation.id.clone().unwrap_or_default())),
        }
    }

    #[test]
    fn literals_go_before_parameters() {
        for (path, id) in [
            ("/v1/accounts/me", "get_me"),
            ("/v1/accounts/1", "get_account"),
            ("/v1/accounts/me/feed", "get_feed"),
            // Where the literal leads nowhere, the parameter is tried.
            ("/v1/accounts/me/posts", "list_posts"),
        ] {
            assert_eq!(ask(Method::GET, path), Some(Ok(id.into())));
        }
        for path in [
            "/v1/accounts/",
            "/v1/accounts/1/",
            "/v1/accounts//posts",
            "/v1",
            "",
        ] {
            assert_eq!(ask(Method::GET, path), None);
        }
    }

    #[test]
    fn another_method_is_told_what_is_allowed() {
        let allow = "GET, PATCH, HEAD".to_owned();
        assert_eq!(ask(Method::PUT, "/v1/accounts/me"), Some(Err(allow)));
        let head = ask(Method::HEAD, "/v1/accounts/me");
        assert_eq!(head, Some(Ok("get_me".into())));
    }
}
