//! Fan-out: puts new posts and reposts into the timelines of those who follow
//! whose they are. It comes after the rows of the same events are committed, takes
//! turns between authors, and may be repeated: an insert is idempotent. It
//! refuses to decide what a reader may see: reads do.

use std::collections::{BTreeMap, BTreeSet};

use domain::Event;
use kernel::{AccountId, AggregateId, Kind, Uuid, crash};
use sea_orm::sqlx::{self, PgConnection, Row};

use super::{EntryId, Lists};
use crate::{ReadError, features};

/// Followers that one author's posts are pushed to in one turn.
pub const FOLLOWERS_CHUNK: i64 = 1_000;
/// Times that a post is put into a timeline in one call, for which the views
/// server does nothing else.
const CALL_DELIVERIES_MAX: usize = 1_000;
/// The same in a turn of all authors; every author gets a share.
const TURN_DELIVERIES_MAX: usize = 50_000;

/// What a batch of events asks of the timelines.
#[derive(Debug, Default)]
pub struct FanOut {
    posts: BTreeMap<AccountId, BTreeSet<EntryId>>,
    refilled: BTreeSet<AccountId>,
}

/// An author's posts on their way, and the follower that they reached last.
/// They go together: a timeline takes many at once for little more than one.
struct Way {
    author: AccountId,
    posts: BTreeSet<EntryId>,
    reached: (i64, Uuid),
}

impl FanOut {
    /// Whether events of this kind of aggregate are of interest: others need not be
    /// decoded.
    pub fn wants(kind: Kind) -> bool {
        features::fans_out(kind)
    }

    pub fn take(&mut self, aggregate: AggregateId, event: &Event) {
        features::fan_out(aggregate, event, self);
    }

    /// Asks to put a post or repost of `author` into the lists of its followers, a post
    /// into its own too.
    pub(crate) fn push(&mut self, author: AccountId, post: EntryId) {
        self.posts.entry(author).or_default().insert(post);
    }

    /// Asks to fill the list of `reader` anew.
    pub(crate) fn refill(&mut self, reader: AccountId) {
        self.refilled.insert(reader);
    }

    /// `push_followers_max`: above it an author's posts are pulled when read.
    pub async fn run(
        self,
        connection: &mut PgConnection,
        lists: &Lists,
        push_followers_max: i64,
    ) -> Result<(), ReadError> {
        if !self.refilled.is_empty() {
            let readers: Vec<_> = self.refilled.into_iter().collect();
            for readers in readers.chunks(FOLLOWERS_CHUNK as usize) {
                lists.drop(readers).await?;
            }
        }
        if self.posts.is_empty() {
            return Ok(());
        }
        let authors: Vec<Uuid> = self.posts.keys().map(|author| author.0).collect();
        let pulled = pulled(connection, &authors, push_followers_max).await?;
        let mut ways = Vec::new();
        for (author, posts) in self.posts {
            let own: BTreeSet<EntryId> = (posts.iter().copied())
                .filter(|entry| entry.repost().is_none())
                .collect();
            if !own.is_empty() {
                lists.insert(&own, &[author]).await?;
            }
            if !pulled.contains(&author.0) {
                let reached = (i64::MAX, Uuid::max());
                ways.push(Way {
                    author,
                    posts,
                    reached,
                });
            }
        }
        while !ways.is_empty() {
            ways = turn(connection, lists, ways).await?;
        }
        Ok(())
    }
}

/// Which of `authors` are pulled; those that have too many followers by now
/// become so, for ever, before anything is left unpushed.
async fn pulled(
    connection: &mut PgConnection,
    authors: &[Uuid],
    push_followers_max: i64,
) -> Result<BTreeSet<Uuid>, ReadError> {
    sqlx::query(
        "INSERT INTO projections.pulled_authors (account_id)
         SELECT account_id FROM account_counters
         WHERE account_id = ANY($1) AND followers > $2
         ORDER BY account_id ON CONFLICT DO NOTHING",
    )
    .bind(authors)
    .bind(push_followers_max)
    .execute(&mut *connection)
    .await?;
    let sql = "SELECT account_id FROM projections.pulled_authors WHERE account_id = ANY($1)";
    let rows = sqlx::query(sql).bind(authors).fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok(row.try_get("account_id")?))
        .collect()
}

/// Pushes every author's posts one chunk further, and returns those that are
/// not done.
async fn turn(
    connection: &mut PgConnection,
    lists: &Lists,
    ways: Vec<Way>,
) -> Result<Vec<Way>, ReadError> {
    let posts: usize = ways.iter().map(|way| way.posts.len()).sum();
    let share = (TURN_DELIVERIES_MAX / posts) as i64;
    let share = share.clamp(1, FOLLOWERS_CHUNK);
    let rows = sqlx::query(
        "SELECT w.place, f.followed_at, f.follower_id
         FROM unnest($1::uuid[], $2::bigint[], $3::uuid[])
              WITH ORDINALITY AS w (author_id, at, id, place)
         CROSS JOIN LATERAL (
            SELECT followed_at, follower_id FROM follows
            WHERE followed_id = w.author_id AND (followed_at, follower_id) < (w.at, w.id)
            ORDER BY followed_at DESC, follower_id DESC LIMIT $4
         ) AS f",
    )
    .bind(ways.iter().map(|way| way.author.0).collect::<Vec<_>>())
    .bind(ways.iter().map(|way| way.reached.0).collect::<Vec<_>>())
    .bind(ways.iter().map(|way| way.reached.1).collect::<Vec<_>>())
    .bind(share)
    .fetch_all(connection)
    .await?;
    let mut chunks: BTreeMap<usize, Vec<(i64, Uuid)>> = BTreeMap::new();
    for row in &rows {
        let place = row.try_get::<i64, _>("place")? as usize;
        let follower = (row.try_get("followed_at")?, row.try_get("follower_id")?);
        chunks.entry(place).or_default().push(follower);
    }
    let mut left = Vec::new();
    for (place, mut way) in (1..).zip(ways) {
        let Some(mut chunk) = chunks.remove(&place) else {
            continue;
        };
        chunk.sort_unstable_by(|a, b| b.cmp(a));
        let readers: Vec<_> = chunk.iter().map(|(_, id)| AccountId(*id)).collect();
        let together = (CALL_DELIVERIES_MAX / way.posts.len()).max(1);
        for readers in readers.chunks(together) {
            lists.insert(&way.posts, readers).await?;
            crash::point("fan_out.chunk");
        }
        if let Some(last) = chunk.last()
            && chunk.len() as i64 == share
        {
            way.reached = *last;
            left.push(way);
        }
    }
    Ok(left)
}
