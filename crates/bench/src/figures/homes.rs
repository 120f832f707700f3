//! The home timeline in its three ways: from the list in Redis, filled anew
//! after it was dropped, and from the query alone while the views server is
//! away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{bail, ensure};

use crate::{
    bench::Bench,
    line::Line,
    load::{Load, Maker, closed, open, request},
    random::Random,
    servers::home_key,
    world::World,
};

const PATH: &[&str] = &["/v1/timelines/home"];
/// Longer than any page that the API keeps in process: it is put together anew.
const UNKEPT_PATH: &[&str] = &["/v1/timelines/home?limit=40"];
const KEYS_PER_UNLINK: usize = 1_000;
const WARM_SECONDS_MAX: u64 = 300;
const WARM_ROUNDS_MAX: usize = 3;

pub async fn warm(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    fill_all(bench).await?;
    let measured = bench
        .measure(&bench.load(), &by_anybody(&bench.world, PATH))
        .await?;
    let line = bench.line("home", "home, 20 posts, warm", &measured);
    // T3 wants it quick, the table often.
    Ok(vec![line.ratio_at_least(0.30).p99_at_most(10.0)])
}

/// Every request is of a reader whose timeline is not there.
pub async fn dropped(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let load = Load {
        warm_up: Duration::ZERO,
        requests_max: bench.world.accounts.len() as u64,
        ..bench.load()
    };
    drop_all(bench).await?;
    let most = closed(&load, &one_each(&bench.world)).await?;
    drop_all(bench).await?;
    let steady = open(&load, most.rate() / 2.0, &one_each(&bench.world)).await?;
    let line = bench.line(
        "dropped",
        "home of 40, timeline was dropped",
        &(most, steady),
    );
    Ok(vec![line.p99_at_most(50.0)])
}

pub async fn generated(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    bench.servers.kill_views().await?;
    let measured = bench
        .measure(&bench.load(), &by_anybody(&bench.world, UNKEPT_PATH))
        .await;
    bench.servers.start_views().await?;
    let line = bench.line("generated", "home of 40, views server away", &measured?);
    Ok(vec![line.p99_at_most(30.0)])
}

/// Asks for every account's home until all timelines exist. One round is not
/// always enough: after the views server was away, the API's first reads come
/// from the database.
pub async fn fill_all(bench: &Bench) -> anyhow::Result<()> {
    let load = Load {
        requests_max: bench.world.tokens.len() as u64,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(WARM_SECONDS_MAX),
        ..bench.load()
    };
    for _ in 0..WARM_ROUNDS_MAX {
        let seen = closed(&load, &one_each(&bench.world)).await?;
        ensure!(seen.errors() == 0, "{:?}", seen.complaints());
        let mut exist = redis::cmd("EXISTS");
        for account in bench.world.accounts.iter() {
            exist.arg(home_key(*account));
        }
        let there: usize = exist.query_async(&mut bench.servers.views.clone()).await?;
        if there == bench.world.accounts.len() {
            return Ok(());
        }
    }
    bail!("timelines are not kept")
}

pub async fn drop_all(bench: &Bench) -> anyhow::Result<()> {
    let mut views = bench.servers.views.clone();
    for accounts in bench.world.accounts.chunks(KEYS_PER_UNLINK) {
        let mut unlink = redis::cmd("UNLINK");
        for account in accounts {
            unlink.arg(home_key(*account));
        }
        unlink.query_async::<()>(&mut views).await?;
    }
    Ok(())
}

fn by_anybody(
    world: &World,
    path: &'static [&'static str],
) -> impl Fn(usize) -> Maker + Send + Sync + use<> {
    let world = world.clone();
    move |connection| {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
        Box::new(move |out| {
            let token = world.any_token(&mut random);
            request(out, "GET", path, token, "");
        })
    }
}

/// One reader after another, over all connections.
fn one_each(world: &World) -> impl Fn(usize) -> Maker + Send + Sync + use<> {
    let (world, next) = (world.clone(), Arc::new(AtomicUsize::new(0)));
    move |_| {
        let (world, next) = (world.clone(), next.clone());
        Box::new(move |out| {
            let reader = next.fetch_add(1, Ordering::Relaxed) % world.tokens.len();
            request(out, "GET", UNKEPT_PATH, &world.tokens[reader], "");
        })
    }
}
