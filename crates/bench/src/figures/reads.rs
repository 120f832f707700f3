//! Reads of single posts and of the local timeline, with an idle worker beside
//! them.

use crate::{
    bench::Bench,
    line::{Line, Unit},
    load::{Load, Maker, Wire, closed, request},
    random::Random,
};

/// T1 of the issue.
const LOCAL_CLIENTS: usize = 100;
const LOCAL_P95_MILLISECONDS_MAX: f64 = 200.0;
const LOCAL_ERRORS_SHARE_MAX: f64 = 0.01;

pub async fn post(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let mut lines = Vec::new();
    // The even loop meets every post, so that Zipf's is not one of posts that
    // are read for the first time.
    for hot in [false, true] {
        let world = bench.world.clone();
        let makers = move |connection: usize| -> Maker {
            let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
            Box::new(move |out| {
                let post = match hot {
                    true => world.hot_post(&mut random),
                    false => world.any_post(&mut random),
                };
                request(out, "GET", &["/v1/posts/", post], "", "");
            })
        };
        let measured = bench.measure(&bench.load(), &makers).await?;
        lines.push(match hot {
            true => bench
                .line("post", "one post by id, Zipf", &measured)
                .ratio_at_least(0.60),
            false => bench.line("post_uniform", "one post by id, uniform", &measured),
        });
    }
    Ok(lines)
}

pub async fn known(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    /// Whose ETags are learnt, the hottest first.
    const POSTS_MAX: usize = 2_000;
    bench.with_worker().await?;
    let mut wire = Wire::connect(bench.api).await?;
    let mut requests = Vec::new();
    for post in bench.world.posts.iter().take(POSTS_MAX) {
        let mut ask = Vec::new();
        request(&mut ask, "GET", &["/v1/posts/", post], "", "");
        let answer = wire.exchange(&ask).await?;
        let etag = answer.header("etag").unwrap_or("*").to_owned();
        // Before the empty line that ends the head.
        ask.truncate(ask.len() - 2);
        ask.extend_from_slice(format!("If-None-Match: {etag}\r\n\r\n").as_bytes());
        requests.push(ask);
    }
    let requests: std::sync::Arc<[Vec<u8>]> = requests.into();
    let world = bench.world.clone();
    let makers = move |connection: usize| -> Maker {
        let (world, requests) = (world.clone(), requests.clone());
        let mut random = Random::new(connection as u64 + 1);
        Box::new(move |out| {
            let index = world.heat.draw(&mut random) % requests.len();
            out.extend_from_slice(&requests[index]);
        })
    };
    let measured = bench.measure(&bench.load(), &makers).await?;
    let whole = measured
        .0
        .statuses
        .iter()
        .filter(|(status, _)| **status != 304);
    let whole: u64 = whole.map(|(_, count)| count).sum();
    let mut line = bench.line("known", "one post by id, 304 by ETag", &measured);
    if whole > 0 {
        line = line.note(format!("{whole} answers were no 304"));
    }
    Ok(vec![line.ratio_at_least(0.70)])
}

pub async fn local(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let load = Load {
        connections: LOCAL_CLIENTS,
        ..bench.load()
    };
    let makers =
        |_| -> Maker { Box::new(|out| request(out, "GET", &["/v1/timelines/local"], "", "")) };
    let seen = closed(&load, &makers).await?;
    let p95 = seen.latencies.milliseconds_at(0.95);
    let line = Line::new(
        "local",
        "T1 local timeline, 100 clients",
        seen.rate(),
        Unit::PerSecond,
    );
    let met = p95 <= LOCAL_P95_MILLISECONDS_MAX && seen.error_share() < LOCAL_ERRORS_SHARE_MAX;
    let text = format!("p95 {p95:.0}≤{LOCAL_P95_MILLISECONDS_MAX}");
    Ok(vec![
        line.latencies(&seen)
            .processor(&seen)
            .ceiling("hello", bench.hello)
            .target(text, met),
    ])
}
