//! What a collector of OpenTelemetry is sent: one trace from a request over its
//! append to whatever folds it, nothing of anybody, and nothing that anyone must
//! wait for.

use memchr::memmem::find;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Answer, Client, Servers, until};

use crate::{
    collector::{Collector, attribute},
    process::{Running, environment, run},
};

const CLIENTS_SPAN: &str = "00f067aa0ba902b7";

fn settings(servers: &Servers, endpoint: &str) -> Vec<(&'static str, String)> {
    let mut settings = environment(servers);
    settings.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()));
    settings
}

async fn publish(client: &Client, trace: &str, flags: &str) -> Answer {
    let traceparent = format!("00-{trace}-{CLIENTS_SPAN}-{flags}");
    let headers = [("traceparent", traceparent.as_str())];
    let body = Some(json!({"text": "traced"}));
    let published = client.send(Method::POST, "/v1/posts", body, &headers);
    published.await.expect(201)
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_request_over_the_append_to_the_folds() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let collector = Collector::start().await;
    let settings = settings(&servers, &collector.url);
    let start = async |what, ready| Running::start(&[what], &settings, folder.path(), ready).await;
    let serve = start("serve", "documentation").await;
    let work = start("work", "works on").await;
    let ada = Client::new(serve.api.clone()).register("ada").await;

    let unrecorded = "11111111111111111111111111111111";
    publish(&ada.client, unrecorded, "00").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let published = publish(&ada.client, trace, "01").await;
    let whole = || async { collector.trace(trace).len() >= 4 };
    until("the trace is whole", 20, whole).await;

    let spans = collector.trace(trace);
    let wanted = [
        "POST /v1/posts",
        "append log",
        "fan out timelines",
        "fold social",
    ];
    let mut sorted = wanted;
    sorted.sort();
    assert_eq!(names(&spans), sorted);
    let [request, append, fan_out, fold] =
        wanted.map(|name| spans.iter().find(|span| span.name == name).unwrap());
    assert_eq!(hex::encode(&request.parent_span_id), CLIENTS_SPAN);
    let answered = format!("00-{trace}-{}-01", hex::encode(&request.span_id));
    assert_eq!(published.header("traceresponse"), answered);
    assert_eq!(append.parent_span_id, request.span_id);
    assert_eq!(fold.parent_span_id, append.span_id);
    assert_eq!(fan_out.parent_span_id, append.span_id);
    for (span, kind) in [
        (request, SpanKind::Server),
        (append, SpanKind::Producer),
        (fold, SpanKind::Consumer),
        (fan_out, SpanKind::Consumer),
    ] {
        assert_eq!(span.kind(), kind, "{}", span.name);
        assert!(span.start_time_unix_nano < span.end_time_unix_nano);
        let status = span.status.as_ref().unwrap().code();
        assert_eq!(status, StatusCode::Unset, "{}", span.name);
    }
    assert!(append.start_time_unix_nano < fold.start_time_unix_nano);
    let position = testkit::position(&published.header("event-position"));
    let (partition, _) = position.split_once(':').unwrap();
    for span in [append, fold, fan_out] {
        let told = |name| attribute(&span.attributes, name);
        assert_eq!(told("headwater.position"), position);
        assert_eq!(told("messaging.destination.partition.id"), partition);
    }
    let told = |span: &Span, name| attribute(&span.attributes, name);
    assert_eq!(told(request, "http.route"), "/v1/posts");
    assert_eq!(told(request, "http.request.method"), "POST");
    assert_eq!(told(request, "http.response.status_code"), "201");
    assert_eq!(told(fold, "headwater.projection"), "social");
    assert_eq!(told(fan_out, "headwater.projection"), "timelines");
    let resources = collector.requests().into_iter();
    for resource in resources.flat_map(|request| request.resource_spans) {
        let resource = resource.resource.unwrap();
        assert_eq!(attribute(&resource.attributes, "service.name"), "headwater");
    }
    // What is sent goes in order, and the later one is there.
    assert!(collector.trace(unrecorded).is_empty());
    kept_in_the_log(&settings, folder.path(), append).await;

    // A rebuild folds it again, and the old generation is folded on: of neither is
    // anything told.
    let rebuild = ["projections", "rebuild", "social", "--rate", "max"];
    let rebuilt = run(&rebuild, &settings, folder.path()).await;
    assert_eq!(rebuilt.status, 0, "{}", rebuilt.err);
    let later = "22222222222222222222222222222222";
    publish(&ada.client, later, "01").await;
    let whole = || async { collector.trace(later).len() >= 4 };
    until("the later trace is whole", 20, whole).await;
    assert_eq!(names(&collector.trace(later)), sorted);
    assert_eq!(names(&collector.trace(trace)), sorted);

    // What waits is sent before the processes end.
    let last = "33333333333333333333333333333333";
    publish(&ada.client, last, "01").await;
    assert_eq!(serve.stop().await, 0);
    assert_eq!(names(&collector.trace(last))[..2], sorted[..2]);
    assert_eq!(work.stop().await, 0);
    for trace in [trace, later] {
        assert_eq!(names(&collector.trace(trace)), sorted);
    }
}

