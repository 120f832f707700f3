//! Follows: the edges, followers and followed, and how many there are.

use std::collections::{BTreeMap, BTreeSet};

use domain::follows::FollowEvent;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row};

use crate::{
    ReadError,
    accounts::AccountRow,
    social::{Counters, Happened, Tables},
};

/// The last of what a batch did to each edge: since when, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    edges: BTreeMap<(Uuid, Uuid), Option<i64>>,
}

impl Fold {
    pub fn take(&mut self, happened: &Happened, event: &FollowEvent) {
        let Some(followed) = happened.aggregate.member else {
            return;
        };
        let followed_at = match event {
            FollowEvent::Followed(_) => Some(happened.recorded_at.0),
            FollowEvent::Unfollowed(_) => None,
        };
        self.edges
            .insert((happened.aggregate.id, followed), followed_at);
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
        let followers: Vec<Uuid> = self.edges.keys().map(|edge| edge.0).collect();
        let followed: Vec<Uuid> = self.edges.keys().map(|edge| edge.1).collect();
        let followed_at: Vec<Option<i64>> = self.edges.values().copied().collect();
        let sql = tables.sql(
            "WITH change AS (
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])
                    AS c (follower_id, followed_id, followed_at)
             ), gone AS (
                DELETE FROM {s}.follows AS f USING change AS c
                WHERE c.followed_at IS NULL
                  AND f.follower_id = c.follower_id AND f.followed_id = c.followed_id
                RETURNING f.follower_id, f.followed_id
             ), come AS (
                INSERT INTO {s}.follows (follower_id, followed_id, followed_at)
                SELECT follower_id, followed_id, followed_at FROM change
                WHERE followed_at IS NOT NULL
                ON CONFLICT (follower_id, followed_id)
                    DO UPDATE SET followed_at = EXCLUDED.followed_at
                RETURNING follower_id, followed_id, xmax = 0 AS is_new
             ), changes AS (
                SELECT follower_id, followed_id, 1 AS change FROM come WHERE is_new
                UNION ALL SELECT follower_id, followed_id, -1 FROM gone
             )
             SELECT account_id, sum(followers)::bigint AS followers,
                    sum(following)::bigint AS following FROM (
                SELECT followed_id AS account_id, change AS followers, 0 AS following
                FROM changes
                UNION ALL SELECT follower_id, 0, change FROM changes
             ) AS counts GROUP BY account_id",
        );
        let rows = sqlx::query(sql)
            .bind(followers)
            .bind(followed)
            .bind(followed_at)
            .fetch_all(&mut **transaction)
            .await?;
        for row in rows {
            let account = row.try_get("account_id")?;
            let counts = counters.accounts.entry(account).or_default();
            counts.followers += row.try_get::<i64, _>("followers")?;
            counts.following += row.try_get::<i64, _>("following")?;
        }
        Ok(())
    }
}

/// Takes one edge back, as if it had never been.
pub(crate) async fn forget(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    follower: Uuid,
    followed: Uuid,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql("DELETE FROM {s}.follows WHERE follower_id = $1 AND followed_id = $2");
    let gone = sqlx::query(sql)
        .bind(follower)
        .bind(followed)
        .execute(&mut **transaction)
        .await?;
    let gone = gone.rows_affected() as i64;
    counters.accounts.entry(follower).or_default().following -= gone;
    counters.accounts.entry(followed).or_default().followers -= gone;
    Ok(())
}

/// Whom `account` follows, at most `limit`.
pub(crate) async fn followed(
    pool: &PgPool,
    account: AccountId,
    limit: u32,
) -> Result<Vec<AccountId>, ReadError> {
    let sql = "SELECT followed_id FROM follows WHERE follower_id = $1 LIMIT $2";
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(AccountId(row.try_get("followed_id")?)))
        .collect()
}

/// Those of `others` that `account` follows.
pub(crate) async fn followed_among(
    pool: &PgPool,
    account: AccountId,
    others: &BTreeSet<AccountId>,
) -> Result<BTreeSet<AccountId>, ReadError> {
    let others: Vec<Uuid> = others.iter().map(|other| other.0).collect();
    let sql = "SELECT followed_id FROM follows
               WHERE follower_id = $1 AND followed_id = ANY($2)";
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(others)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(AccountId(row.try_get("followed_id")?)))
        .collect()
}

/// Which end of the edges to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Followers,
    Following,
}

/// Followers of `account` or those it follows, the last first. `after` is the
/// key of the last row seen.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    side: Side,
    after: Option<(i64, AccountId)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, id) = after.map_or((i64::MAX, Uuid::max()), |(at, id)| (at, id.0));
    let sql = match side {
        Side::Followers => crate::accounts::select!(
            ", e.followed_at AS edge_at FROM follows AS e
             JOIN accounts AS a ON a.id = e.follower_id",
            "WHERE e.followed_id = $1 AND (e.followed_at, e.follower_id) < ($2, $3)
             ORDER BY e.followed_at DESC, e.follower_id DESC LIMIT $4"
        ),
        Side::Following => crate::accounts::select!(
            ", e.followed_at AS edge_at FROM follows AS e
             JOIN accounts AS a ON a.id = e.followed_id",
            "WHERE e.follower_id = $1 AND (e.followed_at, e.followed_id) < ($2, $3)
             ORDER BY e.followed_at DESC, e.followed_id DESC LIMIT $4"
        ),
    };
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(at)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("edge_at")?, AccountRow::read(row)?)))
        .collect()
}
