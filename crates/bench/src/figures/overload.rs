//! Five times as many sign-ins as there can be: how many are still done, how the
//! others are refused, and what another route notices. A sign-in costs the server a
//! password hash and the load generator nothing, so that both fit on one machine.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::ensure;

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Load, Maker, Seen, Wire, closed, open, request},
};

const TIMES: f64 = 5.0;
/// The issue's.
const GOODPUT_MIN: f64 = 0.85;
const SECONDS: u64 = 10;
/// Longer than anybody may wait for a turn: what is measured is lasting.
const WARM_UP_SECONDS: u64 = 2;
/// As many as are hashed, and some that wait.
const PEAK_CONNECTIONS: usize = 8;
/// More than may wait, so that none is sent late.
const CONNECTIONS: usize = 512;
const ACCOUNTS: usize = 32;
const LOCAL_PER_SECOND: f64 = 200.0;
const LOCAL_CONNECTIONS: usize = 16;
const PASSWORD: &str = "correct horse battery";

pub async fn overload(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    register(bench).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let sign_in = move |_: usize| -> Maker {
        let next = next.clone();
        Box::new(move |out| {
            let account = next.fetch_add(1, Ordering::Relaxed) % ACCOUNTS;
            let login = handle(account);
            let body = format!(r#"{{"login":"{login}","password":"{PASSWORD}"}}"#);
            request(out, "POST", &["/v1/sessions"], "", &body);
        })
    };
    let local = |_: usize| -> Maker {
        Box::new(|out| request(out, "GET", &["/v1/timelines/local"], "", ""))
    };
    let load = |connections| Load {
        connections,
        warm_up: bench.seconds(WARM_UP_SECONDS),
        measured: bench.seconds(SECONDS),
        ..bench.load()
    };
    let alone = open(&load(LOCAL_CONNECTIONS), LOCAL_PER_SECOND, &local).await?;
    let (few, many) = (load(PEAK_CONNECTIONS), load(CONNECTIONS));
    // Beside both, so that the two differ in how many sign-ins are sent alone.
    let local_load = load(LOCAL_CONNECTIONS);
    let (peak, beside_peak) = tokio::join!(
        closed(&few, &sign_in),
        open(&local_load, LOCAL_PER_SECOND, &local)
    );
    let (peak, beside_peak) = (peak?, beside_peak?);
    let (over, beside) = tokio::join!(
        open(&many, peak.rate() * TIMES, &sign_in),
        open(&local_load, LOCAL_PER_SECOND, &local)
    );
    let (over, beside) = (over?, beside?);

    // Those that were due while it was measured: the last are answered later.
    let goodput = over.good() as f64 / many.measured.as_secs_f64();
    let refused = over.statuses.get(&503).copied().unwrap_or_default();
    let other = over.errors() - refused;
    let name = "sign-ins done at 5 times as many";
    Ok(vec![
        Line::new(
            "sign_in",
            "sign-in beside local, at most",
            peak.rate(),
            Unit::PerSecond,
        )
        .latencies(&peak),
        Line::new("overload", name, goodput, Unit::PerSecond)
            .ceiling("sign_in", peak.rate())
            .ratio_at_least(GOODPUT_MIN)
            .target("503 alone".into(), other == 0)
            .target("Retry-After".into(), over.refused_for_ever == 0)
            .note(format!(
                "{:.0} a second were sent, {refused} refused; all: p50 {:.1} ms, p99 {:.0} ms",
                peak.rate() * TIMES,
                over.latencies.milliseconds_at(0.5),
                over.latencies.milliseconds_at(0.99),
            )),
        beside_it(&alone, &beside_peak, &beside),
    ])
}

fn beside_it(alone: &Seen, beside_peak: &Seen, beside: &Seen) -> Line {
    let p99 = |seen: &Seen| seen.latencies.milliseconds_at(0.99);
    let name = "local timeline beside these, p99";
    Line::new("overload_local", name, p99(beside), Unit::Milliseconds)
        .latencies(beside)
        .ceiling("alone", p99(alone))
        .target(
            "none failed".into(),
            beside.errors() + beside_peak.errors() + alone.errors() == 0,
        )
        .note(format!(
            "alone: p50 {:.2} ms, p99 {:.2} ms; beside the peak: p99 {:.2} ms",
            alone.latencies.milliseconds_at(0.5),
            p99(alone),
            p99(beside_peak),
        ))
}

async fn register(bench: &Bench) -> anyhow::Result<()> {
    let mut wire = Wire::connect(bench.api).await?;
    for account in 0..ACCOUNTS {
        let handle = handle(account);
        let body = format!(
            r#"{{"handle":"{handle}","email":"{handle}@example.org","password":"{PASSWORD}"}}"#
        );
        let mut ask = Vec::new();
        request(&mut ask, "POST", &["/v1/accounts"], "", &body);
        let answer = wire.exchange(&ask).await?;
        let text = answer.text();
        ensure!(answer.status == 201, "nobody is registered: {text}");
    }
    Ok(())
}

fn handle(account: usize) -> String {
    format!("signer_{account}")
}
