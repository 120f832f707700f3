//! What operations of the contract share: the problem, its responses, and headers. It
//! refuses anything that one feature alone has.

use poem::http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    contract_codes,
    language::Language,
    paging::CURSOR,
    preconditions::{
        IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_UNAUTHENTICATED, IF_MATCH, IF_MATCH_REQUIRED,
        IF_NONE_MATCH, MIN_POSITION,
    },
    problem::{Code, FieldCode, PROBLEM_MEDIA_TYPE, Problem, Wrong},
};

/// On every answer, of which the introduction tells once: in each response of each
/// operation they would hide what it has of its own.
const OF_ALL: &[(&str, &str)] = &[
    (
        "X-Request-Id",
        "names the request in our logs and, for a write, in its events: tell it to the operators",
    ),
    (
        "RateLimit, RateLimit-Policy",
        "what the request was counted by (`q` points in `w` seconds), points left (`r`) and seconds until all are back (`t`); not where nothing is counted: `/health/live`, `/health/ready`, `/version`",
    ),
    (
        "Server-Timing",
        "milliseconds that the answer took here, to the tens below",
    ),
    (
        "Traceresponse",
        "the trace that the request is part of: of its `Traceparent`, or its own",
    ),
    (
        "Access-Control-Allow-Origin",
        "for a page of an origin that may call from a browser",
    ),
    (
        "Content-Language",
        "of a problem: the language of its `title` and `detail`, which `Accept-Language` chooses (`en`, `de`)",
    ),
    (
        "Deprecation, Sunset",
        "of an operation that will end: since when it should not be used (RFC 9745), when it stops (RFC 8594), and a `Link` with `rel=\"deprecation\"` to what replaces it",
    ),
];

/// The same, for the introduction.
pub(crate) fn headers_of_all() -> String {
    let rows = OF_ALL.iter().map(|(name, told)| {
        let names: Vec<_> = name.split(", ").map(|name| format!("`{name}`")).collect();
        format!("| {} | {told} |\n", names.join(", "))
    });
    format!(
        "| header of every answer | what it says |\n| --- | --- |\n{}",
        rows.collect::<String>()
    )
}

/// Response headers with a sentence each.
pub(crate) const HEADERS: &[(&str, &str)] = &[
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
        "Retry-After",
        "How many seconds to wait before another try.",
    ),
    (
        "WWW-Authenticate",
        "The scheme that is wanted, and what was wrong with the token (RFC 6750).",
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

    let shared =
        contract_codes::shared().map(|(status, response)| (response_name(status), response));
    components["responses"] = shared.collect::<Map<_, _>>().into();
    let mut problem = problem_schema();
    // Generators make names up for what has none, each another.
    let error = json!({ "$ref": "#/components/schemas/FieldError" });
    let error = std::mem::replace(&mut problem["properties"]["errors"]["items"], error);
    components["schemas"]["FieldError"] = error;
    components["schemas"]["Problem"] = problem;
}

/// What an operation answers with these codes, which have one status.
pub(crate) fn response(codes: &[Code]) -> Value {
    let status = codes.first().map_or(500, |code| code.status().as_u16());
    let told = codes.iter().map(|code| {
        let title = code.title().of(Language::English);
        format!("- `{}`: {title}.\n", code.name())
    });
    let own = match status {
        401 => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    let content = json!({
        "schema": { "$ref": "#/components/schemas/Problem" },
        "example": codes.first().map(|code| example(*code)),
    });
    let mut response = json!({
        "description": told.collect::<String>(),
        "content": { PROBLEM_MEDIA_TYPE: content },
    });
    if let Some(name) = own {
        let reference = format!("#/components/headers/{name}");
        response["headers"] = json!({ name: { "$ref": reference } });
    }
    response
}

/// A problem with this code.
pub(crate) fn example(code: Code) -> Value {
    let problem = match code {
        Code::InvalidField => Problem::invalid_field("/text", FieldCode::TooLong.limit(500)),
        Code::InvalidParameter => Problem::invalid_parameter("limit", Wrong::above(100)),
        Code::InvalidCursor => Problem::from(code).with_parameter(CURSOR, FieldCode::InvalidFormat),
        code => code.into(),
    };
    let id = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
    let document = problem.document(Some(id), Language::English);
    serde_json::from_slice(&document).unwrap_or_default()
}

fn problem_schema() -> Value {
    let text = |told: &str| json!({ "type": "string", "description": told });
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    let told_codes = "Stable: branch on this. Each operation lists those that it answers with; more may be added.";
    let fields: Vec<_> = FieldCode::ALL.iter().map(|code| code.name()).collect();
    let told = FieldCode::ALL.iter();
    let told = told.map(|code| format!("- `{}`: {}\n", code.name(), code.meaning()));
    let told_fields = format!(
        "Stable: branch on this. More may be added.\n\n{}",
        told.collect::<String>()
    );
    json!({
        "type": "object",
        "title": "Problem",
        "description": "A refusal (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text("A URI reference to a page that says what the code means and what to do."),
            "title": text("The sort of problem in words, in the language of `Content-Language`."),
            "status": { "type": "integer", "format": "int32", "description": "The HTTP status." },
            "code": { "type": "string", "description": told_codes, "x-extensible-enum": codes },
            "detail": text("What to do this time, in the language of `Content-Language`."),
            "request_id": { "type": "string", "format": "uuid", "description": "As in X-Request-Id." },
            "errors": {
                "type": "array",
                "description": "What is wrong with the input, each with a pointer or a parameter.",
                "items": {
                    "type": "object",
                    "description": "What is wrong with a part of the input.",
                    "required": ["code", "detail"],
                    "properties": {
                        "pointer": text("A JSON pointer (RFC 6901) into the body."),
                        "parameter": text("The name of a path, query or header parameter."),
                        "code": { "type": "string", "description": told_fields, "x-extensible-enum": fields },
                        "limit": {
                            "type": "integer", "format": "int64",
                            "description": "What the value must keep to, where the code is about a number.",
                        },
                        "detail": text("What to do, in the language of `Content-Language`."),
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
