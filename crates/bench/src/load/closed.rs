//! The closed loop: every connection sends its next request when the last one
//! is answered. It tells how much there can be, and little about how long it
//! takes: a slow server is asked less.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Load, Maker, Makers, Seen, Wire};
use crate::processor;

/// How often a loop that is held looks whether it still is.
const HELD_MILLISECONDS: u64 = 2;

pub async fn closed(load: &Load, makers: &Makers) -> anyhow::Result<Seen> {
    let sent = Arc::new(AtomicU64::new(0));
    let mut loops = JoinSet::new();
    for number in 0..load.connections {
        let wire = Wire::connect(load.address).await?;
        loops.spawn(run(load.clone(), wire, makers(number), sent.clone()));
    }
    tokio::time::sleep(load.warm_up).await;
    let before = processor::used(load.process)?;
    let mut seen = Seen::default();
    while let Some(done) = loops.join_next().await {
        seen.add(done??);
    }
    seen.processor = processor::used(load.process)?.saturating_sub(before);
    Ok(seen)
}

async fn run(
    load: Load,
    mut wire: Wire,
    mut make: Maker,
    sent: Arc<AtomicU64>,
) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let from = Instant::now() + load.warm_up;
    let end = from + load.measured;
    let mut request = Vec::with_capacity(2_048);
    loop {
        while load.hold.load(Ordering::Relaxed) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(HELD_MILLISECONDS)).await;
        }
        let began = Instant::now();
        if began >= end || sent.fetch_add(1, Ordering::Relaxed) >= load.requests_max {
            break;
        }
        request.clear();
        make(&mut request);
        let answer = wire.exchange(&request).await?;
        if began >= from {
            if seen.count(&answer)
                && let Some(observer) = &load.observer
            {
                observer(began, &answer);
            }
            seen.latencies.record(began.elapsed());
        }
    }
    seen.seconds = from.elapsed().as_secs_f64();
    Ok(seen)
}
