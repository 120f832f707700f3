//! A load generator that costs little: one HTTP/1.1 connection a task, requests
//! written as they are, answers read by their Content-Length. It refuses
//! anything but 2xx and 304.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const WARM_UP_SECONDS: u64 = 1;
const MEASURED_SECONDS: u64 = 5;
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Whatever went wrong ends the benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub struct Figure {
    pub name: &'static str,
    pub rate: f64,
    pub p50_milliseconds: f64,
    pub p99_milliseconds: f64,
}

pub struct Request {
    head: String,
    body: String,
}

impl Request {
    pub fn new(method: &str, path: &str, body: Option<&str>) -> Self {
        let body = body.unwrap_or_default().to_owned();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n");
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Self { head, body }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path, None)
    }

    pub fn with(mut self, header: &str) -> Self {
        self.head.push_str(header);
        self.head.push_str("\r\n");
        self
    }

    pub fn signed(self, token: &str) -> Self {
        self.with(&format!("Authorization: Bearer {token}"))
    }
}

/// `request` gets the number of the connection and of its turn.
pub async fn drive(
    name: &'static str,
    address: SocketAddr,
    connections: usize,
    request: impl Fn(usize, usize) -> Request,
) -> Result<Figure> {
    // Requests are made beforehand: making them is not what is measured.
    const PREPARED: usize = 2_000;
    let mut tasks = JoinSet::new();
    for who in 0..connections {
        let prepared: Vec<_> = (0..PREPARED).map(|turn| request(who, turn)).collect();
        let prepared: Vec<_> = prepared
            .into_iter()
            .map(|request| format!("{}\r\n{}", request.head, request.body))
            .collect();
        tasks.spawn(loop_over(address, prepared));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done?.map_err(|error| format!("{name}: {error}"))?);
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        let latency = latencies.get(index.min(latencies.len().saturating_sub(1)));
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    };
    Ok(Figure {
        name,
        rate: latencies.len() as f64 / MEASURED_SECONDS as f64,
        p50_milliseconds: at(0.5),
        p99_milliseconds: at(0.99),
    })
}

/// Latencies of the measured time, after the warm-up.
async fn loop_over(address: SocketAddr, requests: Vec<String>) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let measured_from = Instant::now() + Duration::from_secs(WARM_UP_SECONDS);
    let end = measured_from + Duration::from_secs(MEASURED_SECONDS);
    let mut latencies = Vec::new();
    let mut buffer = Vec::new();
    for request in requests.iter().cycle() {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut buffer).await?;
        if sent >= measured_from {
            latencies.push(sent.elapsed());
        }
    }
    Ok(latencies)
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    let (head, length) = loop {
        let read = stream.read_buf(buffer).await?;
        if read == 0 {
            return Err("the server closed the connection".into());
        }
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..end])?;
            let status = text.split(' ').nth(1).unwrap_or_default();
            if !status.starts_with('2') && status != "304" {
                return Err(format!("an answer was refused: {text}").into());
            }
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let found = name.eq_ignore_ascii_case("content-length");
                found.then(|| value.trim().parse::<usize>().ok()).flatten()
            });
            break (end + 4, length.unwrap_or(0));
        }
        if buffer.len() > ANSWER_BYTES_MAX {
            return Err("an answer is too long".into());
        }
    };
    while buffer.len() < head + length {
        let read = stream.read_buf(buffer).await?;
        if read == 0 {
            return Err("the server closed the connection".into());
        }
    }
    Ok(())
}
