//! What accounts may do beyond their own affairs.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0005_roles"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE TABLE vault.roles (
                account_id uuid NOT NULL,
                role text NOT NULL,
                granted_by text NOT NULL,
                granted_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (account_id, role)
            );";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
