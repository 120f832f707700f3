//! How far each projection is, and who works on which partition.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_projections"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE SCHEMA projections;
            -- The one log that this database belongs to. `made`: all of it is there, so
            -- that a log server without it has lost it.
            CREATE TABLE projections.log (
                one boolean PRIMARY KEY DEFAULT true CHECK (one),
                id uuid NOT NULL,
                made boolean NOT NULL
            );
            CREATE TABLE projections.checkpoints (
                projection text NOT NULL,
                generation integer NOT NULL,
                partition integer NOT NULL,
                epoch bigint NOT NULL,
                seq bigint NOT NULL,
                stopped_because text,
                PRIMARY KEY (projection, generation, partition)
            );
            CREATE TABLE projections.leases (
                partition integer PRIMARY KEY,
                owner uuid NOT NULL,
                until timestamptz NOT NULL
            );
            CREATE TABLE projections.workers (
                owner uuid PRIMARY KEY,
                until timestamptz NOT NULL
            );
            -- Authors whose posts are not pushed to timelines any more.
            CREATE TABLE projections.pulled_authors (
                account_id uuid PRIMARY KEY
            );";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
