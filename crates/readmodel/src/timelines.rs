//! Timelines: home, local, and an account's own. Home is: what is visible of
//! oneself and of those that one follows now and does not mute, newest id first.
//! `home_ids` says so in one query; the lists in Redis only make it quicker, and a read
//! gives exactly that, whichever path filled it. Lists hold what is muted, blocked or
//! deactivated too: who is hidden changes more often than who is followed, and counts
//! at once.

mod fan_out;
mod lists;
mod local;
mod views;

use std::{collections::BTreeSet, sync::Arc};

use domain::posts::PostId;
use kernel::{AccountId, Uuid, crash};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

pub use fan_out::{FOLLOWERS_CHUNK, FanOut};
pub use lists::{Lists, TIMELINE_ENTRIES_MAX, TIMELINE_SECONDS_DEFAULT, TimelineSettings};
pub use local::Local;

use crate::{
    ReadError,
    hot::{Reading, Seen, Shown},
    posts::{PostRow, read_all, select},
    visibility::{unhidden, viewer_id},
};
use lists::Slice;

/// Rows asked for beyond what a page needs, for those that are filtered.
const SPARE_ROWS: u32 = 4;
/// Ids looked at in one round while a page is refilled, at most.
const ROUND_IDS_MAX: u32 = 800;

/// An account's posts and replies that the viewer may see, newest id first.
pub async fn of_account(
    pool: &PgPool,
    viewer: Option<AccountId>,
    author: AccountId,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostRow>, ReadError> {
    let rows = sqlx::query(select!(
        "FROM posts AS p",
        "AND p.author_id = $2 AND p.id < $3 ",
        "ORDER BY p.id DESC LIMIT $4"
    ))
    .bind(viewer_id(viewer))
    .bind(author.0)
    .bind(before.map_or(Uuid::max(), |id| id.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    read_all(&rows)
}

/// `SELECT` of the newest ids below `$2` of whom `$1` follows and of oneself, as
/// far as the condition on each author says.
macro_rules! newest {
    ($of_authors:expr, $of_oneself:literal) => {
        concat!(
            "SELECT p.id FROM (
                SELECT s.followed_id AS author_id FROM follows AS s ",
            $of_authors,
            " UNION ALL SELECT a.id FROM accounts AS a WHERE a.id = $1 ",
            $of_oneself,
            ") AS s CROSS JOIN LATERAL (
                SELECT q.id FROM posts AS q
                WHERE q.author_id = s.author_id AND q.id < $2 AND q.deleted_at IS NULL
                ORDER BY q.id DESC LIMIT $3
             ) AS p ORDER BY p.id DESC LIMIT $3"
        )
    };
}

/// The oracle: the ids of home, newest first, before the id last seen.
pub async fn home_ids(
    pool: &PgPool,
    reader: AccountId,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let sql = newest!(
        concat!(
            "JOIN accounts AS a ON a.id = s.followed_id WHERE s.follower_id = $1 AND ",
            unhidden!()
        ),
        "AND NOT a.deactivated"
    );
    let rows = sqlx::query(sql)
        .bind(reader.0)
        .bind(before.map_or(Uuid::max(), |id| id.0))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    post_ids(&rows)
}

/// Home, and what is hidden of those that one follows but of `without`.
async fn followed_ids(
    pool: &PgPool,
    reader: AccountId,
    without: &[Uuid],
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let sql = newest!("WHERE s.follower_id = $1 AND s.followed_id <> ALL($4)", "");
    let rows = sqlx::query(sql)
        .bind(reader.0)
        .bind(before.map_or(Uuid::max(), |id| id.0))
        .bind(i64::from(limit))
        .bind(without)
        .fetch_all(pool)
        .await?;
    post_ids(&rows)
}

/// Ids of an author's posts, newest first, before the id last seen.
pub(crate) async fn authored_ids(
    pool: &PgPool,
    author: AccountId,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let rows = sqlx::query(
        "SELECT id FROM posts WHERE author_id = $1 AND id < $2 AND deleted_at IS NULL
         ORDER BY id DESC LIMIT $3",
    )
    .bind(author.0)
    .bind(before.map_or(Uuid::max(), |id| id.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    post_ids(&rows)
}

/// Authors whose posts are pulled when read, instead of pushed.
pub async fn pulled_authors(pool: &PgPool) -> Result<BTreeSet<AccountId>, ReadError> {
    let sql = "SELECT account_id FROM projections.pulled_authors";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok(AccountId(row.try_get("account_id")?)))
        .collect()
}

/// Posts in an order, some of which are hidden from the one who looks.
trait Timeline<T> {
    /// The next `count` ids below `before` or a superset of them, newest first; fewer
    /// only where there are no more.
    fn candidates(
        &self,
        before: Option<PostId>,
        count: u32,
    ) -> impl Future<Output = Result<Vec<PostId>, ReadError>> + Send;

    /// Those of `ids` that are not hidden, in that order.
    fn seen(&self, ids: &[PostId]) -> impl Future<Output = Result<Vec<Seen<T>>, ReadError>> + Send;
}

/// Up to `limit` posts before the id last seen: what is hidden is refilled.
async fn refilled<T>(
    timeline: &impl Timeline<T>,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<Seen<T>>, ReadError> {
    let mut page = Vec::new();
    let mut cursor = before;
    let mut round_ids = limit + SPARE_ROWS;
    loop {
        let ids = timeline.candidates(cursor, round_ids).await?;
        let exhausted = ids.len() < round_ids as usize;
        cursor = ids.last().copied().or(cursor);
        page.extend(timeline.seen(&ids).await?);
        if exhausted || page.len() >= limit as usize {
            page.truncate(limit as usize);
            return Ok(page);
        }
        round_ids = (round_ids * 2).min(ROUND_IDS_MAX);
    }
}

/// What a page of home is put together from.
pub struct Home<'a, T> {
    pub reading: Reading<'a, T>,
    /// Lists, and those whose posts are not in them; without the views server
    /// everything is queried.
    pub lists: Option<(&'a Lists, &'a BTreeSet<AccountId>)>,
    pub reader: AccountId,
}

impl<T: Shown> Home<'_, T> {
    /// Up to `limit` posts before the id last seen.
    pub async fn page(
        &self,
        before: Option<PostId>,
        limit: u32,
    ) -> Result<Arc<[Seen<T>]>, ReadError> {
        let reading = &self.reading;
        if before.is_some() || !reading.is_current || self.lists.is_none() {
            return Ok(refilled(self, before, limit).await?.into());
        }
        if let Some(page) = reading.first_page(self.reader, limit) {
            return Ok(page);
        }
        let begun = reading.begin_page();
        let page = refilled(self, before, limit).await?.into();
        reading.keep_page(begun, self.reader, limit, &page);
        Ok(page)
    }

    /// Without those who are hidden: there may be much of them, and nothing is to be
    /// read of it.
    async fn queried(&self, before: Option<PostId>, count: u32) -> Result<Vec<PostId>, ReadError> {
        let (pool, reader) = (self.reading.pool, self.reader);
        match self.reading.hidden(reader).await? {
            Some(hidden) => followed_ids(pool, reader, &hidden.ids(), before, count).await,
            None => home_ids(pool, reader, before, count).await,
        }
    }
}

impl<T: Shown> Timeline<T> for Home<'_, T> {
    /// From the reader's list as far as it reaches, below it from the query.
    async fn candidates(
        &self,
        before: Option<PostId>,
        count: u32,
    ) -> Result<Vec<PostId>, ReadError> {
        let (pool, reader) = (self.reading.pool, self.reader);
        let Some((lists, pulled)) = self.lists else {
            return self.queried(before, count).await;
        };
        let slice = slice(pool, lists, reader, before, count).await;
        let slice = slice.unwrap_or_else(|error| {
            tracing::debug!(%error, "home comes from the database");
            None
        });
        let Some(Slice { mut ids, floor }) = slice else {
            return self.queried(before, count).await;
        };
        let wanted = count as usize;
        if let Some(floor) = floor
            && ids.len() < wanted
        {
            // The list ends here; the query goes on, pulled authors included.
            let below = before.map_or(floor, |before| before.min(floor));
            ids.extend(self.queried(Some(below), count).await?);
        }
        let mut pulled_ids = Vec::new();
        if !pulled.is_empty() {
            let followed = self.reading.followed(reader, pulled).await?;
            for author in followed {
                let authored = self.reading.authored(author, before, count);
                pulled_ids.extend(authored.await?);
            }
        }
        if !pulled_ids.is_empty() {
            ids.extend(pulled_ids);
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.dedup();
        }
        ids.truncate(wanted);
        Ok(ids)
    }

    async fn seen(&self, ids: &[PostId]) -> Result<Vec<Seen<T>>, ReadError> {
        self.reading.home(self.reader, ids).await
    }
}

/// Fills the reader's list where there is none, and nobody else is filling it.
pub async fn fill(pool: &PgPool, lists: &Lists, reader: AccountId) -> Result<bool, ReadError> {
    // The mark comes before the query: what is pushed meanwhile is kept beside
    // it and united with what the query found.
    let Some(mark) = lists.begin(reader).await? else {
        return Ok(false);
    };
    let ids = followed_ids(pool, reader, &[], None, TIMELINE_ENTRIES_MAX + 1).await?;
    crash::point("timeline.fill");
    lists.finish(reader, &mark, &ids).await
}

/// Posts of whom one follows that should be in the reader's list: not of authors
/// that are pulled. Some may be on their way, or below what the list keeps: see
/// `missing`.
pub async fn listed_ids(pool: &PgPool, reader: AccountId) -> Result<Vec<PostId>, ReadError> {
    let home = followed_ids(pool, reader, &[], None, TIMELINE_ENTRIES_MAX).await?;
    let home: Vec<Uuid> = home.into_iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "SELECT id FROM posts WHERE id = ANY($1) AND (author_id = $2
             OR author_id NOT IN (SELECT account_id FROM projections.pulled_authors))",
    )
    .bind(home)
    .bind(reader.0)
    .fetch_all(pool)
    .await?;
    post_ids(&rows)
}

