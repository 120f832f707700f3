//! How one shows that an address is one's own, second factors, and tokens of
//! services.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_identity"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            ALTER TABLE vault.credentials ADD COLUMN email_verified_at timestamptz;
            -- One of a purpose at a time: the newest counts.
            CREATE TABLE vault.codes (
                account_id uuid NOT NULL,
                purpose text NOT NULL,
                -- Where the code was sent to: the account's address, or one that it wants.
                email text NOT NULL,
                salt bytea NOT NULL,
                code_hash bytea NOT NULL,
                -- Wrong ones since tries_since: another code does not begin anew.
                tries integer NOT NULL DEFAULT 0,
                tries_since timestamptz NOT NULL DEFAULT now(),
                sent_at timestamptz NOT NULL DEFAULT now(),
                expires_at timestamptz NOT NULL,
                PRIMARY KEY (account_id, purpose)
            );
            CREATE TABLE vault.second_factors (
                account_id uuid PRIMARY KEY,
                secret bytea NOT NULL,
                -- Asked for at sign-in from then on.
                enabled_at timestamptz,
                -- Of the last code that was taken: none counts twice.
                last_step bigint NOT NULL DEFAULT 0
            );
            CREATE TABLE vault.recovery_codes (
                account_id uuid NOT NULL,
                code_hash bytea NOT NULL,
                PRIMARY KEY (account_id, code_hash)
            );
            CREATE TABLE vault.service_tokens (
                id uuid PRIMARY KEY,
                name text NOT NULL,
                token_hash bytea NOT NULL,
                scopes text[] NOT NULL,
                made_by text NOT NULL,
                made_at timestamptz NOT NULL DEFAULT now(),
                expires_at timestamptz NOT NULL,
                used_at timestamptz,
                revoked_at timestamptz
            );";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
