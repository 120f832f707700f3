//! A celebrity does not delay others: while an author whom 100,000 follow posts
//! every second, all pushed, posts of authors with about 100 followers are
//! timed until they are in a follower's timeline. One of these authors shares
//! the celebrity's partition, one does not.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use kernel::{Route, Uuid, compose_id};
use sea_orm::sqlx::{Row, query as sql};

use super::homes;
use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Latencies, Load, Maker, Wire, closed, request},
    random::Random,
    servers::{PARTITIONS, home_key},
    world,
};

const FOLLOWERS: usize = 100_000;
const FOLLOWERS_QUICK: usize = 2_000;
const SECONDS: u64 = 20;
const POSTS_PER_SECOND: u64 = 5;
const FOLLOW_SECONDS_MAX: u64 = 300;
const REACH_SECONDS_MAX: u64 = 60;
const LOOK_MILLISECONDS: u64 = 2;
const P99_MILLISECONDS_MAX: f64 = 1_000.0;
/// So that the celebrity is pushed, which is the worst case.
const PUSH_ALL: (&str, &str) = ("PUSH_FOLLOWERS_MAX", "1000000");
const ENTRIES_MAX: u32 = 800;
const LIFETIME_MILLISECONDS: u64 = 60 * 60 * 1_000;
const TIMELINES_PER_PIPELINE: usize = 1_000;
const READERS_CHECKED_ONE_IN: usize = 500;
/// Newer posts of others may stand before it.
const ENTRIES_LOOKED_AT: isize = 60;

struct Small {
    token: String,
    reader: Uuid,
}

pub async fn fairness(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    // Whom few follow yet: who was pulled once stays so.
    let celebrity = bench.world.accounts.len() - 1;
    follow(bench, celebrity).await?;
    bench.without_worker().await?;
    bench.start_worker(&[PUSH_ALL]).await?;
    bench.servers.settle().await?;
    homes::fill_all(bench).await?;
    make_timelines(bench).await?;

    let own = partition(bench.world.accounts[celebrity]);
    let same = small(bench, |other| other == own).await?;
    let other = small(bench, |other| other != own).await?;
    let lasting = bench.seconds(SECONDS);
    let celebrity = bench.world.tokens[celebrity].clone();
    let posting = tokio::spawn(post_every_second(bench.api, celebrity, lasting));
    let (same, other) = tokio::join!(reach(bench, same, lasting), reach(bench, other, lasting));
    let posted = posting.await??;
    bench.servers.settle().await?;
    check_pushed(bench, posted).await?;
    bench.without_worker().await?;

    let line = |key: &str, name: &str, delays: Latencies| {
        let (p50, p99) = (delays.milliseconds_at(0.5), delays.milliseconds_at(0.99));
        let mut line = Line::new(key, name, p99, Unit::Milliseconds);
        line.p50_milliseconds = Some(p50);
        line.p99_milliseconds = Some(p99);
        let count = delays.count();
        line.target("p99≤1000".to_owned(), p99 <= P99_MILLISECONDS_MAX)
            .note(format!("{count} posts, beside {posted} of the celebrity"))
    };
    Ok(vec![
        line(
            "fair_other",
            "small post beside 100k, other partition",
            other?,
        ),
        line("fair_same", "small post beside 100k, same partition", same?),
    ])
}

/// The ids of those who follow the celebrity only. They never registered,
/// which a follow does not ask for.
fn followers(bench: &Bench) -> Vec<Uuid> {
    let count = match bench.arguments.quick {
        true => FOLLOWERS_QUICK,
        false => FOLLOWERS,
    };
    let mut random = Random::new(bench.arguments.graph.seed + 99);
    let id = |_| {
        let route = Route(random.below(1 << 16) as u16);
        compose_id(1_000, random.number().to_be_bytes(), route)
    };
    (0..count).map(id).collect()
}

async fn follow(bench: &Bench, celebrity: usize) -> anyhow::Result<()> {
    let followers = followers(bench);
    let tokens = world::sign(&followers)?;
    let path = format!(
        "/v1/accounts/{}/follow",
        bench.world.account_names[celebrity]
    );
    let load = Load {
        requests_max: tokens.len() as u64,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(FOLLOW_SECONDS_MAX),
        ..bench.load()
    };
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let makers = move |_| -> Maker {
        let (next, tokens, path) = (next.clone(), tokens.clone(), path.clone());
        Box::new(move |out| {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            request(out, "PUT", &[&path], &tokens[index % tokens.len()], "");
        })
    };
    let seen = closed(&load, &makers).await?;
    ensure!(seen.errors() == 0, "{:?}", seen.complaints());
    Ok(())
}

