//! From where accounts were signed in to, for longer than sessions are kept. Releases
//! before write it into `vault.sessions`, whose column stays until none of them is left.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_households"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE TABLE vault.households (
                account_id uuid NOT NULL,
                -- As limits count addresses.
                household text NOT NULL,
                seen_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (account_id, household)
            );
            CREATE INDEX households_seen ON vault.households (seen_at);
            INSERT INTO vault.households (account_id, household, seen_at)
                SELECT account_id, household, max(seen_at) FROM vault.sessions
                WHERE household IS NOT NULL GROUP BY account_id, household;";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
