//! Accounts that are private or deactivated, in generations that were made before
//! there were any. No event of an older log says so of anybody: the default is
//! what folding it again gives.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0010_private"
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
                    WHERE table_schema LIKE 'social%' AND table_name = 'accounts'
                LOOP
                    EXECUTE format(
                        'ALTER TABLE %I.accounts
                            ADD COLUMN IF NOT EXISTS private boolean NOT NULL DEFAULT false,
                            ADD COLUMN IF NOT EXISTS deactivated boolean NOT NULL DEFAULT false',
                        generation);
                END LOOP;
            END $$";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
