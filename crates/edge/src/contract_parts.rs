//! What every operation of the contract shares: the problem, its responses by
//! status, and headers. It refuses anything that one feature alone has.

use poem::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    preconditions::{
        IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_UNAUTHENTICATED, IF_MATCH, IF_MATCH_REQUIRED,
        IF_NONE_MATCH, MIN_POSITION,
    },
    problem::{Code, PAGES, PROBLEM_MEDIA_TYPE},
};

/// On every response.
pub(crate) const SHARED_HEADERS: [&str; 6] = [
    "Access-Control-Allow-Origin",
    "RateLimit",
    "RateLimit-Policy",
    "Server-Timing",
    "Traceresponse",
    "X-Request-Id",
];

/// Response headers with a sentence each.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    (
        "Access-Control-Allow-Origin",
        "For a page of an origin that may call from a browser.",
    ),
    (
        "As-Of",
        "How far the read model was, sealed: it means something to this server alone. As Min-Position it asks for an answer that is no older.",
    ),
    (
        "ETag",
        "The version of what is shown, for If-None-Match and If-Match.",
    ),
    (
        "Event-Position",
        "Where the effect stands in the log, sealed. Send it as Min-Position to read what was written.",
    ),
    (
        "Idempotent-Replayed",
        "true where an Idempotency-Key gave what was done before.",
    ),
    (
        "Link",
        "The pages beside this one (RFC 8288): rel=\"next\", absent on the last one, and rel=\"prev\".",
    ),
    ("Location", "Where the thing that was made is."),
    (
        "RateLimit",
        "Points that are left of the policy, as r, and seconds until all are back, as t. \
         Absent where nothing is counted: /health/live, /health/ready and /version.",
    ),
    (
        "RateLimit-Policy",
        "What this request was counted by: q points in w seconds; see /v1/limits.",
    ),
    (
        "Retry-After",
        "How many seconds to wait before another try.",
    ),
    (
        "Server-Timing",
        "How long the answer took here, in milliseconds (W3C Server Timing), to the tens below it.",
    ),
    (
        "Traceresponse",
        "The trace that the request is part of: of its traceparent, or its own.",
    ),
    (
        "WWW-Authenticate",
        "The scheme that is wanted, and what was wrong with the token (RFC 6750).",
    ),
    (
        "X-Request-Id",
        "Names this request in our logs and, for a write, in its events.",
    ),
];

/// Request headers with a sentence each. They have no examples: pages that try operations
/// fill examples in, and would send them.
const PARAMETERS: &[(&str, &str)] = &[
    (
        IF_MATCH,
        "The ETag that was read, or several, or * for any: the edit is refused with 412 where none of them is right any more. Weak ones match nothing.",
    ),
    (
        IF_MATCH_REQUIRED,
        "The ETag that was read, or several, or * for any: the edit is refused with 412 where none of them is right any more. Weak ones match nothing.",
    ),
    (
        IF_NONE_MATCH,
        "ETags that you have: the answer is 304 where one is still right.",
    ),
    (
        IDEMPOTENCY_KEY,
        "1 to 255 visible characters, such as a UUID. For a day the same key gives the same effect and answer, however often it is sent.",
    ),
    (
        IDEMPOTENCY_KEY_UNAUTHENTICATED,
        "16 to 255 visible characters that nobody can guess, such as a UUID. For a day the same key gives the same effect and answer, however often it is sent; with another body it is refused.",
    ),
    (
        MIN_POSITION,
        "An Event-Position or As-Of that the answer must have seen, or several with commas between, in 8,192 characters.",
    ),
];

pub(crate) fn problem_reference(status: u16) -> Value {
    json!({ "$ref": format!("#/components/responses/{}", response_name(status)) })
}

pub(crate) fn add(components: &mut Value) {
    let header =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let headers = HEADERS.iter();
    let headers: Map<_, _> = headers
        .map(|(name, told)| ((*name).into(), header(told)))
        .collect();
    components["headers"] = headers.into();

    let parameters = PARAMETERS.iter().map(|(key, told)| {
        let required = *key == IF_MATCH_REQUIRED;
        let name = match *key {
            IF_MATCH_REQUIRED => IF_MATCH,
            IDEMPOTENCY_KEY_UNAUTHENTICATED => IDEMPOTENCY_KEY,
            key => key,
        };
        let parameter = json!({
            "name": name, "in": "header", "required": required, "description": told,
            "schema": { "type": "string" },
        });
        ((*key).to_owned(), parameter)
    });
    components["parameters"] = parameters.collect::<Map<_, _>>().into();

    let mut responses = Map::new();
    for code in Code::ALL {
        let status = code.status().as_u16();
        let name = response_name(status);
        let response = responses
            .entry(name)
            .or_insert_with(|| empty_response(status));
        let told = response["description"].as_str().unwrap_or_default();
        response["description"] = format!("{told}- `{}`: {}.\n", code.name(), code.title()).into();
        let media = &mut response["content"][PROBLEM_MEDIA_TYPE];
        if media.get("example").is_none() {
            media["example"] = example(*code);
        }
    }
    components["responses"] = responses.into();
    components["schemas"]["Problem"] = problem_schema();
}

fn empty_response(status: u16) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let shared = SHARED_HEADERS.map(|name| (name.to_owned(), reference(name)));
    let mut headers = Value::Object(shared.into_iter().collect());
    let own = match status {
        401 => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    if let Some(name) = own {
        headers[name] = reference(name);
    }
    let content = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    json!({ "description": "", "headers": headers, "content": { PROBLEM_MEDIA_TYPE: content } })
}

fn example(code: Code) -> Value {
    let mut example = json!({
        "type": format!("{PAGES}{}", code.name()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "code": code.name(),
        "detail": format!("{}.", code.title()),
        "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    });
    if code == Code::InvalidField {
        example["errors"] =
            json!([{ "pointer": "/text", "detail": "Use at most 500 characters." }]);
    }
    example
}

fn problem_schema() -> Value {
    let text = |told: &str| json!({ "type": "string", "description": told });
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    let told_codes = "Stable: branch on this. More may be added.";
    json!({
        "type": "object",
        "title": "Problem",
        "description": "A refusal (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text("A URI reference to a page that says what the code means and what to do."),
            "title": text("The sort of problem in words."),
            "status": { "type": "integer", "format": "int32", "description": "The HTTP status." },
            "code": { "type": "string", "description": told_codes, "x-extensible-enum": codes },
            "detail": text("What is wrong this time, and what to do."),
            "request_id": { "type": "string", "format": "uuid", "description": "As in X-Request-Id." },
            "errors": {
                "type": "array",
                "description": "What is wrong with the input, each with a pointer or a parameter.",
                "items": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {
                        "pointer": text("A JSON pointer (RFC 6901) into the body."),
                        "parameter": text("The name of a path, query or header parameter."),
                        "detail": text("What to do."),
                    },
                },
            },
        },
    })
}

/// The reason phrase without spaces, as components are named.
fn response_name(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    reason.unwrap_or("Problem").replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{AS_OF, EVENT_POSITION};

    #[test]
    fn the_documented_headers_are_the_sent_ones() {
        for sent in [AS_OF, EVENT_POSITION] {
            let documented = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(sent.as_str());
            assert!(HEADERS.iter().any(documented), "{sent}");
        }
    }
}