/// Those of `wanted` that the reader's list lacks; none where there is no list.
pub async fn missing(
    lists: &Lists,
    reader: AccountId,
    mut wanted: Vec<PostId>,
) -> Result<Vec<PostId>, ReadError> {
    let Some(slice) = lists.read(reader, None, TIMELINE_ENTRIES_MAX).await? else {
        return Ok(Vec::new());
    };
    let there: BTreeSet<PostId> = slice.ids.into_iter().collect();
    let above = |id: &PostId| slice.floor.is_none_or(|floor| *id >= floor);
    wanted.retain(|id| above(id) && !there.contains(id));
    Ok(wanted)
}

/// Reads the reader's list, filling it first where there is none. `None` where
/// somebody else is filling it.
async fn slice(
    pool: &PgPool,
    lists: &Lists,
    reader: AccountId,
    before: Option<PostId>,
    count: u32,
) -> Result<Option<Slice>, ReadError> {
    if let Some(slice) = lists.read(reader, before, count).await? {
        return Ok(Some(slice));
    }
    fill(pool, lists, reader).await?;
    lists.read(reader, before, count).await
}

fn post_ids(rows: &[PgRow]) -> Result<Vec<PostId>, ReadError> {
    let ids = rows.iter().map(|row| Ok(PostId(row.try_get("id")?)));
    ids.collect()
}
