#![doc = include_str!("../README.md")]

mod m0001_vault;
mod m0002_projections;
mod m0003_progress;
mod m0004_generations;
mod m0005_roles;
mod m0006_sessions;
mod m0007_identity;
mod m0008_marks;
mod m0009_bars;
mod m0010_private;
mod m0011_devices;
mod m0013_sessions_of_tools;

use std::collections::BTreeSet;

pub use readmodel::Projections;

use readmodel::{
    Projection,
    projections::{create_indexes, create_tables, schemas},
};
use sea_orm_migration::{
    async_trait::async_trait,
    sea_orm::{
        ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, RuntimeErr, Statement,
        TransactionTrait,
    },
    {DbErr, MigrationTrait, MigratorTrait},
};

/// Any number: one migration at a time in one database.
const MIGRATION_LOCK: i64 = 0x6865_6164_7761_7465;

/// How often it is tried where it is in the way of those who work.
const TRIES_MAX: u32 = 10;
/// SQLSTATE `deadlock_detected`.
const DEADLOCK: &str = "40P01";

struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_vault::Migration),
            Box::new(m0002_projections::Migration),
            Box::new(m0003_progress::Migration),
            Box::new(m0004_generations::Migration),
            Box::new(m0005_roles::Migration),
            Box::new(m0006_sessions::Migration),
            Box::new(m0007_identity::Migration),
            Box::new(m0008_marks::Migration),
            Box::new(m0009_bars::Migration),
            Box::new(m0010_private::Migration),
            Box::new(m0011_devices::Migration),
            Box::new(m0013_sessions_of_tools::Migration),
        ]
    }
}

/// The names of the migrations and projections that `database` lacks. Changes nothing.
pub async fn missing(
    database: &DatabaseConnection,
    projections: &Projections,
) -> Result<Vec<String>, DbErr> {
    let there = "SELECT 1 WHERE to_regclass('public.seaql_migrations') IS NOT NULL";
    let done: BTreeSet<String> = match query(database, there).await?.is_empty() {
        true => BTreeSet::new(),
        false => {
            let rows = query(database, "SELECT version FROM public.seaql_migrations").await?;
            let names = rows.iter().map(|row| row.try_get("", "version"));
            names.collect::<Result<_, _>>()?
        }
    };
    let all = Migrator::migrations();
    let names = all.iter().map(|one| one.name().to_owned());
    let missing: Vec<_> = names.filter(|name| !done.contains(name)).collect();
    if !missing.is_empty() {
        return Ok(missing);
    }
    let live = "SELECT projection FROM projections.generations WHERE role = 'live'";
    let live = query(database, live).await?;
    let live = live.iter().map(|row| row.try_get("", "projection"));
    let live = live.collect::<Result<BTreeSet<String>, _>>()?;
    let names = projections.names().map(Projection::name);
    let missing = names.filter(|name| !live.contains(*name));
    Ok(missing.map(|name| format!("projection {name}")).collect())
}

async fn query(database: &DatabaseConnection, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    database.query_all_raw(statement).await
}

/// Brings the database to what this release needs. Safe to call from several
/// processes at once: one does it, the others wait. It takes two connections or
/// more, which do not look into the schemas of projections first. Where it and those who
/// work on the tables wait for each other, it tries again.
pub async fn migrate(
    database: &DatabaseConnection,
    projections: &Projections,
) -> Result<(), DbErr> {
    for _ in 1..TRIES_MAX {
        match migrate_once(database, projections).await {
            Err(error) if is_deadlock(&error) => {}
            done => return done,
        }
    }
    migrate_once(database, projections).await
}

fn is_deadlock(error: &DbErr) -> bool {
    let (DbErr::Exec(cause) | DbErr::Query(cause) | DbErr::Conn(cause)) = error else {
        return false;
    };
    let RuntimeErr::SqlxError(cause) = cause else {
        return false;
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == DEADLOCK)
}

/// What it did before it fails is kept, and changes nothing when it is done again.
async fn migrate_once(
    database: &DatabaseConnection,
    projections: &Projections,
) -> Result<(), DbErr> {
    let turn = database.begin().await?;
    turn.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await?;
    Migrator::up(database, None).await?;
    kernel::crash::point("migrate.middle");
    for projection in projections.names() {
        begin(database, projection).await?;
    }
    for projection in projections.with_tables() {
        let projection = projection.as_ref();
        let live = projection.name().first().schema(true);
        create_tables(database, projection, &live).await?;
        for generation in schemas(database, projection.name()).await? {
            create_tables(database, projection, &generation).await?;
        }
        create_indexes(database, projection, &live).await?;
    }
    turn.commit().await
}

/// A first generation, where there is none at all: the projection is new, or an empty
/// database was restored.
async fn begin(database: &DatabaseConnection, projection: Projection) -> Result<(), DbErr> {
    let sql = "INSERT INTO projections.generations (projection, generation, role)
               SELECT $1, 1, 'live' WHERE NOT EXISTS (SELECT FROM projections.generations
                   WHERE projection = $1 AND role = 'live')
               ON CONFLICT DO NOTHING";
    let name = projection.name().into();
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [name]);
    database.execute_raw(statement).await.map(|_| ())
}
