//! Every row of the read model against what the log adds up to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    Unreachable,
    database::Database,
    entries::Position,
    findings::Findings,
    json::Json,
    sealed::Keys,
    world::{Account, Post, Revision, World},
};

/// Projections that are not at the head by then stand still.
pub const CATCH_UP_SECONDS_MAX: u64 = 30;
const LOOK_MILLISECONDS: u64 = 50;
const PROJECTIONS: [&str; 2] = ["social", "timelines"];

pub fn keys(database: &mut Database) -> Result<Keys, Unreachable> {
    let mut keys = BTreeMap::new();
    for row in database.rows("SELECT account_id, key FROM vault.account_keys")? {
        keys.insert(row.try_get("account_id")?, row.try_get("key")?);
    }
    Ok(Keys(keys))
}

/// Waits for the projections; whether both are where the log ends.
pub fn wait_for_heads(
    database: &mut Database,
    heads: &BTreeMap<u16, Position>,
    patience: Duration,
    findings: &mut Findings,
) -> Result<bool, Unreachable> {
    let deadline = Instant::now() + patience;
    loop {
        let checkpoints = checkpoints(database)?;
        let wanted = || {
            let all = PROJECTIONS.iter();
            all.flat_map(|name| heads.iter().map(move |(p, head)| ((*name, *p), *head)))
        };
        let found = |key: &(&str, u16)| {
            let found = checkpoints.get(&(key.0.to_owned(), key.1));
            found.cloned().unwrap_or_default()
        };
        let there = wanted().all(|(key, head)| found(&key).at >= Some(head));
        let stopped = wanted().any(|(key, _)| found(&key).stopped.is_some());
        if !there && !stopped && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(LOOK_MILLISECONDS));
            continue;
        }
        let before = findings.violations.len();
        for (key, head) in wanted() {
            let (projection, partition) = key;
            let found = found(&key);
            if let Some(reason) = found.stopped {
                findings.violation(format!(
                    "{projection} stands still in partition {partition}: {reason}"
                ));
            }
            let what = format_args!("the checkpoint of {projection} in partition {partition}");
            findings.same(what, &Some(head), &found.at);
        }
        return Ok(findings.violations.len() == before);
    }
}

#[derive(Clone, Debug, Default)]
struct Checkpoint {
    at: Option<Position>,
    stopped: Option<String>,
}

fn checkpoints(
    database: &mut Database,
) -> Result<BTreeMap<(String, u16), Checkpoint>, Unreachable> {
    let rows = database.rows(
        "SELECT projection, partition, epoch, seq, stopped_because
         FROM projections.checkpoints WHERE live",
    )?;
    let mut checkpoints = BTreeMap::new();
    for row in rows {
        let partition = row.try_get::<i32, _>("partition")? as u16;
        let at = Position {
            partition,
            epoch: unsigned(&row, "epoch")?,
            seq: unsigned(&row, "seq")?,
        };
        let (at, stopped) = (Some(at), row.try_get("stopped_because")?);
        let key = (row.try_get("projection")?, partition);
        checkpoints.insert(key, Checkpoint { at, stopped });
    }
    Ok(checkpoints)
}

pub fn compare(
    database: &mut Database,
    world: &World,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let mut accounts = BTreeMap::new();
    for row in database.rows("SELECT * FROM social.accounts")? {
        accounts.insert(row.try_get("id")?, account(&row)?);
    }
    findings.same_rows("accounts", &world.accounts, &accounts);

    let mut posts = BTreeMap::new();
    for row in database.rows("SELECT *, metadata::text AS json FROM social.posts")? {
        posts.insert(row.try_get("id")?, post(&row)?);
    }
    findings.same_rows("posts", &world.posts, &posts);

    let mut revisions: BTreeMap<(Uuid, u64), Revision> = BTreeMap::new();
    for row in database.rows("SELECT *, metadata::text AS json FROM social.post_revisions")? {
        let revision = Revision {
            text: row.try_get("text")?,
            metadata: json(&row)?,
            language: row.try_get("language")?,
            written_at: row.try_get("written_at")?,
        };
        let key = (row.try_get("post_id")?, unsigned(&row, "version")?);
        revisions.insert(key, revision);
    }
    findings.same_rows("post revisions", &world.revisions, &revisions);

    let mut likes = BTreeMap::new();
    for row in database.rows("SELECT account_id, post_id, liked_at FROM social.likes")? {
        likes.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
    }
    findings.same_rows("likes", &world.likes, &likes);

    let mut follows = BTreeMap::new();
    for row in database.rows("SELECT follower_id, followed_id, followed_at FROM social.follows")? {
        follows.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
    }
    findings.same_rows("follows", &world.follows, &follows);

    for (table, sql, expected) in [
        (
            "requests to follow",
            "SELECT follower_id, followed_id, requested_at FROM social.follow_requests",
            &world.follow_requests,
        ),
        (
            "blocks",
            "SELECT blocker_id, blocked_id, blocked_at FROM social.blocks",
            &world.blocks,
        ),
        (
            "mutes",
            "SELECT muter_id, muted_id, muted_at FROM social.mutes",
            &world.mutes,
        ),
    ] {
        let mut edges = BTreeMap::new();
        for row in database.rows(sql)? {
            edges.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        }
        findings.same_rows(table, expected, &edges);
    }
    counters(database, world, findings)
}