/// Their timelines as a read would leave them, only quicker.
async fn make_timelines(bench: &Bench) -> anyhow::Result<()> {
    let mut views = bench.servers.views.clone();
    for readers in followers(bench).chunks(TIMELINES_PER_PIPELINE) {
        let mut pipe = redis::pipe();
        for reader in readers {
            let (key, mark) = (home_key(*reader), [7_u8; 17]);
            pipe.cmd("FCALL").arg("headwater_begin").arg(1).arg(&key);
            pipe.arg(&mark).arg(LIFETIME_MILLISECONDS).ignore();
            pipe.cmd("FCALL").arg("headwater_finish").arg(1).arg(&key);
            pipe.arg(&mark).arg(ENTRIES_MAX).arg(LIFETIME_MILLISECONDS);
            pipe.arg(1).arg("").ignore();
        }
        pipe.query_async::<()>(&mut views).await?;
    }
    Ok(())
}

/// Their timelines hold the celebrity's posts, and the end's mark.
async fn check_pushed(bench: &Bench, posted: u64) -> anyhow::Result<()> {
    let mut views = bench.servers.views.clone();
    for reader in followers(bench).iter().step_by(READERS_CHECKED_ONE_IN) {
        let mut length = redis::cmd("LLEN");
        let length: u64 = length
            .arg(home_key(*reader))
            .query_async(&mut views)
            .await?;
        ensure!(length > posted, "the celebrity's posts were not pushed");
    }
    Ok(())
}

fn partition(account: Uuid) -> u16 {
    Route::of(account).partition(PARTITIONS).0
}

/// An author with about 100 followers, and one of them.
async fn small(bench: &Bench, wanted: impl Fn(u16) -> bool) -> anyhow::Result<Small> {
    let accounts: BTreeSet<_> = bench.world.accounts.iter().copied().collect();
    let rows = sql("SELECT account_id, (SELECT follower_id FROM social.follows
             WHERE followed_id = account_id LIMIT 1) AS reader
         FROM social.account_counters WHERE followers > 0
         ORDER BY abs(followers - 100) LIMIT 200")
    .fetch_all(&bench.servers.pool)
    .await?;
    for row in rows {
        let (id, reader): (Uuid, Uuid) = (row.try_get("account_id")?, row.try_get("reader")?);
        if wanted(partition(id)) && accounts.contains(&reader) {
            let at = bench
                .world
                .accounts
                .iter()
                .position(|account| *account == id);
            let at = at.context("an account is missing")?;
            let token = bench.world.tokens[at].clone();
            return Ok(Small { token, reader });
        }
    }
    anyhow::bail!("nobody has about 100 followers")
}

async fn post_every_second(
    api: std::net::SocketAddr,
    token: String,
    lasting: Duration,
) -> anyhow::Result<u64> {
    let mut wire = Wire::connect(api).await?;
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let (end, mut posted) = (Instant::now() + lasting, 0);
    while Instant::now() < end {
        every.tick().await;
        publish(&mut wire, &token).await?;
        posted += 1;
    }
    Ok(posted)
}

/// Posts at a fixed rate; how long each took to its reader.
async fn reach(bench: &Bench, small: Small, lasting: Duration) -> anyhow::Result<Latencies> {
    let mut wire = Wire::connect(bench.api).await?;
    let mut every = tokio::time::interval(Duration::from_millis(1_000 / POSTS_PER_SECOND));
    let end = Instant::now() + lasting;
    let mut looks = tokio::task::JoinSet::new();
    let key = home_key(small.reader);
    while Instant::now() < end {
        every.tick().await;
        let began = Instant::now();
        let post = publish(&mut wire, &small.token).await?;
        let (mut views, key) = (bench.servers.views.clone(), key.clone());
        looks.spawn(async move {
            let deadline = began + Duration::from_secs(REACH_SECONDS_MAX);
            loop {
                let mut read = redis::cmd("LRANGE");
                read.arg(&key).arg(0).arg(ENTRIES_LOOKED_AT);
                let ids: Vec<Vec<u8>> = read.query_async(&mut views).await?;
                if ids.iter().any(|id| id == post.as_bytes()) {
                    return Ok(began.elapsed());
                }
                ensure!(Instant::now() < deadline, "a post did not reach its reader");
                tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
            }
        });
    }
    let mut delays = Latencies::default();
    while let Some(delay) = looks.join_next().await {
        delays.record(delay??);
    }
    Ok(delays)
}

async fn publish(wire: &mut Wire, token: &str) -> anyhow::Result<Uuid> {
    let mut ask = Vec::new();
    let body = r#"{"text":"while a celebrity posts"}"#;
    request(&mut ask, "POST", &["/v1/posts"], token, body);
    let answer = wire.exchange(&ask).await?;
    ensure!(
        answer.status == 201,
        "a post was refused: {}",
        answer.text()
    );
    let post: serde_json::Value = serde_json::from_slice(answer.body)?;
    let id = post["id"].as_str().context("a post has no id")?;
    Ok(id.parse()?)
}
