//! Blocks: the edges. What they hide, the queries of what is hidden say.

use domain::blocks::BlockEvent;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row};

use crate::{
    ReadError,
    accounts::{self, AccountRow},
    edges::{self, Changes, EdgeTable},
    social::{Happened, Tables},
};

const TABLE: EdgeTable = EdgeTable {
    name: "blocks",
    from: "blocker_id",
    to: "blocked_id",
    since: "blocked_at",
};

#[derive(Debug, Default)]
pub(crate) struct Fold(Changes);

impl Fold {
    pub fn take(&mut self, happened: &Happened, event: &BlockEvent) {
        let holds = match event {
            BlockEvent::Blocked(_) => true,
            BlockEvent::Unblocked(_) => false,
        };
        self.0.take(happened, holds);
    }

    pub async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
    ) -> Result<(), ReadError> {
        self.0.write(transaction, tables, &TABLE).await
    }
}

/// Takes one edge back, as if it had never been.
pub(crate) async fn forget(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    from: Uuid,
    to: Uuid,
) -> Result<(), ReadError> {
    TABLE.forget(transaction, tables, from, to).await
}

/// Whom `account` blocks, the last first; of those that block it, the name alone.
/// `last` is the key of the last row seen.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    last: Option<(i64, AccountId)>,
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

/// `accounts AS a` does not block `$1`, and is there.
macro_rules! found {
    () => {
        "NOT a.deactivated AND NOT EXISTS (
            SELECT 1 FROM blocks AS b
            WHERE b.blocker_id = a.id AND b.blocked_id = $1 OFFSET 0) "
    };
}
pub(crate) use found;

/// The same, and `$1` does not block it either: for lists.
macro_rules! listed {
    () => {
        concat!(
            $crate::blocks::found!(),
            "AND NOT EXISTS (
                SELECT 1 FROM blocks AS b
                WHERE b.blocker_id = $1 AND b.blocked_id = a.id OFFSET 0) "
        )
    };
}
pub(crate) use listed;
