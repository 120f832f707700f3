//! Tools that act as an account have a session that the account sees, and that ends as
//! every other does. So nobody asks any more which accounts were barred lately; processes
//! of the release before do, so `credentials_barred` goes in a later one.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0013_sessions_of_tools"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            ALTER TABLE vault.sessions ADD COLUMN of_tools boolean NOT NULL DEFAULT false;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
