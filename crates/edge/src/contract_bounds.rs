//! Bounds of everything that the contract shows: how long a text is and what it
//! is made of, how large a number, how many items. Each name means one thing
//! wherever it is. Those of the features' own fields are in their [`Rules`]. It refuses
//! nothing by itself: handlers and the domain do.

use serde_json::{Map, Value};

use crate::{
    contract_rules::{
        List,
        Made::{Format, Of},
        OPAQUE, PRINTED, Rules, TEXT, Text, WORD,
    },
    paging::LIMIT_MAX,
    positions::{LIST_CHARACTERS_MAX, POSITION_CHARACTERS, POSITIONS_CHARACTERS_MAX},
    problem::FIELD_ERRORS_MAX,
};

/// The largest integer that JSON readers take without loss (RFC 8259).
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Of lists whose length the page's limit bounds.
const ITEMS_MAX: u64 = LIMIT_MAX as u64;

/// Sealed: base64url.
const POSITION: &str = "^[A-Za-z0-9_-]+$";
const POSITIONS: &str = "^[A-Za-z0-9_-]+( *, *[A-Za-z0-9_-]+)*$";
const TAG: &str = "^\"[!#-~]*\"$";
const TAGS: &str = "^(\\*|[, ]*(W/)?\"[!#-~]*\"( *,[, ]*(W/)?\"[!#-~]*\")*[, ]*)$";

/// By the name of the property, the parameter or the header: characters at most,
/// and what they are.
const TEXTS: &[Text] = &[
    ("As-Of", POSITIONS_CHARACTERS_MAX as u64, Of(POSITION)),
    ("ETag", 128, Of(TAG)),
    ("Event-Position", POSITION_CHARACTERS as u64, Of(POSITION)),
    ("Idempotency-Key", 255, Of("^[!-~]{1,255}$")),
    (
        "Idempotency-Key-Unauthenticated",
        255,
        Of("^[!-~]{16,255}$"),
    ),
    ("Idempotent-Replayed", 4, Of("^true$")),
    ("If-Match", 4_096, Of(TAGS)),
    ("If-Match-Required", 4_096, Of(TAGS)),
    ("If-None-Match", 4_096, Of(TAGS)),
    ("Link", 8_192, Of(PRINTED)),
    ("Location", 256, Of(PRINTED)),
    ("Min-Position", LIST_CHARACTERS_MAX as u64, Of(POSITIONS)),
    ("Retry-After", 10, Of("^[0-9]+$")),
    ("WWW-Authenticate", 64, Of(PRINTED)),
    ("alg", 5, Of("^EdDSA$")),
    ("code", 64, Of("^[a-z_]+$")),
    ("crv", 7, Of("^Ed25519$")),
    ("cursor", 4_096, Of(OPAQUE)),
    ("detail", 301, TEXT),
    ("kid", 11, Of("^[A-Za-z0-9_-]{11}$")),
    ("kty", 3, Of("^OKP$")),
    ("name", 64, Of(WORD)),
    ("next_cursor", 4_096, Of(OPAQUE)),
    ("newer_than", 4_096, Of(OPAQUE)),
    ("parameter", 64, Of(PRINTED)),
    ("pointer", 512, TEXT),
    ("prev_cursor", 4_096, Of(OPAQUE)),
    ("status", 16, Of(WORD)),
    ("title", 100, TEXT),
    ("type", 100, Format("uri-reference")),
    ("use", 3, Of("^sig$")),
    ("version", 32, Of("^[0-9]+\\.[0-9]+\\.[0-9]+$")),
    ("x", 43, Of("^[A-Za-z0-9_-]{43}$")),
];

/// Lists that are not pages.
const LISTS: &[List] = &[("errors", FIELD_ERRORS_MAX as u64), ("keys", 16)];

