//! Which event stands at a checkpoint: a log that was put back from an old copy
//! has others at the same positions.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0008_marks"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The position is the mark's own: whoever moves the checkpoint without a
        // mark, as an older release does, leaves one that does not count.
        let sql = "
            ALTER TABLE projections.checkpoints
                ADD COLUMN mark uuid,
                ADD COLUMN mark_epoch bigint,
                ADD COLUMN mark_seq bigint;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
