//! From a write to its row: 1,000 likes a second, each timed from when it was
//! due until the projection's checkpoint is seen at or past its position.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use edge::positions::SealedPositions;
use kernel::Position;

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Latencies, Load, open},
    roles::CURSOR_SECRET,
    servers::{Heads, SOCIAL, reached},
};

const WRITES_PER_SECOND: f64 = 1_000.0;
const SECONDS: u64 = 15;
/// Between two looks; the query itself comes on top.
const LOOK_MILLISECONDS: u64 = 1;

type Write = (Instant, Position);
type Look = (Instant, Heads);

pub async fn visible(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let ends = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn({
        let (pool, ends) = (bench.servers.pool.clone(), ends.clone());
        async move {
            let mut looks: Vec<Look> = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let heads = reached(&pool, SOCIAL).await?;
                // The same again tells nothing new.
                if looks.last().is_none_or(|(_, last)| *last != heads) {
                    looks.push((Instant::now(), heads));
                }
                tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
            }
            anyhow::Ok(looks)
        }
    });
    // Opened when all is done.
    let writes: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    let load = Load {
        measured: bench.seconds(SECONDS),
        observer: Some({
            let writes = writes.clone();
            Arc::new(move |due, answer| {
                let sealed = answer.header("event-position");
                if let (Some(sealed), Ok(mut writes)) = (sealed, writes.lock()) {
                    writes.push((due, sealed.to_owned()));
                }
            })
        }),
        ..bench.load()
    };
    let world = bench.world.clone();
    let makers = move |connection: usize| world.like_and_unlike(connection);
    let accepted = open(&load, WRITES_PER_SECOND, &makers).await?;
    bench.servers.settle().await?;
    ends.store(true, Ordering::Relaxed);
    let looks = looking.await??;
    let positions = SealedPositions::new(CURSOR_SECRET.as_bytes())?;
    let opened = |(due, sealed): &(Instant, String)| {
        let opened = positions.open(sealed)?;
        Some((*due, *opened.iter().next()?))
    };
    let writes: Vec<Write> = writes
        .lock()
        .map(|writes| writes.iter().filter_map(opened).collect())
        .unwrap_or_default();
    anyhow::ensure!(!writes.is_empty(), "no answer had a position");
    let delays = delays(&looks, &writes);

    let name = "write to visible, 1,000 writes/s";
    let mut line = Line::new(
        "visible",
        name,
        delays.milliseconds_at(0.5),
        Unit::Milliseconds,
    );
    line.p50_milliseconds = Some(delays.milliseconds_at(0.5));
    line.p99_milliseconds = Some(delays.milliseconds_at(0.99));
    let acknowledged = accepted.latencies.milliseconds_at(0.5);
    Ok(vec![
        line.complaints(&accepted)
            .p50_at_most(10.0)
            .p99_at_most(50.0)
            .note(format!(
                "from when it was due, looking every 1 to 2 ms; acknowledged after {acknowledged:.2} ms (p50)"
            )),
    ])
}

/// Checkpoints only grow, so that the first look that has it is found by
/// halving.
fn delays(looks: &[Look], writes: &[Write]) -> Latencies {
    let mut delays = Latencies::default();
    for (due, position) in writes {
        let partition = usize::from(position.partition.0);
        let has = |look: &Look| {
            look.1
                .get(partition)
                .is_some_and(|seq| *seq >= position.seq)
        };
        let first = looks.partition_point(|look| !has(look));
        if let Some((seen, _)) = looks.get(first) {
            delays.record(seen.saturating_duration_since(*due));
        }
    }
    delays
}
