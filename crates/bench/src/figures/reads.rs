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

/// Readers who marked and follow much beside those who did not: the rows are put into the
/// read model as folds would, before anybody reads with these accounts.
pub async fn heavy(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    const LIKES: usize = 20_000;
    const FOLLOWS: usize = 5_000;
    const FEW_FOLLOWS: usize = 100;
    bench.with_worker().await?;
    let accounts = bench.world.accounts.len();
    let there_are = |wanted: usize, there: usize| wanted.min(there / 2);
    let (likes_count, follows_count) = (
        there_are(LIKES, bench.world.posts.len()),
        there_are(FOLLOWS, accounts),
    );
    let [likes, none, many, few] = [1, 2, 3, 4].map(|back| accounts - back);
    let id = |index: usize| bench.world.accounts[index];
    let follow = |index: usize, count: usize| {
        let id = id(index);
        format!(
            "DELETE FROM social.follows WHERE follower_id = '{id}';
             INSERT INTO social.follows (follower_id, followed_id, followed_at)
             SELECT '{id}', id, 1 FROM social.accounts WHERE id <> '{id}'
             ORDER BY md5(id::text) LIMIT {count};"
        )
    };
    let liked = format!(
        "DELETE FROM social.likes WHERE account_id IN ('{}', '{}');
         INSERT INTO social.likes (account_id, post_id, liked_at)
         SELECT '{}', id, 1 FROM social.posts ORDER BY md5(id::text) LIMIT {likes_count};",
        id(likes),
        id(none),
        id(likes),
    );
    for rows in [liked, follow(many, follows_count), follow(few, FEW_FOLLOWS)] {
        bench.servers.execute(&rows).await?;
    }
    let by = |index: usize, home: bool| {
        let world = bench.world.clone();
        move |connection: usize| -> Maker {
            let (world, mut random) = (world.clone(), Random::new(connection as u64 + 1));
            Box::new(move |out| {
                let path: &[&str] = match home {
                    true => &["/v1/timelines/home"],
                    false => &["/v1/posts/", world.any_post(&mut random)],
                };
                request(out, "GET", path, &world.tokens[index], "");
            })
        }
    };
    // The posts are read for the first time by nobody who is measured.
    closed(&bench.load(), &by(none, false)).await?;
    let mut lines = Vec::new();
    for (key, name, index, home, beside, least) in [
        (
            "marked_none",
            "one post, a reader without likes",
            none,
            false,
            None,
            0.0,
        ),
        (
            "marked",
            "one post, a reader with 20,000 likes",
            likes,
            false,
            Some("without"),
            0.8,
        ),
        ("follows_few", "home, follows 100", few, true, None, 0.0),
        (
            "follows_many",
            "home, follows 5,000",
            many,
            true,
            Some("of 100"),
            0.7,
        ),
    ] {
        let measured = bench.measure(&bench.load(), &by(index, home)).await?;
        let line = bench.line(key, name, &measured);
        let last: Option<&Line> = lines.last();
        let line = match (beside, last.map(|last| last.value)) {
            (Some(beside), Some(value)) => line
                .ceiling(beside, value)
                .ratio_at_least(least)
                .note(format!("{likes_count} likes, {follows_count} follows")),
            _ => line,
        };
        lines.push(line);
    }
    Ok(lines)
}
