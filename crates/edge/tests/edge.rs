//! The edge around a tiny sample API, as a client meets it.

use std::{sync::Arc, time::Duration};

use edge::{
    answers::{Created, Found},
    assembly::{self, assemble},
    body::{BODY_BYTES_MAX, Input},
    caller::Proxies,
    contract,
    contract_rules::{Ending, Rules, TEXT},
    identity::{Authenticated, Viewer, now},
    paging::{Here, Limit},
    positions::SealedPositions,
    preconditions::{Idempotency, IfNoneMatch, MinPosition},
    problem::Problem,
    request::RequestId,
    server::{accept_until, listen},
    services::EdgeServices,
    tokens::{SigningFailed, SigningKey, TokenSettings, Tokens},
};
use kernel::{AccountId, Partition, Position, Timestamp};
use poem::{
    Endpoint, EndpointExt, Request, Response,
    http::{Method, StatusCode, header},
    web::Data,
};
use poem_openapi::{
    Object, OpenApi, Tags,
    param::{Path, Query},
    types::Example,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// What the types of the notes do not say.
const RULES: Rules = Rules {
    about: "Notes.",
    texts: &[("text", 20, TEXT)],
    ..Rules::NONE
};

/// The same, of which two operations end.
const ENDING: Rules = Rules {
    endings: &[
        Ending {
            operation: "list_notes",
            deprecated_at: 1_764_547_200,
            sunset_at: Some(1_796_083_200),
            page: "/docs/guide#notes",
        },
        Ending {
            operation: "count_notes",
            deprecated_at: 1_764_547_200,
            sunset_at: None,
            page: "/docs/guide#notes",
        },
    ],
    ..RULES
};

#[derive(Tags)]
enum Tag {
    /// Notes.
    Notes,
}

struct Notes;

/// A note.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
struct Note {
    id: Uuid,
    text: String,
    reply_to: Option<Uuid>,
}

/// A page of notes.
#[derive(Object)]
#[oai(example)]
struct NotePage {
    items: Vec<Note>,
}

/// What a new note says.
#[derive(Object)]
#[oai(example, deny_unknown_fields)]
struct NewNote {
    /// At most 20 characters.
    #[oai(validator(min_length = 1, max_length = 20))]
    text: String,
    reply_to: Option<Uuid>,
}

impl Example for Note {
    fn example() -> Self {
        Self {
            id: Uuid::from_u128(7),
            text: "Hello".into(),
            reply_to: None,
        }
    }
}

impl Example for NotePage {
    fn example() -> Self {
        Self {
            items: vec![Note::example()],
        }
    }
}

impl Example for NewNote {
    fn example() -> Self {
        Self {
            text: "Hello".into(),
            reply_to: None,
        }
    }
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Notes")]
impl Notes {
    /// List an account's notes
    ///
    /// As this test wants them.
    #[oai(
        path = "/accounts/:account_id/notes",
        method = "get",
        operation_id = "list_notes"
    )]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        viewer: Viewer,
        account_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
        known: IfNoneMatch,
        min_position: MinPosition,
        here: Here,
        services: Data<&Arc<EdgeServices>>,
    ) -> Result<Found<NotePage>, Problem> {
        let scope = format!("notes:{}", account_id.0);
        let after = cursor
            .0
            .as_deref()
            .map(|text| services.cursors.open("cursor", &scope, text));
        let after = after.transpose()?;
        let items = (0..limit.0.get()).map(|_| Note::example()).collect();
        let next = after
            .is_none()
            .then(|| services.cursors.seal(&scope, b"after"));
        let prev = services.cursors.seal(&scope, b"before");
        let version = viewer.account().map_or(7, |_| 8);
        Ok(Found::new(NotePage { items })
            .as_of(services.positions.all(&min_position.0, 1))
            .version(version, &known)
            .links(&here.links(next.as_deref(), &prev)))
    }

    /// Write a note
    ///
    /// As this test wants them.
    #[oai(path = "/notes", method = "post", operation_id = "write_note")]
    async fn write(
        &self,
        who: Authenticated,
        idempotency: Idempotency,
        note: Input<NewNote>,
    ) -> Result<Created<Note>, Problem> {
        if note.0.text == "slow" {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        let fits = note.0.text != "panic";
        assert!(fits, "asked to");
        let key = idempotency.of(who.account);
        let note = Note {
            id: Uuid::from_u128(key.map_or(0, |key| key.hash)),
            text: note.0.text,
            reply_to: note.0.reply_to,
        };
        let position = Position {
            partition: Partition(3),
            epoch: 1,
            seq: 4_711,
        };
        let location = format!("/v1/notes/{}", note.id);
        Ok(Created::new(&location, note).at(Some(position)).version(1))
    }
}

