//! A rebuild: how quickly it replays the log with nothing beside it, against the
//! fold of everything in the same run; and what reads and writes notice of it.

use std::{pin::pin, time::Instant};

use sea_orm::sqlx::{Row, query};

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Load, Seen, closed, open},
    wait::until,
};

const REPLAY_SECONDS_MAX: u64 = 600;
const CAPACITY_SECONDS: u64 = 5;
const LOAD_SECONDS: u64 = 30;
/// Of what the closed loop got.
const SHARE: f64 = 0.5;
const P99_TIMES_MAX: f64 = 1.5;
pub const REBUILD: [&str; 3] = ["projections", "rebuild", "social"];

/// `folded`: events a second of the fold of everything.
pub async fn alone(bench: &mut Bench, folded: f64) -> anyhow::Result<Line> {
    bench.with_worker().await?;
    let heads: u64 = bench.servers.heads().await?.iter().sum();
    let arguments = [&REBUILD[..], &["--rate", "max", "--no-swap"]].concat();
    let began = Instant::now();
    let replayed = async {
        until("the log is replayed", REPLAY_SECONDS_MAX, async || {
            let reached = building(bench).await?;
            Ok((reached >= heads).then(|| began.elapsed().as_secs_f64()))
        })
        .await
    };
    let (ended, seconds) = tokio::join!(bench.launcher.run(&arguments), replayed);
    ended?;
    let (seconds, all) = (seconds?, began.elapsed().as_secs_f64());
    bench
        .launcher
        .run(&["projections", "abort", "social", "--yes"])
        .await?;
    let line = Line::new(
        "rebuild",
        "rebuild, replay",
        heads as f64 / seconds,
        Unit::PerSecond,
    );
    Ok(line
        .ceiling("fold", folded)
        .ratio_at_least(0.9)
        .at_least(60_000.0, "≥60,000")
        .note(format!(
            "{heads} events in {seconds:.1} s; with indexes and comparison {all:.1} s"
        )))
}

/// Of the building generation.
async fn building(bench: &Bench) -> anyhow::Result<u64> {
    let row = query(
        "SELECT coalesce(sum(c.seq), 0)::bigint AS seq FROM projections.checkpoints AS c
         JOIN projections.generations AS g USING (projection, generation)
         WHERE g.role = 'building'",
    )
    .fetch_one(&bench.servers.pool)
    .await?;
    Ok(row.try_get::<i64, _>("seq")? as u64)
}

pub async fn beside(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    super::homes::fill_all(bench).await?;
    let makers = super::mixed::makers(&bench.world);
    let load = |seconds| Load {
        measured: bench.seconds(seconds),
        ..bench.load()
    };
    let known = bench.beside_rebuild;
    // Asked in any case: what it leaves behind is part of what follows.
    let capacity = closed(&load(CAPACITY_SECONDS), &makers).await?.rate();
    bench.servers.settle().await?;
    let rate = known.unwrap_or(capacity * SHARE);
    let quiet = open(&load(LOAD_SECONDS), rate, &makers).await?;
    let busy_load = load(LOAD_SECONDS);
    let busy = while_rebuilding(bench, open(&busy_load, rate, &makers)).await?;
    bench.servers.settle().await?;
    let whole = is_building(bench).await?;
    // Where it has ended, there is one more generation.
    let leftover = if whole { "abort" } else { "drop" };
    let arguments = ["projections", leftover, "social", "--yes"];
    bench.launcher.run(&arguments).await?;
    bench.beside_rebuild = Some(rate);
    Ok(vec![noticed(&quiet, &busy, whole)])
}

/// Whether a rebuild has begun and not swapped.
async fn is_building(bench: &Bench) -> anyhow::Result<bool> {
    let row = query(
        "SELECT count(*) > 0 AS building FROM projections.generations
         WHERE projection = 'social' AND role = 'building'",
    )
    .fetch_one(&bench.servers.pool)
    .await?;
    Ok(row.try_get("building")?)
}

/// What `load` sees while a rebuild runs, which is given up with the load.
async fn while_rebuilding(
    bench: &Bench,
    load: impl Future<Output = anyhow::Result<Seen>>,
) -> anyhow::Result<Seen> {
    let mut rebuild = pin!(bench.launcher.run(&REBUILD));
    let mut load = pin!(load);
    let mut runs = true;
    loop {
        tokio::select! {
            seen = &mut load => return seen,
            ended = &mut rebuild, if runs => {
                ended?;
                runs = false;
            }
        }
    }
}

fn noticed(quiet: &Seen, busy: &Seen, whole: bool) -> Line {
    let before = quiet.latencies.milliseconds_at(0.99);
    let times = busy.latencies.milliseconds_at(0.99) / before.max(0.001);
    let name = "mixed p99 at half, rebuild on / off";
    let line = Line::new("rebuild_beside", name, times, Unit::Times);
    let met = times <= P99_TIMES_MAX && busy.errors() == 0;
    let rate = busy.rate();
    line.latencies(busy)
        .target(format!("≤{P99_TIMES_MAX}"), met)
        .note(match whole {
            true => format!("{rate:.0} requests/s; p99 without it: {before:.2} ms"),
            false => "it ended before the load did: too few events".to_owned(),
        })
}
