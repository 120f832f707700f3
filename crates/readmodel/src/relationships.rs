//! Relationships: what one account has done to others, and they to it. It does
//! not tell who blocks the one who looks: such an account is not found.

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::{ReadError, visibility::found};

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

/// The columns of what is between the viewer `$1` and `accounts AS a`.
macro_rules! between {
    () => {
        "EXISTS (SELECT 1 FROM follows WHERE follower_id = $1 AND followed_id = a.id)
            AS is_following,
         EXISTS (SELECT 1 FROM follows WHERE follower_id = a.id AND followed_id = $1)
            AS is_followed_by,
         EXISTS (SELECT 1 FROM follow_requests WHERE follower_id = $1 AND followed_id = a.id)
            AS has_requested,
         EXISTS (SELECT 1 FROM follow_requests WHERE follower_id = a.id AND followed_id = $1)
            AS is_requested_by,
         EXISTS (SELECT 1 FROM blocks WHERE blocker_id = $1 AND blocked_id = a.id) AS is_blocking,
         EXISTS (SELECT 1 FROM mutes WHERE muter_id = $1 AND muted_id = a.id) AS is_muting "
    };
}
pub(crate) use between;

impl RelationshipRow {
    pub(crate) fn read(row: &PgRow) -> Result<Self, ReadError> {
        Ok(Self {
            account: AccountId(row.try_get("id")?),
            following: row.try_get("is_following")?,
            followed_by: row.try_get("is_followed_by")?,
            requested: row.try_get("has_requested")?,
            requested_by: row.try_get("is_requested_by")?,
            blocking: row.try_get("is_blocking")?,
            muting: row.try_get("is_muting")?,
        })
    }

    /// Where there is nothing between them.
    pub fn none(account: AccountId) -> Self {
        Self {
            account,
            following: false,
            followed_by: false,
            requested: false,
            requested_by: false,
            blocking: false,
            muting: false,
        }
    }
}

/// In the order of `ids`; accounts that the viewer does not find are left out.
pub async fn by_ids(
    pool: &PgPool,
    viewer: AccountId,
    ids: &[AccountId],
) -> Result<Vec<RelationshipRow>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let sql = concat!(
        "SELECT a.id, ",
        between!(),
        "FROM unnest($2::uuid[]) WITH ORDINALITY AS w (id, place)
         JOIN accounts AS a ON a.id = w.id WHERE ",
        found!(),
        "ORDER BY w.place"
    );
    let rows = sqlx::query(sql)
        .bind(viewer.0)
        .bind(ids)
        .fetch_all(pool)
        .await?;
    rows.iter().map(RelationshipRow::read).collect()
}
