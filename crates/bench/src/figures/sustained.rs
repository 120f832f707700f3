//! How many likes a second the whole of it takes, folds included, without
//! falling behind: the load is held back whenever the lag passes a limit, so
//! that what remains is the rate that lasts.

use std::time::Duration;

use anyhow::Context;

use crate::{
    bench::Bench,
    lag::{LagWatch, Sample},
    line::{Line, Unit},
    load::{Load, closed},
    plot::{self, Series},
    seeded,
};

const SECONDS: u64 = 60;
const LAG_MILLISECONDS_MAX: f64 = 1_000.0;
/// Above it nothing more is sent; what was sent still has to be folded.
const HOLD_MILLISECONDS: u64 = 500;
const PLOT: &str = "sustained.svg";

pub async fn sustained(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let lasting = bench.seconds(SECONDS);
    let watch = LagWatch::start(&bench.servers, Duration::from_millis(HOLD_MILLISECONDS));
    let load = Load {
        warm_up: Duration::ZERO,
        measured: lasting,
        hold: watch.hold(),
        ..bench.load()
    };
    let world = bench.world.clone();
    let seen = closed(&load, &move |connection| world.like_and_unlike(connection)).await;
    let samples = watch.end().await?;
    let seen = seen?;
    let lag = samples
        .iter()
        .map(|s| s.lag_milliseconds)
        .fold(0.0, f64::max);
    let (first, last) = samples.first().zip(samples.last()).context("no samples")?;
    let seconds = last.at_seconds - first.at_seconds;
    let rate = (last.events - first.events) as f64 / seconds.max(0.001);
    let path = seeded::results()?.join(PLOT);
    std::fs::write(&path, draw(&samples))?;

    let name = "like, sustained, worker on";
    let line = Line::new("sustained", name, rate, Unit::PerSecond);
    let line = line.latencies(&seen).ceiling("hello", bench.hello);
    Ok(vec![
        line.ratio_at_least(0.18)
            .target(format!("lag {lag:.0}≤1000"), lag <= LAG_MILLISECONDS_MAX)
            .note(format!(
                "{seconds:.0} s; the load is held while the lag is above {HOLD_MILLISECONDS} ms; plot: {}",
                path.display()
            )),
    ])
}

fn draw(samples: &[Sample]) -> String {
    let lag: Vec<_> = samples
        .iter()
        .map(|sample| (sample.at_seconds, sample.lag_milliseconds))
        .collect();
    let rates = rates(samples);
    plot::svg(
        "Likes with the worker on the same machine",
        &[
            Series {
                title: "likes accepted, per second",
                color: "#2a7",
                points: &rates,
                limit: None,
            },
            Series {
                title: "lag of the projections, ms",
                color: "#27a",
                points: &lag,
                limit: Some((LAG_MILLISECONDS_MAX, "at most")),
            },
        ],
    )
}

/// Events a second, over about a second each.
fn rates(samples: &[Sample]) -> Vec<(f64, f64)> {
    let mut rates = Vec::new();
    let Some(mut last) = samples.first() else {
        return rates;
    };
    for sample in samples {
        let seconds = sample.at_seconds - last.at_seconds;
        if seconds >= 1.0 {
            let events = (sample.events - last.events) as f64;
            rates.push((sample.at_seconds, events / seconds));
            last = sample;
        }
    }
    rates
}
