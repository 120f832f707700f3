//! Relationships: what one account has done to others, and they to it. It does
//! not tell who blocks the one who looks: such an account is not found.

use std::{collections::BTreeSet, sync::Arc};

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::{ReadError, blocks::found};

/// Between the viewer and another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationshipRow {
    pub account: AccountId,
    pub following: bool,
    pub followed_by: bool,
    /// The viewer asked to follow, and waits.
    pub requested: bool,
    /// The account asked to follow the viewer, and waits.
    pub requested_by: bool,
    pub blocking: bool,
    pub muting: bool,
}

/// In the order of `ids`; accounts that the viewer does not find are left out.
pub async fn by_ids(
    pool: &PgPool,
    viewer: AccountId,
    ids: &[AccountId],
) -> Result<Vec<RelationshipRow>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let sql = concat!(
        "SELECT a.id,
            EXISTS (SELECT 1 FROM follows WHERE follower_id = $1 AND followed_id = a.id)
                AS following,
            EXISTS (SELECT 1 FROM follows WHERE follower_id = a.id AND followed_id = $1)
                AS followed_by,
            EXISTS (SELECT 1 FROM follow_requests
                WHERE follower_id = $1 AND followed_id = a.id) AS requested,
            EXISTS (SELECT 1 FROM follow_requests
                WHERE follower_id = a.id AND followed_id = $1) AS requested_by,
            EXISTS (SELECT 1 FROM blocks WHERE blocker_id = $1 AND blocked_id = a.id)
                AS blocking,
            EXISTS (SELECT 1 FROM mutes WHERE muter_id = $1 AND muted_id = a.id) AS muting
         FROM unnest($2::uuid[]) WITH ORDINALITY AS w (id, place)
         JOIN accounts AS a ON a.id = w.id WHERE ",
        found!(),
        "ORDER BY w.place"
    );
    let rows = sqlx::query(sql)
        .bind(viewer.0)
        .bind(ids)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RelationshipRow {
                account: AccountId(row.try_get("id")?),
                following: row.try_get("following")?,
                followed_by: row.try_get("followed_by")?,
                requested: row.try_get("requested")?,
                requested_by: row.try_get("requested_by")?,
                blocking: row.try_get("blocking")?,
                muting: row.try_get("muting")?,
            })
        })
        .collect()
}

/// Whom one account is not to see. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    /// Blocked by it, or blocking it.
    pub blocked: Arc<BTreeSet<AccountId>>,
    pub muted: Arc<BTreeSet<AccountId>>,
}

impl Hidden {
    /// From what one comes across.
    pub fn has(&self, account: &AccountId) -> bool {
        self.blocked.contains(account) || self.muted.contains(account)
    }

    /// As a query parameter.
    pub fn ids(&self) -> Vec<Uuid> {
        let all = self.blocked.iter().chain(self.muted.iter());
        all.map(|account| account.0).collect()
    }

    fn read(rows: &[PgRow]) -> Result<Self, ReadError> {
        let (mut blocked, mut muted) = (BTreeSet::new(), BTreeSet::new());
        for row in rows {
            let account = AccountId(row.try_get("id")?);
            match row.try_get("muted")? {
                true => muted.insert(account),
                false => blocked.insert(account),
            };
        }
        let (blocked, muted) = (Arc::new(blocked), Arc::new(muted));
        Ok(Self { blocked, muted })
    }
}

/// All that is hidden from `account`; none where that is more than `edges_max`
/// blocks and mutes.
pub(crate) async fn hidden(
    pool: &PgPool,
    account: AccountId,
    edges_max: u32,
) -> Result<Option<Hidden>, ReadError> {
    let rows = sqlx::query(
        "SELECT blocked_id AS id, false AS muted FROM blocks WHERE blocker_id = $1
         UNION ALL SELECT blocker_id, false FROM blocks WHERE blocked_id = $1
         UNION ALL SELECT muted_id, true FROM mutes WHERE muter_id = $1
         LIMIT $2",
    )
    .bind(account.0)
    .bind(i64::from(edges_max) + 1)
    .fetch_all(pool)
    .await?;
    let all = rows.len() <= edges_max as usize;
    all.then(|| Hidden::read(&rows)).transpose()
}

/// Those of `others` that are hidden from `account`.
pub(crate) async fn hidden_among(
    pool: &PgPool,
    account: AccountId,
    others: &BTreeSet<AccountId>,
) -> Result<Hidden, ReadError> {
    let others: Vec<Uuid> = others.iter().map(|other| other.0).collect();
    let rows = sqlx::query(
        "SELECT blocked_id AS id, false AS muted FROM blocks
            WHERE blocker_id = $1 AND blocked_id = ANY($2)
         UNION ALL SELECT blocker_id, false FROM blocks
            WHERE blocked_id = $1 AND blocker_id = ANY($2)
         UNION ALL SELECT muted_id, true FROM mutes WHERE muter_id = $1 AND muted_id = ANY($2)",
    )
    .bind(account.0)
    .bind(others)
    .fetch_all(pool)
    .await?;
    Hidden::read(&rows)
}
