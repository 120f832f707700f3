//! Who is connected: how many in all and from one address, and since when each
//! says nothing. One look at all of them a second replaces a timer for every request;
//! only a head that did not come whole has one ([`super::socket`]).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::caller::network;

/// Each costs about 20 KiB, and while it sends a long head, that.
pub const CONNECTIONS_MAX: usize = 10_000;
/// A proxy in front is one address too: it keeps some hundred connections.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 1_000;
pub const SWEEP_SECONDS: u64 = 1;
/// From the first byte of a request to the end of its head.
const HEAD_SECONDS_MAX: u64 = 10;
/// What a connection of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a connection may neither send nor take anything while no request
/// of it is being answered.
const IDLE_MILLISECONDS_MAX: u64 = 60_000;

/// All connections of a server.
pub struct Connections {
    head_max: Duration,
    admitted: Mutex<Admitted>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::with_heads_of(Duration::from_secs(HEAD_SECONDS_MAX))
    }
}

#[derive(Default)]
struct Admitted {
    next: u64,
    pulses: HashMap<u64, Arc<Pulse>>,
    by_address: HashMap<IpAddr, u32>,
}

impl Connections {
    /// `head_max`: how long a head may take.
    pub fn with_heads_of(head_max: Duration) -> Self {
        Self {
            head_max,
            admitted: Mutex::default(),
        }
    }

    /// A place for one more, unless there are too many.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let mut admitted = self.admitted.lock();
        if admitted.pulses.len() >= CONNECTIONS_MAX {
            tracing::debug!("there are {CONNECTIONS_MAX} connections already");
            return None;
        }
        let count = admitted.by_address.entry(address).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
            tracing::debug!("an address has {CONNECTIONS_PER_ADDRESS_MAX} connections already");
            return None;
        }
        *count += 1;
        let number = admitted.next;
        admitted.next += 1;
        let pulse = Arc::new(Pulse::new(self.head_max));
        admitted.pulses.insert(number, pulse.clone());
        Some(Place {
            connections: self.clone(),
            address,
            number,
            pulse,
        })
    }

    /// Ends those who only keep a place.
    pub fn sweep(&self) {
        let now = Instant::now();
        for pulse in self.admitted.lock().pulses.values() {
            if pulse.only_keeps_a_place(pulse.time_of(now)) {
                pulse.end();
            }
        }
    }
}

/// One admitted connection; it gives its place back when it is dropped.
pub struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
    number: u64,
    pulse: Arc<Pulse>,
}

impl Place {
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut admitted = self.connections.admitted.lock();
        admitted.pulses.remove(&self.number);
        if let Some(count) = admitted.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                admitted.by_address.remove(&self.address);
            }
        }
    }
}

/// What is seen of one connection. Times are milliseconds since it began.
pub struct Pulse {
    began: Instant,
    head_max: Duration,
    /// Requests that are being answered.
    answering: AtomicU32,
    /// When bytes came or went last.
    moved: AtomicU64,
    /// When the head that is not complete yet began; 0 where there is none.
    head: AtomicU64,
    /// Bytes of the preface that have come; whoever begins with other ones speaks
    /// HTTP/1. HTTP/2 says things between requests, and its heads have no time here.
    preface: AtomicUsize,
    ended: AtomicBool,
    waiting: AtomicWaker,
}

