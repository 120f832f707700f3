//! `headwater projections`: what an operator is told is true.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{App, Client, Servers, secrets, until};

use crate::process::{Running, environment, run};

const PATIENCE_SECONDS: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_never_looks_healthy() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    ada.publish("one").await;
    app.settle().await;
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let told = async || -> Vec<Value> {
        let told = run(&["projections"], &settings, folder.path()).await;
        assert_eq!(told.status, 0, "{}", told.err);
        let lines = told.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let until = async |what: &str, is: &dyn Fn(&Value) -> bool| {
        let began = Instant::now();
        loop {
            let all = told().await;
            if all.iter().all(is) {
                return all;
            }
            let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
            assert!(!late, "not all are {what}: {all:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };

    // Everything is folded, but nobody would fold what comes next.
    let all = told().await;
    let names: BTreeSet<_> = all.iter().map(|p| p["projection"].as_str()).collect();
    assert_eq!(names, BTreeSet::from([Some("social"), Some("timelines")]));
    for progress in &all {
        assert_eq!(progress["state"], "stalled", "{progress}");
        assert_eq!(progress["position"], progress["head"], "{progress}");
        assert_eq!(progress["lag_events"], 0, "{progress}");
    }

    let worker = Running::work(&app.servers, folder.path()).await;
    let live = |progress: &Value| progress["state"] == "live";
    let all = until("live", &live).await;
    let pid = worker.child.id().unwrap().to_string();
    for progress in &all {
        let owner = progress["owner"].as_str().unwrap();
        assert!(owner.ends_with(&format!("/{pid}")), "{owner}");
        assert_eq!(progress["trouble"], Value::Null);
    }

    worker.kill().await;
    ada.publish("two").await;
    let stalled = |progress: &Value| progress["state"] == "stalled";
    let all = until("stalled", &stalled).await;
    for progress in &all {
        assert_eq!(progress["owner"], Value::Null);
        assert_eq!(progress["trouble"], "no worker holds the partition");
    }
    let behind = all.iter().filter(|progress| progress["lag_events"] != 0);
    for progress in behind.clone() {
        assert!(progress["lag_seconds"].as_f64().unwrap() > 0.0);
    }
    // Of both projections, her partition.
    assert_eq!(behind.count(), 2);
}

/// Prometheus reads what operators are told.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_readiness_tell_the_same_truth() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    ada.publish("one").await;
    app.settle().await;
    let folder = tempdir().unwrap();
    let mut settings = environment(&app.servers);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    settings.push(("METRICS_ADDRESS", address.clone()));
    let worker = Running::start(&["work"], &settings, folder.path(), "works on").await;
    let url = format!("http://{address}/metrics");
    let scraped = async || {
        let answer = reqwest::get(&url).await.unwrap();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let text = answer.text().await.unwrap();
        secrets::heard("metrics", text.as_bytes());
        text
    };
    let began = Instant::now();
    let text = loop {
        let text = scraped().await;
        if text.matches("state=\"live\"} 1").count() == 16 {
            break text;
        }
        let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
        assert!(!late, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for line in [
        "headwater_up{part=\"log\"} 1",
        "headwater_up{part=\"database\"} 1",
        "headwater_up{part=\"views\"} 1",
        "headwater_projection_lag_events{generation=\"1\",partition=\"7\",projection=\"social\",role=\"live\"} 0",
        "# TYPE headwater_dead_letters gauge",
        "# TYPE headwater_http_requests_total counter",
        "# TYPE headwater_connections gauge",
        "# TYPE headwater_connections_refused_total counter",
    ] {
        assert!(text.lines().any(|one| one == line), "no {line}:\n{text}");
    }
    let elsewhere = reqwest::get(format!("http://{address}/")).await.unwrap();
    assert_eq!(elsewhere.status(), 404);

    let ready = async || app.client().get("/health/ready").await.expect(200).body;
    let states = |ready: &Value| -> Vec<String> {
        let all = ready["projections"].as_array().unwrap().iter();
        all.map(|one| format!("{} {}", one["name"], one["state"]))
            .collect()
    };
    let live = ["\"social\" \"live\"", "\"timelines\" \"live\""];
    assert_eq!(states(&ready().await), live);
    worker.stop().await;
    let stalled = ["\"social\" \"stalled\"", "\"timelines\" \"stalled\""];
    // An answer may be half a second old.
    until("readiness says so", 5, || async {
        states(&ready().await) == stalled
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_projections_over_the_api_as_long_as_they_are_operators() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    app.settle().await;
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let path = "/v1/operations/projections";
    app.client().get(path).await.problem(401, "unauthenticated");
    ada.client.get(path).await.problem(403, "forbidden");
    let accounts = async |does: &str| {
        let arguments = ["accounts", does, &ada.handle, "operator"];
        let done = run(&arguments, &settings, folder.path()).await;
        assert_eq!(done.status, 0, "{}", done.err);
        done.err
    };
    assert!(accounts("grant").await.contains("from now on"));
    assert!(accounts("grant").await.contains("already"));
    let all = ada.client.get(path).await.expect(200).body;
    let items = all["items"].as_array().unwrap();
    assert_eq!(items.len(), 16);
    for item in items {
        assert_eq!(item["state"], "stalled", "{item}");
        assert_eq!(item["role"], "live");
        assert!(item["trouble"].as_str().unwrap().contains("no worker"));
    }
    bob.client.get(path).await.problem(403, "forbidden");
    accounts("revoke").await;
    ada.client.get(path).await.problem(403, "forbidden");
    let nobody = ["accounts", "grant", "nobody_here", "operator"];
    let nobody = run(&nobody, &settings, folder.path()).await;
    assert!(nobody.status == 1 && nobody.err.contains("nobody has the handle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_counted_and_no_path_that_was_made_up() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let mut settings = environment(&servers);
    settings.push(("METRICS_ADDRESS", "127.0.0.1:0".into()));
    let serve = Running::start(&["serve"], &settings, folder.path(), "documentation").await;
    let client = Client::new(serve.api.clone());
    let ada = client.register("ada").await;
    let account = format!("/v1/accounts/{}/follow", ada.id);
    ada.client.put(&account).await.problem(409, "self_follow");
    client.get("/v1/made-up").await.problem(404, "not_found");
    let guess = json!({"login": ada.handle, "password": "guess it"});
    let refused = client.post("/v1/sessions", guess).await;
    refused.problem(401, "invalid_credentials");
    let scraped = reqwest::get(serve.metrics.clone()).await.unwrap();
    let text = scraped.text().await.unwrap();
    secrets::heard("metrics", text.as_bytes());
    for line in [
        "headwater_http_requests_total{code=\"\",method=\"POST\",route=\"/v1/accounts\",status=\"201\"} 1",
        "headwater_http_requests_total{code=\"self_follow\",method=\"PUT\",route=\"/v1/accounts/{account_id}/follow\",status=\"409\"} 1",
        "headwater_http_requests_total{code=\"not_found\",method=\"GET\",route=\"(no such path)\",status=\"404\"} 1",
        "headwater_http_request_duration_seconds_count{route=\"/v1/accounts\"} 1",
        "headwater_sign_in_refused_total{reason=\"invalid_credentials\"} 1",
    ] {
        assert!(text.lines().any(|one| one == line), "no {line}:\n{text}");
    }
    assert!(!text.contains("made-up") && !text.contains(&ada.id));
    assert_eq!(serve.stop().await, 0);
}
