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
use kernel::{AccountId, crash};
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
    paging::{Filling, Part, Start, Step, Way, part, turned},
    posts::{PostRow, look, looked},
    touches::Touch,
    visibility::viewer_id,
};
use ids::followed_ids;
use lists::Slice;

/// What of an account's posts is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authored {
    pub author: AccountId,
    /// The viewer is the author or follows it, and may see posts for followers.
    pub is_close: bool,
    /// Replies alone, or what is none; none: both.
    pub replies: Option<bool>,
}

/// An account's posts and replies that the viewer may see, newest id first.
pub async fn of_account(
    pool: &PgPool,
    viewer: Option<AccountId>,
    Authored {
        author,
        is_close,
        replies,
    }: Authored,
    start: Start<PostId>,
    limit: u32,
) -> Result<Part<PostRow, PostId>, ReadError> {
    macro_rules! list {
        ($condition:literal, $beyond:literal, $order:literal) => {
            look!(
                concat!(
                    "SELECT id FROM posts WHERE author_id = $2 ",
                    $condition,
                    " AND id ",
                    $beyond,
                    " $3 ORDER BY id ",
                    $order,
                    " LIMIT $4"
                ),
                "AND ($5::bool IS NULL OR (p.parent_id IS NOT NULL) = $5) ",
                $order
            )
        };
    }
    macro_rules! all {
        ($beyond:literal, $order:literal) => {
            list!("", $beyond, $order)
        };
    }
    macro_rules! public {
        ($beyond:literal, $order:literal) => {
            list!(
                "AND deleted_at IS NULL AND NOT followers_only",
                $beyond,
                $order
            )
        };
    }
    let way = start.way(Way::Down);
    let sql = match is_close {
        true => turned!(way, all),
        false => turned!(way, public),
    };
    let look = |step: Step<PostId>| async move {
        let rows = sqlx::query(sql)
            .bind(viewer_id(viewer))
            .bind(author.0)
            .bind(step.key.0)
            .bind(i64::from(step.count))
            .bind(replies)
            .fetch_all(pool)
            .await?;
        looked(&rows)
    };
    part(Way::Down, start, limit, look).await
}

/// Authors whose posts are pulled when read, instead of pushed.
pub async fn pulled_authors(pool: &PgPool) -> Result<BTreeSet<AccountId>, ReadError> {
    let sql = "SELECT account_id FROM projections.pulled_authors";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok(AccountId(row.try_get("account_id")?)))
        .collect()
}

/// Posts, newest first, some of which are hidden from the one who looks.
trait Timeline<T> {
    /// The ids of the step, or a superset of them, the nearest first; fewer only where
    /// there are no more.
    fn candidates(
        &self,
        step: Step<EntryId>,
    ) -> impl Future<Output = Result<Vec<EntryId>, ReadError>> + Send;

    /// Those of `ids` that are not hidden, in that order. `touches`: what else that
    /// depends on, beside the posts that are shown.
    fn seen(
        &self,
        ids: &[EntryId],
        touches: &mut Vec<Touch>,
    ) -> impl Future<Output = Result<Vec<Seen<T>>, ReadError>> + Send;
}

/// Up to `limit` posts, and what they depend on: as `part`.
async fn refilled<T, L: Timeline<T>>(
    timeline: &L,
    start: Start<EntryId>,
    limit: u32,
) -> Result<(Part<Seen<T>, EntryId>, Vec<Touch>), ReadError> {
    let mut touches = Vec::new();
    let mut filling = Filling::new(Way::Down, start, limit);
    while let Some(step) = filling.step() {
        let ids = timeline.candidates(step).await?;
        let seen = timeline.seen(&ids, &mut touches).await?;
        let mut seen = seen.into_iter().peekable();
        let looked = ids.into_iter().map(|id| {
            let row = seen.next_if(|row| row.entry() == id);
            (id, row)
        });
        filling.take(looked.collect());
    }
    Ok((filling.part(), touches))
}

/// Fills the reader's list where there is none, and nobody else is filling it.
pub async fn fill(pool: &PgPool, lists: &Lists, reader: AccountId) -> Result<bool, ReadError> {
    // The mark comes before the query: what is pushed meanwhile is kept beside
    // it and united with what the query found.
    let Some(mark) = lists.begin(reader).await? else {
        return Ok(false);
    };
    let ids = followed_ids(pool, reader, &[], Step::newest(TIMELINE_ENTRIES_MAX + 1)).await?;
    crash::point("timeline.fill");
    lists.finish(reader, &mark, &ids).await
}

/// Those of `wanted` that the reader's list lacks; none where there is no list.
pub async fn missing(
    lists: &Lists,
    reader: AccountId,
    mut wanted: Vec<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    let Some(slice) = lists
        .read(reader, Step::newest(TIMELINE_ENTRIES_MAX))
        .await?
    else {
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
    step: Step<EntryId>,
) -> Result<Option<Slice>, ReadError> {
    if let Some(slice) = lists.read(reader, step).await? {
        return Ok(Some(slice));
    }
    fill(pool, lists, reader).await?;
    lists.read(reader, step).await
}