/// On a path that another feature has, too.
struct MoreNotes;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Notes")]
impl MoreNotes {
    /// Count all notes
    ///
    /// As this test wants them.
    #[oai(path = "/notes", method = "get", operation_id = "count_notes")]
    async fn count(&self, id: RequestId) -> Result<Found<Note>, Problem> {
        Err(Problem::internal(format!("secret cause of {}", id.0)))
    }
}

const ADA: AccountId = AccountId(Uuid::from_u128(1));
const NOTES: &str = "/v1/accounts/00000000-0000-0000-0000-000000000001/notes";

const DEADLINE: Duration = Duration::from_millis(200);

struct App<E> {
    endpoint: E,
    tokens: Arc<Tokens>,
    positions: Arc<SealedPositions>,
}

fn app() -> Result<App<impl Endpoint<Output = Response>>, Box<dyn std::error::Error>> {
    app_of(&RULES)
}

fn app_of(
    rules: &Rules,
) -> Result<App<impl Endpoint<Output = Response>>, Box<dyn std::error::Error>> {
    let tokens = Arc::new(Tokens::new(TokenSettings {
        issuer: "headwater".into(),
        audience: "headwater".into(),
        signing: SigningKey::Secret(vec![7; 32]),
        accepted: Vec::new(),
        session_secret: vec![8; 32],
    })?);
    let edge = assemble((Notes, MoreNotes), rules)?.with_deadline(DEADLINE);
    let secret = b"a secret of this test";
    let services = EdgeServices::new(tokens.clone(), Arc::default(), secret)?;
    let positions = services.positions.clone();
    let endpoint = edge.data(Arc::new(services));
    Ok(App {
        endpoint,
        tokens,
        positions,
    })
}

struct Answer {
    status: u16,
    headers: header::HeaderMap,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
}

impl<E: Endpoint<Output = Response>> App<E> {
    async fn send(&self, request: Request) -> Answer {
        let response = self.endpoint.get_response(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.into_vec().await.unwrap_or_default();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
        };
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let id = answer.header("x-request-id").parse::<Uuid>();
        assert!(id.is_ok(), "there is a request id");
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.json["status"], answer.status);
            assert_eq!(answer.json["request_id"], answer.header("x-request-id"));
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).finish()).await
    }

    async fn post(&self, body: impl Into<poem::Body>) -> Answer {
        let token = self.token(now()).unwrap_or_default();
        let request = request(Method::POST, "/v1/notes")
            .header("authorization", format!("Bearer {token}"))
            .content_type("application/json")
            .body(body);
        self.send(request).await
    }

    fn token(&self, at: Timestamp) -> Result<String, SigningFailed> {
        self.tokens.issue(ADA, Uuid::from_u128(2), at)
    }
}

fn request(method: Method, path: &str) -> poem::RequestBuilder {
    Request::builder().method(method).uri_str(path)
}

