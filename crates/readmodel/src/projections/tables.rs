//! Makes the tables of one generation, and says which tables and generations there are.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Projection, TableProjection};

/// What names the schema in a projection's SQL.
const SCHEMA: &str = "{schema}";

/// Safe to run where the tables are there.
pub async fn create_tables(
    database: &impl ConnectionTrait,
    projection: &dyn TableProjection,
    schema: &str,
) -> Result<(), DbErr> {
    run(database, &projection.tables(), schema).await
}

pub async fn create_indexes(
    database: &impl ConnectionTrait,
    projection: &dyn TableProjection,
    schema: &str,
) -> Result<(), DbErr> {
    run(database, &projection.indexes(), schema).await
}

async fn run(database: &impl ConnectionTrait, sql: &str, schema: &str) -> Result<(), DbErr> {
    let sql = sql.replace(SCHEMA, schema);
    database.execute_unprepared(&sql).await.map(|_| ())
}

/// What the planner must know of tables that were filled quickly.
pub async fn analyze(database: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    for table in names(database, schema).await? {
        let sql = format!("ANALYZE {schema}.{table}");
        database.execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// The tables of a generation, quoted where they must be.
pub async fn names(database: &impl ConnectionTrait, schema: &str) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT quote_ident(table_name) AS name FROM information_schema.tables
               WHERE table_schema = $1 ORDER BY table_name";
    column(database, sql, schema).await
}

/// The schemas of all generations that there are of `projection`: a release may have
/// tables that older ones lack.
pub async fn schemas(
    database: &impl ConnectionTrait,
    projection: Projection,
) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT nspname::text AS name FROM pg_namespace
               WHERE nspname ~ ('^' || $1 || '(_[0-9]+)?$') ORDER BY nspname";
    column(database, sql, projection.name()).await
}

async fn column(
    database: &impl ConnectionTrait,
    sql: &str,
    value: &str,
) -> Result<Vec<String>, DbErr> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [value.into()]);
    let rows = database.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}
