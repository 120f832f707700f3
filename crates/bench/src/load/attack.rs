//! Who wants to keep others out, from a few addresses. One thread does it and nothing
//! else, so that what it costs itself stays small beside what it costs the server.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::{Context, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::{half_open, refused};

/// A server may count connections by address: these are 127.0.0.2 and on.
pub const SOURCES: usize = 3;

/// What is done.
#[derive(Clone, Copy)]
pub enum Attack {
    /// So many connections that begin a head and never end it.
    HalfOpen(usize),
    /// So many messages a second that are refused.
    Refused(u32),
}

/// It goes on until `end`.
pub struct Attacking {
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
    /// Of all answers; 0 where one was none.
    pub statuses: BTreeMap<u16, u64>,
    /// What the thread itself took of a processor, as a share of the time.
    pub cost: f64,
    /// How long it went on.
    pub seconds: f64,
}

impl Told {
    pub fn answered(&mut self, answer: &[u8]) {
        let status = answer.get(9..12).map(String::from_utf8_lossy);
        let status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        *self.statuses.entry(status).or_default() += 1;
    }
}

impl Attack {
    pub fn start(self, server: SocketAddr) -> anyhow::Result<Attacking> {
        let SocketAddr::V4(server) = server else {
            bail!("{server} is not reached from 127.0.0.2");
        };
        let ends = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("attack".into()).spawn({
            let ends = ends.clone();
            move || {
                let start = Instant::now();
                let mut told = match self {
                    Self::HalfOpen(count) => half_open::keep(server, count, &ends),
                    Self::Refused(per_second) => refused::send(server, per_second, &ends),
                }?;
                told.seconds = start.elapsed().as_secs_f64();
                told.cost = processor_seconds()? / told.seconds;
                Ok(told)
            }
        })?;
        Ok(Attacking { ends, thread })
    }
}

impl Attacking {
    pub fn end(self) -> anyhow::Result<Told> {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| bail!("the attack broke off"))
    }
}

/// A connection from one of `SOURCES` addresses; one that is not to wait may not be
/// there yet.
pub fn connect_from(
    source: usize,
    server: SocketAddrV4,
    flags: SocketFlags,
) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    let source = Ipv4Addr::new(127, 0, 0, 2 + source as u8);
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    match connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Of this thread, so far.
fn processor_seconds() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next();
    let nanoseconds: f64 = nanoseconds.context("no time of a thread")?.parse()?;
    Ok(nanoseconds / 1e9)
}
