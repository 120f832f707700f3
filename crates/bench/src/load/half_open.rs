//! Connections that begin a request and never end it, a byte of a header a second
//! each, as whoever wants to keep others out makes them. All are served by one
//! thread that does nothing else, so that what it costs itself stays small beside
//! what it costs the server. Whoever is put out begins anew.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

const BEGINNING: &[u8] = b"GET /v1/timelines/local HTTP/1.1\r\nHost: bench\r\nX-Slow: ";
const MORE: &[u8] = b"x";
/// A server may count connections by address: these are 127.0.0.2 and on.
const SOURCES: usize = 3;

/// The attack, until `end`.
pub struct HalfOpen {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Told>>,
}

/// What came of it.
#[derive(Default)]
pub struct Told {
    /// Half-open at the end.
    pub held: usize,
    pub begun: u64,
    pub closed: u64,
    /// Of all answers.
    pub statuses: BTreeMap<u16, u64>,
    /// What the thread itself took of a processor, as a share of the time.
    pub cost: f64,
}

impl HalfOpen {
    pub fn start(server: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let SocketAddr::V4(server) = server else {
            bail!("{server} is not reached from 127.0.0.2");
        };
        let ends = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("half-open".into()).spawn({
            let ends = ends.clone();
            move || keep(server, count, &ends)
        })?;
        Ok(Self { ends, thread })
    }

    pub fn end(self) -> anyhow::Result<Told> {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| bail!("the attack broke off"))
    }
}

/// Each has its turn once a second, and no two at the same time.
fn keep(server: SocketAddrV4, count: usize, ends: &AtomicBool) -> anyhow::Result<Told> {
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
    told.cost = processor_seconds()? / start.elapsed().as_secs_f64();
    Ok(told)
}

fn begin(server: SocketAddrV4, source: usize) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    let source = Ipv4Addr::new(127, 0, 0, 2 + source as u8);
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    match connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
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
            let status = answer.get(9..12).map(String::from_utf8_lossy);
            let status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
            *told.statuses.entry(status).or_default() += 1;
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

/// Of this thread, so far.
fn processor_seconds() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next();
    let nanoseconds: f64 = nanoseconds.context("no time of a thread")?.parse()?;
    Ok(nanoseconds / 1e9)
}
