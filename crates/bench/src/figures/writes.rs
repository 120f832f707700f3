//! Writes without a worker: authenticated, decided, appended, fsynced.

use crate::{
    bench::Bench,
    ceilings::append,
    graph,
    line::Line,
    load::{Maker, request},
    random::Random,
};

/// The ceiling alone: likes are held against hello.
pub async fn append(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let line = append::measure(&bench.servers, bench.arguments.measured()).await?;
    Ok(vec![line])
}

pub async fn like(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let world = bench.world.clone();
    let makers = move |connection: usize| world.like_and_unlike(connection);
    let measured = bench.measure(&bench.load(), &makers).await?;
    let line = bench.line("like", "like, accepted, worker off", &measured);
    Ok(vec![line.ratio_at_least(0.30).p99_at_most(10.0)])
}

pub async fn create(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let world = bench.world.clone();
    let makers = move |connection: usize| -> Maker {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
        Box::new(move |out| {
            let body = format!(r#"{{"text":"{}"}}"#, graph::text(&mut random));
            let token = world.any_token(&mut random);
            request(out, "POST", &["/v1/posts"], token, &body);
        })
    };
    let measured = bench.measure(&bench.load(), &makers).await?;
    let line = bench.line("create", "create post, accepted, worker off", &measured);
    Ok(vec![line.ratio_at_least(0.25)])
}
