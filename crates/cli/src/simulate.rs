//! `headwater simulate`: made-up activity in the format that `import` reads.
//! The same seed gives the same lines. Authors are drawn by Zipf's law, so that
//! a few are celebrities; likes favour recent posts.

use std::io::{BufWriter, Write};

use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const FOLLOWS_PER_ACCOUNT: usize = 12;
const POSTS_PER_ACCOUNT: usize = 3;
const LIKES_PER_POST: usize = 6;
/// One post in so many is a reply.
const REPLY_ONE_IN: usize = 3;
/// Likes and replies go to one of so many last posts.
const RECENT_POSTS: usize = 200;
const WORDS: &[&str] = &[
    "river", "delta", "stone", "mill", "lock", "weir", "bridge", "heron", "reed", "#spring",
    "tide", "current", "ferry", "bank", "#source", "rain", "cloud", "gravel", "trout", "#water",
];

#[derive(Args)]
pub struct Simulate {
    /// How many accounts
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    accounts: u32,
    /// The same seed gives the same lines
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(simulate: &Simulate) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    write(simulate, &mut out)?;
    out.flush()?;
    Ok(())
}

fn write(simulate: &Simulate, out: &mut impl Write) -> std::io::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(simulate.seed);
    let accounts = simulate.accounts as usize;
    let user = |index: usize| format!("s{}_{index}", simulate.seed);
    for index in 0..accounts {
        writeln!(out, "{}", json!({"op": "register", "user": user(index)}))?;
    }
    let fame = Zipf::new(accounts);
    for index in 0..accounts {
        let mut followed = std::collections::BTreeSet::new();
        for _ in 0..FOLLOWS_PER_ACCOUNT.min(accounts - 1) {
            let target = fame.draw(&mut random);
            if target != index && followed.insert(target) {
                let line = json!({"op": "follow", "user": user(index), "target": user(target)});
                writeln!(out, "{line}")?;
            }
        }
    }
    let mut likes = std::collections::BTreeSet::new();
    for post in 0..accounts * POSTS_PER_ACCOUNT {
        let author = fame.draw(&mut random);
        let id = |post: usize| format!("s{}_p{post}", simulate.seed);
        let words = random.random_range(3..20);
        let text: Vec<_> = (0..words)
            .map(|_| WORDS[random.random_range(0..WORDS.len())])
            .collect();
        let recent =
            |random: &mut ChaCha8Rng| post - 1 - random.random_range(0..RECENT_POSTS.min(post));
        let mut line =
            json!({"op": "post", "user": user(author), "id": id(post), "text": text.join(" ")});
        if post > 0 && random.random_range(0..REPLY_ONE_IN) == 0 {
            line["op"] = "reply".into();
            line["to"] = id(recent(&mut random)).into();
        }
        writeln!(out, "{line}")?;
        for _ in 0..random.random_range(0..2 * LIKES_PER_POST) {
            let liker = random.random_range(0..accounts);
            let liked = post - random.random_range(0..RECENT_POSTS.min(post + 1));
            if likes.insert((liker, liked)) {
                writeln!(
                    out,
                    "{}",
                    json!({"op": "like", "user": user(liker), "post": id(liked)})
                )?;
            }
        }
    }
    Ok(())
}

/// Draws index i with a probability in proportion to 1 / (i + 1).
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let sums = (1..=count).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self {
            sums: sums.collect(),
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> usize {
        let all = self.sums.last().copied().unwrap_or_default();
        let at = random.random_range(0.0..all);
        self.sums.partition_point(|sum| *sum <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_lines_and_another_gives_others() {
        let lines = |seed| {
            let mut out = Vec::new();
            let simulate = Simulate { accounts: 50, seed };
            write(&simulate, &mut out).map(|()| String::from_utf8_lossy(&out).into_owned())
        };
        let (first, again, other) = (lines(7).ok(), lines(7).ok(), lines(8).ok());
        assert!(first.is_some() && first == again && first != other);
    }
}