#[tokio::test]
async fn how_small_an_answer_of_ones_own_became_is_not_told_exactly() -> TestResult {
    let app = app()?;
    let path = format!("{NOTES}?limit=100");
    let token = app.token(now())?;
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let asked = request(Method::GET, &path)
            .header("accept-encoding", "zstd")
            .header("authorization", format!("Bearer {token}"));
        let answer = app.send(asked.finish()).await;
        assert_eq!(answer.header("content-encoding"), "zstd");
        let padding = answer.headers.get("padding").ok_or("no padding")?;
        assert!(padding.is_sensitive(), "HTTP/2 would send it as an index");
        lengths.insert(padding.len());
    }
    assert!(lengths.len() > 10 && lengths.iter().all(|length| *length <= 64));
    // What anybody sees has nothing of one reader, and what is sent as it is tells nothing.
    let public = request(Method::GET, &path).header("accept-encoding", "zstd");
    let public = app.send(public.finish()).await;
    assert_eq!(public.header("content-encoding"), "zstd");
    assert_eq!(public.headers.get("padding"), None);
    let plain = request(Method::GET, &path).header("authorization", format!("Bearer {token}"));
    assert_eq!(app.send(plain.finish()).await.headers.get("padding"), None);
    Ok(())
}

#[tokio::test]
async fn a_read_pages_and_is_conditional() -> TestResult {
    let app = app()?;
    let first = app.get(&format!("{NOTES}?limit=2")).await;
    assert_eq!(first.status, 200);
    assert!(first.header("etag").starts_with("\"7-"));
    assert_eq!(first.json["items"].as_array().map(Vec::len), Some(2));
    assert!(first.json["items"][0].get("reply_to").is_none());
    let link = first.header("link");
    let next = link.split(['<', '>']).nth(1).unwrap_or_default();
    let last = app.get(next).await;
    let link = last.header("link");
    assert_eq!(last.status, 200);
    assert!(
        link.ends_with("; rel=\"prev\"") && !link.contains("next"),
        "{link}"
    );
    let stolen = next.replace("000001/", "000009/");
    let stolen = app.get(&stolen).await;
    assert_eq!((stolen.status, stolen.code()), (400, "invalid_cursor"));
    let path = format!("{NOTES}?limit=2");
    let wanted = app.positions.one("3:1-42".parse()?).ok_or("no token")?;
    let known = request(Method::GET, &path)
        .header("if-none-match", first.header("etag"))
        .header("min-position", wanted.clone());
    let known = app.send(known.finish()).await;
    let as_of = app.positions.open(known.header("as-of"));
    let as_of = as_of.ok_or("no As-Of")?.to_string();
    assert_eq!((known.status, as_of.as_str()), (304, "3:1-42"));
    // What was not sealed here is refused in the same words, whatever it is.
    let mut changed = wanted.as_bytes().to_vec();
    changed[40] ^= 1;
    for bad in [&b"3:1-42"[..], b"somewhere", b"", &changed] {
        let bad = request(Method::GET, &path).header("min-position", bad);
        let refused = app.send(bad.finish()).await;
        assert_eq!((refused.status, refused.code()), (400, "unknown_position"));
        let told = &refused.json["errors"][0];
        assert_eq!(told["code"], "not_found");
        assert_eq!(
            told["detail"],
            "Send the Event-Position of a write to this server."
        );
    }
    assert_eq!(known.header("cache-control"), "private, no-cache");
    Ok(())
}

