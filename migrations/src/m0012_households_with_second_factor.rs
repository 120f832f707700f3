//! Where a second factor was shown: who only reads the mail, or holds a refresh token,
//! makes an address known too, and must not gain tries at the second factor by that.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0012_households_with_second_factor"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            ALTER TABLE vault.households
                ADD COLUMN second_factor_shown boolean NOT NULL DEFAULT false;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
