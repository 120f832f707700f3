//! Writes without a worker: authenticated, decided, appended, fsynced.

use crate::{
    bench::Bench,
    ceilings::append,
    graph,
    line::Line,
    load::{Maker, WriteRequest, request, request_whole},
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

fn publishing(bench: &Bench, write: WriteRequest) -> impl Fn(usize) -> Maker + use<> {
    let world = bench.world.clone();
    move |connection: usize| -> Maker {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
        Box::new(move |out| {
            let body = format!(r#"{{"text":"{}"}}"#, graph::text(&mut random));
            let token = world.any_token(&mut random);
            write(out, "POST", &["/v1/posts"], token, &body);
        })
    }
}

/// What it costs to be answered with what was made: such a write waits until it is folded.
pub async fn whole(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    let mut lines = Vec::new();
    let ways: [(WriteRequest, [(&'static str, &'static str); 2]); 2] = [
        (
            request,
            [
                ("like_short", "like, worker on, short answer"),
                ("create_short", "create post, worker on, short answer"),
            ],
        ),
        (
            request_whole,
            [
                ("like_whole", "like, worker on, answered with the post"),
                ("create_whole", "create post, worker on, answered with it"),
            ],
        ),
    ];
    for (write, [like, create]) in ways {
        let world = bench.world.clone();
        let makers = move |connection: usize| world.like_and_unlike_by(write, connection);
        let measured = bench.measure(&bench.load(), &makers).await?;
        lines.push(bench.line(like.0, like.1, &measured));
        let makers = publishing(bench, write);
        let measured = bench.measure(&bench.load(), &makers).await?;
        lines.push(bench.line(create.0, create.1, &measured));
    }
    Ok(lines)
}

pub async fn create(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let makers = publishing(bench, request);
    let measured = bench.measure(&bench.load(), &makers).await?;
    let line = bench.line("create", "create post, accepted, worker off", &measured);
    Ok(vec![line.ratio_at_least(0.25)])
}
