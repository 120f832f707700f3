//! Watches how far the projections are behind the log. An event's lag counts
//! from when it was first seen in the log until it was seen folded, so that a
//! lag is never told smaller than it is by more than the time of one look.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use sea_orm::sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::servers::{Heads, SOCIAL, Servers, TIMELINES, heads, reached};

const LOOK_MILLISECONDS: u64 = 20;

#[derive(Clone, Copy)]
pub struct Sample {
    pub at_seconds: f64,
    /// All events that were ever appended.
    pub events: u64,
    pub lag_milliseconds: f64,
}

pub struct LagWatch {
    shared: Arc<Shared>,
    task: JoinHandle<anyhow::Result<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// Raised while the lag is above the limit.
    hold: Arc<AtomicBool>,
    samples: Mutex<Vec<Sample>>,
}

impl LagWatch {
    /// `hold` is raised when the lag is above `limit`, and lowered when it is
    /// below half of that.
    pub fn start(servers: &Servers, limit: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(watch(
            shared.clone(),
            servers.log.clone(),
            servers.pool.clone(),
            limit,
        ));
        Self { shared, task }
    }

    pub fn hold(&self) -> Arc<AtomicBool> {
        self.shared.hold.clone()
    }

    pub async fn end(self) -> anyhow::Result<Vec<Sample>> {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.task.await??;
        let mut samples = self.shared.samples.lock();
        let samples = samples
            .as_mut()
            .map(|samples| std::mem::take(&mut **samples));
        Ok(samples.unwrap_or_default())
    }
}

async fn watch(
    shared: Arc<Shared>,
    mut log: MultiplexedConnection,
    pool: PgPool,
    limit: Duration,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut history = VecDeque::new();
    while !shared.ends.load(Ordering::Relaxed) {
        let looked = Instant::now();
        let now = heads(&mut log).await?;
        let social = reached(&pool, SOCIAL).await?;
        let timelines = reached(&pool, TIMELINES).await?;
        let folded: Heads = std::iter::zip(social, timelines)
            .map(|(social, timelines)| social.min(timelines))
            .collect();
        let events = now.iter().sum();
        history.push_back((looked, now));
        let lag = lag(&mut history, &folded, looked);
        if lag > limit {
            shared.hold.store(true, Ordering::Relaxed);
        } else if lag < limit / 2 {
            shared.hold.store(false, Ordering::Relaxed);
        }
        if let Ok(mut samples) = shared.samples.lock() {
            samples.push(Sample {
                at_seconds: (looked - began).as_secs_f64(),
                events,
                lag_milliseconds: lag.as_secs_f64() * 1_000.0,
            });
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
    }
    Ok(())
}

/// Looks that are folded whole are forgotten; the oldest one that is not tells
/// since when something has waited.
fn lag(history: &mut VecDeque<(Instant, Heads)>, folded: &[u64], now: Instant) -> Duration {
    let whole = |heads: &Heads| {
        heads
            .iter()
            .zip(folded)
            .all(|(head, folded)| head <= folded)
    };
    while history.front().is_some_and(|(_, heads)| whole(heads)) {
        history.pop_front();
    }
    let oldest = history.front();
    oldest.map_or(Duration::ZERO, |(since, _)| {
        now.saturating_duration_since(*since)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_the_oldest_event_that_is_not_folded() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut history = VecDeque::from([
            (at(0), vec![5, 5]),
            (at(20), vec![9, 5]),
            (at(40), vec![9, 8]),
        ]);
        assert_eq!(lag(&mut history, &[7, 8], at(50)).as_millis(), 30);
        assert_eq!(lag(&mut history, &[9, 7], at(60)).as_millis(), 20);
        assert_eq!(lag(&mut history, &[9, 8], at(70)), Duration::ZERO);
    }
}
