//! The OpenAPI document: what poem-openapi writes, told truthfully. It is a
//! pure function of types: the same build gives the same bytes. It refuses to
//! be edited by hand; `complaints` says what an operation still lacks.

use std::collections::{BTreeMap, BTreeSet};

use poem_openapi::{OpenApi, OpenApiService};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, json};

use crate::{
    contract_bounds,
    contract_codes::Shape,
    contract_links, contract_parts,
    contract_rules::Rules,
    identity::BEARER,
    paging::{CURSOR, CURSOR_TOLD, NEWER_THAN},
    preconditions::{
        HEADER_MARK, IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_UNAUTHENTICATED, IF_MATCH, IF_MATCH_REQUIRED,
        IF_NONE_MATCH, MIN_POSITION,
    },
};

const SCHEMAS: &str = "#/components/schemas/";

#[derive(Debug, thiserror::Error)]
#[error("the generated OpenAPI document cannot be read: {0}")]
pub struct ContractError(#[from] serde_json::Error);

/// The document as it is served and committed.
pub fn document<A: OpenApi>(
    service: &OpenApiService<A, ()>,
    rules: &Rules,
) -> Result<Value, ContractError> {
    let Generated { paths, mut rest } = serde_json::from_str(&service.spec())?;
    let mut paths = paths.0;
    for (path, operations) in &mut paths {
        for (method, operation) in operations.iter_mut() {
            mend_operation(rules, path, method, operation);
        }
    }
    rest.insert("openapi".into(), "3.0.3".into());
    if rest
        .get("servers")
        .is_some_and(|servers| servers == &json!([]))
    {
        let here = json!({ "url": "/", "description": "The environment that this is: local, staging or production.", "x-internal": false });
        rest.insert("servers".into(), json!([here]));
    }
    let paths = paths
        .into_iter()
        .map(|(path, operations)| (path, operations.into()));
    rest.insert("paths".into(), Value::Object(paths.collect()));
    let mut document = Value::Object(rest);
    open_answers(&mut document);
    close_requests(&mut document);
    contract_parts::add(&mut document["components"]);
    drop_unused(&mut document);
    contract_bounds::add(rules, &mut document);
    mend_schemas(&mut document);
    contract_links::add(rules, &mut document);
    Ok(tidy(document))
}

/// The bytes that are committed: sorted, indented, with a newline at the end.
pub fn text(document: &Value) -> Result<String, ContractError> {
    Ok(format!("{}\n", serde_json::to_string_pretty(document)?))
}

/// What operations lack, one sentence each; none where all is well.
pub fn complaints(document: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let mut complain = |what: &str| complaints.push(format!("{method} {path} {what}"));
            match operation["operationId"].as_str() {
                None => complain("has no operationId"),
                Some(id) if !ids.insert(id) => complain("has another one's operationId"),
                Some(_) => {}
            }
            for part in ["summary", "description", "tags", "security"] {
                if operation[part].is_null() {
                    complain(&format!("has no {part}"));
                }
            }
            if operation["requestBody"].is_object()
                && !has_example(document, &operation["requestBody"])
            {
                complain("has no example of its body");
            }
            let responses = operation["responses"].as_object();
            let responses = || responses.into_iter().flatten();
            for (status, response) in responses() {
                let content = response["content"].as_object();
                if status.starts_with('2') && content.is_some() && !has_example(document, response)
                {
                    complain(&format!("has no example of {status}"));
                }
                let described = response["description"].as_str().unwrap_or_default();
                if status == "201" && response["links"].is_null() {
                    complain("does not say where what it made is read");
                }
                if described.is_empty() && response["$ref"].is_null() {
                    complain(&format!("does not describe {status}"));
                }
            }
            if !responses().any(|(status, _)| status.starts_with('5')) {
                complain("describes no errors");
            }
        }
    }
    let mut unbounded = Vec::new();
    for part in ["components", "paths"] {
        contract_bounds::unbounded(&document[part], part, &mut unbounded);
    }
    complaints.extend(unbounded.iter().map(|name| format!("{name} has no bounds")));
    complaints
}

