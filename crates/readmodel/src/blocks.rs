//! Blocks: the edges. What they hide, `visibility` says.

use domain::blocks::BlockEvent;
use kernel::AccountId;
use sea_orm::sqlx::PgPool;

use crate::{
    ReadError,
    accounts::AccountRow,
    edges::{EdgeTable, Ends, edge_fold},
    paging::{EdgeKey, Part, Start},
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
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
    let blocks = (account.0, Ends::To);
    let is_there = "NOT a.deactivated";
    (TABLE.accounts(pool, Some(account), blocks, is_there, start, limit)).await
}
