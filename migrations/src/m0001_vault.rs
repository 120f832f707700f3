//! What is kept outside the log: credentials, and the keys of personal fields.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_vault"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE SCHEMA vault;
            CREATE TABLE vault.credentials (
                account_id uuid PRIMARY KEY,
                -- Whose registration keeps them: another body is another attempt.
                attempt uuid,
                email text,
                -- Of one account, verified or not: no two can both verify it.
                email_folded text UNIQUE,
                password_hash text,
                created_at timestamptz NOT NULL
            );
            -- A destroyed key leaves its row, so that it is never made again.
            CREATE TABLE vault.account_keys (
                account_id uuid PRIMARY KEY,
                key bytea,
                created_at timestamptz NOT NULL
            );";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