/// poem-openapi writes a path once for each feature that has it; a plain map
/// would keep the last one only.
#[derive(Deserialize)]
struct Generated {
    paths: Paths,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

struct Paths(BTreeMap<String, Map<String, Value>>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Uniting;

        impl<'de> Visitor<'de> for Uniting {
            type Value = Paths;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("paths")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Paths, M::Error> {
                let mut paths = BTreeMap::<String, Map<String, Value>>::new();
                while let Some((path, operations)) = map.next_entry::<_, Map<_, _>>()? {
                    paths.entry(path).or_default().extend(operations);
                }
                Ok(Paths(paths))
            }
        }

        deserializer.deserialize_map(Uniting)
    }
}

fn mend_operation(rules: &Rules, path: &str, method: &str, operation: &mut Value) {
    let marks = take_marks(operation);
    let marked = |name: &str| marks.iter().any(|mark| mark == name);
    let parameters = operation["parameters"].as_array();
    let mut parameters = parameters.cloned().unwrap_or_default();
    let takes = |name: &str| parameters.iter().any(|p| p["name"] == name);
    let (pages, has_cursor) = (takes(CURSOR), takes(CURSOR) || takes(NEWER_THAN));
    for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
        parameter.retain(|key, value| {
            !matches!(
                (key.as_str(), &*value),
                ("deprecated", Value::Bool(false)) | ("explode", Value::Bool(true))
            )
        });
        if parameter.get("name").is_some_and(|name| name == CURSOR) {
            parameter.insert("description".into(), CURSOR_TOLD.into());
        }
    }
    let has_body = operation["requestBody"].is_object();
    let secured = operation["security"].is_array();
    // It looks at a token where there is one.
    let strangers = operation["security"][0]
        .as_object()
        .is_some_and(Map::is_empty);
    // Whoever reads what is for all may send a token: it is counted by account.
    if !secured && method == "get" {
        operation["security"] = json!([{}, { BEARER: [] }]);
    } else if !secured {
        operation["security"] = json!([]);
    }
    for mark in &marks {
        parameters.push(json!({ "$ref": format!("#/components/parameters/{mark}") }));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    clean_media_types(&mut operation["requestBody"]);
    if !has_body && let Some(operation) = operation.as_object_mut() {
        operation.remove("requestBody");
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    let conditional = method != "get" || marked(IF_NONE_MATCH);
    if !conditional {
        responses.remove("304");
    }
    for response in responses.values_mut() {
        clean_media_types(response);
        mend_headers(response, conditional, pages);
        if response["description"] == "" {
            response["description"] = "Done.".into();
        }
    }
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let ending = rules.endings.iter().find(|ending| ending.operation == id);
    if let Some(ending) = ending {
        operation["deprecated"] = true.into();
        let told = operation["description"].as_str().unwrap_or_default();
        let told = format!(
            "{told}\n\nDeprecated: see [what to use instead]({}).",
            ending.page
        );
        operation["description"] = told.into();
    }
    let shape = Shape {
        id: &id,
        path,
        signed_in: secured && !strangers,
        may_sign_in: secured && strangers,
        has_body,
        has_cursor,
        has_key: marked(IDEMPOTENCY_KEY) || marked(IDEMPOTENCY_KEY_UNAUTHENTICATED),
        may_match: marked(IF_MATCH),
        must_match: marked(IF_MATCH_REQUIRED),
        waits: marked(MIN_POSITION),
    };
    shape.describe(rules, operation);
}

/// Takes the headers out that extractors noted down as security schemes.
fn take_marks(operation: &mut Value) -> Vec<String> {
    let mut marks = Vec::new();
    let Some(security) = operation["security"].as_array_mut() else {
        operation.as_object_mut().map(|all| all.remove("security"));
        return marks;
    };
    security.retain(|requirement| {
        let name = requirement.as_object().and_then(|all| all.keys().next());
        let mark = name.and_then(|name| name.strip_prefix(HEADER_MARK));
        marks.extend(mark.map(str::to_owned));
        mark.is_none()
    });
    // The empty requirement first: whoever looks need not sign in.
    security.sort_by_key(|requirement| requirement.get(BEARER).is_some());
    if security.is_empty() {
        operation.as_object_mut().map(|all| all.remove("security"));
    }
    marks
}

fn mend_headers(response: &mut Value, conditional: bool, pages: bool) {
    let mut headers = Map::new();
    let documented = response["headers"].as_object_mut().map(std::mem::take);
    let documented = documented.unwrap_or_default();
    for (name, header) in documented {
        let told = match name.as_str() {
            "ETag" => conditional,
            "Link" => pages,
            _ => true,
        };
        if told {
            let known = contract_parts::HEADERS
                .iter()
                .any(|(known, _)| *known == name);
            let header = match known {
                true => json!({ "$ref": format!("#/components/headers/{name}") }),
                false => header,
            };
            headers.insert(name, header);
        }
    }
    match headers.is_empty() {
        true => response.as_object_mut().map(|all| all.remove("headers")),
        false => response
            .as_object_mut()
            .map(|all| all.insert("headers".into(), headers.into())),
    };
}

fn clean_media_types(holder: &mut Value) {
    if let Some(content) = holder["content"].as_object_mut()
        && let Some(json) = content.remove("application/json; charset=utf-8")
    {
        content.insert("application/json".into(), json);
    } else if holder["content"].is_null() {
        holder
            .as_object_mut()
            .map(|holder| holder.remove("content"));
    }
}

/// What generators of clients trip over: a description as a second member of `allOf`, and
/// objects of any shape that look like objects without fields.
fn mend_schemas(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(members) = fields.get_mut("allOf").and_then(Value::as_array_mut) {
                members.retain(|member| {
                    member.get("description").is_none() || member.get("$ref").is_some()
                });
            }
            let any_shape = fields.get("type").is_some_and(|kind| kind == "object")
                && !fields.contains_key("properties")
                && !fields.contains_key("additionalProperties");
            if any_shape {
                fields.insert("additionalProperties".into(), true.into());
            }
            fields.values_mut().for_each(mend_schemas);
        }
        Value::Array(items) => items.iter_mut().for_each(mend_schemas),
        _ => {}
    }
}

