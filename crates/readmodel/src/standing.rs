//! Deactivated accounts are in no list, so nothing that they did is counted: a counter
//! is the length of its list. Here is what a deactivation, or a return, changes in the
//! counters of others. Not here: blocks and mutes, which depend on who reads.

use kernel::Uuid;
use sea_orm::sqlx::{self, AssertSqlSafe, PgTransaction, Row, postgres::PgRow};

use crate::{ReadError, social::Tables};

/// Accounts that a batch deactivates or brings back.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    pub accounts: Vec<Uuid>,
    /// What each thing that the account did now counts more: one, or minus one.
    pub changes: Vec<i64>,
}

impl Moves {
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Rows of a statement whose `$1` are the accounts and `$2` their changes.
    pub async fn rows(
        &self,
        transaction: &mut PgTransaction<'_>,
        sql: AssertSqlSafe<String>,
    ) -> Result<Vec<PgRow>, ReadError> {
        Ok(sqlx::query(sql)
            .bind(&self.accounts)
            .bind(&self.changes)
            .fetch_all(&mut **transaction)
            .await?)
    }

    /// Of rows with an `id` and a `change`.
    pub fn read(rows: &[PgRow]) -> Result<Self, ReadError> {
        let accounts = rows.iter().map(|row| row.try_get("id"));
        let changes = rows.iter().map(|row| row.try_get("change"));
        Ok(Self {
            accounts: accounts.collect::<sqlx::Result<_>>()?,
            changes: changes.collect::<sqlx::Result<_>>()?,
        })
    }
}

/// What a transaction does to standings, or depends on.
/// The greater one includes the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// It counts follows, whose far ends are accounts of other partitions.
    Counts,
    /// It deactivates accounts, or brings them back.
    Moves,
}

/// Keeps transactions that move standings apart from those that count follows, in one
/// generation: each sees all that the other wrote, whatever their order. To be called
/// before the first row is written, so that nobody waits for it with rows in hand.
pub(crate) async fn lock(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    concern: Concern,
) -> Result<(), ReadError> {
    let sql = match concern {
        Concern::Counts => "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))",
        Concern::Moves => "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
    };
    sqlx::query(sql)
        .bind(format!("standings of {}", tables.schema()))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
