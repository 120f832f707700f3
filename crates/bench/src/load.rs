//! A load generator that costs little: raw HTTP/1.1 over kept connections. It
//! refuses to forget an answer: those that are no 2xx or 304 are counted by
//! their status.

mod attack;
mod closed;
mod half_open;
mod latencies;
mod open;
mod refused;
mod wire;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use attack::{Attack, Told};
pub use closed::closed;
pub use latencies::Latencies;
pub use open::open;
pub use wire::{Answer, Wire, WriteRequest, request, request_whole};

/// Writes the next request of one connection into an empty buffer.
pub type Maker = Box<dyn FnMut(&mut Vec<u8>) + Send>;
/// The maker of the connection with this number.
pub type Makers = dyn Fn(usize) -> Maker + Send + Sync;
/// Sees every good answer that is measured, and since when it was wanted.
pub type Observer = Arc<dyn Fn(std::time::Instant, &Answer<'_>) + Send + Sync>;

#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    /// Which process listens there.
    pub process: u32,
    pub connections: usize,
    pub warm_up: Duration,
    pub measured: Duration,
    /// The loop ends before its time when so many were sent.
    pub requests_max: u64,
    pub observer: Option<Observer>,
    /// While it is raised, a closed loop sends nothing.
    pub hold: Arc<AtomicBool>,
}

/// What a loop has seen.
#[derive(Default)]
pub struct Seen {
    pub seconds: f64,
    pub latencies: Latencies,
    /// What the process took meanwhile, where a closed loop has asked.
    pub processor: Duration,
    /// Of all answers that were measured.
    pub statuses: BTreeMap<u16, u64>,
    /// Refused without a word on when to try again.
    pub refused_for_ever: u64,
    /// One answer that was refused.
    pub example: Option<String>,
}

impl Seen {
    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        self.good() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    pub fn good(&self) -> u64 {
        let good = self.statuses.iter().filter(|(status, _)| is_good(**status));
        good.map(|(_, count)| count).sum()
    }

    pub fn errors(&self) -> u64 {
        self.statuses.values().sum::<u64>() - self.good()
    }

    pub fn error_share(&self) -> f64 {
        self.errors() as f64 / (self.errors() + self.good()).max(1) as f64
    }

    /// Of a processor, for every answer.
    pub fn microseconds_each(&self) -> f64 {
        let answers: u64 = self.statuses.values().sum();
        self.processor.as_secs_f64() * 1e6 / answers.max(1) as f64
    }

    /// Errors by status, as `503: 12`.
    pub fn complaints(&self) -> Option<String> {
        let bad = self
            .statuses
            .iter()
            .filter(|(status, _)| !is_good(**status));
        let bad: Vec<_> = bad.map(|(s, count)| format!("{s}: {count}")).collect();
        (!bad.is_empty()).then(|| {
            let example = self.example.as_deref().unwrap_or_default();
            format!("answers refused ({}), such as {example}", bad.join(", "))
        })
    }

    fn count(&mut self, answer: &Answer<'_>) -> bool {
        *self.statuses.entry(answer.status).or_default() += 1;
        let good = is_good(answer.status);
        if !good && answer.header("retry-after").is_none() {
            self.refused_for_ever += 1;
        }
        if !good && self.example.is_none() {
            self.example = Some(answer.text());
        }
        good
    }

    fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies);
        self.refused_for_ever += other.refused_for_ever;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.example = self.example.take().or(other.example);
        self.seconds = self.seconds.max(other.seconds);
    }
}

fn is_good(status: u16) -> bool {
    (200..300).contains(&status) || status == 304
}
