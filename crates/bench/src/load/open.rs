//! The open loop: requests are due at fixed times, whether the server keeps up
//! or not, and a latency counts from when its request was due. So a stall shows
//! in all that it held up (no "coordinated omission").

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{Load, Maker, Makers, Seen, Wire};

/// The runtime's timers are a millisecond apart, which is too coarse: a thread
/// of its own lets requests go.
const PACE_MICROSECONDS: u64 = 100;
/// How long requests that are overdue are still sent after the end.
const OVERDUE_SECONDS_MAX: u64 = 10;

struct Schedule {
    start: Instant,
    interval: Duration,
    due: Semaphore,
    taken: AtomicU64,
    /// How many there are in all.
    count: u64,
}

pub async fn open(load: &Load, rate: f64, makers: &Makers) -> anyhow::Result<Seen> {
    let whole = load.warm_up + load.measured;
    let count = ((whole.as_secs_f64() * rate) as u64).min(load.requests_max);
    let mut wires = Vec::new();
    for _ in 0..load.connections {
        wires.push(Wire::connect(load.address).await?);
    }
    let schedule = Arc::new(Schedule {
        start: Instant::now(),
        interval: Duration::from_secs_f64(1.0 / rate.max(0.001)),
        due: Semaphore::new(0),
        taken: AtomicU64::new(0),
        count,
    });
    let stop = Arc::new(AtomicBool::new(false));
    let pacer = std::thread::spawn({
        let (schedule, stop) = (schedule.clone(), stop.clone());
        move || pace(&schedule, &stop)
    });
    let mut loops = JoinSet::new();
    for (number, wire) in wires.into_iter().enumerate() {
        loops.spawn(run(load.clone(), wire, makers(number), schedule.clone()));
    }
    let mut seen = Seen::default();
    let mut failed = None;
    while let Some(done) = loops.join_next().await {
        match done? {
            Ok(part) => seen.add(part),
            Err(error) => failed = Some(error),
        }
    }
    stop.store(true, Ordering::Relaxed);
    let _ = pacer.join();
    match failed {
        Some(error) => Err(error),
        None => Ok(seen),
    }
}

fn pace(schedule: &Schedule, stop: &AtomicBool) {
    let mut released = 0;
    while released < schedule.count && !stop.load(Ordering::Relaxed) {
        let elapsed = schedule.start.elapsed().as_secs_f64();
        let due = (elapsed / schedule.interval.as_secs_f64()) as u64 + 1;
        let due = due.min(schedule.count);
        schedule.due.add_permits((due - released) as usize);
        released = due;
        std::thread::sleep(Duration::from_micros(PACE_MICROSECONDS));
    }
    schedule.due.close();
}

async fn run(
    load: Load,
    mut wire: Wire,
    mut make: Maker,
    schedule: Arc<Schedule>,
) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let from = schedule.start + load.warm_up;
    let given_up = from + load.measured + Duration::from_secs(OVERDUE_SECONDS_MAX);
    let mut request = Vec::with_capacity(2_048);
    loop {
        // Once all are let go, what is overdue is taken without waiting.
        if let Ok(permit) = schedule.due.acquire().await {
            permit.forget();
        }
        let index = schedule.taken.fetch_add(1, Ordering::Relaxed);
        if index >= schedule.count || Instant::now() > given_up {
            break;
        }
        let due = schedule.start + schedule.interval.mul_f64(index as f64);
        request.clear();
        make(&mut request);
        let answer = wire.exchange(&request).await?;
        if due >= from {
            if seen.count(&answer)
                && let Some(observer) = &load.observer
            {
                observer(due, &answer);
            }
            seen.latencies.record(due.elapsed());
        }
    }
    seen.seconds = from.elapsed().as_secs_f64();
    Ok(seen)
}
