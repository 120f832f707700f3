//! What requests notice of a swap: two generations take turns beneath them.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::rebuild::REBUILD;
use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Load, Seen, open},
    pairs::median,
};

/// Few, so that none waits for another.
const REQUESTS_PER_SECOND: f64 = 300.0;
const SECONDS: u64 = 30;
/// From one swap to the next: workers look once a second which generations there are.
const APART: Duration = Duration::from_secs(1);
const MILLISECONDS_MAX: f64 = 100.0;

pub async fn swap(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    super::homes::fill_all(bench).await?;
    let arguments = [&REBUILD[..], &["--rate", "max"]].concat();
    bench.launcher.run(&arguments).await?;
    bench.servers.settle().await?;
    let answered: Arc<Mutex<Vec<(Instant, Duration)>>> = Arc::default();
    let load = Load {
        measured: bench.seconds(SECONDS),
        observer: Some({
            let answered = answered.clone();
            Arc::new(move |due, _| {
                if let Ok(mut answered) = answered.lock() {
                    answered.push((due, due.elapsed()));
                }
            })
        }),
        ..bench.load()
    };
    let makers = super::mixed::makers(&bench.world);
    let ended = Cell::new(false);
    let loading = async {
        let seen = open(&load, REQUESTS_PER_SECOND, &makers).await;
        ended.set(true);
        seen
    };
    let swapping = async {
        let mut swaps = Vec::new();
        // In the end that one is live that was so in the beginning.
        while !ended.get() || swaps.len() % 2 == 0 {
            let began = Instant::now();
            let arguments = ["projections", "rollback", "social"];
            bench.launcher.run(&arguments).await?;
            tokio::time::sleep_until((began + APART).into()).await;
            swaps.push(began..Instant::now());
        }
        anyhow::Ok(swaps)
    };
    let (seen, swaps) = tokio::join!(loading, swapping);
    let (seen, swaps) = (seen?, swaps?);
    let arguments = ["projections", "drop", "social", "--yes"];
    bench.launcher.run(&arguments).await?;
    let answered = answered.lock().map(|all| all.clone()).unwrap_or_default();
    let in_each = swaps.iter().filter_map(|swap| {
        let within = answered.iter().filter(|(due, _)| swap.contains(due));
        within
            .map(|(_, latency)| latency.as_secs_f64() * 1e3)
            .reduce(f64::max)
    });
    Ok(lines(&seen, &in_each.collect::<Vec<_>>()))
}

/// `slowest`: from each swap to the next, in milliseconds.
fn lines(seen: &Seen, slowest: &[f64]) -> Vec<Line> {
    let worst = seen.latencies.milliseconds_at(1.0);
    let name = "slowest of 300/s over all swaps";
    let met = worst <= MILLISECONDS_MAX && seen.errors() == 0;
    let worst = Line::new("swap", name, worst, Unit::Milliseconds)
        .latencies(seen)
        .target(format!("≤{MILLISECONDS_MAX} ms"), met)
        .note(format!("{} swaps", slowest.len()));
    let name = "slowest of 300/s at a swap, median";
    let usual = median(slowest).unwrap_or(f64::NAN);
    vec![
        worst,
        Line::new("swap_usual", name, usual, Unit::Milliseconds),
    ]
}
