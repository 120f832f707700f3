//! How quickly the log is folded: a backlog of likes beside the upsert's own
//! ceiling, and everything there is into an empty read model.

use std::time::{Duration, Instant};

use crate::{
    bench::Bench,
    ceilings::upsert,
    line::{Line, Unit},
    load::{Load, Maker, closed, request},
    random::Random,
    servers::{SOCIAL, TIMELINES},
    wait::until,
};

const CEILING_SECONDS: u64 = 4;
const BACKLOG_SECONDS: u64 = 15;
const FOLD_SECONDS_MAX: u64 = 600;
const EVENTS_PER_SECOND_MIN: f64 = 60_000.0;
/// As the story of replaying empties it.
const EMPTY: &str = "TRUNCATE social.accounts, social.account_counters, social.posts,
    social.post_revisions, social.post_counters, social.likes, social.follows,
    projections.checkpoints, projections.pulled_authors, projections.leases";

pub async fn fold(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let upserts = upsert::upsert(bench, bench.seconds(CEILING_SECONDS)).await?;
    let copies = upsert::copy(bench, bench.seconds(CEILING_SECONDS)).await?;
    let likes = likes(bench, upserts.value).await?;
    let everything = everything(bench, upserts.value).await?;
    let rebuilt = super::rebuild::alone(bench, everything.value).await?;
    Ok(vec![upserts, copies, likes, everything, rebuilt])
}

/// Likes that nobody takes back: each is a row.
async fn likes(bench: &mut Bench, ceiling: f64) -> anyhow::Result<Line> {
    bench.with_worker().await?;
    bench.without_worker().await?;
    let before: u64 = bench.servers.heads().await?.iter().sum();
    let load = Load {
        measured: bench.seconds(BACKLOG_SECONDS),
        ..bench.load()
    };
    let world = bench.world.clone();
    let makers = move |connection: usize| -> Maker {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1_000));
        Box::new(move |out| {
            let token = world.any_token(&mut random).to_owned();
            let path = ["/v1/posts/", world.any_post(&mut random), "/like"];
            request(out, "PUT", &path, &token, "");
        })
    };
    closed(&load, &makers).await?;
    let events = bench.servers.heads().await?.iter().sum::<u64>() - before;
    let seconds = folded(bench, SOCIAL).await?;
    let name = "fold of a backlog of likes";
    let line = Line::new("fold_likes", name, events as f64 / seconds, Unit::PerSecond);
    Ok(line
        .ceiling("upsert", ceiling)
        .ratio_at_least(0.35)
        .note(format!("{events} events in {seconds:.1} s")))
}

async fn everything(bench: &mut Bench, ceiling: f64) -> anyhow::Result<Line> {
    bench.with_worker().await?;
    bench.without_worker().await?;
    super::homes::drop_all(bench).await?;
    bench.servers.execute(EMPTY).await?;
    let heads = bench.servers.heads().await?;
    // A partition's first event has the number 0.
    let events = heads.iter().sum::<u64>() + heads.len() as u64;
    let seconds = folded(bench, SOCIAL).await?;
    let name = "fold of everything, from empty";
    let line = Line::new("fold", name, events as f64 / seconds, Unit::PerSecond);
    Ok(line
        .ceiling("upsert", ceiling)
        .at_least(EVENTS_PER_SECOND_MIN, "≥60,000")
        .note(format!(
            "{events} events in {seconds:.1} s, with the timelines' projection beside it"
        )))
}

/// Starts the worker; how long until `projection` is at the head. Then waits
/// for the other one too.
async fn folded(bench: &mut Bench, projection: &str) -> anyhow::Result<f64> {
    bench.start_worker(&[]).await?;
    let began = Instant::now();
    let heads = bench.servers.heads().await?;
    until("the log is folded", FOLD_SECONDS_MAX, async || {
        let reached = bench.servers.reached(projection).await?;
        Ok((reached == heads).then_some(()))
    })
    .await?;
    let seconds = began.elapsed();
    until("timelines follow", FOLD_SECONDS_MAX, async || {
        let reached = bench.servers.reached(TIMELINES).await?;
        Ok((reached == heads).then_some(()))
    })
    .await?;
    Ok(seconds.max(Duration::from_millis(1)).as_secs_f64())
}
