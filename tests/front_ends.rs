//! What a front-end meets in its first hour: generated clients, browsers, pages to read.

use api::LimitSettings;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{App, Servers, secrets};

fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every object in `value`, itself too, with where it is.
fn objects<'a>(value: &'a Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            found.push((at.to_owned(), value));
            for (name, field) in fields {
                objects(field, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                objects(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn schemas_are_as_generators_of_clients_take_them() {
    let document = document();
    let mut all = Vec::new();
    objects(&document, "", &mut all);
    for (at, object) in &all {
        if let Some(members) = object["allOf"].as_array() {
            assert_eq!(members.len(), 1, "{at}: more than one member in allOf");
        }
        let is_schema = object["type"] == "object" && !at.ends_with("/example");
        if is_schema && object["properties"].is_null() {
            assert_eq!(object["additionalProperties"], true, "{at}: any object");
        }
    }
    let metadata = &document["components"]["schemas"]["Post"]["properties"]["metadata"];
    assert_eq!(metadata["additionalProperties"], true);
}

#[test]
fn enumerations_of_answers_are_open_and_of_requests_closed() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let mut answered = Vec::new();
    for (at, operation) in operations(&document) {
        objects(&operation["responses"], &at, &mut answered);
    }
    let names = answered.iter().filter_map(|(_, object)| {
        let reference = object["$ref"].as_str()?;
        reference.strip_prefix("#/components/schemas/")
    });
    for name in names {
        assert!(schemas[name]["enum"].is_null(), "{name} is closed");
    }
    assert!(schemas["PostVisibility"]["x-extensible-enum"].is_array());
    let asked = &schemas["NewPost"]["properties"]["visibility"];
    assert!(asked["enum"].is_array(), "{asked} is open");
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    methods.collect()
}

#[test]
fn no_example_of_a_request_header_is_sent_by_trying_out() {
    let document = document();
    let parameters = document["components"]["parameters"].as_object().unwrap();
    assert!(parameters.len() >= 4);
    for (name, parameter) in parameters {
        let example = parameter
            .get("example")
            .or(parameter["schema"].get("example"));
        assert_eq!(example, None, "{name} would be sent");
    }
}

/// All texts below `value` that look like a time, with where they are.
fn times(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                times(field, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| times(item, at, found)),
        Value::String(text) if at.ends_with("_at") => found.push((at.to_owned(), text.clone())),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_always_have_three_digits_of_a_second() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("on time").await;
    app.settle().await;
    let edit = json!({"text": "in time"});
    let path = format!("/v1/posts/{post}");
    let any = [("If-Match", "*")];
    let edited = ada
        .client
        .send(Method::PATCH, &path, Some(edit), &any)
        .await;
    edited.expect(200);
    app.settle().await;
    let mut found = Vec::new();
    for path in [
        "/v1/accounts/me".to_owned(),
        "/v1/sessions".to_owned(),
        "/v1/timelines/home".to_owned(),
        format!("/v1/posts/{post}"),
        format!("/v1/posts/{post}/revisions"),
        format!("/v1/posts/{post}/thread"),
    ] {
        let answer = ada.client.get(&path).await.expect(200);
        times(&answer.body, &path, &mut found);
    }
    assert!(found.len() >= 9, "{found:?}");
    for (at, text) in found {
        let shape: String = text
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{at}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_location_names_can_be_read() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let login = json!({"login": ada.handle, "password": ada.password});
    let signed_in = app.client().post("/v1/sessions", login).await.expect(201);
    let token = signed_in.text("/access_token").to_owned();
    let location = signed_in.header("location").to_owned();
    assert_eq!(
        location,
        format!("/v1/sessions/{}", signed_in.text("/session_id"))
    );
    let again = app.client().with_token(token);
    let session = again.get(&location).await.expect(200);
    assert_eq!(session.text("/id"), signed_in.text("/session_id"));
    assert_eq!(session.body["current"], true);
    let other = ada.client.get(&location).await.expect(200);
    assert_eq!(other.body["current"], false);
    let bob = app.client().register("bob").await;
    bob.client.get(&location).await.problem(404, "not_found");

    let published = ada.client.post("/v1/posts", json!({"text": "here"})).await;
    let location = published.expect(201).header("location").to_owned();
    app.settle().await;
    ada.client.get(&location).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_a_problem_is_a_page_that_says_what_to_do() {
    let app = App::start().await;
    let refused = app.client().get("/v1/posts/none").await.expect(400);
    let page = app.client().get(&refused.text("/type")).await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    app.client()
        .get("/problems/of_no_kind")
        .await
        .problem(404, "not_found");
    // Those of the contract, whatever their status, say what to do and who answers so.
    let document = document();
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"];
    for code in codes["x-extensible-enum"].as_array().unwrap() {
        let code = code.as_str().unwrap();
        let path = format!("/problems/{code}");
        let page = app.client().text(&path).await;
        assert!(page.contains("What to do"), "{path}: {page}");
        assert!(
            page.contains(&format!("\"type\": \"{path}\"")),
            "{path}: {page}"
        );
        for (at, operation) in operations(&document) {
            let id = operation["operationId"].as_str().unwrap();
            let lists = operation["x-codes"].as_array().unwrap();
            let lists = lists.iter().any(|known| known == code);
            assert_eq!(page.contains(&format!("/{id}\"")), lists, "{path}: {at}");
        }
    }
}

#[test]
fn each_operation_lists_the_codes_that_it_answers_with() {
    let document = document();
    let mut known = std::collections::BTreeMap::new();
    for (at, operation) in operations(&document) {
        let codes = operation["x-codes"].as_array().unwrap();
        let names: Vec<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
        let mut told = Vec::new();
        for (status, response) in operation["responses"].as_object().unwrap() {
            if status.as_str() < "400" {
                continue;
            }
            let response = match response["$ref"].as_str() {
                Some(reference) => document.pointer(&reference[1..]).unwrap(),
                None => response,
            };
            let lines = response["description"].as_str().unwrap().lines();
            told.extend(lines.filter_map(|line| line.split('`').nth(1)));
        }
        told.sort_unstable();
        assert_eq!(told, names, "{at}: what the responses say");
        known.insert(operation["operationId"].as_str().unwrap(), names);
    }
    let has = |id: &str, code: &str| known[id].contains(&code);
    for (id, code) in [
        ("registerAccount", "handle_taken"),
        ("followAccount", "self_follow"),
        ("followAccount", "account_blocked"),
        ("blockAccount", "self_block"),
        ("pinPost", "not_pinnable"),
        ("makeBookmarkFolder", "too_many_folders"),
        ("addSecondFactor", "second_factor_exists"),
        ("editPost", "not_author"),
    ] {
        assert!(has(id, code), "{id}: {code}");
    }
    for (id, code) in [
        ("publishPost", "handle_taken"),
        ("likePost", "conflict"),
        ("getVersion", "too_many_requests"),
        ("listLimits", "unauthenticated"),
        ("getAccount", "unauthenticated"),
        ("signIn", "not_found"),
    ] {
        assert!(!has(id, code), "{id}: {code}");
    }
}

#[test]
fn no_pattern_has_what_turns_or_controls_a_source() {
    let document = document();
    let mut all = Vec::new();
    objects(&document, "", &mut all);
    let mut patterns = 0;
    for (at, object) in &all {
        let Some(pattern) = object["pattern"].as_str() else {
            continue;
        };
        patterns += 1;
        assert!(pattern.is_ascii(), "{at}: {pattern}");
        let controls = pattern.chars().any(char::is_control);
        let names_them = ["\\u", "\\x", "\\p", "\\P"]
            .iter()
            .any(|e| pattern.contains(e));
        assert!(!controls && !names_them, "{at}: {pattern}");
    }
    assert!(patterns > 30, "{patterns}");
}

#[test]
fn headers_of_every_answer_are_told_once() {
    let document = document();
    let introduction = document["info"]["description"].as_str().unwrap();
    let components = document["components"]["headers"].as_object().unwrap();
    for header in [
        "X-Request-Id",
        "RateLimit",
        "Server-Timing",
        "Traceresponse",
    ] {
        assert!(introduction.contains(&format!("`{header}`")), "{header}");
        assert!(!components.contains_key(header), "{header}");
        for (at, operation) in operations(&document) {
            for response in operation["responses"].as_object().unwrap().values() {
                assert!(response["headers"][header].is_null(), "{at}: {header}");
            }
        }
    }
    // New values of enumerations, too.
    assert!(introduction.contains("x-extensible-enum"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_field_has_a_code_and_its_limit() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let long = "x".repeat(5_001);
    let deep = json!({"a": {"b": {"c": {"d": {"e": 1}}}}});
    let marks = format!("a{}", "\u{489}".repeat(11));
    let registration = json!({
        "handle": "a!", "email": "nope", "password": "1", "display_name": "\u{3164}",
    });
    let made_up = json!({"text": long, "kind": 1, "language": "english!", "metadata": deep});
    for (path, body, wanted) in [
        (
            "/v1/accounts",
            registration,
            vec![
                ("/display_name", "blank", None),
                ("/email", "invalid_format", None),
                ("/handle", "invalid_characters", None),
                ("/password", "too_short", Some(8)),
            ],
        ),
        (
            "/v1/posts",
            made_up,
            vec![
                ("/kind", "unknown", None),
                ("/language", "invalid_format", None),
                ("/metadata", "too_deep", Some(4)),
                ("/text", "too_long", Some(5_000)),
            ],
        ),
        (
            "/v1/posts",
            json!({"visibility": "nobody", "reply_to_id": "x", "metadata": [1]}),
            vec![
                ("/metadata", "wrong_type", None),
                ("/reply_to_id", "invalid_format", None),
                ("/text", "required", None),
                ("/visibility", "not_allowed", None),
            ],
        ),
        (
            "/v1/posts",
            json!({"text": marks, "metadata": {"a": "x".repeat(5_000)}}),
            vec![
                ("/metadata", "too_large", Some(4_096)),
                ("/text", "invalid_characters", None),
            ],
        ),
        (
            "/v1/posts",
            json!({"text": "x", "reply_to_id": crate::accounts::uuid()}),
            vec![("/reply_to_id", "not_found", None)],
        ),
        (
            "/v1/bookmark-folders",
            json!({"folder_name": "x".repeat(51)}),
            vec![("/folder_name", "too_long", Some(50))],
        ),
        (
            "/v1/accounts",
            json!({"email": secrets::email("eve"), "password": "password"}),
            vec![("/password", "too_common", None)],
        ),
    ] {
        let refused = ada
            .client
            .post(path, body)
            .await
            .problem(422, "invalid_field");
        let errors = refused.body["errors"].as_array().unwrap();
        let mut told: Vec<_> = errors
            .iter()
            .map(|error| {
                let text = |name: &str| error[name].as_str().unwrap();
                (text("pointer"), text("code"), error["limit"].as_u64())
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, wanted, "{path}");
    }
    let taken = json!({
        "handle": ada.handle, "email": secrets::email("eve"), "password": secrets::password("eve"),
    });
    let taken = app.client().post("/v1/accounts", taken).await;
    let taken = taken.problem(409, "handle_taken");
    assert_eq!(taken.text("/errors/0/code"), "taken");
    for (query, code, limit) in [
        ("limit=0", "out_of_range", Some(1)),
        ("limit=101", "out_of_range", Some(100)),
        ("limit=many", "wrong_type", None),
        ("limit=1&limit=2", "duplicate", None),
        ("limt=1", "unknown", None),
        ("cursor=x", "invalid_format", None),
    ] {
        let path = format!("/v1/timelines/local?{query}");
        let refused = ada.client.get(&path).await.expect(400);
        assert_eq!(refused.text("/errors/0/code"), code, "{query}");
        assert_eq!(
            refused.body["errors"][0]["limit"].as_u64(),
            limit,
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_language_that_is_asked_for() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let ask = async |wanted: &str| {
        let headers = [("Accept-Language", wanted)];
        let body = Some(json!({"text": "x".repeat(5_001)}));
        let refused = ada.client.send(Method::POST, "/v1/posts", body, &headers);
        refused.await.problem(422, "invalid_field")
    };
    for (wanted, language, title, detail) in [
        (
            "de-AT, en;q=0.5",
            "de",
            "Ein Feld ist nicht zulässig",
            "Verwenden Sie höchstens 5000 Zeichen.",
        ),
        (
            "en;q=0.1, de;q=0.2",
            "de",
            "Ein Feld ist nicht zulässig",
            "Verwenden Sie höchstens 5000 Zeichen.",
        ),
        (
            "en-GB, de;q=0.9",
            "en",
            "A field is not acceptable",
            "Use at most 5000 characters.",
        ),
        (
            "fr, ja",
            "en",
            "A field is not acceptable",
            "Use at most 5000 characters.",
        ),
        (
            "de;q=0",
            "en",
            "A field is not acceptable",
            "Use at most 5000 characters.",
        ),
    ] {
        let refused = ask(wanted).await;
        assert_eq!(refused.header("content-language"), language, "{wanted}");
        assert!(
            refused.header("vary").contains("Accept-Language"),
            "{wanted}"
        );
        assert_eq!(refused.text("/title"), title, "{wanted}");
        assert_eq!(refused.text("/errors/0/detail"), detail, "{wanted}");
        assert_eq!(refused.text("/errors/0/code"), "too_long");
    }
    // Refused by the router, by authentication, by a handler.
    let own = format!("/v1/accounts/{}/follow", ada.id);
    let german = [("Accept-Language", "de")];
    for (client, method, path, code, detail) in [
        (
            &app.client(),
            Method::GET,
            "/v1/nothing",
            404,
            "Prüfen Sie den Pfad",
        ),
        (
            &app.client(),
            Method::GET,
            "/v1/accounts/me",
            401,
            "Senden Sie ein Zugangstoken",
        ),
        (
            &ada.client,
            Method::PUT,
            own.as_str(),
            409,
            "Folgen Sie einem anderen Konto",
        ),
        (
            &ada.client,
            Method::GET,
            "/v1/handles/nobody_here",
            404,
            "Es gibt dieses Konto nicht.",
        ),
        (
            &ada.client,
            Method::GET,
            "/v1/timelines/home?limt=1",
            400,
            "Korrigieren Sie die Parameter",
        ),
    ] {
        let refused = client.send(method, path, None, &german).await.expect(code);
        let told = refused.text("/detail");
        assert!(told.starts_with(detail), "{path}: {told}");
    }
    // What is no refusal has no language.
    let home = ada
        .client
        .send(Method::GET, "/v1/timelines/home", None, &german);
    let home = home.await.expect(200);
    assert_eq!(home.header("content-language"), "");
    assert!(!home.header("vary").contains("Accept-Language"));
}

/// An office, or a mobile network, where many have one address.
#[tokio::test(flavor = "multi_thread")]
async fn good_refreshes_do_not_use_up_an_address() {
    let limits = LimitSettings {
        anonymous: "100/60".parse().unwrap(),
        account: "600/60".parse().unwrap(),
        ..LimitSettings::NONE
    };
    let app = App::limited(Servers::shared().await, limits).await;
    let ada = app.client().register("ada").await;
    let login = json!({"login": ada.handle, "password": ada.password});
    let signed_in = app.client().post("/v1/sessions", login).await.expect(201);
    let mut token = signed_in.text("/refresh_token");
    let path = "/v1/sessions/refresh";
    for _ in 0..25 {
        let next = app
            .client()
            .post(path, json!({"refresh_token": token}))
            .await;
        token = next.expect(200).text("/refresh_token");
    }
    let mut refused = 0;
    while refused < 100 {
        let wrong = json!({"refresh_token": "A".repeat(64)});
        let answer = app.client().post(path, wrong).await;
        refused += 1;
        if answer.status == 429 {
            break;
        }
    }
    assert!((10..=30).contains(&refused), "{refused}");
    // Nor is it refused where somebody else has.
    let next = app
        .client()
        .post(path, json!({"refresh_token": token}))
        .await;
    assert!(
        next.expect(200)
            .header("ratelimit")
            .starts_with("\"account\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_private_account_has_is_refused_in_one_way() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    ada.publish("for my followers").await;
    let private = json!({"private": true});
    ada.client
        .patch("/v1/accounts/me", private)
        .await
        .expect(200);
    let stranger = app.client().register("eve").await;
    app.settle().await;
    for client in [&app.client(), &stranger.client] {
        for list in ["posts", "followers", "following"] {
            let path = format!("/v1/accounts/{}/{list}", ada.id);
            client.get(&path).await.problem(403, "account_private");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guide_stands_beside_the_reference() {
    let app = App::start().await;
    let reference = app.client().text("/docs").await;
    assert!(reference.contains("href=\"/docs/guide\""), "{reference}");
    let guide = app.client().text("/docs/guide").await;
    for part in [
        "sign-in",
        "refusals",
        "paging",
        "idempotency",
        "lost-updates",
        "limits",
        "positions",
        "lengths",
        "evolution",
    ] {
        assert!(guide.contains(&format!("<h2 id=\"{part}\">")), "{part}");
    }
    assert!(guide.contains("x-extensible-enum"));
    // What it names is there.
    let document = document();
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"];
    let codes = codes["x-extensible-enum"].as_array().unwrap();
    for named in [
        "token_expired",
        "invalid_cursor",
        "idempotency_key_reused",
        "version_mismatch",
    ] {
        assert!(
            guide.contains(named) && codes.iter().any(|code| code == named),
            "{named}"
        );
    }
}
