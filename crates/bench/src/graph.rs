//! The seeded graph, as activity in the format that `headwater import` reads.
//! A few accounts are celebrities (rank ^ -0.8 of the follows), some write more
//! than others (rank ^ -0.3), one post in four is a reply. It refuses to know
//! how any of it is stored.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use crate::{
    arguments::Graph,
    random::{Random, Zipf},
};

const FAME_EXPONENT: f64 = 0.8;
const ACTIVITY_EXPONENT: f64 = 0.3;
const REPLY_ONE_IN: usize = 4;
/// Replies go to one of so many last posts.
const RECENT_POSTS: usize = 500;
const TEXT_WORDS: std::ops::Range<usize> = 8..24;
const WORDS: &[&str] = &[
    "river", "delta", "stone", "mill", "lock", "weir", "bridge", "heron", "reed", "#spring",
    "tide", "current", "ferry", "bank", "#source", "rain", "cloud", "gravel", "trout", "#water",
];

pub fn write(graph: &Graph, out: &mut impl Write) -> io::Result<()> {
    let mut random = Random::new(graph.seed);
    let accounts = graph.accounts as usize;
    for account in 0..accounts {
        writeln!(out, r#"{{"op":"register","user":"{}"}}"#, handle(account))?;
    }
    write_follows(graph, &mut random, out)?;
    let activity = Zipf::new(accounts, ACTIVITY_EXPONENT);
    for post in 0..graph.posts as usize {
        // Who writes much is not who is followed much.
        let author = activity.draw(&mut random) * 7_919 % accounts;
        let (user, text) = (handle(author), text(&mut random));
        if post > 0 && random.below(REPLY_ONE_IN) == 0 {
            let to = post - 1 - random.below(RECENT_POSTS.min(post));
            writeln!(
                out,
                r#"{{"op":"reply","user":"{user}","id":"p{post}","to":"p{to}","text":"{text}"}}"#
            )?;
        } else {
            writeln!(
                out,
                r#"{{"op":"post","user":"{user}","id":"p{post}","text":"{text}"}}"#
            )?;
        }
    }
    Ok(())
}

/// Every account follows as many others as the next one.
fn write_follows(graph: &Graph, random: &mut Random, out: &mut impl Write) -> io::Result<()> {
    let (accounts, follows) = (graph.accounts as usize, graph.follows as usize);
    let fame = Zipf::new(accounts, FAME_EXPONENT);
    for account in 0..accounts {
        let wanted = follows * (account + 1) / accounts - follows * account / accounts;
        let mut followed = BTreeSet::new();
        while followed.len() < wanted.min(accounts - 1) {
            let target = fame.draw(random);
            if target != account && followed.insert(target) {
                let (user, target) = (handle(account), handle(target));
                writeln!(
                    out,
                    r#"{{"op":"follow","user":"{user}","target":"{target}"}}"#
                )?;
            }
        }
    }
    Ok(())
}

fn handle(account: usize) -> String {
    format!("b{account}")
}

pub fn text(random: &mut Random) -> String {
    let words = TEXT_WORDS.start + random.below(TEXT_WORDS.len());
    let words: Vec<_> = (0..words)
        .map(|_| WORDS[random.below(WORDS.len())])
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_what_was_asked_for_and_is_the_same_again() -> io::Result<()> {
        let graph = Graph {
            accounts: 50,
            follows: 510,
            posts: 200,
            seed: 7,
        };
        let mut lines = Vec::new();
        write(&graph, &mut lines)?;
        let mut again = Vec::new();
        write(&graph, &mut again)?;
        assert_eq!(lines, again);
        let text = String::from_utf8_lossy(&lines);
        let count = |op: &str| text.lines().filter(|line| line.contains(op)).count();
        assert_eq!(count(r#""op":"register""#), 50);
        assert_eq!(count(r#""op":"follow""#), 510);
        assert_eq!(count(r#""op":"post""#) + count(r#""op":"reply""#), 200);
        Ok(())
    }
}
