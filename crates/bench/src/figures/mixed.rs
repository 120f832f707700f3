//! T2 of the issue: 2,000 requests a second of all sorts, with the worker on.

use crate::{
    bench::Bench,
    graph,
    line::{Line, Unit},
    load::{Maker, open, request},
    random::Random,
    world::World,
};

const REQUESTS_PER_SECOND: f64 = 2_000.0;
const P95_MILLISECONDS_MAX: f64 = 50.0;
const SECONDS: u64 = 20;

pub async fn mixed(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.with_worker().await?;
    super::homes::fill_all(bench).await?;
    let load = crate::load::Load {
        measured: bench.seconds(SECONDS),
        ..bench.load()
    };
    let seen = open(&load, REQUESTS_PER_SECOND, &makers(&bench.world)).await?;
    let p95 = seen.latencies.milliseconds_at(0.95);
    let kept_up = seen.rate() >= REQUESTS_PER_SECOND * 0.95;
    let met = p95 <= P95_MILLISECONDS_MAX && kept_up && seen.errors() == 0;
    let line = Line::new(
        "mixed",
        "T2 mixed, 2,000/s, worker on",
        seen.rate(),
        Unit::PerSecond,
    );
    let text = format!("p95 {p95:.1}≤{P95_MILLISECONDS_MAX}");
    Ok(vec![line.latencies(&seen).target(text, met)])
}

/// Of a hundred: 45 home, 25 one post, 10 local, 5 an account, 10 likes and
/// unlikes, 5 new posts.
pub fn makers(world: &World) -> impl Fn(usize) -> Maker + Send + Sync + use<> {
    let world = world.clone();
    move |connection| {
        let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
        let mut like = world.like_and_unlike(connection);
        Box::new(move |out| match random.below(100) {
            0..45 => {
                let token = world.any_token(&mut random);
                request(out, "GET", &["/v1/timelines/home"], token, "");
            }
            45..70 => {
                let token = world.any_token(&mut random).to_owned();
                let path = ["/v1/posts/", world.hot_post(&mut random)];
                request(out, "GET", &path, &token, "");
            }
            70..80 => request(out, "GET", &["/v1/timelines/local"], "", ""),
            80..85 => {
                let account = random.below(world.account_names.len());
                let path = ["/v1/accounts/", &world.account_names[account]];
                request(out, "GET", &path, "", "");
            }
            85..95 => like(out),
            _ => {
                let body = format!(r#"{{"text":"{}"}}"#, graph::text(&mut random));
                let token = world.any_token(&mut random);
                request(out, "POST", &["/v1/posts"], token, &body);
            }
        })
    }
}
