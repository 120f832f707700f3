//! Query strings: what an operation does not take is refused, and nothing is dropped.

use serde_json::Value;
use testkit::{Answer, App};

/// The parameters that an answer complains of, and what it says of the first.
fn told(answer: &Answer) -> (Vec<String>, String) {
    let errors = answer.body["errors"].as_array().unwrap();
    let name = |error: &Value| error["parameter"].as_str().unwrap_or_default().to_owned();
    (
        errors.iter().map(name).collect(),
        answer.text("/errors/0/detail"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_operation_takes_is_refused_by_its_name() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for (path, name, detail) in [
        ("/v1/timelines/local?limt=3", "limt", "did you mean limit?"),
        ("/v1/timelines/home?Limit=3", "Limit", "did you mean limit?"),
        (
            "/v1/timelines/local?since_id=1&limit=3",
            "since_id",
            "cursor",
        ),
        ("/v1/accounts/me?fields=id", "fields", "include"),
        ("/v1/posts?id=1&ids=1", "id", "did you mean ids?"),
        ("/v1/limits?", "", ""),
        ("/v1/limits?=", "", "takes no parameters"),
        ("/health/live?verbose", "verbose", "takes no parameters"),
    ] {
        let answer = ada.client.get(path).await;
        if detail.is_empty() {
            answer.expect(200);
            continue;
        }
        let answer = answer.problem(400, "invalid_parameter");
        let (names, said) = told(&answer);
        assert_eq!(names, [name], "{path}");
        assert!(said.contains(detail), "{path}: {said}");
    }
    // A write is not done.
    let body = serde_json::json!({"text": "not published"});
    let refused = ada.client.post("/v1/posts?draft=true", body).await;
    refused.problem(400, "invalid_parameter");
    app.settle().await;
    let mine = ada.client.get("/v1/accounts/me/posts").await.expect(200);
    assert_eq!(mine.ids(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_must_be_there_is_asked_for() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for (path, name) in [
        ("/v1/accounts", "ids"),
        ("/v1/posts", "ids"),
        ("/v1/timelines/home/count", "newer_than"),
    ] {
        let refused = ada.client.get(path).await.problem(400, "invalid_parameter");
        let error = &refused.body["errors"][0];
        assert_eq!(error["parameter"], name, "{path}");
        assert_eq!(error["code"], "required", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_is_taken_twice() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let document = app.client().get("/openapi.json").await.expect(200).body;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().cloned();
        for parameter in parameters.unwrap_or_default() {
            if parameter["in"] != "query" {
                continue;
            }
            asked += 1;
            let name = parameter["name"].as_str().unwrap();
            let path = path
                .replace("{account_id}", &ada.id)
                .replace("{post_id}", &ada.id)
                .replace("{handle}", &ada.handle);
            let path = format!("{path}?{name}={}&{name}={}", ada.id, ada.id);
            let answer = ada.client.get(&path).await;
            let answer = answer.problem(400, "invalid_parameter");
            let (names, said) = told(&answer);
            assert_eq!(names, [name], "{path}");
            assert!(said.contains("once"), "{path}: {said}");
        }
    }
    assert!(asked > 20, "{asked}");
}