/// Counters that are nothing have no row.
fn counters(
    database: &mut Database,
    world: &World,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let mut found: BTreeMap<Uuid, [i64; 3]> = BTreeMap::new();
    for row in database.rows("SELECT * FROM social.account_counters")? {
        let of = |name: &str| row.try_get::<i64, _>(name);
        let counts = [of("followers")?, of("following")?, of("posts")?];
        found.insert(row.try_get("account_id")?, counts);
    }
    findings.same_rows("account counters", &account_counters(world), &found);

    let mut found: BTreeMap<Uuid, [i64; 2]> = BTreeMap::new();
    for row in database.rows("SELECT * FROM social.post_counters")? {
        let counts = [row.try_get("likes")?, row.try_get("replies")?];
        found.insert(row.try_get("post_id")?, counts);
    }
    findings.same_rows("post counters", &post_counters(world), &found);
    Ok(())
}

/// Followers, followed, posts. Whoever is deactivated is in no list and no counter.
pub fn account_counters(world: &World) -> BTreeMap<Uuid, [i64; 3]> {
    let mut counts: BTreeMap<Uuid, [i64; 3]> = BTreeMap::new();
    for (follower, followed) in world.follows.keys() {
        if !world.is_deactivated(*follower) {
            counts.entry(*followed).or_default()[0] += 1;
        }
        if !world.is_deactivated(*followed) {
            counts.entry(*follower).or_default()[1] += 1;
        }
    }
    for post in world
        .posts
        .values()
        .filter(|post| post.deleted_at.is_none())
    {
        counts.entry(post.author).or_default()[2] += 1;
    }
    counts
}

/// Likes, replies.
pub fn post_counters(world: &World) -> BTreeMap<Uuid, [i64; 2]> {
    let mut counts: BTreeMap<Uuid, [i64; 2]> = BTreeMap::new();
    for (account, post) in world.likes.keys() {
        if !world.is_deactivated(*account) {
            counts.entry(*post).or_default()[0] += 1;
        }
    }
    for post in world
        .posts
        .values()
        .filter(|post| post.deleted_at.is_none())
    {
        if let Some(parent) = post.parent.filter(|_| !world.is_deactivated(post.author)) {
            counts.entry(parent).or_default()[1] += 1;
        }
    }
    counts
}

fn account(row: &PgRow) -> Result<Account, Unreachable> {
    Ok(Account {
        handle: row.try_get("handle")?,
        display_name: row.try_get("display_name")?,
        bio: row.try_get("bio")?,
        pinned: row.try_get("pinned_post_id")?,
        registered_at: row.try_get("registered_at")?,
        active_on: row.try_get("active_on")?,
        version: unsigned(row, "version")?,
        private: row.try_get("private")?,
        deactivated: row.try_get("deactivated")?,
    })
}

fn post(row: &PgRow) -> Result<Post, Unreachable> {
    Ok(Post {
        author: row.try_get("author_id")?,
        text: row.try_get("text")?,
        hashtags: row.try_get("hashtags")?,
        mentions: row.try_get("mentions")?,
        metadata: json(row)?,
        language: row.try_get("language")?,
        followers_only: row.try_get("followers_only")?,
        parent: row.try_get("parent_id")?,
        root: row.try_get("root_id")?,
        created_at: row.try_get("created_at")?,
        edited_at: row.try_get("edited_at")?,
        deleted_at: row.try_get("deleted_at")?,
        version: unsigned(row, "version")?,
    })
}

fn json(row: &PgRow) -> Result<Option<Json>, Unreachable> {
    let text: Option<String> = row.try_get("json")?;
    let json = text.map(|text| Json::parse(&text)).transpose();
    json.map_err(|why| Unreachable(format!("metadata that is no JSON: {why}")))
}

fn unsigned(row: &PgRow, column: &str) -> Result<u64, Unreachable> {
    Ok(row.try_get::<i64, _>(column)? as u64)
}
