//! A collector of spans (OTLP over HTTP) for a test: it keeps what it is sent, or
//! hangs up on everybody. It refuses what is longer than any batch.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message;
use testkit::secrets;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

pub struct Collector {
    pub url: String,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    bodies: Mutex<Vec<Vec<u8>>>,
    hangs_up: AtomicBool,
    hung_up: AtomicUsize,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Kept::default());
        let keeper = kept.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if keeper.hangs_up.load(Ordering::SeqCst) {
                    keeper.hung_up.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                tokio::spawn(keep(stream, keeper.clone()));
            }
        });
        Self { url, kept }
    }

    /// From now on, or not any more.
    pub fn hang_up(&self, hangs_up: bool) {
        self.kept.hangs_up.store(hangs_up, Ordering::SeqCst);
    }

    /// How often it did.
    pub fn hung_up(&self) -> usize {
        self.kept.hung_up.load(Ordering::SeqCst)
    }

    /// All that it was sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.kept.bodies.lock().concat()
    }

    pub fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.kept.bodies.lock();
        let read = |body: &Vec<u8>| ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        bodies.iter().map(read).collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|r| r.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The spans of a trace, by name.
    pub fn trace(&self, trace: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| hex::encode(&span.trace_id) == trace);
        spans.sort_by(|one, other| one.name.cmp(&other.name));
        spans
    }
}

/// One connection, a request after the other.
async fn keep(stream: TcpStream, kept: Arc<Kept>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            let Ok(1..) = stream.read_line(&mut line).await else {
                return;
            };
            if first.is_empty() {
                first.clone_from(&line);
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        assert!(first.starts_with("POST /v1/traces "), "{first}");
        assert!(length <= BODY_BYTES_MAX, "{length} bytes");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        if kept.hangs_up.load(Ordering::SeqCst) {
            kept.hung_up.fetch_add(1, Ordering::SeqCst);
            return;
        }
        secrets::heard("spans", &body);
        kept.bodies.lock().push(body);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }
}

/// An attribute as text; empty where there is none.
pub fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()) {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => text.clone(),
        Some(AnyValue {
            value: Some(Value::IntValue(number)),
        }) => number.to_string(),
        _ => String::new(),
    }
}
