//! Who is connected: how many in all and from one address, and since when each
//! says nothing. One look at all of them a second replaces a timer for every request;
//! only a head that did not come whole has one ([`super::socket`]).

use std::{
    collections::{BTreeMap, HashMap},
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

use crate::{
    caller::{Proxies, network},
    repeated::Repeated,
};

/// Each costs about 20 KiB, and while it sends a long head, that.
const CONNECTIONS_MAX: usize = 10_000;
/// Descriptors that are left for the servers behind, files and listeners; of few, half.
const DESCRIPTORS_KEPT: usize = 256;
/// Of whoever no trusted proxy is. One address in so many can take every place.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 1_000;
const ADDRESSES_MIN: usize = 4;
pub const SWEEP_SECONDS: u64 = 1;
/// From the first byte of a request to the end of its head.
const HEAD_SECONDS_MAX: u64 = 10;
/// What a connection of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const IDLE_SECONDS_MAX: u64 = 60;
const DRAIN_SECONDS_MAX: u64 = 10;

/// How long is waited for whoever is connected.
#[derive(Clone, Copy)]
pub struct Patience {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// While nothing is sent or taken, and no request is being answered. Of HTTP/2 an
    /// answer of which its client takes nothing has this time of its own: the other
    /// streams may go on meanwhile. Behind a trusted proxy other clients stand, who
    /// would be cut off with it: as long as anything moves, it stays.
    pub idle: Duration,
    /// Requests under way after the word to stop.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(HEAD_SECONDS_MAX),
            idle: Duration::from_secs(IDLE_SECONDS_MAX),
            drain: Duration::from_secs(DRAIN_SECONDS_MAX),
        }
    }
}

/// Of all servers of this process, for metrics.
pub(crate) static OPEN: AtomicU64 = AtomicU64::new(0);
pub(crate) static REFUSED: AtomicU64 = AtomicU64::new(0);
static REFUSALS: Repeated = Repeated::new();

/// All connections of a server.
pub struct Connections {
    pub patience: Patience,
    /// Who may have as many as there can be: they bring many clients each.
    proxies: Proxies,
    max: usize,
    max_per_address: usize,
    admitted: Mutex<Admitted>,
}

/// How many there may be in all, and from one address, where the process may open so
/// many files.
fn bounds(descriptors: usize) -> (usize, usize) {
    let kept = DESCRIPTORS_KEPT.min(descriptors / 2);
    let max = CONNECTIONS_MAX.min(descriptors - kept);
    (max, CONNECTIONS_PER_ADDRESS_MAX.min(max / ADDRESSES_MIN))
}

