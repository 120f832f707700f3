//! Who is signed in, and where.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_sessions"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE TABLE vault.sessions (
                id uuid PRIMARY KEY,
                account_id uuid NOT NULL,
                device text,
                address text,
                -- Where it began.
                device_id uuid,
                -- What the next token is made with, and the current one's hash.
                salt bytea NOT NULL,
                token_hash bytea NOT NULL,
                rotations integer NOT NULL DEFAULT 0,
                rotated_at timestamptz,
                -- The rotations before that one, the latest first, while retries count.
                rotated_before timestamptz[] NOT NULL DEFAULT '{}',
                began_at timestamptz NOT NULL DEFAULT now(),
                seen_at timestamptz NOT NULL DEFAULT now(),
                expires_at timestamptz NOT NULL,
                ended_at timestamptz
            );
            CREATE INDEX sessions_of_account ON vault.sessions (account_id, seen_at DESC);
            CREATE INDEX sessions_over ON vault.sessions (least(ended_at, expires_at));
            -- Every process asks each second which were ended lately.
            CREATE INDEX sessions_ended ON vault.sessions (ended_at) WHERE ended_at IS NOT NULL;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
