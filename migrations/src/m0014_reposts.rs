//! The counter of reposts, in generations that were made before there were any. No event
//! of an older log reposts: the default is what folding it again gives.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0014_reposts"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            DO $$
            DECLARE generation text;
            BEGIN
                FOR generation IN
                    SELECT table_schema FROM information_schema.tables
                    WHERE table_schema LIKE 'social%' AND table_name = 'post_counters'
                LOOP
                    EXECUTE format(
                        'ALTER TABLE %I.post_counters
                            ADD COLUMN IF NOT EXISTS reposts bigint NOT NULL DEFAULT 0',
                        generation);
                END LOOP;
            END $$";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
