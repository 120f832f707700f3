//! Bars: accounts that nobody signs in to until the bar is lifted. Barring ends all
//! sessions in the same step, so that none outlives it. It refuses to judge: why
//! stands in words, for whoever asks.

use kernel::AccountId;
use sea_orm::sqlx::{self, Row};

use crate::{Vault, VaultError, sessions::end_all};

impl Vault {
    /// From now on nobody signs in, refreshes or resets a password. Ends all sessions
    /// of the account and returns which; none where it is barred already.
    pub async fn bar(
        &self,
        account: AccountId,
        reason: &str,
    ) -> Result<Option<Vec<kernel::Uuid>>, VaultError> {
        let mut transaction = self.begin().await?;
        // Sessions that begin now wait for this row. An account that has no
        // credentials yet must not get them meanwhile.
        let barred = sqlx::query(
            "INSERT INTO vault.credentials AS c (account_id, created_at, barred_at, barred_reason)
             VALUES ($1, now(), now(), $2)
             ON CONFLICT (account_id) DO UPDATE
                 SET barred_at = excluded.barred_at, barred_reason = excluded.barred_reason
                 WHERE c.barred_at IS NULL",
        )
        .bind(account.0)
        .bind(reason)
        .execute(&mut *transaction)
        .await?;
        if barred.rows_affected() == 0 {
            return Ok(None);
        }
        let ended = end_all(&mut transaction, account).await?;
        transaction.commit().await?;
        Ok(Some(ended))
    }

    /// Lifts the bar; whether there was one. Ended sessions stay so.
    pub async fn unbar(&self, account: AccountId) -> Result<bool, VaultError> {
        let lifted = sqlx::query(
            "UPDATE vault.credentials SET barred_at = NULL, barred_reason = NULL
             WHERE account_id = $1 AND barred_at IS NOT NULL",
        )
        .bind(account.0)
        .execute(self.pool())
        .await?;
        Ok(lifted.rows_affected() > 0)
    }

    /// Why the account is barred; none where it is not.
    pub async fn barred(&self, account: AccountId) -> Result<Option<String>, VaultError> {
        let row = sqlx::query(
            "SELECT coalesce(barred_reason, '') AS reason FROM vault.credentials
             WHERE account_id = $1 AND barred_at IS NOT NULL",
        )
        .bind(account.0)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|row| row.try_get("reason")).transpose()?)
    }
}
