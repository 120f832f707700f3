//! Likes: the edges, who liked a post, and how many did.

use std::collections::{BTreeMap, BTreeSet};

use domain::likes::LikeEvent;
use domain::posts::PostId;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{
    ReadError, accounts,
    accounts::AccountRow,
    blocks::listed,
    edges,
    posts::viewer_id,
    social::{Counters, Happened, Tables},
    standing::Moves,
};

/// The last of what a batch did to each edge: when it was liked, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    edges: BTreeMap<(Uuid, Uuid), Option<i64>>,
}

impl Fold {
    pub fn take(&mut self, happened: &Happened, event: &LikeEvent) {
        let Some(post) = happened.aggregate.member else {
            return;
        };
        let liked_at = match event {
            LikeEvent::Liked(_) => Some(happened.recorded_at.0),
            LikeEvent::Unliked(_) => None,
        };
        self.edges.insert((happened.aggregate.id, post), liked_at);
    }

    pub async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        counters: &mut Counters,
    ) -> Result<(), ReadError> {
        if self.edges.is_empty() {
            return Ok(());
        }
        let accounts: Vec<Uuid> = self.edges.keys().map(|edge| edge.0).collect();
        let posts: Vec<Uuid> = self.edges.keys().map(|edge| edge.1).collect();
        let liked_at: Vec<Option<i64>> = self.edges.values().copied().collect();
        let sql = tables.sql(
            "WITH change AS (
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])
                    AS c (account_id, post_id, liked_at)
             ), gone AS (
                DELETE FROM {s}.likes AS l USING change AS c
                WHERE c.liked_at IS NULL
                  AND l.account_id = c.account_id AND l.post_id = c.post_id
                RETURNING l.account_id, l.post_id
             ), come AS (
                INSERT INTO {s}.likes (account_id, post_id, liked_at)
                SELECT account_id, post_id, liked_at FROM change WHERE liked_at IS NOT NULL
                ON CONFLICT (account_id, post_id) DO UPDATE SET liked_at = EXCLUDED.liked_at
                RETURNING account_id, post_id, xmax = 0 AS is_new
             )
             SELECT post_id, sum(change)::bigint AS likes FROM (
                SELECT account_id, post_id, 1 AS change FROM come WHERE is_new
                UNION ALL SELECT account_id, post_id, -1 FROM gone
             ) AS changes
             WHERE (SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = account_id)
                IS NOT TRUE
             GROUP BY post_id",
        );
        let rows = sqlx::query(sql)
            .bind(accounts)
            .bind(posts)
            .bind(liked_at)
            .fetch_all(&mut **transaction)
            .await?;
        add(&rows, counters)
    }
}

/// Adds what the statement really did.
fn add(rows: &[PgRow], counters: &mut Counters) -> Result<(), ReadError> {
    for row in rows {
        let post = row.try_get("post_id")?;
        counters.posts.entry(post).or_default().likes += row.try_get::<i64, _>("likes")?;
    }
    Ok(())
}

/// Likes of whoever moves.
pub(crate) async fn move_standings(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    moves: &Moves,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql(
        "SELECT l.post_id, sum(m.change)::bigint AS likes
         FROM unnest($1::uuid[], $2::bigint[]) AS m (id, change)
         JOIN {s}.likes AS l ON l.account_id = m.id GROUP BY l.post_id",
    );
    let rows = sqlx::query(sql)
        .bind(&moves.accounts)
        .bind(&moves.changes)
        .fetch_all(&mut **transaction)
        .await?;
    add(&rows, counters)
}

/// Takes one edge back, as if it had never been.
pub(crate) async fn forget(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    account: Uuid,
    post: Uuid,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql(
        "WITH gone AS (
            DELETE FROM {s}.likes WHERE account_id = $1 AND post_id = $2
            RETURNING account_id, post_id
         )
         SELECT post_id, -1::bigint AS likes FROM gone
         WHERE (SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = account_id)
            IS NOT TRUE",
    );
    let rows = sqlx::query(sql)
        .bind(account)
        .bind(post)
        .fetch_all(&mut **transaction)
        .await?;
    add(&rows, counters)
}

/// Posts with ids from `since` on that `account` likes, at most `limit`.
pub(crate) async fn liked_since(
    pool: &PgPool,
    account: AccountId,
    since: PostId,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let sql = "SELECT post_id FROM likes WHERE account_id = $1 AND post_id >= $2
               ORDER BY post_id DESC LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(since.0)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("post_id")?)))
        .collect()
}

/// Those of `posts` that `account` likes.
pub(crate) async fn liked_among(
    pool: &PgPool,
    account: AccountId,
    posts: &[PostId],
) -> Result<BTreeSet<PostId>, ReadError> {
    let posts: Vec<Uuid> = posts.iter().map(|post| post.0).collect();
    let sql = "SELECT post_id FROM likes WHERE account_id = $1 AND post_id = ANY($2)";
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(posts)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("post_id")?)))
        .collect()
}

/// Who liked `post`, the last first, without those that the viewer blocks or is
/// blocked by. `last` is the key of the last row seen.
pub async fn likers(
    pool: &PgPool,
    viewer: Option<AccountId>,
    post: PostId,
    last: Option<(i64, AccountId)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, account) = edges::after(last);
    let rows = sqlx::query(accounts::select!(
        ", e.liked_at AS edge_at FROM likes AS e JOIN accounts AS a ON a.id = e.account_id",
        concat!(
            "WHERE ",
            listed!(),
            "AND e.post_id = $2 AND (e.liked_at, e.account_id) < ($3, $4)
             ORDER BY e.liked_at DESC, e.account_id DESC LIMIT $5"
        )
    ))
    .bind(viewer_id(viewer))
    .bind(post.0)
    .bind(at)
    .bind(account)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    edges::read_all(&rows)
}
