//! Keeps work below a rate. It refuses to save up: what was not used is gone.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A batch of a limited rate lasts about this long.
const BATCH_SECONDS: f64 = 0.1;

/// Shared by all who work.
#[derive(Debug)]
pub struct Pace {
    /// None: as fast as it goes.
    per_second: Option<f64>,
    next: Mutex<Instant>,
}

impl Pace {
    /// `per_second` events.
    pub fn new(per_second: Option<u64>) -> Self {
        Self {
            per_second: per_second.map(|rate| rate.max(1) as f64),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Events to take at once, at most `most`.
    pub fn batch(&self, most: usize) -> usize {
        match self.per_second {
            Some(rate) => ((rate * BATCH_SECONDS) as usize).clamp(1, most),
            None => most,
        }
    }

    /// Waits as long as `events` that were done are to take.
    pub async fn wait(&self, events: usize) {
        let Some(rate) = self.per_second else { return };
        let due = {
            let mut next = self.next.lock();
            *next = (*next).max(Instant::now()) + Duration::from_secs_f64(events as f64 / rate);
            *next
        };
        tokio::time::sleep_until(due).await;
    }
}
