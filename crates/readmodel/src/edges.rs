//! Edges that nobody counts: from an account to an account, since when. The
//! features that have such a table name it; this writes it.

use std::collections::BTreeMap;

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgTransaction, Row, postgres::PgRow};

use crate::{
    ReadError,
    accounts::AccountRow,
    social::{Happened, Tables},
};

/// A table, and its columns.
pub(crate) struct EdgeTable {
    pub name: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub since: &'static str,
}

/// The last of what a batch did to each edge: since when, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<(Uuid, Uuid), Option<i64>>);

impl Changes {
    pub fn take(&mut self, happened: &Happened, holds: bool) {
        if let Some(to) = happened.aggregate.member {
            let since = holds.then_some(happened.recorded_at.0);
            self.0.insert((happened.aggregate.id, to), since);
        }
    }

    pub async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        table: &EdgeTable,
    ) -> Result<(), ReadError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let sql = table.sql(
            "WITH change AS (
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS c (a, b, since)
             ), gone AS (
                DELETE FROM {s}.{name} AS e USING change AS c
                WHERE c.since IS NULL AND e.{from} = c.a AND e.{to} = c.b
             )
             INSERT INTO {s}.{name} ({from}, {to}, {since})
             SELECT a, b, since FROM change WHERE since IS NOT NULL
             ON CONFLICT ({from}, {to}) DO UPDATE SET {since} = EXCLUDED.{since}",
        );
        sqlx::query(tables.sql(&sql))
            .bind(self.0.keys().map(|edge| edge.0).collect::<Vec<_>>())
            .bind(self.0.keys().map(|edge| edge.1).collect::<Vec<_>>())
            .bind(self.0.values().copied().collect::<Vec<_>>())
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }
}

impl EdgeTable {
    fn sql(&self, sql: &str) -> String {
        sql.replace("{name}", self.name)
            .replace("{from}", self.from)
            .replace("{to}", self.to)
            .replace("{since}", self.since)
    }

    /// Takes one edge back, as if it had never been.
    pub async fn forget(
        &self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        from: Uuid,
        to: Uuid,
    ) -> Result<(), ReadError> {
        let sql = self.sql("DELETE FROM {s}.{name} WHERE {from} = $1 AND {to} = $2");
        sqlx::query(tables.sql(&sql))
            .bind(from)
            .bind(to)
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }
}

/// The key of the last row of the page before, or one beyond all.
pub(crate) fn after(last: Option<(i64, AccountId)>) -> (i64, Uuid) {
    last.map_or((i64::MAX, Uuid::max()), |(at, id)| (at, id.0))
}

/// Rows of accounts with the time of the edge that leads to each.
pub(crate) fn read_all(rows: &[PgRow]) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    rows.iter()
        .map(|row| Ok((row.try_get("edge_at")?, AccountRow::read(row)?)))
        .collect()
}
