//! Bounds of everything that the contract shows: how long a text is and what it
//! is made of, how large a number, how many items. Each name means one thing
//! wherever it stands. It refuses nothing by itself: handlers and the domain do.

use domain::text::{HASHTAG_CHARACTERS_MAX, HASHTAGS_MAX, MENTIONS_MAX};
use serde_json::{Map, Value};

use crate::paging::LIMIT_MAX;

/// The largest integer that JSON readers take without loss (RFC 8259).
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Of lists whose length the page's limit bounds.
const ITEMS_MAX: u64 = LIMIT_MAX as u64;

/// Free text: PostgreSQL keeps no NUL.
pub(crate) const TEXT: &str = r"^[^\u0000]*$";
const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";
/// No control characters but tabs and line ends, and none that turn the direction.
const SHOWN: &str =
    r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$";
const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$";
const WORD: &str = r"^[a-z][a-z0-9 _-]*$";
const OPAQUE: &str = r"^[A-Za-z0-9_.-]+$";
const POSITION: &str = r"^[0-9]{1,4}:[0-9]{1,19}-[0-9]{1,19}$";
const POSITIONS: &str = "^[0-9]{1,4}:[0-9]{1,19}-[0-9]{1,19}\
    (,[0-9]{1,4}:[0-9]{1,19}-[0-9]{1,19}){0,63}$";
const ID_LIST: &str = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\
    (,[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})*$";
const TAG: &str = "^\"[!#-~]*\"$";
const TAGS: &str = "^(\\*|[, ]*(W/)?\"[!#-~]*\"( *,[, ]*(W/)?\"[!#-~]*\")*[, ]*)$";
const PRINTED: &str = "^[ -~]*$";
const HANDLE: &str = "^[A-Za-z0-9_]+$";
const LANGUAGE: &str = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

/// What a text is made of.
enum Made {
    Of(&'static str),
    Format(&'static str),
}

use Made::{Format, Of};

/// By the name of the property, the parameter or the header: characters at most,
/// and what they are.
const TEXTS: &[(&str, u64, Made)] = &[
    ("Access-Control-Allow-Origin", 255, Of(PRINTED)),
    ("As-Of", 2_943, Of(POSITIONS)),
    ("ETag", 128, Of(TAG)),
    ("Event-Position", 64, Of(POSITION)),
    ("Idempotency-Key", 255, Of("^[!-~]{1,255}$")),
    ("If-Match", 4_096, Of(TAGS)),
    ("If-Match-Required", 4_096, Of(TAGS)),
    ("If-None-Match", 4_096, Of(TAGS)),
    ("Link", 8_192, Of(PRINTED)),
    ("Location", 256, Of(PRINTED)),
    ("Min-Position", 2_943, Of(POSITIONS)),
    ("RateLimit", 128, Of(PRINTED)),
    ("RateLimit-Policy", 128, Of(PRINTED)),
    ("Retry-After", 10, Of("^[0-9]+$")),
    ("Server-Timing", 128, Of(PRINTED)),
    (
        "Traceresponse",
        55,
        Of("^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"),
    ),
    ("WWW-Authenticate", 64, Of(PRINTED)),
    ("X-Request-Id", 36, Format("uuid")),
    ("access_token", 1_024, Of(OPAQUE)),
    ("address", 45, Of("^[0-9a-f.:]+$")),
    ("alg", 5, Of("^EdDSA$")),
    ("bio", 500, Of(SHOWN)),
    ("code", 64, Of("^[a-z_]+$")),
    ("crv", 7, Of("^Ed25519$")),
    ("current_password", 512, Format("password")),
    ("cursor", 4_096, Of(OPAQUE)),
    ("description", 300, Of(TEXT)),
    ("detail", 301, Of(TEXT)),
    ("device", 200, Of(TEXT)),
    ("display_name", 50, Of(LINE)),
    ("email", 254, Format("email")),
    ("handle", 30, Of(HANDLE)),
    ("hashtags", HASHTAG_CHARACTERS_MAX as u64, Of(NOT_BLANK)),
    ("head", 64, Of(POSITION)),
    ("ids", 3_699, Of(ID_LIST)),
    ("kid", 11, Of("^[A-Za-z0-9_-]{11}$")),
    ("kty", 3, Of("^OKP$")),
    ("language", 35, Of(LANGUAGE)),
    ("last_active_on", 10, Format("date")),
    ("login", 254, Of(TEXT)),
    ("name", 64, Of(WORD)),
    ("new_password", 512, Format("password")),
    ("next_cursor", 4_096, Of(OPAQUE)),
    ("one_time_code", 32, Of(TEXT)),
    ("otpauth_uri", 1_024, Format("uri")),
    ("owner", 255, Of(PRINTED)),
    ("parameter", 64, Of(PRINTED)),
    ("part", 16, Of(WORD)),
    ("password", 512, Format("password")),
    ("pointer", 512, Of(TEXT)),
    ("position", 64, Of(POSITION)),
    ("projection", 32, Of(WORD)),
    ("recovery_codes", 32, Of("^[0-9A-Z-]+$")),
    ("refresh_token", 128, Of("^[A-Za-z0-9_-]+$")),
    ("role", 16, Of(WORD)),
    ("secret", 64, Of("^[A-Z2-7]+$")),
    ("state", 16, Of(WORD)),
    ("status", 16, Of(WORD)),
    ("text", 5_000, Of(NOT_BLANK)),
    ("title", 100, Of(TEXT)),
    ("token_type", 16, Of("^Bearer$")),
    ("trouble", 2_000, Of(TEXT)),
    ("type", 100, Format("uri-reference")),
    ("use", 3, Of("^sig$")),
    ("version", 32, Of("^[0-9]+\\.[0-9]+\\.[0-9]+$")),
    ("x", 43, Of("^[A-Za-z0-9_-]{43}$")),
];

/// Lists that are not pages.
const LISTS: &[(&str, u64)] = &[
    ("errors", crate::problem::FIELD_ERRORS_MAX as u64),
    ("hashtags", HASHTAGS_MAX as u64),
    ("keys", 16),
    ("mention_ids", MENTIONS_MAX as u64),
    ("projections", 64),
    ("recovery_codes", vault::RECOVERY_CODES as u64),
];

/// Adds what schemas leave open.
pub(crate) fn add(document: &mut Value) {
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

fn bound(name: &str, schema: &mut Value) {
    let format = schema["format"].as_str().unwrap_or_default().to_owned();
    match schema["type"].as_str().unwrap_or_default() {
        "string" if schema.get("enum").is_none() => bound_text(name, &format, schema),
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
            let known = LISTS.iter().find(|(known, _)| *known == name);
            put(
                schema,
                "maxItems",
                known.map_or(ITEMS_MAX, |(_, most)| *most),
            );
            bound(name, &mut schema["items"]);
        }
        _ => {}
    }
    if name == "metadata" {
        put(schema, "type", "object");
    }
    if let Some(properties) = schema.get_mut("properties") {
        for (name, property) in fields(properties) {
            bound(name, property);
        }
    }
    for part in schema
        .get_mut("allOf")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        bound(name, part);
    }
}

fn bound_text(name: &str, format: &str, schema: &mut Value) {
    match format {
        "uuid" => {
            put(schema, "minLength", 36);
            put(schema, "maxLength", 36);
        }
        "date-time" => put(schema, "maxLength", 40),
        _ => {
            let known = TEXTS.iter().find(|(known, _, _)| *known == name);
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