/// Of a value that an enumeration of answers may get.
const VALUE_CHARACTERS_MAX: usize = 64;
const VALUE: &str = "^[a-z][a-z_]*$";
/// Answers may get new values of an enumeration: there its values are `x-extensible-enum`.
/// A request takes these values alone: they are in its own schema.
fn open_answers(document: &mut Value) {
    let (asked, answered) = used_schemas(document);
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    let closed: BTreeMap<String, Value> = (schemas.iter())
        .filter(|(name, schema)| answered.contains(*name) && schema.get("enum").is_some())
        .map(|(name, schema)| (format!("{SCHEMAS}{name}"), schema["enum"].clone()))
        .collect();
    for (name, schema) in schemas.iter_mut() {
        if asked.contains(name) && !answered.contains(name) {
            close_enums(schema, &closed);
        }
        if answered.contains(name) {
            extend_enums(schema);
        }
    }
}

/// The names of the schemas that requests lead to, and those that answers lead to.
fn used_schemas(document: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut asked, mut answered) = (BTreeSet::new(), BTreeSet::new());
    let paths = document["paths"].as_object().into_iter();
    for operation in paths
        .flat_map(Map::values)
        .filter_map(Value::as_object)
        .flat_map(Map::values)
    {
        references(document, &operation["requestBody"], &mut asked);
        references(document, &operation["parameters"], &mut asked);
        references(document, &operation["responses"], &mut answered);
    }
    (asked, answered)
}

