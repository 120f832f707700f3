//! Posts and replies: rows, threads, revisions. Every query asks who looks:
//! what that viewer may not see is not there.

mod fold;

use std::collections::BTreeMap;

use domain::posts::PostId;
use kernel::{AccountId, Timestamp, Uuid};
use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, Row, postgres::PgRow};

pub(crate) use fold::Fold;

use crate::{
    ReadError,
    counters::PostCounts,
    features,
    marks::Marks,
    paging::{Part, Start, Step, Way, part, turned},
    visibility::{Audience, unmuted, viewer_id},
};

/// Ancestors shown above a post, at most: the nearest.
pub const ANCESTORS_MAX: u32 = 100;

/// A post as one viewer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PostRow {
    pub id: PostId,
    pub author: Author,
    /// None where the author's personal data is erased.
    pub text: Option<String>,
    pub hashtags: Vec<String>,
    /// Accounts that are mentioned, with their handles, as far as these are known.
    pub mentions: Vec<(Uuid, Option<String>)>,
    pub metadata: Option<serde_json::Value>,
    pub language: Option<String>,
    pub followers_only: bool,
    pub audience: Audience,
    pub parent_id: Option<PostId>,
    pub root_id: Option<PostId>,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub version: u64,
    pub counts: PostCounts,
    /// What the viewer did with it; empty for anonymous readers.
    pub marks: Marks,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Author {
    pub id: AccountId,
    pub handle: String,
    pub display_name: Option<String>,
}

/// What a post said before it was edited.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionRow {
    pub version: u64,
    pub text: Option<String>,
    pub metadata: Option<serde_json::Value>,
    pub language: Option<String>,
    pub written_at: Timestamp,
}

/// `SELECT` of everything that `PostRow` has, with posts as `p`, their authors
/// as `a`, and their counters as `n`.
macro_rules! columns {
    ($marks:expr) => {
        concat!(
            "SELECT p.id, p.author_id, a.handle, a.display_name, p.text, p.hashtags, p.mentions,
                    CASE WHEN p.mentions <> '{}' THEN ARRAY(
                        SELECT named.handle FROM unnest(p.mentions) WITH ORDINALITY AS m (id, place)
                        LEFT JOIN accounts AS named ON named.id = m.id ORDER BY m.place
                    ) END AS mentioned_handles,
                    p.metadata, p.language, p.followers_only, a.private, a.deactivated,
                    p.parent_id, p.root_id, p.created_at, p.edited_at, p.version, ",
            post_counts!(),
            $marks,
            " AS marks "
        )
    };
}
pub(crate) use columns;

/// The same with the viewer as `$1`, of what that viewer may see.
macro_rules! select {
    ($from:literal, $condition:expr, $order:literal) => {
        concat!(
            $crate::posts::columns!(marks!()),
            $from,
            " JOIN accounts AS a ON a.id = p.author_id
             LEFT JOIN post_counters AS n ON n.post_id = p.id
             WHERE ",
            $crate::visibility::visible!(),
            $condition,
            $order
        )
    };
}
pub(crate) use select;

impl PostRow {
    fn read(row: &PgRow) -> Result<Self, ReadError> {
        let at = |column| row.try_get::<Option<i64>, _>(column);
        let post = |column| row.try_get::<Option<Uuid>, _>(column);
        Ok(Self {
            id: PostId(row.try_get("id")?),
            author: Author {
                id: AccountId(row.try_get("author_id")?),
                handle: row.try_get("handle")?,
                display_name: row.try_get("display_name")?,
            },
            text: row.try_get("text")?,
            hashtags: row.try_get("hashtags")?,
            mentions: mentions(row)?,
            metadata: row.try_get("metadata")?,
            language: row.try_get("language")?,
            followers_only: row.try_get("followers_only")?,
            audience: Audience::read(row)?,
            parent_id: post("parent_id")?.map(PostId),
            root_id: post("root_id")?.map(PostId),
            created_at: Timestamp(row.try_get("created_at")?),
            edited_at: at("edited_at")?.map(Timestamp),
            version: row.try_get::<i64, _>("version")? as u64,
            counts: PostCounts::read(row)?,
            marks: Marks::read(row)?,
        })
    }
}

fn mentions(row: &PgRow) -> Result<Vec<(Uuid, Option<String>)>, ReadError> {
    let ids: Vec<Uuid> = row.try_get("mentions")?;
    let handles: Option<Vec<Option<String>>> = row.try_get("mentioned_handles")?;
    Ok(ids.into_iter().zip(handles.unwrap_or_default()).collect())
}

pub(crate) fn read_all(rows: &[PgRow]) -> Result<Vec<PostRow>, ReadError> {
    rows.iter().map(PostRow::read).collect()
}

/// Those of `ids` that are there, whoever may see them; nobody likes them.
pub(crate) async fn as_everybody_sees(
    pool: &PgPool,
    ids: &[PostId],
) -> Result<Vec<PostRow>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let sql = concat!(
        columns!("0::smallint"),
        "FROM posts AS p JOIN accounts AS a ON a.id = p.author_id
         LEFT JOIN post_counters AS n ON n.post_id = p.id
         WHERE p.id = ANY($1) AND p.deleted_at IS NULL"
    );
    let rows = sqlx::query(sql).bind(ids).fetch_all(pool).await?;
    read_all(&rows)
}

