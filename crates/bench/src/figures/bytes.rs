//! What a like costs in Redis: by the growth of MEMORY USAGE (every sample
//! looked at) of the streams and of the hashes with states, over many likes;
//! receipts and timelines by the average over those there are. The states of an
//! account's edges share a hash, which Redis packs up to 512 fields: both sides
//! of that limit are measured.

use anyhow::ensure;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;

use super::homes;
use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Wire, request},
    random::Random,
    roles::KEY_PREFIX,
    servers::{PARTITIONS, events_key, home_key},
};

/// Accounts that like, and posts that each likes: below the limit, above it.
const FEW: (usize, usize) = (200, 100);
const FEW_QUICK: (usize, usize) = (10, 100);
const MANY: (usize, usize) = (20, 1_000);
const MANY_QUICK: (usize, usize) = (2, 1_000);
const KEYED: (usize, usize) = (100, 10);
const KEYS_PER_SCAN: u64 = 5_000;
const KEYS_PER_PIPELINE: usize = 1_000;
const TIMELINES_MAX: usize = 2_000;

pub async fn bytes(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let mut log = bench.servers.log.clone();
    let (few, many) = match bench.arguments.quick {
        true => (FEW_QUICK, MANY_QUICK),
        false => (FEW, MANY),
    };
    let mut tokens = bench.world.tokens.iter();
    let (entry, state) = grown(bench, &mut log, few, tokens.by_ref()).await?;
    let (_, state_of_many) = grown(bench, &mut log, many, tokens.by_ref()).await?;
    like(bench, KEYED.1, tokens.take(KEYED.0), true).await?;
    let receipts = keys(&mut log, &format!("{KEY_PREFIX}:{{p*}}:r:*")).await?;
    ensure!(receipts.len() >= KEYED.0 * KEYED.1, "receipts are missing");
    let receipt = usage(&mut log, &receipts).await? as f64 / receipts.len() as f64;
    let kept_for_ever = without_end(&mut log, &receipts).await?;
    let timeline = timeline_entry(bench).await?;

    let line = |key: &str, name: &str, value: f64, most: f64| {
        let line = Line::new(key, name, value, Unit::Bytes);
        line.at_most(most, &format!("≤{most}"))
    };
    Ok(vec![
        line("bytes_entry", "log entry of a Liked", entry, 140.0),
        line("bytes_state", "state of a like's edge", state, 40.0),
        Line::new(
            "bytes_state_many",
            "… of an account with 1,000 likes",
            state_of_many,
            Unit::Bytes,
        ),
        line("bytes_receipt", "receipt", receipt, 180.0)
            .target("expires".to_owned(), kept_for_ever == 0),
        line("bytes_timeline", "timeline entry", timeline, 24.0),
    ])
}

/// By how much an entry and a state grow the memory.
async fn grown(
    bench: &Bench,
    log: &mut MultiplexedConnection,
    (accounts, posts): (usize, usize),
    tokens: impl Iterator<Item = &String>,
) -> anyhow::Result<(f64, f64)> {
    let streams: Vec<_> = (0..PARTITIONS)
        .map(|p| events_key(p).into_bytes())
        .collect();
    let before = (usage(log, &streams).await?, states(log).await?);
    let events: u64 = bench.servers.heads().await?.iter().sum();
    like(bench, posts, tokens.take(accounts), false).await?;
    let events = bench.servers.heads().await?.iter().sum::<u64>() - events;
    let after = (usage(log, &streams).await?, states(log).await?);
    let each = |before: u64, after: u64| (after - before) as f64 / events.max(1) as f64;
    Ok((each(before.0, after.0), each(before.1, after.1)))
}

/// Each account likes as many posts, nearly the coldest, all accounts at once.
async fn like(
    bench: &Bench,
    posts: usize,
    tokens: impl Iterator<Item = &String>,
    keyed: bool,
) -> anyhow::Result<()> {
    let mut random = Random::new(bench.arguments.graph.seed + 7);
    let mut accounts = Vec::new();
    for token in tokens {
        accounts.push((Wire::connect(bench.api).await?, token));
    }
    for post in bench.world.posts.iter().rev().take(posts) {
        let asking = accounts.iter_mut().map(|(wire, token)| {
            let mut ask = Vec::new();
            request(&mut ask, "PUT", &["/v1/posts/", post, "/like"], token, "");
            if keyed {
                ask.truncate(ask.len() - 2);
                let key = format!("Idempotency-Key: bench-{:016x}\r\n\r\n", random.number());
                ask.extend_from_slice(key.as_bytes());
            }
            async move {
                let answer = wire.exchange(&ask).await?;
                ensure!(answer.status < 300, "a like was refused: {}", answer.text());
                Ok(())
            }
        });
        for answered in join_all(asking).await {
            answered?;
        }
    }
    Ok(())
}

async fn states(log: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let keys = keys(log, &format!("{KEY_PREFIX}:{{p*}}:s*")).await?;
    usage(log, &keys).await
}

async fn keys(log: &mut MultiplexedConnection, pattern: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let (mut keys, mut cursor) = (Vec::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern);
        scan.arg("COUNT").arg(KEYS_PER_SCAN);
        let (next, found): (u64, Vec<Vec<u8>>) = scan.query_async(log).await?;
        keys.extend(found);
        if next == 0 {
            return Ok(keys);
        }
        cursor = next;
    }
}

async fn usage(redis: &mut MultiplexedConnection, keys: &[Vec<u8>]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for keys in keys.chunks(KEYS_PER_PIPELINE) {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("MEMORY").arg("USAGE").arg(key);
            pipe.arg("SAMPLES").arg(0);
        }
        let bytes: Vec<Option<u64>> = pipe.query_async(redis).await?;
        sum += bytes.iter().flatten().sum::<u64>();
    }
    Ok(sum)
}

/// How many of the keys never expire.
async fn without_end(redis: &mut MultiplexedConnection, keys: &[Vec<u8>]) -> anyhow::Result<usize> {
    let mut pipe = redis::pipe();
    for key in keys {
        pipe.cmd("PTTL").arg(key);
    }
    let left: Vec<i64> = pipe.query_async(redis).await?;
    Ok(left.iter().filter(|left| **left == -1).count())
}

async fn timeline_entry(bench: &mut Bench) -> anyhow::Result<f64> {
    bench.with_worker().await?;
    homes::fill_all(bench).await?;
    let accounts = bench.world.accounts.iter().take(TIMELINES_MAX);
    let keys: Vec<_> = accounts.map(|account| home_key(*account)).collect();
    let mut pipe = redis::pipe();
    for key in &keys {
        pipe.cmd("LLEN").arg(key);
    }
    let lengths: Vec<u64> = pipe.query_async(&mut bench.servers.views.clone()).await?;
    let entries: u64 = lengths.iter().sum();
    let bytes = usage(&mut bench.servers.views.clone(), &keys).await?;
    Ok(bytes as f64 / entries.max(1) as f64)
}
