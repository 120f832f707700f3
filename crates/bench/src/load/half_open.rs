//! Connections that begin a request and never end it, a byte of a header a second
//! each, as whoever wants to keep others out makes them. Whoever is put out begins
//! anew.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddrV4, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::net::SocketFlags;

use super::attack::{self, SOURCES, Told};

const BEGINNING: &[u8] = b"GET /v1/timelines/local HTTP/1.1\r\nHost: bench\r\nX-Slow: ";
const MORE: &[u8] = b"x";

/// Each has its turn once a second, and no two at the same time.
pub fn keep(server: SocketAddrV4, count: usize, ends: &AtomicBool) -> anyhow::Result<Told> {
    let mut told = Told::default();
    let mut places: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    let (start, mut turn) = (Instant::now(), 0);
    while !ends.load(Ordering::Relaxed) {
        let due = start + Duration::from_secs(1).mul_f64(turn as f64 / count as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let index = turn % count;
        if let Some(stream) = &mut places[index]
            && !say_more(stream, &mut told)
        {
            places[index] = None;
            told.closed += 1;
        }
        if places[index].is_none() {
            let begun = begin(server, index % SOURCES);
            places[index] = Some(begun.context("a half-open connection")?);
            told.begun += 1;
        }
        turn += 1;
    }
    told.held = places.iter().flatten().count();
    Ok(told)
}

fn begin(server: SocketAddrV4, source: usize) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let mut stream = attack::connect_from(source, server, flags)?;
    // Where the server is slow to take it, what follows is no whole head either.
    match stream.write_all(BEGINNING) {
        Err(error) if !is_not_yet(&error) => Err(error),
        _ => Ok(stream),
    }
}

/// Whether the connection is still open.
fn say_more(stream: &mut TcpStream, told: &mut Told) -> bool {
    let mut answer = [0; 512];
    match stream.read(&mut answer) {
        Err(error) if is_not_yet(&error) => {}
        Ok(read) if read > 0 => {
            told.answered(&answer[..read]);
            return false;
        }
        _ => return false,
    }
    match stream.write_all(MORE) {
        Ok(()) => true,
        Err(error) => is_not_yet(&error),
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}