/// What `replies` reply to, deleted ones too.
pub async fn parents(pool: &PgPool, replies: &[PostId]) -> Result<Vec<PostId>, ReadError> {
    let replies: Vec<Uuid> = replies.iter().map(|id| id.0).collect();
    let sql = "SELECT parent_id FROM posts WHERE id = ANY($1) AND parent_id IS NOT NULL";
    let rows = sqlx::query(sql).bind(replies).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("parent_id")?)))
        .collect()
}

/// The posts that count something of `accounts`, at most `limit`:
/// all whose counters change where one of them is deactivated or brought back.
pub async fn counting(
    pool: &PgPool,
    accounts: &[AccountId],
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let sql = features::counting() + " LIMIT $2";
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(accounts)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("post_id")?)))
        .collect()
}

pub async fn by_id(
    pool: &PgPool,
    viewer: Option<AccountId>,
    id: PostId,
) -> Result<Option<PostRow>, ReadError> {
    let row = sqlx::query(select!("FROM posts AS p", "AND p.id = $2", ""))
        .bind(viewer_id(viewer))
        .bind(id.0)
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(PostRow::read).transpose()
}

/// Those of `ids` that the viewer may see, in any order.
pub async fn by_ids(
    pool: &PgPool,
    viewer: Option<AccountId>,
    ids: &[PostId],
) -> Result<Vec<PostRow>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query(select!("FROM posts AS p", "AND p.id = ANY($2)", ""))
        .bind(viewer_id(viewer))
        .bind(ids)
        .fetch_all(pool)
        .await?;
    read_all(&rows)
}

/// `SELECT` of the next ids of the 500 posts that are nearest below `$2`. The
/// recursion stops as soon as the outer LIMIT has its rows. `LATERAL` with a limit keeps what is looked up for a
/// post a look-up: as a join, the planner would read all posts.
macro_rules! subtree {
    ($beyond:literal, $order:literal) => {
        concat!(
            "SELECT id FROM (
            WITH RECURSIVE down (id) AS (
                SELECT id FROM posts WHERE parent_id = $2
                UNION ALL
                SELECT q.id FROM down CROSS JOIN LATERAL (
                    SELECT id FROM posts WHERE parent_id = down.id ORDER BY id LIMIT 500
                ) AS q
            )
            SELECT id FROM down LIMIT 500
         ) AS below WHERE id ",
            $beyond,
            " $3 ORDER BY id ",
            $order,
            " LIMIT $4"
        )
    };
}

/// `SELECT` of a part of a list: the ids of `$page`, each with its post where the viewer
/// `$1` may see it. `OFFSET 0` makes that a look-up for each: as a join, the planner would
/// read all posts for a page of them.
macro_rules! look {
    ($page:expr, $condition:expr, $order:literal) => {
        concat!(
            "SELECT page.id AS key, shown.* FROM (",
            $page,
            ") AS page LEFT JOIN LATERAL (",
            $crate::posts::select!(
                "FROM posts AS p",
                concat!("AND p.id = page.id ", $condition),
                "OFFSET 0"
            ),
            ") AS shown ON true ORDER BY page.id ",
            $order
        )
    };
}
pub(crate) use look;

/// What `look!` gives.
pub(crate) fn looked(rows: &[PgRow]) -> Result<Vec<(PostId, Option<PostRow>)>, ReadError> {
    let read = |row: &PgRow| {
        let is_shown = row.try_get::<Option<Uuid>, _>("id")?.is_some();
        let post = is_shown.then(|| PostRow::read(row)).transpose()?;
        Ok((PostId(row.try_get("key")?), post))
    };
    rows.iter().map(read).collect()
}

/// A part of what is below `of`, oldest first; `sql` is of `look!`.
async fn below(
    pool: &PgPool,
    sql: &'static str,
    (viewer, of): (Option<AccountId>, PostId),
    start: Start<PostId>,
    limit: u32,
) -> Result<Part<PostRow, PostId>, ReadError> {
    let look = |step: Step<PostId>| async move {
        let rows = sqlx::query(sql)
            .bind(viewer_id(viewer))
            .bind(of.0)
            .bind(step.key.0)
            .bind(i64::from(step.count))
            .fetch_all(pool)
            .await?;
        looked(&rows)
    };
    part(Way::Up, start, limit, look).await
}

/// `SELECT` of posts whose `$column` is `$2`, without those of whom the viewer mutes.
macro_rules! under {
    ($column:literal, $beyond:literal, $order:literal) => {
        look!(
            concat!(
                "SELECT id FROM posts WHERE ",
                $column,
                " = $2 AND id ",
                $beyond,
                " $3 ORDER BY id ",
                $order,
                " LIMIT $4"
            ),
            unmuted!(),
            $order
        )
    };
}

