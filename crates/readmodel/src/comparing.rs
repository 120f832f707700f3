//! Compares the rows of two generations, as of one moment, to the last bit. It
//! refuses to sum up: where they differ, it shows the rows.

use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, PgTransaction, Row};

use crate::{Projection, ReadError};

/// Differences of one table that are shown.
const EXAMPLES_MAX: i64 = 5;
/// Of a row as text; what is longer is cut.
const ROW_CHARACTERS_MAX: i32 = 400;

/// A moment of the database, which nothing changes.
pub struct Snapshot {
    transaction: PgTransaction<'static>,
    /// Of the live generation.
    live: String,
}

#[derive(Clone, Debug)]
pub struct TableComparison {
    pub table: String,
    pub live_rows: i64,
    pub fresh_rows: i64,
    /// Rows that only one of the two has, or that differ.
    pub differing: i64,
    /// Some of those: as in the live table, and as in the fresh one.
    pub examples: Vec<(Option<String>, Option<String>)>,
}

impl Snapshot {
    /// Taken now. While it lives, the database keeps what it sees.
    pub async fn take(pool: &PgPool, projection: Projection) -> Result<Self, ReadError> {
        let mut transaction = crate::begin(pool).await?;
        for sql in [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            // Long, but nobody waits for it.
            "SET LOCAL statement_timeout = 0",
            "SET LOCAL idle_in_transaction_session_timeout = 0",
            "SET LOCAL work_mem = '128MB'",
            // Every row of both is read.
            "SET LOCAL plan_cache_mode = force_custom_plan",
            "SELECT 1",
        ] {
            sqlx::query(sql).execute(&mut *transaction).await?;
        }
        let live = projection.first().schema(true);
        Ok(Self { transaction, live })
    }

    /// The tables that can be compared: those of the live generation.
    pub async fn tables(&mut self) -> Result<Vec<String>, ReadError> {
        let rows = sqlx::query(
            "SELECT table_name::text AS name FROM information_schema.tables
             WHERE table_schema = $1 ORDER BY table_name",
        )
        .bind(&self.live)
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    /// `table` in the live generation and in the one in `schema`, in the columns
    /// that both have.
    pub async fn compare(
        &mut self,
        table: &str,
        schema: &str,
    ) -> Result<TableComparison, ReadError> {
        let columns = self.columns(table, schema).await?;
        let key = self.key(table).await?.join(", ");
        let side = |schema: &str| {
            let columns: Vec<_> = columns.iter().map(|c| format!("t.{c}")).collect();
            let columns = columns.join(", ");
            format!("(SELECT {key}, ROW({columns})::text AS line FROM {schema}.{table} AS t)")
        };
        let both = format!(
            "FROM {} AS live FULL JOIN {} AS fresh USING ({key})",
            side(&self.live),
            side(schema)
        );
        let counts = format!(
            "SELECT count(live.line) AS live_rows, count(fresh.line) AS fresh_rows,
                 count(*) FILTER (WHERE live.line IS DISTINCT FROM fresh.line) AS differing
             {both}"
        );
        let row = sqlx::query(AssertSqlSafe(counts))
            .fetch_one(&mut *self.transaction)
            .await?;
        let differing = row.try_get("differing")?;
        let examples = match differing {
            0 => Vec::new(),
            _ => self.examples(&both, &key).await?,
        };
        Ok(TableComparison {
            table: table.to_owned(),
            live_rows: row.try_get("live_rows")?,
            fresh_rows: row.try_get("fresh_rows")?,
            differing,
            examples,
        })
    }

    async fn examples(
        &mut self,
        both: &str,
        key: &str,
    ) -> Result<Vec<(Option<String>, Option<String>)>, ReadError> {
        let sql = format!(
            "SELECT left(live.line, $1) AS live, left(fresh.line, $1) AS fresh {both}
             WHERE live.line IS DISTINCT FROM fresh.line ORDER BY {key} LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(ROW_CHARACTERS_MAX)
            .bind(EXAMPLES_MAX)
            .fetch_all(&mut *self.transaction)
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("live")?, row.try_get("fresh")?)))
            .collect()
    }

    /// Names are the catalog's own, quoted by it.
    async fn columns(&mut self, table: &str, schema: &str) -> Result<Vec<String>, ReadError> {
        let rows = sqlx::query(
            "SELECT quote_ident(column_name) AS name FROM information_schema.columns
             WHERE table_name = $1 AND table_schema IN ($2, $3)
             GROUP BY column_name HAVING count(*) = 2 ORDER BY column_name",
        )
        .bind(table)
        .bind(&self.live)
        .bind(schema)
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    async fn key(&mut self, table: &str) -> Result<Vec<String>, ReadError> {
        let rows = sqlx::query(
            "SELECT quote_ident(a.attname) AS name
             FROM pg_index AS i JOIN pg_attribute AS a
                 ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
             WHERE i.indrelid = to_regclass($1) AND i.indisprimary
             ORDER BY array_position(i.indkey, a.attnum)",
        )
        .bind(format!("{}.{table}", self.live))
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }
}
