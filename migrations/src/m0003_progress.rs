//! How fast projections move, who moves them, and whether the database has
//! crashed meanwhile.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_progress"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            ALTER TABLE projections.checkpoints
                ADD COLUMN moved_at timestamptz NOT NULL DEFAULT now(),
                -- Events a second, as of moved_at.
                ADD COLUMN rate double precision NOT NULL DEFAULT 0,
                ADD COLUMN diverged boolean NOT NULL DEFAULT false;
            -- A crash empties it: so one sees that the last commits may be gone.
            -- No index: PostgreSQL 15 leaves that of an unlogged table broken by a
            -- crash where the database was made from a template.
            CREATE UNLOGGED TABLE projections.life (id uuid NOT NULL);
            -- host/process, for people.
            ALTER TABLE projections.workers ADD COLUMN name text NOT NULL DEFAULT '';";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
