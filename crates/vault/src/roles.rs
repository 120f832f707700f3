//! Roles: what an account may do beyond its own affairs; without one it is a
//! member. Looked up at each use,
//! so that one that is taken back is gone at once, on every process.

use kernel::AccountId;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::{Vault, VaultError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looks at what members report.
    Moderator,
    /// Reads the event stream.
    Analyst,
    /// Sees how the system is doing.
    Operator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Moderator, Self::Analyst, Self::Operator];

    pub fn name(self) -> &'static str {
        match self {
            Self::Moderator => "moderator",
            Self::Analyst => "analyst",
            Self::Operator => "operator",
        }
    }
}

impl Vault {
    pub async fn has_role(&self, account: AccountId, role: Role) -> Result<bool, VaultError> {
        let sql = "SELECT 1 FROM vault.roles WHERE account_id = $1 AND role = $2";
        let found = self.database().query_one_raw(statement(
            self.database(),
            sql,
            [account.0.into(), role.name().into()],
        ));
        Ok(found.await?.is_some())
    }

    /// Whether it is new.
    pub async fn grant(
        &self,
        account: AccountId,
        role: Role,
        granted_by: &str,
    ) -> Result<bool, VaultError> {
        let sql = "INSERT INTO vault.roles (account_id, role, granted_by) VALUES ($1, $2, $3)
                   ON CONFLICT DO NOTHING";
        let values = [account.0.into(), role.name().into(), granted_by.into()];
        let granted = self
            .database()
            .execute_raw(statement(self.database(), sql, values))
            .await?;
        Ok(granted.rows_affected() > 0)
    }

    /// Whether there was one.
    pub async fn revoke(&self, account: AccountId, role: Role) -> Result<bool, VaultError> {
        let sql = "DELETE FROM vault.roles WHERE account_id = $1 AND role = $2";
        let values = [account.0.into(), role.name().into()];
        let revoked = self
            .database()
            .execute_raw(statement(self.database(), sql, values))
            .await?;
        Ok(revoked.rows_affected() > 0)
    }
}

fn statement<const N: usize>(
    database: &DatabaseConnection,
    sql: &str,
    values: [sea_orm::Value; N],
) -> Statement {
    Statement::from_sql_and_values(database.get_database_backend(), sql, values)
}
