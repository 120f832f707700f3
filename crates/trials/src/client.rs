//! One client's connection to the API: sends a request, and tells what came of
//! it. It refuses to try again by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use edge::positions::SealedPositions;
use kernel::Uuid;

use crate::product::{CURSOR_SECRET, Process};

/// An operator's promise: ready so soon after a restart.
pub const READY_SECONDS_MAX: u64 = 10;
/// The API's own deadline and a little for the way.
pub const WRITE_SECONDS_MAX: u64 = 31;
/// Reads wait 2 s for the read model, 5 s for a connection to the database,
/// and not much else.
pub const READ_SECONDS_MAX: u64 = 15;
const POLL_MILLISECONDS: u64 = 20;
const PROBE_MILLISECONDS_MAX: u64 = 3_000;

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Option<String>,
    pub key: Option<String>,
    pub token: Option<String>,
}

/// What came of a request. Status 0: there was no answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub position: Option<String>,
    pub as_of: Option<String>,
    pub id: Option<Uuid>,
    pub code: String,
    pub retry_after: bool,
    pub body: String,
    /// Why there was no answer.
    pub broken: String,
    pub took: Duration,
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    positions: Arc<SealedPositions>,
}

impl Client {
    /// With connections of its own.
    pub fn new(port: u16) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(WRITE_SECONDS_MAX + 2))
            .pool_max_idle_per_host(1)
            .no_proxy()
            .build()?;
        let url = format!("http://127.0.0.1:{port}");
        let positions = Arc::new(SealedPositions::new(CURSOR_SECRET.as_bytes())?);
        Ok(Self {
            http,
            url,
            positions,
        })
    }

    pub async fn send(&self, request: &Request) -> Answer {
        let started = Instant::now();
        let mut answer = match self.try_send(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let mut broken = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    broken = format!("{broken}: {cause}");
                    source = cause.source();
                }
                Answer {
                    broken,
                    ..Answer::default()
                }
            }
        };
        answer.took = started.elapsed();
        answer
    }

    async fn try_send(&self, request: &Request) -> reqwest::Result<Answer> {
        let method = request.method.parse().unwrap_or(reqwest::Method::GET);
        let mut sent = self
            .http
            .request(method, format!("{}{}", self.url, request.path))
            .header("Prefer", "return=minimal");
        if let Some(token) = &request.token {
            sent = sent.bearer_auth(token);
        }
        if let Some(key) = &request.key {
            sent = sent.header("Idempotency-Key", key);
        }
        if request.method == "PATCH" {
            sent = sent.header("If-Match", "*");
        }
        if let Some(body) = &request.body {
            sent = sent
                .header("Content-Type", "application/json")
                .body(body.clone());
        }
        let response = sent.send().await?;
        let header = |name: &str| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        // As operators have them.
        let opened = |name| Some(self.positions.open(&header(name)?)?.to_string());
        let problem = header("content-type").is_some_and(|t| t == "application/problem+json");
        let mut answer = Answer {
            status: response.status().as_u16(),
            position: opened("event-position"),
            as_of: opened("as-of"),
            retry_after: header("retry-after").is_some(),
            ..Answer::default()
        };
        answer.body = response.text().await?;
        if let Ok(body) = serde_json::from_str::<serde_json::Value>(&answer.body) {
            answer.id = body["id"].as_str().and_then(|id| id.parse().ok());
            if problem {
                answer.code = body["code"].as_str().unwrap_or_default().to_owned();
            }
        }
        Ok(answer)
    }

    /// Waits until the API answers that all it needs is there, and returns how
    /// long that took.
    pub async fn until_ready(&self, api: &mut Process) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let request = Request {
            method: "GET".into(),
            path: "/health/ready".into(),
            ..Request::default()
        };
        let patience = Duration::from_millis(PROBE_MILLISECONDS_MAX);
        let mut last = String::new();
        loop {
            let probe = tokio::time::timeout(patience, self.send(&request)).await;
            if let Ok(answer) = probe {
                let parts = serde_json::from_str::<serde_json::Value>(&answer.body);
                let parts = parts.unwrap_or_default();
                let all = ["log", "views", "database"]
                    .iter()
                    .all(|part| parts[part] == true);
                if answer.status == 200 && all && parts["ready"] != false {
                    return Ok(started.elapsed());
                }
                last = format!("{} {}{}", answer.status, answer.body, answer.broken);
            }
            if let Some(status) = api.ended() {
                bail!("{} ended with {status}: {}", api.name(), api.last_lines());
            }
            if started.elapsed() > Duration::from_secs(READY_SECONDS_MAX) {
                bail!(
                    "not ready in {READY_SECONDS_MAX} s: {last}; {}",
                    api.last_lines()
                );
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
        }
    }
}
