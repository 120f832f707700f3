//! Whom a request is for and what it asks for, byte by byte: hosts and paths.

use serde_json::Value;
use testkit::App;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

const ANSWER_SECONDS_MAX: u64 = 10;

/// The status and the body of the answer to these bytes, after which the server closes.
async fn exchange(app: &App, sent: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let read = stream.read_to_end(&mut told);
    let patience = Duration::from_secs(ANSWER_SECONDS_MAX);
    timeout(patience, read).await.unwrap().unwrap();
    let told = String::from_utf8(told).unwrap();
    let status = told.get(9..12).and_then(|status| status.parse().ok());
    let body = told.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.unwrap_or_else(|| panic!("{sent:?}: {told:?}")), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_server_that_can_be_one() {
    let app = App::start().await;
    for (head, wanted) in [
        ("GET /v1/limits HTTP/1.1\r\nHost: here\r\n", 200),
        ("GET /v1/limits HTTP/1.1\r\nhost:  here:8080 \r\n", 200),
        ("GET /v1/limits HTTP/1.1\r\nHost: [::1]:8080\r\n", 200),
        ("GET /v1/limits HTTP/1.0\r\n", 200),
        (
            "GET http://elsewhere/v1/limits HTTP/1.1\r\nHost: here\r\n",
            200,
        ),
        ("GET /v1/limits HTTP/1.1\r\n", 400),
        ("GET http://elsewhere/v1/limits HTTP/1.1\r\n", 400),
        (
            "GET /v1/limits HTTP/1.1\r\nHost: here\r\nHost: here\r\n",
            400,
        ),
        (
            "GET /v1/limits HTTP/1.1\r\nHost: a\r\nX: y\r\nhOST: b\r\n",
            400,
        ),
        ("GET /v1/limits HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /v1/limits HTTP/1.1\r\nHost:\r\n", 400),
        ("GET /v1/limits HTTP/1.1\r\nHost: user@here\r\n", 400),
        ("GET /v1/limits HTTP/1.1\r\nHost: here:http\r\n", 400),
        ("GET /v1/limits HTTP/1.1\r\nHost: he re\r\n", 400),
        ("GET /v1/limits HTTP/1.1\r\nHost: http://here\r\n", 400),
        ("GET /v1/limits HTTP/1.0\r\nHost: here/there\r\n", 400),
        (
            "GET http://a:b@here/v1/limits HTTP/1.1\r\nHost: here\r\n",
            400,
        ),
        ("GET /health/live HTTP/1.1\r\n", 400),
        ("POST /v1/sessions HTTP/1.1\r\nContent-Length: 2\r\n", 400),
    ] {
        let body = if head.starts_with("POST") { "{}" } else { "" };
        let sent = format!("{head}Connection: close\r\n\r\n{body}");
        let (status, body) = exchange(&app, &sent).await;
        assert_eq!(status, wanted, "{head}: {body}");
        if wanted == 400 {
            assert_eq!(body["code"], "malformed_request", "{head}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_what_it_says_however_it_is_escaped() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("here").await;
    app.settle().await;
    let escape = |text: &str| -> String {
        let bytes = text.bytes();
        bytes.map(|byte| format!("%{byte:02x}")).collect()
    };
    let (escaped, handle) = (escape(&post), escape(&ada.handle));
    for (path, wanted) in [
        ("/%76%31/%6Cimits".to_owned(), 200),
        ("/v1/%6cimits".to_owned(), 200),
        ("/openapi%2Ejson".to_owned(), 200),
        ("/health/%6cive".to_owned(), 200),
        (format!("/v1/%70osts/{escaped}"), 200),
        (format!("/v1/posts/{post}/%72eplies?limit=%31"), 200),
        (format!("/v1/handles/{handle}"), 200),
        ("/v1/./limits".to_owned(), 200),
        ("/v1/x/%2e./limits".to_owned(), 200),
        // Other paths than those.
        ("/v1/%256cimits".to_owned(), 404),
        ("/v1%2Flimits".to_owned(), 404),
        (format!("/v1/posts/{post}%2freplies"), 404),
        ("/v1//limits".to_owned(), 404),
        ("//v1/limits".to_owned(), 404),
        ("/v1/limits/".to_owned(), 404),
        ("/v1/%6cimits/".to_owned(), 404),
        ("/v1/limits/.".to_owned(), 404),
        ("/v1/limit%00s".to_owned(), 404),
        ("/v1/l%C3%ADmits".to_owned(), 404),
        ("/v1/%zz".to_owned(), 400),
        ("/v1/limits%".to_owned(), 400),
        ("/v1/limits%6".to_owned(), 400),
    ] {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        let (status, body) = exchange(&app, &sent).await;
        // What is data in an id is no id.
        let no_id = wanted == 404 && path.starts_with("/v1/posts/") && status == 400;
        assert!(status == wanted || no_id, "{path}: {status}: {body}");
    }
    for path in ["/v1/handles/%ff", "/v1/handles/a%00b", "/v1/handles/a%2Fb"] {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        let (status, body) = exchange(&app, &sent).await;
        assert!(matches!(status, 400 | 404), "{path}: {status}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_effect_however_the_path_is_escaped() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("first").await;
    for path in [format!("/v1/posts/{post}"), format!("/%761/%70osts/{post}")] {
        let body = serde_json::json!({"text": "second"});
        let headers = [("Idempotency-Key", "edit-once"), ("If-Match", "\"1\"")];
        let method = reqwest::Method::PATCH;
        let edited = ada.client.send(method, &path, Some(body), &headers).await;
        assert_eq!(edited.expect(200).number("/version"), 2, "{path}");
    }
}
