//! Timelines: home, local, and an account's own. Home is: what is visible of
//! oneself and of those that one follows now and does not mute, and what these repost,
//! newest id first. `home_ids` says so in one query; the lists in Redis only make it
//! quicker, and a read gives exactly that, whichever path filled it. Lists hold what is
//! muted, blocked or deactivated too: who is hidden changes more often than who is
//! followed, and counts at once.

mod entries;
mod fan_out;
mod home;
mod ids;
mod lists;
mod local;
mod views;

use std::collections::BTreeSet;

use domain::posts::PostId;
use kernel::{AccountId, Uuid, crash};
use sea_orm::sqlx::{self, PgPool, Row};

pub use entries::EntryId;
pub use fan_out::{FOLLOWERS_CHUNK, FanOut};
pub use home::Home;
pub(crate) use ids::authored_ids;
pub use ids::{home_ids, listed_ids};
pub use lists::{Lists, TIMELINE_ENTRIES_MAX, TIMELINE_SECONDS_DEFAULT, TimelineSettings};
pub use local::Local;

use crate::{
    ReadError,
    hot::Seen,
    posts::{PostRow, read_all, select},
    touches::Touch,
    visibility::viewer_id,
};
use ids::followed_ids;
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
    type Id: Copy + Send;

    /// The next `count` ids below `before` or a superset of them, newest first; fewer
    /// only where there are no more.
    fn candidates(
        &self,
        before: Option<Self::Id>,
        count: u32,
    ) -> impl Future<Output = Result<Vec<Self::Id>, ReadError>> + Send;

    /// Those of `ids` that are not hidden, in that order. `touches`: what else that
    /// depends on, beside the posts that are shown.
    fn seen(
        &self,
        ids: &[Self::Id],
        touches: &mut Vec<Touch>,
    ) -> impl Future<Output = Result<Vec<Seen<T>>, ReadError>> + Send;
}

/// Up to `limit` posts before the id last seen: what is hidden is refilled. And what
/// they depend on.
async fn refilled<T, L: Timeline<T>>(
    timeline: &L,
    before: Option<L::Id>,
    limit: u32,
) -> Result<(Vec<Seen<T>>, Vec<Touch>), ReadError> {
    let (mut page, mut touches) = (Vec::new(), Vec::new());
    let mut cursor = before;
    let mut round_ids = limit + SPARE_ROWS;
    loop {
        let ids = timeline.candidates(cursor, round_ids).await?;
        let exhausted = ids.len() < round_ids as usize;
        cursor = ids.last().copied().or(cursor);
        page.extend(timeline.seen(&ids, &mut touches).await?);
        if exhausted || page.len() >= limit as usize {
            page.truncate(limit as usize);
            return Ok((page, touches));
        }
        round_ids = (round_ids * 2).min(ROUND_IDS_MAX);
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

/// Those of `wanted` that the reader's list lacks; none where there is no list.
pub async fn missing(
    lists: &Lists,
    reader: AccountId,
    mut wanted: Vec<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    let Some(slice) = lists.read(reader, None, TIMELINE_ENTRIES_MAX).await? else {
        return Ok(Vec::new());
    };
    let there: BTreeSet<EntryId> = slice.ids.into_iter().collect();
    let above = |id: &EntryId| slice.floor.is_none_or(|floor| *id >= floor);
    wanted.retain(|id| above(id) && !there.contains(id));
    Ok(wanted)
}

/// Reads the reader's list, filling it first where there is none. `None` where
/// somebody else is filling it.
async fn slice(
    pool: &PgPool,
    lists: &Lists,
    reader: AccountId,
    before: Option<EntryId>,
    count: u32,
) -> Result<Option<Slice>, ReadError> {
    if let Some(slice) = lists.read(reader, before, count).await? {
        return Ok(Some(slice));
    }
    fill(pool, lists, reader).await?;
    lists.read(reader, before, count).await
}
