//! The resident memory of `headwater serve`: when it has served nothing yet,
//! and the most while it takes likes as quickly as it can.

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::closed,
    memory::{Peak, resident_kibibytes},
};

const KIBIBYTES_PER_MEBIBYTE: f64 = 1_024.0;

pub async fn footprint(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    bench.restart_serve().await?;
    let idle = resident_kibibytes(bench.serve_process())?;
    let peak = Peak::watch(bench.serve_process());
    let world = bench.world.clone();
    let makers = move |connection: usize| world.like_and_unlike(connection);
    let seen = closed(&bench.load(), &makers).await;
    let peak = peak.end().await?;
    let line = |key: &str, name: &str, kibibytes: u64, most: f64| {
        let value = kibibytes as f64 / KIBIBYTES_PER_MEBIBYTE;
        let line = Line::new(key, name, value, Unit::Mebibytes);
        line.at_most(most, &format!("≤{most}"))
    };
    Ok(vec![
        line("memory_idle", "memory of serve, idle", idle, 40.0),
        line("memory_load", "memory of serve, under likes", peak, 150.0).complaints(&seen?),
    ])
}
