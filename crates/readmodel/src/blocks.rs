//! Blocks: the edges. What they hide, `visibility` says.

use domain::blocks::BlockEvent;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row};

use crate::{
    ReadError,
    accounts::{self, AccountRow},
    edges::{self, EdgeTable, edge_fold},
    touches::Touch,
};

const TABLE: EdgeTable = EdgeTable {
    name: "blocks",
    from: "blocker_id",
    to: "blocked_id",
    since: "blocked_at",
    detail: None,
    counted: &[],
};

edge_fold!(
    TABLE, BLOCK, BlockEvent, BlockEvent::Blocked(_) => BlockEvent::Unblocked(_),
    |edge| {
        let ends = [Some(edge.id), edge.member];
        ends.into_iter().flatten().map(|end| Touch::Hidden(AccountId(end))).collect()
    },
    TABLE.index_by_from() + &TABLE.index_by_to()
);

/// Whom `account` blocks, the last first; of those that block it, the name alone.
/// `last` is the key of the last row seen.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    last: Option<(i64, Uuid)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, id) = edges::after(last);
    let rows = sqlx::query(accounts::select!(
        ", e.blocked_at AS edge_at, EXISTS (
            SELECT 1 FROM blocks AS b
            WHERE b.blocker_id = a.id AND b.blocked_id = $1) AS hidden
         FROM blocks AS e JOIN accounts AS a ON a.id = e.blocked_id",
        "WHERE NOT a.deactivated AND e.blocker_id = $1 AND (e.blocked_at, e.blocked_id) < ($2, $3)
         ORDER BY e.blocked_at DESC, e.blocked_id DESC LIMIT $4"
    ))
    .bind(account.0)
    .bind(at)
    .bind(id)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let mut found = edges::read_all(&rows)?;
    for ((_, account), row) in found.iter_mut().zip(&rows) {
        if row.try_get("hidden")? {
            account.keep_the_name();
        }
    }
    Ok(found)
}
