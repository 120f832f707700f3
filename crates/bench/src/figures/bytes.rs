//! What a like costs in Redis: by the growth of MEMORY USAGE (every sample
//! looked at) of the streams and of the hashes with states, over many likes of
//! different posts; receipts and timelines by the average over those there are.

use anyhow::ensure;
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

const LIKES: usize = 20_000;
const LIKES_QUICK: usize = 1_000;
const KEYED_LIKES: usize = 1_000;
const KEYS_PER_SCAN: u64 = 5_000;
const KEYS_PER_PIPELINE: usize = 1_000;
const TIMELINES_MAX: usize = 2_000;

pub async fn bytes(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let mut log = bench.servers.log.clone();
    let likes = match bench.arguments.quick {
        true => LIKES_QUICK,
        false => LIKES,
    };
    let streams: Vec<_> = (0..PARTITIONS)
        .map(|p| events_key(p).into_bytes())
        .collect();
    let before = (usage(&mut log, &streams).await?, states(&mut log).await?);
    like(bench, likes, false).await?;
    let after = (usage(&mut log, &streams).await?, states(&mut log).await?);
    let each = |before: u64, after: u64| (after - before) as f64 / likes as f64;
    let entry = each(before.0, after.0);
    let state = each(before.1, after.1);

    like(bench, KEYED_LIKES, true).await?;
    let receipts = keys(&mut log, &format!("{KEY_PREFIX}:{{p*}}:r:*")).await?;
    ensure!(receipts.len() >= KEYED_LIKES, "receipts are missing");
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
        line("bytes_receipt", "receipt", receipt, 180.0)
            .target("expires".to_owned(), kept_for_ever == 0),
        line("bytes_timeline", "timeline entry", timeline, 24.0),
    ])
}

/// By accounts in turn, of random posts, one after another on a few
/// connections.
async fn like(bench: &Bench, count: usize, keyed: bool) -> anyhow::Result<()> {
    let mut random = Random::new(bench.arguments.graph.seed + u64::from(keyed) + 7);
    let mut wires = Vec::new();
    for _ in 0..bench.load().connections {
        wires.push(Wire::connect(bench.api).await?);
    }
    let mut done = 0;
    while done < count {
        let asking = wires.iter_mut().map(|wire| {
            let mut ask = Vec::new();
            let token = &bench.world.tokens[done % bench.world.tokens.len()];
            let path = ["/v1/posts/", bench.world.any_post(&mut random), "/like"];
            request(&mut ask, "PUT", &path, token, "");
            if keyed {
                ask.truncate(ask.len() - 2);
                let key = format!("Idempotency-Key: bench-{:016x}\r\n\r\n", random.next());
                ask.extend_from_slice(key.as_bytes());
            }
            done += 1;
            async move {
                let answer = wire.exchange(&ask).await?;
                ensure!(answer.status < 300, "a like was refused: {}", answer.text());
                Ok(())
            }
        });
        let asking: Vec<_> = asking.collect();
        for answered in join_all(asking).await {
            answered?;
        }
    }
    Ok(())
}

/// Runs them in turns on this task.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut waits = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => waits = true,
                }
            }
        }
        match waits {
            true => std::task::Poll::Pending,
            false => std::task::Poll::Ready(()),
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
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
