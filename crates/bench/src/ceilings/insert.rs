//! The ceiling of the fan-out: the timelines' own insert function, called bare,
//! pipelined on one connection, with as many deliveries a call as the fan-out
//! makes. Whoever changes that function's call changes it here.

use std::time::{Duration, Instant};

use crate::{
    bench::Bench,
    line::{Line, Unit},
    servers::home_key,
};

/// An author's in a batch of a backlog, about.
const POSTS_PER_CALL: usize = 16;
const READERS_PER_CALL: usize = 1_000 / POSTS_PER_CALL;
const CALLS_PER_PIPELINE: usize = 8;
const ENTRIES_MAX: u32 = 800;

/// All timelines exist already.
pub async fn measure(bench: &Bench, lasting: Duration) -> anyhow::Result<Line> {
    let mut views = bench.servers.views.clone();
    let accounts = &bench.world.accounts;
    let mut chunks = accounts.chunks(READERS_PER_CALL).cycle();
    let began = Instant::now();
    let (mut inserted, mut number) = (0, 0_u64);
    while began.elapsed() < lasting {
        let mut pipe = redis::pipe();
        for readers in chunks.by_ref().take(CALLS_PER_PIPELINE) {
            pipe.cmd("FCALL").arg("headwater_insert").arg(readers.len());
            for reader in readers {
                pipe.arg(home_key(*reader));
            }
            pipe.arg(ENTRIES_MAX);
            // Newer than any: this is what arrives in order costs.
            for _ in 0..POSTS_PER_CALL {
                number += 1;
                let mut id = [0xff; 16];
                id[8..].copy_from_slice(&number.to_be_bytes());
                pipe.arg(&id);
            }
        }
        let taken: Vec<u64> = pipe.query_async(&mut views).await?;
        inserted += taken.iter().sum::<u64>();
    }
    let rate = inserted as f64 / began.elapsed().as_secs_f64();
    let name = "ceiling: the insert function, bare";
    Ok(Line::new("insert", name, rate, Unit::PerSecond))
}