/// Files that this process may open.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[derive(Default)]
struct Admitted {
    next: u64,
    pulses: HashMap<u64, Arc<Pulse>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Connections {
    pub fn with(patience: Patience, proxies: Proxies) -> Self {
        let (max, max_per_address) = bounds(descriptors());
        Self {
            patience,
            proxies,
            max,
            max_per_address,
            admitted: Mutex::default(),
        }
    }

    /// A place for one more, unless there are too many.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let trusted = self.proxies.has(peer.to_canonical());
        let mut admitted = self.admitted.lock();
        if admitted.pulses.len() >= self.max {
            refused(self.max, "in all");
            return None;
        }
        // Who stands beside a proxy has the places of an address all the same.
        if !trusted {
            let count = admitted.by_address.entry(address).or_default();
            if *count >= self.max_per_address {
                refused(self.max_per_address, "from one address");
                return None;
            }
            *count += 1;
        }
        OPEN.fetch_add(1, Ordering::Relaxed);
        let number = admitted.next;
        admitted.next += 1;
        let pulse = Arc::new(Pulse::new(self.patience, trusted));
        admitted.pulses.insert(number, pulse.clone());
        Some(Place {
            connections: self.clone(),
            address: (!trusted).then_some(address),
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
    /// Where it is counted; none of a trusted proxy.
    address: Option<IpAddr>,
    number: u64,
    pulse: Arc<Pulse>,
}

impl Place {
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }
}

fn refused(max: usize, of: &str) {
    REFUSED.fetch_add(1, Ordering::Relaxed);
    if let Some((refused, since)) = REFUSALS.one_more() {
        let seconds = since.map(|since| since.as_secs());
        tracing::warn!(
            refused,
            seconds,
            "connections refused: there are {max} {of}; name proxies in TRUSTED_PROXIES"
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        let mut admitted = self.connections.admitted.lock();
        admitted.pulses.remove(&self.number);
        let Some(address) = self.address else {
            return;
        };
        if let Some(count) = admitted.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                admitted.by_address.remove(&address);
            }
        }
    }
}

/// What is seen of one connection. Times are milliseconds since it began.
pub struct Pulse {
    began: Instant,
    patience: Patience,
    /// Of a trusted proxy: one stream is one client of many.
    trusted: bool,
    /// Requests that are being answered.
    answering: AtomicU32,
    /// When bytes came or went last; of HTTP/2, where they may be answers to pings
    /// alone, when a request came or was answered.
    moved: AtomicU64,
    /// When the head that is not complete yet began; 0 where there is none.
    head: AtomicU64,
    /// Bytes of the preface that have come; whoever begins with other ones speaks
    /// HTTP/1. HTTP/2 says things between requests, and its heads have no time here.
    preface: AtomicUsize,
    /// Answers of HTTP/2 that are not taken whole, and when something of each was
    /// taken last.
    untaken: Mutex<Untaken>,
    ended: AtomicBool,
    waiting: AtomicWaker,
}

#[derive(Default)]
struct Untaken {
    next: u64,
    since: BTreeMap<u64, u64>,
}

impl Pulse {
    fn new(patience: Patience, trusted: bool) -> Self {
        Self {
            began: Instant::now(),
            patience,
            trusted,
            answering: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            head: AtomicU64::new(0),
            preface: AtomicUsize::new(0),
            untaken: Mutex::default(),
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
        self.read_preface(bytes);
        if self.has_many_streams() {
            return;
        }
        self.moved.store(now, Ordering::Relaxed);
        if self.answering.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    /// When the head began that is not complete yet, where it has its time alone,
    /// and how long it may take.
    pub fn head(&self) -> Option<(u64, Duration)> {
        let began = self.head.load(Ordering::Relaxed);
        let bounded = began > 0 && !self.has_many_streams();
        bounded.then_some((began, self.patience.head))
    }

    /// Whether it is HTTP/2.
    fn has_many_streams(&self) -> bool {
        self.preface.load(Ordering::Relaxed) == PREFACE.len()
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
        if !self.has_many_streams() {
            self.moves();
        }
    }

    fn moves(&self) {
        self.moved.store(self.now().max(1), Ordering::Relaxed);
    }

    /// The head is complete; the answer is under way until this is dropped.
    pub fn answering(self: &Arc<Self>) -> Answering {
        self.head.store(0, Ordering::Relaxed);
        self.answering.fetch_add(1, Ordering::Relaxed);
        if self.has_many_streams() {
            self.moves();
        }
        Answering(self.clone())
    }

    /// An answer is there; it is untaken until this is dropped. None of HTTP/1, where
    /// the next bytes that are taken are its.
    pub fn answered(self: &Arc<Self>) -> Option<Answer> {
        if !self.has_many_streams() {
            return None;
        }
        self.moves();
        let mut untaken = self.untaken.lock();
        let number = untaken.next;
        untaken.next += 1;
        untaken.since.insert(number, self.now());
        Some(Answer {
            pulse: self.clone(),
            number,
        })
    }

    fn now(&self) -> u64 {
        self.time_of(Instant::now())
    }

    fn time_of(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn only_keeps_a_place(&self, now: u64) -> bool {
        let idle_max = self.patience.idle.as_millis();
        let is_long_since = |since: u64| u128::from(now.saturating_sub(since)) > idle_max;
        let untaken = self.has_many_streams() && !self.trusted && {
            let untaken = self.untaken.lock();
            let mut since = untaken.since.values();
            since.any(|since| is_long_since(*since))
        };
        if untaken {
            return true;
        }
        if self.answering.load(Ordering::Relaxed) > 0 {
            return false;
        }
        is_long_since(self.moved.load(Ordering::Relaxed))
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

/// One that its client has not taken whole.
pub struct Answer {
    pulse: Arc<Pulse>,
    number: u64,
}

impl Answer {
    /// Some of it.
    pub fn is_taken(&self) {
        self.pulse.moves();
        let now = self.pulse.now();
        let mut untaken = self.pulse.untaken.lock();
        untaken.since.insert(self.number, now);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pulse.moves();
        self.pulse.untaken.lock().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::AddrParseError;

    use super::*;

    const LATER: u64 = 100_000;
    const IDLE_MILLISECONDS_MAX: u64 = 1_000 * IDLE_SECONDS_MAX;

    fn pulse() -> Arc<Pulse> {
        Arc::new(Pulse::new(Patience::default(), false))
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

    fn http_2() -> Arc<Pulse> {
        let pulse = pulse();
        pulse.received(PREFACE);
        pulse
    }

    #[test]
    fn who_answers_pings_alone_keeps_no_connection_of_many_streams() {
        let pulse = http_2();
        pulse.moved.store(0, Ordering::Relaxed);
        pulse.received(b"a ping's answer");
        pulse.sent();
        assert!(pulse.only_keeps_a_place(IDLE_MILLISECONDS_MAX + 1));
        // A request does, and so does an answer that is taken.
        for done in [
            |pulse: &Arc<Pulse>| drop(pulse.answering()),
            |pulse: &Arc<Pulse>| drop(pulse.answered()),
        ] {
            pulse.moved.store(0, Ordering::Relaxed);
            done(&pulse);
            assert!(pulse.moved.load(Ordering::Relaxed) > 0);
        }
    }

    #[test]
    fn an_answer_that_nobody_takes_ends_the_connection_though_others_are_taken() {
        let pulse = http_2();
        let untaken = pulse.answered();
        let later = IDLE_MILLISECONDS_MAX + 1_000;
        pulse.moved.store(later, Ordering::Relaxed);
        let answering = pulse.answering();
        drop(pulse.answered());
        assert!(pulse.only_keeps_a_place(later));
        drop(untaken);
        assert!(!pulse.only_keeps_a_place(later));
        // Slowly taken is taken, though nothing else moves.
        drop(answering);
        let slow = pulse.answered();
        pulse.moved.store(0, Ordering::Relaxed);
        slow.iter().for_each(Answer::is_taken);
        assert!(pulse.moved.load(Ordering::Relaxed) > 0);
        // Behind a proxy the other clients keep theirs.
        let proxy = Arc::new(Pulse::new(Patience::default(), true));
        proxy.received(PREFACE);
        let _untaken = proxy.answered();
        proxy.moved.store(later, Ordering::Relaxed);
        assert!(!proxy.only_keeps_a_place(later));
        assert!(proxy.only_keeps_a_place(later + IDLE_MILLISECONDS_MAX + 1));
        // Of HTTP/1 there is one at a time, and its bytes are those that move.
        assert!(self::pulse().answered().is_none());
    }

    #[test]
    fn there_are_no_more_connections_than_descriptors() {
        for (descriptors, wanted) in [
            (64, (32, 8)),
            (1_024, (768, 192)),
            (4_352, (4_096, 1_000)),
            (1 << 20, (10_000, 1_000)),
            (usize::MAX, (10_000, 1_000)),
        ] {
            assert_eq!(bounds(descriptors), wanted);
        }
    }

    fn connections() -> Arc<Connections> {
        let proxies = "192.0.2.80".parse().unwrap_or_default();
        let connections = Connections {
            max: CONNECTIONS_MAX,
            max_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            ..Connections::with(Patience::default(), proxies)
        };
        Arc::new(connections)
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() -> Result<(), AddrParseError> {
        let connections = connections();
        let one: IpAddr = "192.0.2.1".parse()?;
        let mapped: IpAddr = "::ffff:192.0.2.1".parse()?;
        let all = 0..CONNECTIONS_PER_ADDRESS_MAX;
        let mut places: Vec<_> = all.filter_map(|_| connections.admit(one)).collect();
        assert_eq!(places.len(), CONNECTIONS_PER_ADDRESS_MAX);
        assert!(connections.admit(one).is_none() && connections.admit(mapped).is_none());
        assert!(connections.admit("192.0.2.2".parse()?).is_some());
        places.pop();
        assert!(connections.admit(one).is_some());
        // A trusted proxy brings many: it has as many as there can be.
        let proxy: IpAddr = "::ffff:192.0.2.80".parse()?;
        let more = (0..2 * CONNECTIONS_PER_ADDRESS_MAX).filter_map(|_| connections.admit(proxy));
        places.extend(more);
        assert_eq!(places.len(), 3 * CONNECTIONS_PER_ADDRESS_MAX - 1);
        Ok(())
    }

    #[test]
    fn places_are_counted_in_all() {
        let connections = connections();
        let address = |number: usize| IpAddr::from((number as u32 + 1).to_be_bytes());
        let admit = |number| connections.admit(address(number));
        let mut places: Vec<_> = (0..CONNECTIONS_MAX).filter_map(admit).collect();
        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert!(admit(CONNECTIONS_MAX).is_none());
        places.pop();
        assert!(admit(CONNECTIONS_MAX).is_some());
    }
}
