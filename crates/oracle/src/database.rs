//! One connection to PostgreSQL that only asks, for callers that wait.

use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgRow};
use tokio::runtime::{Builder, Runtime};

use crate::Unreachable;

pub struct Database {
    runtime: Runtime,
    connection: PgConnection,
}

impl Database {
    pub fn connect(url: &str) -> Result<Self, Unreachable> {
        let unreachable = |why: String| Unreachable(format!("the database: {why}"));
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        let connection = runtime
            .block_on(PgConnection::connect(url))
            .map_err(|error| unreachable(error.to_string()))?;
        Ok(Self {
            runtime,
            connection,
        })
    }

    pub fn rows(&mut self, sql: &'static str) -> Result<Vec<PgRow>, Unreachable> {
        let rows = self.runtime.block_on(self.connection.fetch_all(sql));
        rows.map_err(|error| Unreachable(format!("the database: {error}: {sql}")))
    }
}

/// A column that is a number and never negative.
pub fn unsigned(row: &PgRow, column: &str) -> Result<u64, Unreachable> {
    Ok(row.try_get::<i64, _>(column)? as u64)
}
