//! Accounts that nobody signs in to for a time.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_bars"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            ALTER TABLE vault.credentials
                ADD COLUMN barred_at timestamptz,
                ADD COLUMN barred_reason text;
            -- Every process asks each second which were barred lately.
            CREATE INDEX credentials_barred ON vault.credentials (barred_at)
                WHERE barred_at IS NOT NULL;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
