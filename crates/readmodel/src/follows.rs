//! Follows: the edges, followers and followed, how many there are, and who asked
//! to be let in.

use std::collections::{BTreeMap, BTreeSet};

use domain::follows::FollowEvent;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{
    ReadError, accounts,
    accounts::AccountRow,
    blocks::listed,
    edges::{self, Changes, EdgeTable},
    posts::viewer_id,
    social::{Counters, Happened, Tables},
    standing::Moves,
};

const REQUESTS: EdgeTable = EdgeTable {
    name: "follow_requests",
    from: "follower_id",
    to: "followed_id",
    since: "requested_at",
};

/// The last of what a batch did to each edge: since when, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    edges: BTreeMap<(Uuid, Uuid), Option<i64>>,
    requests: Changes,
}

impl Fold {
    pub fn take(&mut self, happened: &Happened, event: &FollowEvent) {
        let Some(followed) = happened.aggregate.member else {
            return;
        };
        let holds = match event {
            FollowEvent::Followed(_) | FollowEvent::FollowRequestAccepted(_) => Some(true),
            FollowEvent::Unfollowed(_)
            | FollowEvent::FollowerRemoved(_)
            | FollowEvent::FollowSevered(_) => Some(false),
            FollowEvent::FollowRequested(_)
            | FollowEvent::FollowRequestWithdrawn(_)
            | FollowEvent::FollowRequestRejected(_) => None,
        };
        if let Some(holds) = holds {
            let followed_at = holds.then_some(happened.recorded_at.0);
            let edge = (happened.aggregate.id, followed);
            self.edges.insert(edge, followed_at);
        }
        match event {
            FollowEvent::FollowRequested(_) => self.requests.take(happened, true),
            FollowEvent::FollowRequestWithdrawn(_)
            | FollowEvent::FollowRequestAccepted(_)
            | FollowEvent::FollowRequestRejected(_)
            | FollowEvent::FollowSevered(_) => self.requests.take(happened, false),
            FollowEvent::Followed(_)
            | FollowEvent::Unfollowed(_)
            | FollowEvent::FollowerRemoved(_) => {}
        }
    }

    /// Whether there is anything to count.
    pub fn counts(&self) -> bool {
        !self.edges.is_empty()
    }

    pub async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        counters: &mut Counters,
    ) -> Result<(), ReadError> {
        self.write_edges(transaction, tables, counters).await?;
        self.requests.write(transaction, tables, &REQUESTS).await
    }

    async fn write_edges(
        &self,
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
                FROM changes AS c WHERE (
                    SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = c.follower_id
                ) IS NOT TRUE
                UNION ALL SELECT follower_id, 0, change
                FROM changes AS c WHERE (
                    SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = c.followed_id
                ) IS NOT TRUE
             ) AS counts GROUP BY account_id",
        );
        let rows = sqlx::query(sql)
            .bind(followers)
            .bind(followed)
            .bind(followed_at)
            .fetch_all(&mut **transaction)
            .await?;
        add(&rows, counters)
    }
}

/// Adds what the statement really did.
fn add(rows: &[PgRow], counters: &mut Counters) -> Result<(), ReadError> {
    for row in rows {
        let account = row.try_get("account_id")?;
        let counts = counters.accounts.entry(account).or_default();
        counts.followers += row.try_get::<i64, _>("followers")?;
        counts.following += row.try_get::<i64, _>("following")?;
    }
    Ok(())
}

/// Whoever moves is one less, or more, among the followers of whom they follow, and
/// among those that their followers follow.
pub(crate) async fn move_standings(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    moves: &Moves,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql(
        "WITH moves AS (SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS m (id, change))
         SELECT account_id, sum(followers)::bigint AS followers,
                sum(following)::bigint AS following FROM (
            SELECT f.followed_id AS account_id, m.change AS followers, 0 AS following
            FROM moves AS m JOIN {s}.follows AS f ON f.follower_id = m.id
            UNION ALL SELECT f.follower_id, 0, m.change
            FROM moves AS m JOIN {s}.follows AS f ON f.followed_id = m.id
         ) AS counts GROUP BY account_id",
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
    follower: Uuid,
    followed: Uuid,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql(
        "WITH gone AS (
            DELETE FROM {s}.follows WHERE follower_id = $1 AND followed_id = $2
            RETURNING follower_id, followed_id
         )
         SELECT (SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = follower_id)
                    IS NOT TRUE AS follower_counts,
                (SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = followed_id)
                    IS NOT TRUE AS followed_counts
         FROM gone",
    );
    let gone = sqlx::query(sql)
        .bind(follower)
        .bind(followed)
        .fetch_optional(&mut **transaction)
        .await?;
    if let Some(gone) = gone {
        let counts = |column| gone.try_get::<bool, _>(column).map(i64::from);
        counters.accounts.entry(follower).or_default().following -= counts("followed_counts")?;
        counters.accounts.entry(followed).or_default().followers -= counts("follower_counts")?;
    }
    REQUESTS
        .forget(transaction, tables, follower, followed)
        .await
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

/// Whether `follower` follows `followed`.
pub async fn holds(
    pool: &PgPool,
    follower: AccountId,
    followed: AccountId,
) -> Result<bool, ReadError> {
    let one = BTreeSet::from([followed]);
    Ok(!followed_among(pool, follower, &one).await?.is_empty())
}

/// Which end of the edges to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Followers,
    Following,
}

/// Followers of `account` or those it follows, the last first, without those
/// that the viewer blocks or is blocked by. `last` is the key of the last row
/// seen.
pub async fn list(
    pool: &PgPool,
    viewer: Option<AccountId>,
    account: AccountId,
    side: Side,
    last: Option<(i64, AccountId)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, id) = edges::after(last);
    let sql = match side {
        Side::Followers => accounts::select!(
            ", e.followed_at AS edge_at FROM follows AS e
             JOIN accounts AS a ON a.id = e.follower_id",
            concat!(
                "WHERE ",
                listed!(),
                "AND e.followed_id = $2 AND (e.followed_at, e.follower_id) < ($3, $4)
                 ORDER BY e.followed_at DESC, e.follower_id DESC LIMIT $5"
            )
        ),
        Side::Following => accounts::select!(
            ", e.followed_at AS edge_at FROM follows AS e
             JOIN accounts AS a ON a.id = e.followed_id",
            concat!(
                "WHERE ",
                listed!(),
                "AND e.follower_id = $2 AND (e.followed_at, e.followed_id) < ($3, $4)
                 ORDER BY e.followed_at DESC, e.followed_id DESC LIMIT $5"
            )
        ),
    };
    let rows = sqlx::query(sql)
        .bind(viewer_id(viewer))
        .bind(account.0)
        .bind(at)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    edges::read_all(&rows)
}

/// Who asked to follow `account` and waits, the last first. `last` is the key of
/// the last row seen.
pub async fn requests(
    pool: &PgPool,
    account: AccountId,
    last: Option<(i64, AccountId)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, id) = edges::after(last);
    let rows = sqlx::query(accounts::select!(
        ", e.requested_at AS edge_at FROM follow_requests AS e
         JOIN accounts AS a ON a.id = e.follower_id",
        concat!(
            "WHERE ",
            listed!(),
            "AND e.followed_id = $1 AND (e.requested_at, e.follower_id) < ($2, $3)
             ORDER BY e.requested_at DESC, e.follower_id DESC LIMIT $4"
        )
    ))
    .bind(account.0)
    .bind(at)
    .bind(id)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    edges::read_all(&rows)
}
