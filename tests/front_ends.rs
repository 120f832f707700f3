//! What a front-end meets in its first hour: generated clients, browsers, pages to read.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::App;

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
    // Those of the contract, whatever their status.
    let document = document();
    let responses = document["components"]["responses"].as_object().unwrap();
    for response in responses.values() {
        let example = &response["content"]["application/problem+json"]["example"];
        let path = example["type"].as_str().unwrap();
        app.client().get(path).await.expect(200);
    }
}
