//! From where an account was signed in to: its owner is let in from there,
//! however many guess at it from elsewhere. It outlives sessions, since whoever
//! signed out yesterday signs in tomorrow.

use kernel::AccountId;
use sea_orm::sqlx::{self, Postgres, Transaction};

use crate::{Device, Vault, VaultError};

/// How long one is known that is not seen again.
const KNOWN_DAYS: i32 = 180;
/// Of one account; the one that was not seen for the longest time is forgotten.
const KNOWN_MAX: i64 = 32;
/// That one purge deletes.
const PURGED_AT_ONCE: i64 = 1_000;

impl Vault {
    /// Whether somebody was let in to the account from there.
    pub async fn knows_household(
        &self,
        account: AccountId,
        household: &str,
    ) -> Result<bool, VaultError> {
        let sql = "SELECT 1 AS one FROM vault.households WHERE account_id = $1 AND household = $2";
        let known = sqlx::query(sql).bind(account.0).bind(household);
        Ok(known.fetch_optional(self.pool()).await?.is_some())
    }

    /// Whether somebody showed the account's second factor there.
    pub async fn has_seen_second_factor(
        &self,
        account: AccountId,
        household: &str,
    ) -> Result<bool, VaultError> {
        let sql = "SELECT 1 AS one FROM vault.households
             WHERE account_id = $1 AND household = $2 AND second_factor_shown";
        let seen = sqlx::query(sql).bind(account.0).bind(household);
        Ok(seen.fetch_optional(self.pool()).await?.is_some())
    }

    /// Deletes some of those that were not seen for long. Returns how many.
    pub(crate) async fn purge_households(&self) -> Result<u64, VaultError> {
        let gone = sqlx::query(
            "DELETE FROM vault.households WHERE (account_id, household) IN (
                 SELECT account_id, household FROM vault.households
                 WHERE seen_at < now() - make_interval(days => $1)
                 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(KNOWN_DAYS)
        .bind(PURGED_AT_ONCE)
        .execute(self.pool())
        .await?;
        Ok(gone.rows_affected())
    }
}

/// Within the transaction of whoever lets somebody in, who showed the second factor or
/// did not.
pub(crate) async fn learn(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
    device: &Device,
    second_factor_shown: bool,
) -> Result<(), VaultError> {
    let Some(household) = &device.household else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO vault.households AS h (account_id, household, second_factor_shown)
         VALUES ($1, $2, $3)
         ON CONFLICT (account_id, household) DO UPDATE SET seen_at = now(),
             second_factor_shown = h.second_factor_shown OR excluded.second_factor_shown",
    )
    .bind(account.0)
    .bind(household)
    .bind(second_factor_shown)
    .execute(&mut **transaction)
    .await?;
    // What others hold is left to them: two who let in at once wait for each other never.
    sqlx::query(
        "DELETE FROM vault.households WHERE account_id = $1 AND household IN (
             SELECT household FROM vault.households WHERE account_id = $1
             ORDER BY seen_at DESC, household OFFSET $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(account.0)
    .bind(KNOWN_MAX)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
