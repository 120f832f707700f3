//! Messages that a server must refuse, each on a connection of its own: heads and bodies
//! that are too long, JSON that is too deep, and what two readers would cut in two ways.

use std::{
    io::{Read, Write},
    net::SocketAddrV4,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::net::SocketFlags;

use super::attack::{self, SOURCES, Told};

/// The server may wait a while before it answers what it does not read.
const PATIENCE: Duration = Duration::from_secs(5);
const LONG_HEAD_BYTES: usize = 64 * 1_024;
const LONG_BODY_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 1 << 16;
const DEEP: usize = 10_000;
const MANY_HEADERS: usize = 2_000;
/// Behind each that has two ends stands what must not be taken for a request.
const SMUGGLED: &str = "GET /v1/limits HTTP/1.1\r\nHost: smuggled\r\n\r\n";

/// One after the other, so many a second.
pub fn send(server: SocketAddrV4, per_second: u32, ends: &AtomicBool) -> anyhow::Result<Told> {
    let messages = messages();
    let mut told = Told::default();
    let start = Instant::now();
    for turn in 0_u32.. {
        let due = start + Duration::from_secs(1) * turn / per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let turn = turn as usize;
        let stream = attack::connect_from(turn % SOURCES, server, SocketFlags::CLOEXEC);
        let mut stream = stream.context("a connection of the attack")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        told.begun += 1;
        // The server may close before it has taken all of it.
        let _ = stream.write_all(&messages[turn % messages.len()]);
        // To its end: what was smuggled would be answered second.
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers);
        let text = String::from_utf8_lossy(&answers);
        let mut all = text.match_indices("HTTP/1.1 ").peekable();
        if all.peek().is_none() {
            told.answered(b"");
        }
        all.for_each(|(at, _)| told.answered(&answers[at..]));
        told.closed += 1;
    }
    Ok(told)
}

fn messages() -> Vec<Vec<u8>> {
    let post = |rest: String| {
        let head = "POST /v1/sessions HTTP/1.1\r\nHost: bench\r\nConnection: close";
        format!("{head}\r\nContent-Type: application/json\r\n{rest}").into_bytes()
    };
    let get = |rest: String| {
        format!("GET /v1/timelines/local HTTP/1.1\r\nHost: bench\r\n{rest}\r\n").into_bytes()
    };
    let with_body = |body: String| post(format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let chunk = format!("{CHUNK_BYTES:x}\r\n{}\r\n", "x".repeat(CHUNK_BYTES));
    let chunks = chunk.repeat(LONG_BODY_BYTES / CHUNK_BYTES);
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        get(format!("X-Long: {}\r\n", "x".repeat(LONG_HEAD_BYTES))),
        get("X-Many: 1\r\n".repeat(MANY_HEADERS)),
        with_body("x".repeat(LONG_BODY_BYTES)),
        post(format!("{chunked}\r\n{chunks}0\r\n\r\n")),
        with_body("[".repeat(DEEP) + &"]".repeat(DEEP)),
        with_body("{\"login\": 1, \"login\": 1}".into()),
        post(format!(
            "Content-Length: 5\r\n{chunked}\r\n0\r\n\r\n{SMUGGLED}"
        )),
        post(format!(
            "Content-Length: 0\r\nContent-Length: 44\r\n\r\n{SMUGGLED}"
        )),
        post(format!("{chunked}\r\nzz\r\n{SMUGGLED}")),
    ]
}
