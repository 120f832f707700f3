//! Timelines: home, local, and an account's own. Home is: what is visible of
//! oneself and of those that one follows now, newest id first. `home_ids` says
//! so in one query; the lists in Redis only make it quicker, and a read gives
//! exactly that, whichever path filled it.

mod fan_out;
mod lists;

use domain::posts::PostId;
use kernel::{AccountId, Uuid, crash};
use sea_orm::sqlx::{self, PgPool, Row};

pub use fan_out::{FOLLOWERS_CHUNK, FanOut};
pub use lists::{
    Lists, TIMELINE_ENTRIES_MAX, TIMELINE_SECONDS_DEFAULT, TimelineSettings, ViewsUrl,
};

use crate::{
    ReadError,
    posts::{PostRow, read_all, select, viewer_id},
};
use lists::Slice;

/// Rows asked for beyond what a page needs, for those that are filtered.
const SPARE_ROWS: u32 = 4;
/// Ids looked at in one round while a page is refilled, at most.
const ROUND_IDS_MAX: u32 = 800;

/// Posts that everybody may see, newest id first, before the id last seen.
pub async fn local(
    pool: &PgPool,
    viewer: Option<AccountId>,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostRow>, ReadError> {
    let rows = sqlx::query(select!(
        "FROM posts AS p",
        "AND NOT p.followers_only AND p.id < $2 ",
        "ORDER BY p.id DESC LIMIT $3"
    ))
    .bind(viewer_id(viewer))
    .bind(before.map_or(Uuid::max(), |id| id.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    read_all(&rows)
}

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

/// The oracle: the ids of home, newest first, before the id last seen.
pub async fn home_ids(
    pool: &PgPool,
    reader: AccountId,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let rows = sqlx::query(
        "SELECT p.id FROM (
            SELECT followed_id AS author_id FROM follows WHERE follower_id = $1
            UNION ALL SELECT $1
         ) AS s CROSS JOIN LATERAL (
            SELECT q.id FROM posts AS q
            WHERE q.author_id = s.author_id AND q.id < $2 AND q.deleted_at IS NULL
            ORDER BY q.id DESC LIMIT $3
         ) AS p ORDER BY p.id DESC LIMIT $3",
    )
    .bind(reader.0)
    .bind(before.map_or(Uuid::max(), |id| id.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("id")?)))
        .collect()
}

/// Ids of home by authors whose posts are pulled instead of pushed.
async fn pulled_ids(
    pool: &PgPool,
    reader: AccountId,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let rows = sqlx::query(
        "SELECT p.id FROM projections.pulled_authors AS s CROSS JOIN LATERAL (
            SELECT q.id FROM posts AS q
            WHERE q.author_id = s.account_id AND q.id < $2 AND q.deleted_at IS NULL
            ORDER BY q.id DESC LIMIT $3
         ) AS p
         WHERE EXISTS (SELECT 1 FROM follows AS f
                       WHERE f.follower_id = $1 AND f.followed_id = s.account_id)
         ORDER BY p.id DESC LIMIT $3",
    )
    .bind(reader.0)
    .bind(before.map_or(Uuid::max(), |id| id.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("id")?)))
        .collect()
}

/// Home rows of `ids`, in that order: those of oneself and of whom one follows
/// now. Followers-only posts need no other condition.
async fn home_rows(
    pool: &PgPool,
    reader: AccountId,
    ids: &[PostId],
) -> Result<Vec<PostRow>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query(select!(
        "FROM unnest($2::uuid[]) WITH ORDINALITY AS w (id, place)
         JOIN posts AS p ON p.id = w.id",
        "AND (p.author_id = $1 OR EXISTS (
              SELECT 1 FROM follows AS f
              WHERE f.follower_id = $1 AND f.followed_id = p.author_id)) ",
        "ORDER BY w.place"
    ))
    .bind(reader.0)
    .bind(ids)
    .fetch_all(pool)
    .await?;
    read_all(&rows)
}

/// A page of home: up to `limit` posts before the id last seen. Candidates come
/// from the reader's list as far as it reaches, below it from the query; what a
/// rule hides is refilled.
pub async fn home(
    pool: &PgPool,
    lists: Option<&Lists>,
    reader: AccountId,
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostRow>, ReadError> {
    let mut page: Vec<PostRow> = Vec::new();
    let mut cursor = before;
    let mut round_ids = limit + SPARE_ROWS;
    loop {
        let ids = candidates(pool, lists, reader, cursor, round_ids).await?;
        let exhausted = ids.len() < round_ids as usize;
        cursor = ids.last().copied().or(cursor);
        page.extend(home_rows(pool, reader, &ids).await?);
        if exhausted || page.len() >= limit as usize {
            page.truncate(limit as usize);
            return Ok(page);
        }
        round_ids = (round_ids * 2).min(ROUND_IDS_MAX);
    }
}

/// The next `count` ids of home or a superset of them, newest first; fewer only
/// where there are no more. Without the views server they are queried.
async fn candidates(
    pool: &PgPool,
    lists: Option<&Lists>,
    reader: AccountId,
    before: Option<PostId>,
    count: u32,
) -> Result<Vec<PostId>, ReadError> {
    let slice = match lists {
        Some(lists) => slice(pool, lists, reader, before, count).await,
        None => Ok(None),
    };
    let slice = slice.unwrap_or_else(|error| {
        tracing::debug!(%error, "home comes from the database");
        None
    });
    let Some(Slice { mut ids, floor }) = slice else {
        return home_ids(pool, reader, before, count).await;
    };
    let wanted = count as usize;
    let pulled = pulled_ids(pool, reader, before, count).await?;
    if let Some(floor) = floor
        && ids.len() < wanted
    {
        // The list ends here; the query goes on, pulled authors included.
        let below = before.map_or(floor, |before| before.min(floor));
        ids.extend(home_ids(pool, reader, Some(below), count).await?);
    }
    if !pulled.is_empty() {
        ids.extend(pulled);
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
    }
    ids.truncate(wanted);
    Ok(ids)
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
    // The mark comes before the query: what is pushed meanwhile is kept beside
    // it and united with what the query found.
    let Some(mark) = lists.begin(reader).await? else {
        return lists.read(reader, before, count).await;
    };
    let ids = home_ids(pool, reader, None, TIMELINE_ENTRIES_MAX + 1).await?;
    crash::point("timeline.fill");
    lists.finish(reader, &mark, &ids).await?;
    lists.read(reader, before, count).await
}