/// Puts values where a schema refers to an enumeration, alone or in `allOf`.
fn close_enums(value: &mut Value, closed: &BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            let within = fields
                .get("allOf")
                .map_or(Value::Null, |all| all[0].clone());
            let reference = fields.get("$ref").or(within.get("$ref"));
            let values = reference
                .and_then(Value::as_str)
                .and_then(|name| closed.get(name));
            if let Some(values) = values.cloned() {
                fields.remove("$ref");
                fields.remove("allOf");
                fields.insert("type".into(), "string".into());
                fields.insert("enum".into(), values);
            }
            fields
                .values_mut()
                .for_each(|field| close_enums(field, closed));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close_enums(item, closed)),
        _ => {}
    }
}

fn extend_enums(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(values) = fields.remove("enum") {
                fields.insert("x-extensible-enum".into(), values);
                fields.insert("maxLength".into(), VALUE_CHARACTERS_MAX.into());
                fields.insert("pattern".into(), VALUE.into());
            }
            fields.values_mut().for_each(extend_enums);
        }
        Value::Array(items) => items.iter_mut().for_each(extend_enums),
        _ => {}
    }
}

/// Bodies with unknown fields are refused, and null is what `assembly` says of it: says
/// so in the schemas that only requests use. `schema` checks bodies against them, so
/// this decides what null does in every operation. In a patch, a field that null clears
/// says so itself (`MaybeUndefined`).
fn close_requests(document: &mut Value) {
    let (asked, answered) = used_schemas(document);
    let mut patched = BTreeSet::new();
    let paths = document["paths"].as_object().into_iter();
    for operation in paths.flat_map(Map::values).map(|methods| &methods["patch"]) {
        references(document, &operation["requestBody"], &mut patched);
    }
    let names: Vec<_> = asked.difference(&answered).cloned().collect();
    for name in names {
        let schema = &mut document["components"]["schemas"][&name];
        if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = false.into();
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (property_name, property) in properties.into_iter().flatten() {
            let optional = !required.iter().any(|required| required == property_name);
            if optional && !patched.contains(&name) {
                make_nullable(property);
            }
        }
    }
}

fn make_nullable(property: &mut Value) {
    // Beside a `$ref`, nothing counts.
    if let Some(reference) = property.get("$ref").cloned() {
        *property = json!({ "allOf": [{ "$ref": reference }] });
    }
    property["nullable"] = true.into();
}

/// Shared responses that no operation has (a 405 is no operation's).
fn drop_unused(document: &mut Value) {
    let paths = document["paths"].to_string();
    if let Some(responses) = document["components"]["responses"].as_object_mut() {
        responses.retain(|name, _| paths.contains(&format!("/responses/{name}\"")));
    }
}

/// The names of all schemas that `value` leads to.
fn references(document: &Value, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|text| text.strip_prefix(SCHEMAS));
            if let Some(name) = name
                && found.insert(name.to_owned())
            {
                references(document, &document["components"]["schemas"][name], found);
            }
            fields
                .values()
                .for_each(|field| references(document, field, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| references(document, item, found)),
        _ => {}
    }
}

/// Whether a body or response shows an example, in itself or in its schema.
fn has_example(document: &Value, holder: &Value) -> bool {
    let media = holder["content"]
        .as_object()
        .into_iter()
        .flat_map(Map::values);
    let mut schemas = media.map(|media| {
        let schema = &media["schema"];
        let reference = schema["$ref"]
            .as_str()
            .and_then(|text| text.strip_prefix('#'));
        let schema = reference
            .and_then(|at| document.pointer(at))
            .unwrap_or(schema);
        media.get("example").or(schema.get("example")).is_some()
    });
    schemas.all(|has| has)
}

/// Sorted keys, and whole numbers without a point.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, tidy(value)));
            let sorted: BTreeMap<_, _> = fields.collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                (float as i64).into()
            }
            _ => Value::Number(number),
        },
        other => other,
    }
}
