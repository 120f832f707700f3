//! Which entries a home has, as the tables say: queries of ids, either way.

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use super::{EntryId, TIMELINE_ENTRIES_MAX};
use crate::{
    ReadError,
    paging::{Step, turned},
    visibility::{unhidden, unmuted, visible},
};

/// `SELECT` of the ids nearest beyond `$2`, at most `$3`: of posts of oneself, and of posts
/// and reposts of whom `$1` follows, as far as the condition on each says.
macro_rules! nearest {
    ($of_followed:expr, $of_oneself:literal, $beyond:literal, $order:literal) => {
        concat!(
            "SELECT p.id FROM (
                SELECT s.followed_id AS account_id, true AS is_followed FROM follows AS s ",
            $of_followed,
            " UNION ALL SELECT a.id, false FROM accounts AS a WHERE a.id = $1 ",
            $of_oneself,
            ") AS s CROSS JOIN LATERAL (
                (SELECT q.id FROM posts AS q
                 WHERE q.author_id = s.account_id AND q.deleted_at IS NULL AND q.id ",
            $beyond,
            " $2 ORDER BY q.id ",
            $order,
            " LIMIT $3)
                UNION ALL
                (SELECT q.repost_id FROM reposts AS q
                 WHERE s.is_followed AND q.account_id = s.account_id AND q.repost_id ",
            $beyond,
            " $2 ORDER BY q.repost_id ",
            $order,
            " LIMIT $3)
             ) AS p ORDER BY p.id ",
            $order,
            " LIMIT $3"
        )
    };
}

/// The milliseconds of an id.
macro_rules! milliseconds {
    ($id:literal) => {
        concat!(
            "('x' || left(replace(",
            $id,
            "::text, '-', ''), 12))::bit(48)::bigint"
        )
    };
}

/// `SELECT` of the ids of home that are nearest beyond `$2`, at most `$3`.
macro_rules! home {
    ($beyond:literal, $order:literal) => {
        concat!(
            "WITH followed AS (
            SELECT a.id FROM follows AS s JOIN accounts AS a ON a.id = s.followed_id
            WHERE s.follower_id = $1 AND ",
            unhidden!(),
            "), entry AS (
            SELECT p.id, p.id AS post_id FROM posts AS p JOIN accounts AS a ON a.id = p.author_id
            WHERE p.deleted_at IS NULL AND NOT a.deactivated
              AND (p.author_id = $1 OR p.author_id IN (SELECT id FROM followed))
            UNION ALL
            SELECT r.repost_id, p.id
            FROM reposts AS r JOIN posts AS p ON p.id = r.post_id
            JOIN accounts AS a ON a.id = p.author_id
            WHERE r.account_id IN (SELECT id FROM followed) AND ",
            visible!(),
            unmuted!(),
            "), placed AS (
            SELECT id, post_id, lag(id) OVER (PARTITION BY post_id ORDER BY id) AS earlier
            FROM entry
        )
        SELECT id FROM placed WHERE id ",
            $beyond,
            " $2 AND (id = post_id OR earlier IS NULL OR ",
            milliseconds!("id"),
            " - ",
            milliseconds!("earlier"),
            " > 86400000) ORDER BY id ",
            $order,
            " LIMIT $3"
        )
    };
}

/// The oracle: the entries of home. Posts of oneself and of whom one follows; reposts by
/// whom one follows, but for those that come within a day after the same post or another
/// repost of it.
pub async fn home_ids(
    pool: &PgPool,
    reader: AccountId,
    step: Step<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    let query = sqlx::query(turned!(step.way, home)).bind(reader.0);
    let query = query.bind(step.key.0).bind(i64::from(step.count));
    entry_ids(&query.fetch_all(pool).await?)
}

/// Home, and what it does not show of those whom one follows and does not hide.
pub(super) async fn unhidden_ids(
    pool: &PgPool,
    reader: AccountId,
    step: Step<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    macro_rules! sql {
        ($beyond:literal, $order:literal) => {
            nearest!(
                concat!(
                    "JOIN accounts AS a ON a.id = s.followed_id WHERE s.follower_id = $1 AND ",
                    unhidden!()
                ),
                "AND NOT a.deactivated",
                $beyond,
                $order
            )
        };
    }
    let query = sqlx::query(turned!(step.way, sql)).bind(reader.0);
    let query = query.bind(step.key.0).bind(i64::from(step.count));
    entry_ids(&query.fetch_all(pool).await?)
}

/// The same, and what is hidden of those that one follows but of `without`.
pub(super) async fn followed_ids(
    pool: &PgPool,
    reader: AccountId,
    without: &[Uuid],
    step: Step<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    macro_rules! sql {
        ($beyond:literal, $order:literal) => {
            nearest!(
                "WHERE s.follower_id = $1 AND s.followed_id <> ALL($4)",
                "",
                $beyond,
                $order
            )
        };
    }
    let rows = sqlx::query(turned!(step.way, sql))
        .bind(reader.0)
        .bind(step.key.0)
        .bind(i64::from(step.count))
        .bind(without)
        .fetch_all(pool)
        .await?;
    entry_ids(&rows)
}

/// Ids of an account's posts and reposts.
pub(crate) async fn authored_ids(
    pool: &PgPool,
    author: AccountId,
    step: Step<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    macro_rules! sql {
        ($beyond:literal, $order:literal) => {
            concat!(
                "(SELECT id FROM posts WHERE author_id = $1 AND deleted_at IS NULL AND id ",
                $beyond,
                " $2 ORDER BY id ",
                $order,
                " LIMIT $3)
                 UNION ALL
                 (SELECT repost_id FROM reposts WHERE account_id = $1 AND repost_id ",
                $beyond,
                " $2 ORDER BY repost_id ",
                $order,
                " LIMIT $3) ORDER BY id ",
                $order,
                " LIMIT $3"
            )
        };
    }
    let query = sqlx::query(turned!(step.way, sql)).bind(author.0);
    let query = query.bind(step.key.0).bind(i64::from(step.count));
    entry_ids(&query.fetch_all(pool).await?)
}

/// Entries of whom one follows that should be in the reader's list: not of accounts
/// that are pulled. Some may be on their way, or below what the list keeps: see
/// `missing`.
pub async fn listed_ids(pool: &PgPool, reader: AccountId) -> Result<Vec<EntryId>, ReadError> {
    let home = followed_ids(pool, reader, &[], Step::newest(TIMELINE_ENTRIES_MAX)).await?;
    let home: Vec<Uuid> = home.into_iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "SELECT id FROM posts WHERE id = ANY($1) AND (author_id = $2
             OR author_id NOT IN (SELECT account_id FROM projections.pulled_authors))
         UNION ALL
         SELECT repost_id FROM reposts WHERE repost_id = ANY($1)
             AND account_id NOT IN (SELECT account_id FROM projections.pulled_authors)",
    )
    .bind(home)
    .bind(reader.0)
    .fetch_all(pool)
    .await?;
    entry_ids(&rows)
}

fn entry_ids(rows: &[PgRow]) -> Result<Vec<EntryId>, ReadError> {
    let ids = rows.iter().map(|row| Ok(EntryId(row.try_get("id")?)));
    ids.collect()
}