/// Replies to `parent` itself, oldest first, without those of whom the viewer mutes.
pub async fn replies(
    pool: &PgPool,
    viewer: Option<AccountId>,
    parent: PostId,
    start: Start<PostId>,
    limit: u32,
) -> Result<Part<PostRow, PostId>, ReadError> {
    macro_rules! replies {
        ($beyond:literal, $order:literal) => {
            under!("parent_id", $beyond, $order)
        };
    }
    let sql = turned!(start.way(Way::Up), replies);
    below(pool, sql, (viewer, parent), start, limit).await
}

/// What `post` replies to, up to the root, the root first. Deleted ancestors,
/// and those that the viewer may not see, are left out.
pub async fn ancestors(
    pool: &PgPool,
    viewer: Option<AccountId>,
    post: PostId,
) -> Result<Vec<PostRow>, ReadError> {
    let rows = sqlx::query(select!(
        "FROM (
            WITH RECURSIVE up (id, parent_id, depth) AS (
                SELECT id, parent_id, 0 FROM posts WHERE id = $2
                UNION ALL
                SELECT q.id, q.parent_id, up.depth + 1
                FROM up JOIN posts AS q ON q.id = up.parent_id WHERE up.depth < $3
            )
            SELECT id, depth FROM up WHERE depth > 0
         ) AS u JOIN posts AS p ON p.id = u.id",
        "",
        "ORDER BY u.depth DESC"
    ))
    .bind(viewer_id(viewer))
    .bind(post.0)
    .bind(ANCESTORS_MAX as i32)
    .fetch_all(pool)
    .await?;
    read_all(&rows)
}

/// `posts` and what these reply to, each with what it replies to itself: of deleted ones
/// upwards, to the first that is there. At most [`ANCESTORS_MAX`] steps, and `limit` posts.
pub async fn deleted_upwards(
    pool: &PgPool,
    posts: &[PostId],
    limit: u32,
) -> Result<BTreeMap<PostId, Option<PostId>>, ReadError> {
    let posts: Vec<Uuid> = posts.iter().map(|id| id.0).collect();
    let sql = "WITH RECURSIVE up (id, parent_id, is_deleted, depth) AS (
            SELECT id, parent_id, deleted_at IS NOT NULL, 0 FROM posts WHERE id = ANY($1)
            UNION
            SELECT q.id, q.parent_id, q.deleted_at IS NOT NULL, up.depth + 1
            FROM up JOIN posts AS q ON q.id = up.parent_id
            WHERE up.is_deleted AND up.depth < $2
        )
        SELECT id, parent_id FROM up LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(posts)
        .bind(ANCESTORS_MAX as i32)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    let read = |row: &PgRow| {
        let parent: Option<Uuid> = row.try_get("parent_id")?;
        Ok((PostId(row.try_get("id")?), parent.map(PostId)))
    };
    rows.iter().map(read).collect()
}

/// Everything below `post`, nested replies too, oldest first, without those of whom the
/// viewer mutes: of a root the whole thread, of a reply the 500 that are nearest.
pub async fn descendants(
    pool: &PgPool,
    viewer: Option<AccountId>,
    (post, is_root): (PostId, bool),
    start: Start<PostId>,
    limit: u32,
) -> Result<Part<PostRow, PostId>, ReadError> {
    macro_rules! thread {
        ($beyond:literal, $order:literal) => {
            under!("root_id", $beyond, $order)
        };
    }
    macro_rules! nearest {
        ($beyond:literal, $order:literal) => {
            look!(subtree!($beyond, $order), unmuted!(), $order)
        };
    }
    let way = start.way(Way::Up);
    let sql = match is_root {
        true => turned!(way, thread),
        false => turned!(way, nearest),
    };
    below(pool, sql, (viewer, post), start, limit).await
}

/// What the post said before, the latest first.
pub async fn revisions(
    pool: &PgPool,
    post: PostId,
    start: Start<u64>,
    limit: u32,
) -> Result<Part<RevisionRow, u64>, ReadError> {
    macro_rules! sql {
        ($beyond:literal, $order:literal) => {
            concat!(
                "SELECT version, text, metadata, language, written_at FROM post_revisions
                 WHERE post_id = $1 AND version ",
                $beyond,
                " $2 ORDER BY version ",
                $order,
                " LIMIT $3"
            )
        };
    }
    let look = |step: Step<u64>| async move {
        let rows = sqlx::query(turned!(step.way, sql))
            .bind(post.0)
            .bind(step.key as i64)
            .bind(i64::from(step.count))
            .fetch_all(pool)
            .await?;
        rows.iter().map(RevisionRow::read).collect()
    };
    part(Way::Down, start, limit, look).await
}

impl RevisionRow {
    fn read(row: &PgRow) -> Result<(u64, Option<Self>), ReadError> {
        let version = row.try_get::<i64, _>("version")? as u64;
        let revision = Self {
            version,
            text: row.try_get("text")?,
            metadata: row.try_get("metadata")?,
            language: row.try_get("language")?,
            written_at: Timestamp(row.try_get("written_at")?),
        };
        Ok((version, Some(revision)))
    }
}
