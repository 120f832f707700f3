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
mod m0011_households;
mod m0012_households_with_second_factor;
mod m0013_sessions_of_tools;
pub mod social;

use std::collections::BTreeSet;

use sea_orm_migration::{
    async_trait::async_trait,
    sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait},
    {DbErr, MigrationTrait, MigratorTrait},
};

/// Any number: one migration at a time in one database.
const MIGRATION_LOCK: i64 = 0x6865_6164_7761_7465;

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
            Box::new(m0011_households::Migration),
            Box::new(m0012_households_with_second_factor::Migration),
            Box::new(m0013_sessions_of_tools::Migration),
        ]
    }
}

/// The names of the migrations that `database` lacks. Changes nothing.
pub async fn missing(database: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let query = |sql: &str| {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        database.query_all_raw(statement)
    };
    let there = query("SELECT 1 WHERE to_regclass('public.seaql_migrations') IS NOT NULL").await?;
    let done: BTreeSet<String> = match there.is_empty() {
        true => BTreeSet::new(),
        false => {
            let rows = query("SELECT version FROM public.seaql_migrations").await?;
            let names = rows.iter().map(|row| row.try_get("", "version"));
            names.collect::<Result<_, _>>()?
        }
    };
    let all = Migrator::migrations();
    let names = all.iter().map(|one| one.name().to_owned());
    Ok(names.filter(|name| !done.contains(name)).collect())
}

/// Brings the database to what this release needs. Safe to call from several
/// processes at once: one does it, the others wait. It takes two connections or
/// more, which do not look into the schemas of projections first.
pub async fn migrate(database: &DatabaseConnection) -> Result<(), DbErr> {
    let turn = database.begin().await?;
    turn.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await?;
    Migrator::up(database, None).await?;
    kernel::crash::point("migrate.middle");
    // Where there is none at all, as after restoring an empty database.
    database
        .execute_unprepared(
            "INSERT INTO projections.generations (projection, generation, role)
             SELECT projection, 1, 'live' FROM (VALUES ('social'), ('timelines')) AS p (projection)
             WHERE NOT EXISTS (SELECT FROM projections.generations AS g
                 WHERE g.projection = p.projection AND g.role = 'live')
             ON CONFLICT DO NOTHING",
        )
        .await?;
    social::create_tables(database, social::LIVE).await?;
    for generation in social::generations(database).await? {
        social::create_tables(database, &generation).await?;
    }
    social::create_indexes(database, social::LIVE).await?;
    turn.commit().await
}