#[tokio::test]
async fn a_head_is_what_reading_would_be() -> TestResult {
    let app = app()?;
    let path = format!("{NOTES}?limit=2");
    let read = app.get(&path).await;
    let head = app.send(request(Method::HEAD, &path).finish()).await;
    for name in ["etag", "cache-control", "link", "vary"] {
        assert_eq!(head.header(name), read.header(name), "{name}");
    }
    assert_eq!(head.json, Value::Null);
    // Where it would be encoded, what is told is of that.
    let path = format!("{NOTES}?limit=100");
    let ask = |method| {
        let asked = request(method, &path).header("accept-encoding", "br");
        app.send(asked.finish())
    };
    let (read, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
    assert!(read.header("etag").ends_with(".br\""));
    for name in ["etag", "cache-control", "content-encoding"] {
        assert_eq!(head.header(name), read.header(name), "{name}");
    }
    let length: usize = head.header("content-length").parse()?;
    assert!((1..2_000).contains(&length), "{length}");
    Ok(())
}

#[tokio::test]
async fn a_head_of_http_2_is_no_longer_than_one_of_http_1() -> TestResult {
    let app = app()?;
    let ask = |count: usize, length: usize| {
        let mut request = request(Method::GET, NOTES).version(poem::http::Version::HTTP_2);
        for number in 0..count {
            request = request.header(format!("x-more-{number}"), "x".repeat(length));
        }
        app.send(request.finish())
    };
    assert_eq!(ask(99, 100).await.status, 200);
    for (count, length) in [(101, 1), (1, 33 * 1_024), (90, 350)] {
        let long = ask(count, length).await;
        assert_eq!((long.status, long.code()), (431, "head_too_large"));
    }
    Ok(())
}

#[tokio::test]
async fn a_write_says_where_it_stands_and_its_key_is_scoped() -> TestResult {
    let app = app()?;
    let token = app.token(now())?;
    let mut ids = Vec::new();
    for (key, text) in [("k1", "Hi"), ("k1", "Hi"), ("k2", "Hi")] {
        let request = request(Method::POST, "/v1/notes")
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key)
            .content_type("application/json; charset=utf-8")
            .body(json!({ "text": text, "reply_to": null }).to_string());
        let made = app.send(request).await;
        assert_eq!(made.status, 201);
        let position = app.positions.open(made.header("event-position"));
        assert_eq!(position.map(|at| at.to_string()), Some("3:1-4711".into()));
        let id = made.json["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(made.header("location"), format!("/v1/notes/{id}"));
        ids.push(id);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    Ok(())
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() -> TestResult {
    let app = app()?;
    let nothing = app.get("/v1/nothing?token=secret").await;
    assert_eq!((nothing.status, nothing.code()), (404, "not_found"));
    let other = app
        .send(request(Method::DELETE, "/v1/notes").finish())
        .await;
    assert_eq!((other.status, other.code()), (405, "method_not_allowed"));
    assert_eq!(other.header("allow"), "GET, POST, HEAD");
    let bad = app.get("/v1/accounts/ada/notes?limit=5").await;
    assert_eq!((bad.status, bad.code()), (400, "invalid_parameter"));
    assert_eq!(bad.json["errors"][0]["parameter"], "account_id");
    let bad = app.get(&format!("{NOTES}?limit=101")).await;
    assert_eq!((bad.status, bad.code()), (400, "invalid_parameter"));
    assert_eq!(
        bad.json["errors"][0],
        json!({"parameter": "limit", "code": "out_of_range", "limit": 100, "detail": "Use at most 100."})
    );
    Ok(())
}

#[tokio::test]
async fn bodies_that_are_not_taken() -> TestResult {
    let app = app()?;
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    let chunked = poem::Body::from_async_read(std::io::Cursor::new(long.clone().into_bytes()));
    for (body, status, code, pointer) in [
        ("{".into(), 400, "malformed_request", None),
        ("".into(), 400, "malformed_request", None),
        (deep.into(), 400, "malformed_request", None),
        (long.into(), 413, "payload_too_large", None),
        (chunked, 413, "payload_too_large", None),
        (r#"{"text": 5}"#.into(), 422, "invalid_field", Some("/text")),
        (
            r#"{"text": "a", "more": 1}"#.into(),
            422,
            "invalid_field",
            Some("/more"),
        ),
        (
            r#"{"reply_to": null}"#.into(),
            422,
            "invalid_field",
            Some("/text"),
        ),
        (
            r#"{"text": "a", "reply_to": "b"}"#.into(),
            422,
            "invalid_field",
            Some("/reply_to"),
        ),
        (
            r#"{"text": "this is much too long a text"}"#.into(),
            422,
            "invalid_field",
            Some("/text"),
        ),
    ] {
        let body: poem::Body = body;
        let refused = app.post(body).await;
        assert_eq!((refused.status, refused.code()), (status, code));
        assert_eq!(refused.json["errors"][0]["pointer"].as_str(), pointer);
    }
    let token = app.token(now())?;
    let unnamed =
        request(Method::POST, "/v1/notes").header("authorization", format!("Bearer {token}"));
    let unnamed = app.send(unnamed.body("{}")).await;
    assert_eq!(
        (unnamed.status, unnamed.code()),
        (415, "unsupported_media_type")
    );
    Ok(())
}

#[tokio::test]
async fn callers_who_are_not_who_they_say() -> TestResult {
    let app = app()?;
    let stranger = request(Method::POST, "/v1/notes").content_type("application/json");
    let stranger = app.send(stranger.body(r#"{"text": 5}"#)).await;
    assert_eq!((stranger.status, stranger.code()), (401, "unauthenticated"));
    assert_eq!(stranger.header("www-authenticate"), "Bearer");
    let expired = app.token(Timestamp(0))?;
    let forged = format!("{}x", app.token(now())?);
    for (header, code) in [
        (format!("Bearer {expired}"), "token_expired"),
        (format!("Bearer {forged}"), "invalid_token"),
        ("Basic YTpi".into(), "invalid_token"),
    ] {
        let looks = request(Method::GET, NOTES).header("authorization", header);
        let looks = app.send(looks.finish()).await;
        assert_eq!((looks.status, looks.code()), (401, code));
        assert!(
            looks
                .header("www-authenticate")
                .starts_with("Bearer error=")
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_here_is_told_without_its_cause() -> TestResult {
    let app = app()?;
    let slow = app.post(r#"{"text": "slow"}"#).await;
    assert_eq!((slow.status, slow.code()), (503, "deadline_exceeded"));
    assert_eq!(slow.header("retry-after"), "1");
    let panicked = app.post(r#"{"text": "panic"}"#).await;
    assert_eq!((panicked.status, panicked.code()), (500, "internal"));
    let failed = app.get("/v1/notes").await;
    assert_eq!((failed.status, failed.code()), (500, "internal"));
    assert!(!failed.json.to_string().contains("secret"));
    Ok(())
}

#[tokio::test]
async fn the_contract_is_served_whole_and_complete() -> TestResult {
    let document = assembly::document((Notes, MoreNotes), &RULES)?;
    // Links are named for the features that there are: one that has none is told.
    let lacks = ["post /v1/notes does not say where what it made is read"];
    assert_eq!(contract::complaints(&document), lacks);
    assert_eq!(
        contract::text(&document)?,
        contract::text(&assembly::document((Notes, MoreNotes), &RULES)?)?
    );
    let text = contract::text(&document)?;
    assert!(!text.contains("header:") && !text.contains("charset"));

    let app = app()?;
    let served = app.get("/openapi.json").await;
    assert_eq!((served.status, &served.json), (200, &document));
    for page in [
        "/docs",
        "/docs/guide",
        "/docs/page.css",
        "/docs/swagger-ui.js",
        "/docs/start.js",
        "/version",
        "/health/live",
    ] {
        assert_eq!(app.get(page).await.status, StatusCode::OK, "{page}");
    }
    let keys = app.get("/.well-known/jwks.json").await;
    assert_eq!(keys.json, json!({"keys": []}));

    let list = &document["paths"]["/v1/accounts/{account_id}/notes"]["get"];
    assert_eq!(list["security"], json!([{}, {"bearer": []}]));
    let statuses = |operation: &Value| -> Vec<String> {
        let all = operation["responses"].as_object();
        all.into_iter()
            .flatten()
            .map(|(status, _)| status.clone())
            .collect()
    };
    assert_eq!(
        statuses(list),
        [
            "200", "304", "400", "401", "404", "406", "413", "429", "431", "500", "503"
        ]
    );
    let write = &document["paths"]["/v1/notes"]["post"];
    assert_eq!(write["security"], json!([{"bearer": []}]));
    assert_eq!(
        statuses(write),
        [
            "201", "400", "401", "406", "413", "415", "422", "429", "431", "500", "503"
        ]
    );
    let headers = &write["responses"]["201"]["headers"];
    assert_eq!(
        headers["Event-Position"]["$ref"],
        "#/components/headers/Event-Position"
    );
    let key = json!({"$ref": "#/components/parameters/Idempotency-Key"});
    assert_eq!(write["parameters"], json!([key]));
    assert_eq!(
        document["paths"]["/v1/notes"]["get"]["operationId"],
        "count_notes"
    );
    assert_eq!(
        document["components"]["schemas"]["NewNote"]["additionalProperties"],
        false
    );
    Ok(())
}

/// Sends bytes over a real connection and reads the head of the answer.
async fn exchange(address: std::net::SocketAddr, sent: String) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let (mut reading, mut writing) = stream.split();
    let write = writing.write_all(sent.as_bytes());
    let mut answer = vec![0; 4_096];
    let (written, read) = tokio::join!(write, reading.read(&mut answer));
    // A refused body is taken in too: no client is reset while it sends.
    written?;
    answer.truncate(read?);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn over_a_connection_it_is_the_same() -> TestResult {
    let app = app()?;
    let listener = listen(([127, 0, 0, 1], 0).into()).await?;
    let address = listener.local_addr()?;
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let served = accept_until(
        listener,
        Arc::new(app.endpoint),
        Proxies::default(),
        stopped,
    );
    let server = tokio::spawn(served);

    let head = "Host: here\r\nContent-Type: application/json\r\n";
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!(
        "POST /v1/notes HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(50)
    );
    let long = exchange(address, chunked).await?;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let announced = format!(
        "POST /v1/notes HTTP/1.1\r\n{head}Content-Length: 4000000\r\n\r\n{}",
        "x".repeat(4_000_000)
    );
    let long = exchange(address, announced).await?;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let short = format!("POST /v1/notes HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n{{}}");
    let short = exchange(address, short).await?;
    assert!(short.starts_with("HTTP/1.1 401"), "{short}");
    let page = format!("GET {NOTES}?limit=1 HTTP/1.1\r\n{head}\r\n");
    let page = exchange(address, page).await?;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(
        page.contains(&format!("<{NOTES}?limit=1&cursor=")),
        "{page}"
    );
    // Who waits to be told to go on is told of the refusal at once.
    let waits = format!("{head}Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
    let refused = exchange(address, format!("POST /nothing HTTP/1.1\r\n{waits}")).await?;
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    // A body that comes byte by byte has the time of the whole request.
    let mut slow = tokio::net::TcpStream::connect(address).await?;
    let (mut reading, mut writing) = slow.split();
    let began = format!("POST /v1/notes HTTP/1.1\r\n{head}Content-Length: 1000\r\n\r\n");
    writing.write_all(began.as_bytes()).await?;
    let bytes = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(DEADLINE / 10).await;
        }
    };
    let mut answer = vec![0; 4_096];
    let answered = async { reading.read(&mut answer).await };
    let length = tokio::select! {
        length = tokio::time::timeout(10 * DEADLINE, answered) => length??,
        () = bytes => 0,
    };
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("deadline_exceeded"), "{answer}");
    server.abort();
    Ok(())
}

#[tokio::test]
async fn what_will_end_says_so_in_its_answers_and_in_the_contract() -> TestResult {
    let app = app_of(&ENDING)?;
    let list = app.get(&format!("{NOTES}?limit=2")).await;
    assert_eq!(list.header("deprecation"), "@1764547200");
    assert_eq!(list.header("sunset"), "Tue, 01 Dec 2026 00:00:00 GMT");
    let links: Vec<_> = list.headers.get_all("link").iter().collect();
    let told = "</docs/guide#notes>; rel=\"deprecation\"; type=\"text/html\"";
    assert!(
        links.len() == 2 && links.iter().any(|link| *link == told),
        "{links:?}"
    );
    // Refusals too, and where no end is known.
    let refused = app.get(&format!("{NOTES}?limit=0")).await;
    assert_eq!(refused.header("deprecation"), "@1764547200");
    let count = app.get("/v1/notes").await;
    assert_eq!(
        (count.status, count.header("deprecation")),
        (500, "@1764547200")
    );
    assert_eq!(count.header("sunset"), "");
    let made = app.post(r#"{"text": "Hi"}"#).await;
    assert_eq!((made.status, made.header("deprecation")), (201, ""));

    let document = app.get("/openapi.json").await.json;
    let listed = &document["paths"]["/v1/accounts/{account_id}/notes"]["get"];
    assert_eq!(listed["deprecated"], true);
    assert_eq!(
        document["paths"]["/v1/notes"]["post"].get("deprecated"),
        None
    );
    Ok(())
}
