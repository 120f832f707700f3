//! Mutes: the edges. They hide from what one comes across, not from what one
//! looks at on purpose.

use domain::mutes::MuteEvent;
use kernel::AccountId;
use sea_orm::sqlx::PgPool;

use crate::{
    ReadError,
    accounts::AccountRow,
    edges::{EdgeTable, Ends, edge_fold},
    paging::{EdgeKey, Part, Start},
    touches::Touch,
    visibility::found,
};

const TABLE: EdgeTable = EdgeTable {
    name: "mutes",
    from: "muter_id",
    to: "muted_id",
    since: "muted_at",
    detail: None,
    counted: &[],
};

edge_fold!(
    TABLE, MUTE, MuteEvent, MuteEvent::Muted(_) => MuteEvent::Unmuted(_),
    |edge| vec![Touch::Hidden(AccountId(edge.id))],
    TABLE.index_by_from()
);

/// Whom `account` mutes, the last first.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
    let mutes = (account.0, Ends::To);
    (TABLE.accounts(pool, Some(account), mutes, found!(), start, limit)).await
}
