//! PostgreSQL is put back to an older backup: the schemas `social` and
//! `projections`, which are folds of the log. The vault is kept as it is, since
//! nothing can make its keys again; an operator restores it to its newest state.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::sleep;

use crate::{
    faults::{Fired, start_again},
    lane::connect,
    plan::Target,
    trial::Trial,
};

/// The load between the backup and its restoration.
const BETWEEN_MILLISECONDS: u64 = 400;
const TRIES_MAX: u32 = 8;
const SCHEMAS: [&str; 2] = ["social", "projections"];

pub async fn restore(trial: &mut Trial<'_>, running: bool) -> anyhow::Result<Fired> {
    let mut database = connect(&trial.direct.database).await?;
    let tables = tables(&mut database).await?;
    // One snapshot of all tables, as a backup has.
    let mut backup = database.begin().await?;
    execute(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        &mut backup,
    )
    .await?;
    execute("CREATE SCHEMA backup", &mut backup).await?;
    for (schema, table) in &tables {
        let sql = format!("CREATE TABLE backup.{schema}_{table} AS TABLE {schema}.{table}");
        execute(&sql, &mut backup).await?;
    }
    backup.commit().await?;
    sleep(Duration::from_millis(BETWEEN_MILLISECONDS)).await;

    if !running {
        trial.api.kill().await?;
        for worker in &mut trial.workers {
            worker.kill().await?;
        }
    }
    let mut tries = 1;
    let rows = loop {
        match put_back(&mut database, &tables).await {
            // Folds take their locks in another order: one of us gives way.
            Err(_) if tries < TRIES_MAX => tries += 1,
            done => break done?,
        }
    };
    database.close().await?;
    if !running {
        start_again(trial, Target::Api).await?;
        let extra = trial.workers.len();
        start_again(trial, Target::Worker).await?;
        for number in 1..extra {
            let name = format!("worker{number}");
            trial.workers[number] = trial.setting.start(&name, "work", None)?;
        }
    }
    trial.restarted = Instant::now();
    Ok(Fired {
        fired: rows > 0,
        note: format!("{rows} rows of social and projections; the vault is kept"),
    })
}

async fn put_back(database: &mut PgConnection, tables: &[(String, String)]) -> sqlx::Result<u64> {
    let mut restored = database.begin().await?;
    let all: Vec<_> = tables.iter().map(|(s, t)| format!("{s}.{t}")).collect();
    execute(&format!("TRUNCATE {}", all.join(", ")), &mut restored).await?;
    let mut rows = 0;
    for (schema, table) in tables {
        let sql = format!("INSERT INTO {schema}.{table} TABLE backup.{schema}_{table}");
        rows += execute(&sql, &mut restored).await?;
    }
    restored.commit().await?;
    Ok(rows)
}

async fn execute(sql: &str, on: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(on)
        .await?;
    Ok(done.rows_affected())
}

async fn tables(database: &mut PgConnection) -> anyhow::Result<Vec<(String, String)>> {
    let rows = sqlx::query(
        "SELECT schemaname::text AS s, tablename::text AS t FROM pg_tables
         WHERE schemaname = ANY($1) ORDER BY 1, 2",
    )
    .bind(SCHEMAS.map(str::to_owned).to_vec())
    .fetch_all(database)
    .await?;
    let tables = rows
        .iter()
        .map(|row| Ok((row.try_get("s")?, row.try_get("t")?)));
    tables.collect()
}

/// Empties the folds, so that they begin again.
pub async fn forget(database_url: &str) -> anyhow::Result<()> {
    let mut database = connect(database_url).await?;
    let tables = tables(&mut database).await?;
    // Which folds there are is nothing that is folded.
    let folded = tables.iter().filter(|(_, table)| table != "generations");
    let all: Vec<_> = folded.map(|(s, t)| format!("{s}.{t}")).collect();
    let sql = format!("TRUNCATE {}", all.join(", "));
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut database)
        .await?;
    Ok(database.close().await?)
}

/// Columns and indexes of all our tables, in one text.
pub async fn shape(database_url: &str) -> anyhow::Result<String> {
    let mut database = connect(database_url).await?;
    let row = sqlx::query(
        "SELECT string_agg(line, E'\\n' ORDER BY line) AS shape FROM (
            SELECT format('%s.%s.%s %s %s', table_schema, table_name, column_name,
                          data_type, is_nullable) AS line
            FROM information_schema.columns
            WHERE table_schema IN ('social', 'projections', 'vault')
            UNION ALL
            SELECT indexdef FROM pg_indexes
            WHERE schemaname IN ('social', 'projections', 'vault')
         ) AS lines",
    )
    .fetch_one(&mut database)
    .await?;
    let shape = row.try_get("shape")?;
    database.close().await?;
    Ok(shape)
}
