//! What honest requests notice of 2,000 connections that begin one and never end
//! it. Rounds without and with them take turns, since a machine changes within a
//! minute. The ratio is of all rounds together: the p99 of one is the 48th slowest of
//! its requests, which any hiccup moves.

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{HalfOpen, Latencies, Load, Maker, Seen, Told, open, request},
    memory::{Peak, resident_kibibytes},
    pairs::median,
};

const CONNECTIONS: usize = 2_000;
const CONNECTIONS_QUICK: usize = 200;
const PAIRS: usize = 15;
/// Longer than a server may wait for a head: all are put out in each round, and
/// begin anew.
const SECONDS: u64 = 12;
/// All connections are made in the first second.
const WARM_UP_SECONDS: u64 = 2;
const HONEST_PER_SECOND: f64 = 400.0;
const HONEST_CONNECTIONS: usize = 16;
/// The issue's.
const P99_TIMES_MAX: f64 = 1.2;
const MEBIBYTES_MAX: f64 = 150.0;
const KIBIBYTES_PER_MEBIBYTE: f64 = 1_024.0;
/// Answers that whoever never ends a head may get, if any.
const REFUSALS: [u16; 4] = [400, 408, 413, 431];

pub async fn half_open(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let (pairs, count) = match bench.arguments.quick {
        true => (1, CONNECTIONS_QUICK),
        false => (PAIRS, CONNECTIONS),
    };
    let load = Load {
        connections: HONEST_CONNECTIONS,
        warm_up: bench.seconds(WARM_UP_SECONDS),
        measured: bench.seconds(SECONDS),
        ..bench.load()
    };
    let makers =
        |_| -> Maker { Box::new(|out| request(out, "GET", &["/v1/timelines/local"], "", "")) };
    let before = resident_kibibytes(bench.serve_process())?;
    let peak = Peak::watch(bench.serve_process());
    let mut rounds = Vec::new();
    for _ in 0..pairs {
        let without = open(&load, HONEST_PER_SECOND, &makers).await?;
        let attack = HalfOpen::start(bench.api, count)?;
        let with = open(&load, HONEST_PER_SECOND, &makers).await;
        let told = attack.end()?;
        rounds.push((without, with?, told));
    }
    let most = peak.end().await?;
    Ok(vec![latency(count, &rounds), memory(before, most)])
}

fn latency(count: usize, rounds: &[(Seen, Seen, Told)]) -> Line {
    let mut without = Latencies::default();
    let mut with = Latencies::default();
    for (alone, beside, _) in rounds {
        without.add(&alone.latencies);
        with.add(&beside.latencies);
    }
    let ratio = |with: &Latencies, without: &Latencies, share: f64| {
        with.milliseconds_at(share) / without.milliseconds_at(share).max(0.001)
    };
    let pair =
        |(without, with, _): &(Seen, Seen, Told)| ratio(&with.latencies, &without.latencies, 0.99);
    let pairs: Vec<_> = rounds.iter().map(pair).collect();
    let list: Vec<_> = pairs.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let middle = median(&pairs).unwrap_or_default();
    let told = || rounds.iter().map(|(_, _, told)| told);
    let held = told().map(|told| told.held).min().unwrap_or_default();
    let fails: u64 = rounds.iter().map(|(a, b, _)| a.errors() + b.errors()).sum();
    let other = |told: &Told| {
        told.statuses
            .keys()
            .any(|status| !REFUSALS.contains(status))
    };
    let cost = told().map(|told| told.cost).fold(0.0, f64::max);
    let (begun, closed) = told().fold((0, 0), |sum, told| {
        (sum.0 + told.begun, sum.1 + told.closed)
    });
    let name = format!("local timeline, {count} half-open beside");
    let value = ratio(&with, &without, 0.99);
    let mut line = Line::new("half_open", &name, value, Unit::Times)
        .at_most(P99_TIMES_MAX, "≤1.20")
        .target("refusals only".into(), !told().any(other))
        .target("none failed".into(), fails == 0)
        .target("held".into(), held == count);
    line.p50_milliseconds = Some(with.milliseconds_at(0.5));
    line.p99_milliseconds = Some(with.milliseconds_at(0.99));
    line.note(format!(
        "p99 of each pair: {}, median {middle:.2}; p50 of all: {:.2}; without: p50 {:.2} ms, p99 {:.2} ms",
        list.join(" "),
        ratio(&with, &without, 0.5),
        without.milliseconds_at(0.5),
        without.milliseconds_at(0.99),
    ))
    .note(format!(
        "{begun} half-open connections, {closed} put out; the attack itself took {:.1} % of a core",
        cost * 100.0
    ))
}

fn memory(before: u64, most: u64) -> Line {
    let mebibytes = |kibibytes: u64| kibibytes as f64 / KIBIBYTES_PER_MEBIBYTE;
    let name = "memory of serve, half-open beside";
    Line::new("half_open_memory", name, mebibytes(most), Unit::Mebibytes)
        .at_most(MEBIBYTES_MAX, "≤150")
        .note(format!("{:.1} MiB before", mebibytes(before)))
}
