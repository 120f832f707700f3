//! Mutes: the edges. They hide from what one comes across, not from what one
//! looks at on purpose.

use domain::mutes::MuteEvent;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction};

use crate::{
    ReadError,
    accounts::{self, AccountRow},
    edges::{self, Changes, EdgeTable},
    social::{Happened, Tables},
};

const TABLE: EdgeTable = EdgeTable {
    name: "mutes",
    from: "muter_id",
    to: "muted_id",
    since: "muted_at",
};

#[derive(Debug, Default)]
pub(crate) struct Fold(Changes);

impl Fold {
    pub fn take(&mut self, happened: &Happened, event: &MuteEvent) {
        let holds = match event {
            MuteEvent::Muted(_) => true,
            MuteEvent::Unmuted(_) => false,
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

/// Whom `account` mutes, the last first. `last` is the key of the last row seen.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    last: Option<(i64, AccountId)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, id) = edges::after(last);
    let rows = sqlx::query(accounts::select!(
        ", e.muted_at AS edge_at FROM mutes AS e JOIN accounts AS a ON a.id = e.muted_id",
        concat!(
            "WHERE ",
            crate::blocks::found!(),
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

/// `$1` does not mute the author of `posts AS p`.
macro_rules! unmuted {
    () => {
        "AND NOT EXISTS (
            SELECT 1 FROM mutes AS m
            WHERE m.muter_id = $1 AND m.muted_id = p.author_id OFFSET 0) "
    };
}
pub(crate) use unmuted;
