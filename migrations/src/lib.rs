#![doc = include_str!("../README.md")]

mod m0001_vault;
mod m0002_projections;
pub mod social;

use sea_orm_migration::{
    async_trait::async_trait,
    sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait},
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
        ]
    }
}

/// Brings a database to what this release needs. Safe to call from several
/// processes at once: one does it, the others wait.
pub async fn migrate(database: &DatabaseConnection) -> Result<(), DbErr> {
    let turn = database.begin().await?;
    turn.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await?;
    Migrator::up(database, None).await?;
    social::create_tables(database, social::LIVE).await?;
    social::create_indexes(database, social::LIVE).await?;
    turn.commit().await
}
