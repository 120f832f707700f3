//! How many timelines a second take a post: a backlog of posts by authors with
//! many followers, whose timelines all exist, beside the insert function's own
//! ceiling.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use kernel::Uuid;
use sea_orm::sqlx::{Row, query as sql};

use super::homes;
use crate::{
    bench::Bench,
    ceilings::insert,
    graph,
    line::{Line, Unit},
    load::{Load, Maker, closed, request},
    random::Random,
    servers::{TIMELINES, home_key},
    wait::until,
};

const CEILING_SECONDS: u64 = 4;
const DELIVERIES: u64 = 1_000_000;
const DELIVERIES_QUICK: u64 = 20_000;
const DELIVERIES_PER_SECOND_MIN: f64 = 200_000.0;
const AUTHORS: i64 = 20;
/// Well below the threshold above which posts are pulled.
const FOLLOWERS_MAX: i64 = 4_500;
const CREATE_SECONDS_MAX: u64 = 120;
const FAN_OUT_SECONDS_MAX: u64 = 300;
const READERS_CHECKED: i64 = 100;

struct Author {
    id: Uuid,
    token: String,
    followers: u64,
}

pub async fn fan_out(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    homes::fill_all(bench).await?;
    bench.without_worker().await?;
    let authors: Arc<[Author]> = authors(bench).await?.into();
    let deliveries = publish(bench, authors.clone()).await?;
    let heads = bench.servers.heads().await?;
    bench.start_worker(&[]).await?;
    let began = Instant::now();
    until("posts are delivered", FAN_OUT_SECONDS_MAX, async || {
        let reached = bench.servers.reached(TIMELINES).await?;
        Ok((reached == heads).then_some(()))
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    for author in authors.iter() {
        check(bench, author).await?;
    }
    let ceiling = insert::measure(bench, bench.seconds(CEILING_SECONDS)).await?;
    // The ceiling's ids are nobody's posts.
    homes::drop_all(bench).await?;

    let name = "fan-out, deliveries";
    let rate = deliveries as f64 / seconds;
    let line = Line::new("fan_out", name, rate, Unit::PerSecond)
        .ceiling("insert", ceiling.value)
        .ratio_at_least(0.30)
        .at_least(DELIVERIES_PER_SECOND_MIN, "≥200k")
        .note(format!("{deliveries} deliveries in {seconds:.1} s"));
    Ok(vec![ceiling, line])
}

async fn authors(bench: &Bench) -> anyhow::Result<Vec<Author>> {
    let rows = sql(
        "SELECT account_id, followers FROM social.account_counters AS c
         WHERE followers <= $1 AND NOT EXISTS (
            SELECT 1 FROM projections.pulled_authors AS p WHERE p.account_id = c.account_id)
         ORDER BY followers DESC LIMIT $2",
    )
    .bind(FOLLOWERS_MAX)
    .bind(AUTHORS)
    .fetch_all(&bench.servers.pool)
    .await?;
    let tokens: HashMap<_, _> = bench
        .world
        .accounts
        .iter()
        .zip(bench.world.tokens.iter())
        .collect();
    let mut authors = Vec::new();
    for row in rows {
        let id: Uuid = row.try_get("account_id")?;
        if let Some(token) = tokens.get(&id) {
            authors.push(Author {
                id,
                token: (*token).clone(),
                followers: row.try_get::<i64, _>("followers")? as u64,
            });
        }
    }
    ensure!(!authors.is_empty(), "nobody has followers");
    Ok(authors)
}

/// Posts in turns; returns how many deliveries they ask for.
async fn publish(bench: &Bench, authors: Arc<[Author]>) -> anyhow::Result<u64> {
    let wanted = match bench.arguments.quick {
        true => DELIVERIES_QUICK,
        false => DELIVERIES,
    };
    // An author's own timeline takes it too.
    let each = authors
        .iter()
        .map(|author| author.followers + 1)
        .sum::<u64>()
        / authors.len() as u64;
    let deliveries = Arc::new(AtomicU64::new(0));
    let load = Load {
        requests_max: wanted.div_ceil(each),
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(CREATE_SECONDS_MAX),
        ..bench.load()
    };
    let turns = Arc::new(AtomicU64::new(0));
    let counted = deliveries.clone();
    let makers = move |connection: usize| -> Maker {
        let (authors, turns, counted) = (authors.clone(), turns.clone(), counted.clone());
        let mut random = Random::new(connection as u64 + 1);
        Box::new(move |out| {
            let turn = turns.fetch_add(1, Ordering::Relaxed) as usize;
            let author = &authors[turn % authors.len()];
            counted.fetch_add(author.followers + 1, Ordering::Relaxed);
            let body = format!(r#"{{"text":"{}"}}"#, graph::text(&mut random));
            request(out, "POST", &["/v1/posts"], &author.token, &body);
        })
    };
    let seen = closed(&load, &makers).await?;
    ensure!(seen.errors() == 0, "{:?}", seen.complaints());
    Ok(deliveries.load(Ordering::Relaxed))
}

/// Looks whether the author's last post is where it belongs.
async fn check(bench: &Bench, author: &Author) -> anyhow::Result<()> {
    let pool = &bench.servers.pool;
    let last = sql("SELECT id FROM social.posts WHERE author_id = $1 ORDER BY id DESC LIMIT 1")
        .bind(author.id)
        .fetch_one(pool)
        .await?;
    let last: Uuid = last.try_get("id")?;
    let readers = sql("SELECT follower_id FROM social.follows WHERE followed_id = $1 LIMIT $2")
        .bind(author.id)
        .bind(READERS_CHECKED)
        .fetch_all(pool)
        .await?;
    let mut views = bench.servers.views.clone();
    for row in readers {
        let mut read = redis::cmd("LRANGE");
        read.arg(home_key(row.try_get("follower_id")?))
            .arg(0)
            .arg(-1);
        let ids: Vec<Vec<u8>> = read.query_async(&mut views).await?;
        let there = ids.iter().any(|id| id == last.as_bytes());
        ensure!(there, "a post did not reach a follower's timeline");
    }
    Ok(())
}
