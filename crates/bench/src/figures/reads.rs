//! Reads, with an idle worker beside them.

use crate::{
    bench::Bench,
    line::Line,
    load::{Maker, Wire, closed, request},
    random::Random,
    world::World,
};

/// Asks for every account's home once, so that all timelines exist.
async fn warm(bench: &Bench) -> anyhow::Result<()> {
    let (accounts, connections) = (bench.world.tokens.len(), bench.load().connections);
    let world = bench.world.clone();
    let makers = move |connection: usize| -> Maker {
        let (world, mut next) = (world.clone(), connection);
        Box::new(move |out| {
            let token = &world.tokens[next % world.tokens.len()];
            next += connections;
            request(out, "GET", &["/v1/timelines/home"], token, "");
        })
    };
    let load = crate::load::Load {
        // A few more: connections are not equally quick.
        requests_max: accounts as u64 * 11 / 10,
        warm_up: std::time::Duration::ZERO,
        measured: std::time::Duration::from_secs(600),
        ..bench.load()
    };
    closed(&load, &makers).await.map(drop)
}

fn home_makers(world: &World) -> impl Fn(usize) -> Maker + Send + Sync + use<> {
    let world = world.clone();
    move |connection| {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
        Box::new(move |out| {
            let token = world.any_token(&mut random);
            request(out, "GET", &["/v1/timelines/home"], token, "");
        })
    }
}

pub async fn home(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    warm(bench).await?;
    let measured = bench
        .measure(&bench.load(), &home_makers(&bench.world))
        .await?;
    let line = bench.line("home", "home, 20 posts, warm", &measured);
    Ok(vec![line.ratio_at_least(0.30)])
}

pub async fn post(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let mut lines = Vec::new();
    for hot in [true, false] {
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
