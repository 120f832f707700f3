//! T5 of the issue: what waits behind a write does not slow the write. Likes
//! and posts at a fixed rate, in turns with the fan-out working and with it
//! standing still because the views server is away.

use crate::{
    bench::Bench,
    graph,
    line::{Line, Unit},
    load::{Latencies, Load, Maker, Seen, open, request},
    random::Random,
    world::World,
};

const WRITES_PER_SECOND: f64 = 1_000.0;
const SECONDS: u64 = 10;
const ROUNDS: usize = 2;
const TIMES_MAX: f64 = 1.5;
/// One write in so many is a post, which the fan-out has to deliver.
const POST_ONE_IN: usize = 20;

pub async fn apart(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let load = Load {
        measured: bench.seconds(SECONDS),
        ..bench.load()
    };
    let makers = makers(&bench.world);
    let (mut with, mut without) = (Latencies::default(), Latencies::default());
    let mut notes = Vec::new();
    let mut keep = |latencies: &mut Latencies, seen: Seen| {
        notes.extend(seen.complaints());
        latencies.add(&seen.latencies);
    };
    for _ in 0..ROUNDS {
        keep(&mut with, open(&load, WRITES_PER_SECOND, &makers).await?);
        bench.servers.kill_views().await?;
        let seen = open(&load, WRITES_PER_SECOND, &makers).await;
        bench.servers.start_views().await?;
        keep(&mut without, seen?);
        bench.servers.settle().await?;
    }
    let usual = with.milliseconds_at(0.99);
    let times = without.milliseconds_at(0.99) / usual.max(0.001);
    let on = Line::new(
        "apart_on",
        "write p99, fan-out on",
        usual,
        Unit::Milliseconds,
    )
    .note(format!("{WRITES_PER_SECOND} writes/s"));
    let name = "T5 write p99, fan-out stopped / on";
    let mut stopped = Line::new("apart", name, times, Unit::Times).at_most(TIMES_MAX, "≤1.5");
    stopped.notes = notes;
    Ok(vec![measured(on, &with), measured(stopped, &without)])
}

fn measured(mut line: Line, latencies: &Latencies) -> Line {
    line.p50_milliseconds = Some(latencies.milliseconds_at(0.5));
    line.p99_milliseconds = Some(latencies.milliseconds_at(0.99));
    line
}

fn makers(world: &World) -> impl Fn(usize) -> Maker + Send + Sync + use<> {
    let world = world.clone();
    move |connection| {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
        let mut like = world.like_and_unlike(connection);
        Box::new(move |out| {
            if random.below(POST_ONE_IN) > 0 {
                return like(out);
            }
            let body = format!(r#"{{"text":"{}"}}"#, graph::text(&mut random));
            let token = world.any_token(&mut random);
            request(out, "POST", &["/v1/posts"], token, &body);
        })
    }
}