/// Adds what schemas leave open.
pub(crate) fn add(rules: &Rules, document: &mut Value) {
    let bound = |name: &str, schema: &mut Value| bound(rules, name, schema);
    let components = &mut document["components"];
    for schema in values(&mut components["schemas"]) {
        bound("", schema);
    }
    for (name, header) in fields(&mut components["headers"]) {
        bound(name, &mut header["schema"]);
    }
    for (name, parameter) in fields(&mut components["parameters"]) {
        bound(name, &mut parameter["schema"]);
    }
    for path in values(&mut document["paths"]) {
        for operation in values(path) {
            let parameters = operation
                .get_mut("parameters")
                .and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                if let Some(schema) = parameter.get_mut("schema") {
                    bound(&name, schema);
                }
            }
        }
    }
}

/// The names of what has no bounds yet.
pub(crate) fn unbounded(value: &Value, name: &str, found: &mut Vec<String>) {
    let lacks = |part: &str| value.get(part).is_none();
    match value["type"].as_str() {
        Some("string") if lacks("enum") && lacks("maxLength") => found.push(name.to_owned()),
        Some("integer" | "number") if lacks("maximum") => found.push(name.to_owned()),
        Some("array") if lacks("maxItems") => found.push(name.to_owned()),
        _ => {}
    }
    match value {
        Value::Object(all) => {
            for (key, inner) in all {
                let plain = matches!(key.as_str(), "schema" | "items" | "example");
                if key != "example" {
                    unbounded(inner, if plain { name } else { key }, found);
                }
            }
        }
        Value::Array(all) => {
            for inner in all {
                unbounded(inner, inner["name"].as_str().unwrap_or(name), found);
            }
        }
        _ => {}
    }
}

fn bound(rules: &Rules, name: &str, schema: &mut Value) {
    let format = schema["format"].as_str().unwrap_or_default().to_owned();
    match schema["type"].as_str().unwrap_or_default() {
        "string" if schema.get("enum").is_none() => bound_text(rules, name, &format, schema),
        "integer" => {
            let (format, most) = match format.as_str() {
                "uint16" => ("int32", u64::from(u16::MAX)),
                "int32" => ("int32", i32::MAX as u64),
                "uint32" => ("int64", u64::from(u32::MAX)),
                _ => ("int64", INTEGER_MAX),
            };
            put(schema, "minimum", 0);
            put(schema, "maximum", most);
            schema["format"] = format.into();
        }
        "number" => {
            put(schema, "minimum", 0);
            put(schema, "maximum", INTEGER_MAX);
        }
        "array" => {
            let mut lists = LISTS.iter().chain(rules.lists);
            let known = lists.find(|(known, _)| *known == name);
            put(
                schema,
                "maxItems",
                known.map_or(ITEMS_MAX, |(_, most)| *most),
            );
            bound(rules, name, &mut schema["items"]);
        }
        _ => {}
    }
    if rules.objects.contains(&name) {
        put(schema, "type", "object");
    }
    if let Some(properties) = schema.get_mut("properties") {
        for (name, property) in fields(properties) {
            bound(rules, name, property);
        }
    }
    for part in schema
        .get_mut("allOf")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        bound(rules, name, part);
    }
}

fn bound_text(rules: &Rules, name: &str, format: &str, schema: &mut Value) {
    match format {
        "uuid" => {
            put(schema, "minLength", 36);
            put(schema, "maxLength", 36);
        }
        "date-time" => put(schema, "maxLength", 40),
        _ => {
            let mut texts = TEXTS.iter().chain(rules.texts);
            let known = texts.find(|(known, _, _)| *known == name);
            let Some((_, longest, made)) = known else {
                return;
            };
            put(schema, "maxLength", *longest);
            match made {
                Of(pattern) => put(schema, "pattern", *pattern),
                Format(format) => put(schema, "format", *format),
            }
        }
    }
}

/// What the type says already stays.
fn put(schema: &mut Value, part: &str, value: impl Into<Value>) {
    if schema.get(part).is_none() {
        schema[part] = value.into();
    }
}

fn fields(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}

fn values(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    fields(value).map(|(_, value)| value)
}
