//! Mutes: the edges. They hide from what one comes across, not from what one
//! looks at on purpose.

use domain::mutes::MuteEvent;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool};

use crate::{
    ReadError,
    accounts::{self, AccountRow},
    edges::{self, EdgeTable, edge_fold},
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

/// Whom `account` mutes, the last first. `last` is the key of the last row seen.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    last: Option<(i64, Uuid)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, id) = edges::after(last);
    let rows = sqlx::query(accounts::select!(
        ", e.muted_at AS edge_at FROM mutes AS e JOIN accounts AS a ON a.id = e.muted_id",
        concat!(
            "WHERE ",
            found!(),
            "AND e.muter_id = $1 AND (e.muted_at, e.muted_id) < ($2, $3)
             ORDER BY e.muted_at DESC, e.muted_id DESC LIMIT $4"
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
