//! What honest requests notice of 2,000 connections that begin one and never end
//! it, and of messages that are refused. Rounds without and with them take turns, since a machine changes within a
//! minute. The ratio is of all rounds together: the p99 of one is the 48th slowest of
//! its requests, which any hiccup moves.

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Attack, Latencies, Load, Maker, Seen, Told, open, request},
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
/// Of messages that are refused, which cost the server more each.
const REFUSED_PER_SECOND: u32 = 50;
const REFUSED_SECONDS: u64 = 5;
/// The rest may be on its way at the end.
const SENT_OF_WANTED_MIN: f64 = 0.9;
/// Answers that whoever never ends a head may get, if any.
const HALF_OPEN_ANSWERS: [u16; 4] = [400, 408, 413, 431];
/// What is wrong with what is refused, and where there is too much of it.
const REFUSED_ANSWERS: [u16; 6] = [400, 413, 422, 429, 431, 503];

enum Strength {
    /// Connections that are there at the end.
    Held(usize),
    /// A second.
    Sent(u32),
}

/// What is measured of an attack.
struct Beside {
    key: &'static str,
    name: String,
    attack: Attack,
    /// What the attack has to have reached.
    strength: Strength,
    answers: &'static [u16],
    seconds: u64,
}

pub async fn half_open(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let count = match bench.arguments.quick {
        true => CONNECTIONS_QUICK,
        false => CONNECTIONS,
    };
    let beside = Beside {
        key: "half_open",
        name: format!("local timeline, {count} half-open beside"),
        attack: Attack::HalfOpen(count),
        strength: Strength::Held(count),
        answers: &HALF_OPEN_ANSWERS,
        seconds: SECONDS,
    };
    beside.measure(bench).await
}

pub async fn refused(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let beside = Beside {
        key: "refused",
        name: format!("local timeline, {REFUSED_PER_SECOND}/s refused beside"),
        attack: Attack::Refused(REFUSED_PER_SECOND),
        strength: Strength::Sent(REFUSED_PER_SECOND),
        answers: &REFUSED_ANSWERS,
        seconds: REFUSED_SECONDS,
    };
    beside.measure(bench).await
}

impl Beside {
    async fn measure(&self, bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
        bench.with_worker().await?;
        let pairs = if bench.arguments.quick { 1 } else { PAIRS };
        let load = Load {
            connections: HONEST_CONNECTIONS,
            warm_up: bench.seconds(WARM_UP_SECONDS),
            measured: bench.seconds(self.seconds),
            ..bench.load()
        };
        let makers =
            |_| -> Maker { Box::new(|out| request(out, "GET", &["/v1/timelines/local"], "", "")) };
        let before = resident_kibibytes(bench.serve_process())?;
        let peak = Peak::watch(bench.serve_process());
        let mut rounds = Vec::new();
        for _ in 0..pairs {
            let without = open(&load, HONEST_PER_SECOND, &makers).await?;
            let attacking = self.attack.start(bench.api)?;
            let with = open(&load, HONEST_PER_SECOND, &makers).await;
            let told = attacking.end()?;
            rounds.push((without, with?, told));
        }
        let most = peak.end().await?;
        Ok(vec![self.latency(&rounds), self.memory(before, most)])
    }

    fn latency(&self, rounds: &[(Seen, Seen, Told)]) -> Line {
        let mut without = Latencies::default();
        let mut with = Latencies::default();
        for (alone, beside, _) in rounds {
            without.add(&alone.latencies);
            with.add(&beside.latencies);
        }
        let ratio = |with: &Latencies, without: &Latencies, share: f64| {
            with.milliseconds_at(share) / without.milliseconds_at(share).max(0.001)
        };
        let pair = |(without, with, _): &(Seen, Seen, Told)| {
            ratio(&with.latencies, &without.latencies, 0.99)
        };
        let pairs: Vec<_> = rounds.iter().map(pair).collect();
        let list: Vec<_> = pairs.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let middle = median(&pairs).unwrap_or_default();
        let told = || rounds.iter().map(|(_, _, told)| told);
        let reached = match self.strength {
            Strength::Held(wanted) => told().all(|told| told.held == wanted),
            Strength::Sent(per_second) => told().all(|told| {
                let wanted = told.seconds * f64::from(per_second);
                told.begun as f64 >= SENT_OF_WANTED_MIN * wanted
            }),
        };
        let fails: u64 = rounds.iter().map(|(a, b, _)| a.errors() + b.errors()).sum();
        let other = |told: &Told| {
            let mut statuses = told.statuses.keys();
            statuses.any(|status| !self.answers.contains(status))
        };
        let cost = told().map(|told| told.cost).fold(0.0, f64::max);
        let (begun, closed) = told().fold((0, 0), |sum, told| {
            (sum.0 + told.begun, sum.1 + told.closed)
        });
        let value = ratio(&with, &without, 0.99);
        let mut line = Line::new(self.key, &self.name, value, Unit::Times)
            .at_most(P99_TIMES_MAX, "≤1.20")
            .target("refusals only".into(), !told().any(other))
            .target("none failed".into(), fails == 0)
            .target("in full".into(), reached);
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
            "{begun} connections, {closed} ended; the attack itself took {:.1} % of a core",
            cost * 100.0
        ))
    }

    fn memory(&self, before: u64, most: u64) -> Line {
        let mebibytes = |kibibytes: u64| kibibytes as f64 / KIBIBYTES_PER_MEBIBYTE;
        let key = format!("{}_memory", self.key);
        let name = format!("memory of serve, {} beside", self.key.replace('_', "-"));
        Line::new(&key, &name, mebibytes(most), Unit::Mebibytes)
            .at_most(MEBIBYTES_MAX, "≤150")
            .note(format!("{:.1} MiB before", mebibytes(before)))
    }
}