impl Pulse {
    fn new(head_max: Duration) -> Self {
        Self {
            began: Instant::now(),
            head_max,
            answering: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            head: AtomicU64::new(0),
            preface: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }

    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Wakes `waker` at the end.
    pub fn wakes(&self, waker: &Waker) {
        self.waiting.register(waker);
    }

    pub fn received(&self, bytes: &[u8]) {
        let now = self.now().max(1);
        self.moved.store(now, Ordering::Relaxed);
        self.read_preface(bytes);
        if self.answering.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    /// When the head began that is not complete yet, where it has its time alone,
    /// and how long it may take.
    pub fn head(&self) -> Option<(u64, Duration)> {
        let began = self.head.load(Ordering::Relaxed);
        let many_streams = self.preface.load(Ordering::Relaxed) == PREFACE.len();
        let bounded = began > 0 && !many_streams;
        bounded.then_some((began, self.head_max))
    }

    /// Looks whether `bytes` go on with the preface, as long as all before did.
    fn read_preface(&self, bytes: &[u8]) {
        let before = self.preface.load(Ordering::Relaxed);
        let Some(rest) = PREFACE.get(before..).filter(|rest| !rest.is_empty()) else {
            return;
        };
        let length = rest.len().min(bytes.len());
        let read = match rest[..length] == bytes[..length] {
            true => before + length,
            false => usize::MAX,
        };
        self.preface.store(read, Ordering::Relaxed);
    }

    pub fn sent(&self) {
        self.moved.store(self.now().max(1), Ordering::Relaxed);
    }

    /// The head is complete; the answer is under way until this is dropped.
    pub fn answering(self: &Arc<Self>) -> Answering {
        self.head.store(0, Ordering::Relaxed);
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    fn now(&self) -> u64 {
        self.time_of(Instant::now())
    }

    fn time_of(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn only_keeps_a_place(&self, now: u64) -> bool {
        if self.answering.load(Ordering::Relaxed) > 0 {
            return false;
        }
        now.saturating_sub(self.moved.load(Ordering::Relaxed)) > IDLE_MILLISECONDS_MAX
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waiting.wake();
    }
}

pub struct Answering(Arc<Pulse>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::AddrParseError;

    use super::*;

    const LATER: u64 = 100_000;

    fn pulse() -> Arc<Pulse> {
        Arc::new(Pulse::new(Duration::from_secs(HEAD_SECONDS_MAX)))
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte_to_its_end() {
        let pulse = pulse();
        assert_eq!(pulse.head(), None);
        pulse.received(b"GET / HT");
        let begun = pulse.head();
        assert!(begun.is_some());
        pulse.received(b"T");
        assert_eq!(pulse.head(), begun);
        let answering = pulse.answering();
        assert_eq!(pulse.head(), None);
        // What comes meanwhile waits for its turn.
        pulse.received(b"GET / HT");
        assert_eq!(pulse.head(), None);
        drop(answering);
        pulse.received(b"T");
        assert!(pulse.head().is_some());
    }

    #[test]
    fn silence_ends_a_connection_unless_it_is_being_answered() {
        let pulse = pulse();
        assert!(!pulse.only_keeps_a_place(IDLE_MILLISECONDS_MAX));
        assert!(pulse.only_keeps_a_place(IDLE_MILLISECONDS_MAX + 1));
        let answering = pulse.answering();
        assert!(!pulse.only_keeps_a_place(LATER));
        drop(answering);
        pulse.sent();
        assert!(!pulse.only_keeps_a_place(IDLE_MILLISECONDS_MAX));
    }

    #[test]
    fn a_connection_of_many_streams_may_speak_between_requests() {
        for begun in [
            &b"PRI * HTTP/2.0\r\n"[..],
            b"PRI / HTTP/1.1\r\n\r\nSM\r\n\r\n",
        ] {
            let pulse = pulse();
            pulse.received(begun);
            assert!(pulse.head().is_some());
            pulse.received(b"\r\nSM\r\n\r");
            assert!(pulse.head().is_some());
        }
        let pulse = pulse();
        let (begun, rest) = PREFACE.split_at(3);
        pulse.received(begun);
        assert!(pulse.head().is_some());
        pulse.received(&[rest, b"more"].concat());
        assert_eq!(pulse.head(), None);
        pulse.moved.store(LATER, Ordering::Relaxed);
        assert!(!pulse.only_keeps_a_place(LATER));
        assert!(pulse.only_keeps_a_place(LATER + IDLE_MILLISECONDS_MAX + 1));
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() -> Result<(), AddrParseError> {
        let connections = Arc::new(Connections::default());
        let one: IpAddr = "192.0.2.1".parse()?;
        let mapped: IpAddr = "::ffff:192.0.2.1".parse()?;
        let all = 0..CONNECTIONS_PER_ADDRESS_MAX;
        let mut places: Vec<_> = all.filter_map(|_| connections.admit(one)).collect();
        assert_eq!(places.len(), CONNECTIONS_PER_ADDRESS_MAX as usize);
        assert!(connections.admit(one).is_none() && connections.admit(mapped).is_none());
        assert!(connections.admit("192.0.2.2".parse()?).is_some());
        places.pop();
        assert!(connections.admit(one).is_some());
        Ok(())
    }

    #[test]
    fn places_are_counted_in_all() {
        let connections = Arc::new(Connections::default());
        let address = |number: usize| IpAddr::from((number as u32 + 1).to_be_bytes());
        let admit = |number| connections.admit(address(number));
        let mut places: Vec<_> = (0..CONNECTIONS_MAX).filter_map(admit).collect();
        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert!(admit(CONNECTIONS_MAX).is_none());
        places.pop();
        assert!(admit(CONNECTIONS_MAX).is_some());
    }
}