/// The append stands in the log with its event, and of no other event's anything.
async fn kept_in_the_log(settings: &[(&str, String)], folder: &std::path::Path, append: &Span) {
    let tail = ["tail", "-o", "start", "-e", "-t", "PostCreated"];
    let told = run(&tail, settings, folder).await;
    let events = told
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<Value> = events.collect();
    let (trace, span) = (hex::encode(&append.trace_id), hex::encode(&append.span_id));
    let wanted = json!(format!("00-{trace}-{span}-01"));
    let contexts: Vec<_> = events
        .iter()
        .map(|event| event.get("traceparent"))
        .collect();
    assert_eq!(contexts, [None, Some(&wanted)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_log_keeps_the_trace_that_the_client_records() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let serve = Running::serve(&servers, folder.path()).await;
    let ada = Client::new(serve.api.clone()).register("ada").await;
    let recorded = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = publish(&ada.client, recorded, "01").await;
    publish(&ada.client, "11111111111111111111111111111111", "00").await;
    ada.publish("of no trace").await;
    let tail = ["tail", "-o", "start", "-e"];
    let told = run(&tail, &environment(&servers), folder.path()).await;
    let traced = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        Some(event.get("traceparent")?.as_str()?.to_owned())
    };
    let contexts: Vec<_> = told.out.lines().filter_map(traced).collect();
    assert_eq!(contexts, [answer.header("traceresponse")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_fails_no_request_and_is_told_of_once() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let collector = Collector::start().await;
    collector.hang_up(true);
    let settings = settings(&servers, &collector.url);
    let serve = Running::start(&["serve"], &settings, folder.path(), "documentation").await;
    let client = Client::new(serve.api.clone());
    let asked = || async {
        client.get("/v1/limits").await.expect(200);
        collector.hung_up() >= 3
    };
    until("three batches were not taken", 30, asked).await;
    collector.hang_up(false);
    let asked = || async {
        client.get("/v1/limits").await.expect(200);
        !collector.spans().is_empty()
    };
    until("spans are taken again", 30, asked).await;
    // The collector has them a moment before the process knows it.
    let says = || async { serve.said().contains("takes spans again") };
    until("it says so", 10, says).await;
    let said = serve.said();
    assert_eq!(serve.stop().await, 0);
    let told = |what: &str| said.matches(what).count();
    assert_eq!(told("the collector takes no spans"), 1, "{}", said);
    assert_eq!(told("the collector takes spans again"), 1);
    assert_eq!(told("WARN") + told("ERROR"), 1, "{}", said);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_tell_of_nobody() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let collector = Collector::start().await;
    let settings = settings(&servers, &collector.url);
    let start = async |what, ready| Running::start(&[what], &settings, folder.path(), ready).await;
    let serve = start("serve", "documentation").await;
    let work = start("work", "works on").await;
    let client = Client::new(serve.api.clone());
    let ada = client.register("markedhandle").await;
    let session = json!({"login": ada.email, "password": ada.password});
    let session = client.post("/v1/sessions", session).await.expect(201);
    let (access, refresh) = (
        session.text("/access_token"),
        session.text("/refresh_token"),
    );
    let wrong = json!({"login": ada.email, "password": "a wrong password"});
    client
        .post("/v1/sessions", wrong)
        .await
        .problem(401, "invalid_credentials");
    let used = json!({"refresh_token": refresh});
    client.post("/v1/sessions/refresh", used).await.expect(200);
    let me = client.clone().with_token(access.clone());
    me.post("/v1/posts", json!({"text": "markedtext"}))
        .await
        .expect(201);
    me.get(&format!("/v1/posts/{refresh}?token={access}")).await;
    me.get(&format!("/{access}"))
        .await
        .problem(404, "not_found");
    let method = Method::from_bytes(b"MARKEDMETHOD").unwrap();
    me.send(method, "/v1/posts", None, &[]).await;
    me.put(&format!("/v1/accounts/{}/follow", ada.id)).await;
    let folded = || async { names(&collector.spans()).contains(&"fan out timelines") };
    until("the post is fanned out", 20, folded).await;
    assert_eq!(serve.stop().await, 0);
    assert_eq!(work.stop().await, 0);

    let spans = collector.spans();
    for name in [
        "POST /v1/accounts",
        "POST /v1/sessions",
        "POST /v1/posts",
        "GET",
        "HTTP",
    ] {
        assert!(names(&spans).contains(&name), "{name} is told of");
    }
    let bytes = collector.bytes();
    let token = ada.token().unwrap();
    for mark in [
        &ada.email,
        &ada.password,
        &ada.handle,
        &ada.id,
        token,
        &access,
        &refresh,
        "a wrong password",
        "markedtext",
        "MARKEDMETHOD",
        "127.0.0.1",
    ] {
        assert_eq!(find(&bytes, mark.as_bytes()), None, "{mark} is told of");
    }
}
