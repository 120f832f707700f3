//! Devices that accounts were signed in to from, for longer than sessions are kept.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_devices"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE TABLE vault.devices (
                id uuid PRIMARY KEY,
                account_id uuid NOT NULL,
                token_hash bytea NOT NULL,
                -- Whether the account's second factor was shown from there.
                second_factor_shown boolean NOT NULL DEFAULT false,
                seen_at timestamptz NOT NULL DEFAULT now()
            );
            CREATE INDEX devices_of_account ON vault.devices (account_id, seen_at DESC);
            CREATE INDEX devices_seen ON vault.devices (seen_at);
            -- Addresses that nobody verified are looked for by age.
            CREATE INDEX credentials_unverified ON vault.credentials (created_at)
                WHERE email IS NOT NULL AND email_verified_at IS NULL;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
