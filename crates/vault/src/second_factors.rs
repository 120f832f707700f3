//! Second factors: codes of an authenticator (TOTP, RFC 6238: six digits, 30
//! seconds), and recovery codes for whoever lost theirs. It refuses a code that
//! counted before.

use kernel::AccountId;
use sea_orm::sqlx::{self, Row};
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Secret, Totp};

use crate::{
    Vault, VaultError,
    codes::{draw, grouped, plain, random},
};

/// 160 bits, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Steps before and after the present one, for clocks that differ.
const SKEW_STEPS: u16 = 1;
const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
pub const RECOVERY_CODES: usize = 10;
/// 120 bits: a plain hash is enough for what cannot be guessed.
const RECOVERY_CHARACTERS: usize = 24;

/// What an authenticator is given. Never printed.
pub struct NewSecondFactor {
    /// In base32, to be typed.
    pub secret: String,
    /// `otpauth://…`, to be shown as a QR code.
    pub uri: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactorState {
    pub enabled: bool,
    pub recovery_codes_left: i64,
}

impl Vault {
    pub async fn second_factor(&self, account: AccountId) -> Result<SecondFactorState, VaultError> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT FROM vault.second_factors
                     WHERE account_id = $1 AND enabled_at IS NOT NULL) AS enabled,
                 (SELECT count(*) FROM vault.recovery_codes WHERE account_id = $1) AS codes_left",
        )
        .bind(account.0)
        .fetch_one(self.pool())
        .await?;
        Ok(SecondFactorState {
            enabled: row.try_get("enabled")?,
            recovery_codes_left: row.try_get("codes_left")?,
        })
    }

    /// A secret for an authenticator, which is not asked for before
    /// `enable_second_factor`; none where one is enabled.
    pub async fn draw_second_factor(
        &self,
        account: AccountId,
        issuer: &str,
        name: &str,
    ) -> Result<Option<NewSecondFactor>, VaultError> {
        let secret: [u8; SECRET_BYTES] = random()?;
        let drawn = sqlx::query(
            "INSERT INTO vault.second_factors AS f (account_id, secret) VALUES ($1, $2)
             ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, last_step = 0
             WHERE f.enabled_at IS NULL",
        )
        .bind(account.0)
        .bind(&secret[..])
        .execute(self.pool())
        .await?;
        if drawn.rows_affected() == 0 {
            return Ok(None);
        }
        let totp = builder(&secret)
            .with_issuer(Some(issuer.replace(':', " ")))
            .with_account_name(name)
            .build()
            .map_err(|_| VaultError::Hashing)?;
        Ok(Some(NewSecondFactor {
            secret: Secret::from(secret.to_vec()).to_base32(),
            uri: totp.to_url().map_err(|_| VaultError::Hashing)?,
        }))
    }

    /// From now on it is asked for; returns recovery codes, or none where the
    /// code is wrong.
    pub async fn enable_second_factor(
        &self,
        account: AccountId,
        code: &str,
        now_seconds: u64,
    ) -> Result<Option<Vec<String>>, VaultError> {
        if !self.take_code(account, code, false, now_seconds).await? {
            return Ok(None);
        }
        let codes: Vec<_> = (0..RECOVERY_CODES)
            .map(|_| draw(RECOVERY_CHARACTERS))
            .collect::<Result<_, _>>()?;
        let hashes: Vec<_> = codes.iter().map(|code| hash(code)).collect();
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE vault.second_factors SET enabled_at = now() WHERE account_id = $1")
            .bind(account.0)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM vault.recovery_codes WHERE account_id = $1")
            .bind(account.0)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO vault.recovery_codes (account_id, code_hash)
             SELECT $1, unnest($2::bytea[])",
        )
        .bind(account.0)
        .bind(hashes)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let shown = codes.iter().map(|code| grouped(code, 6));
        Ok(Some(shown.collect()))
    }

    /// Whether `code` is the authenticator's, or a recovery code, which is used
    /// up by that.
    pub async fn check_second_factor(
        &self,
        account: AccountId,
        code: &str,
        now_seconds: u64,
    ) -> Result<bool, VaultError> {
        if self.take_code(account, code, true, now_seconds).await? {
            return Ok(true);
        }
        let used = sqlx::query(
            "DELETE FROM vault.recovery_codes WHERE account_id = $1 AND code_hash = $2
             AND EXISTS (SELECT FROM vault.second_factors
                 WHERE account_id = $1 AND enabled_at IS NOT NULL)",
        )
        .bind(account.0)
        .bind(hash(&plain(code)))
        .execute(self.pool())
        .await?;
        Ok(used.rows_affected() > 0)
    }

    pub async fn remove_second_factor(&self, account: AccountId) -> Result<(), VaultError> {
        let mut transaction = self.begin().await?;
        for sql in [
            "DELETE FROM vault.second_factors WHERE account_id = $1",
            "DELETE FROM vault.recovery_codes WHERE account_id = $1",
        ] {
            sqlx::query(sql)
                .bind(account.0)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Whether it is the authenticator's code, of a step after all that counted.
    async fn take_code(
        &self,
        account: AccountId,
        code: &str,
        enabled: bool,
        now_seconds: u64,
    ) -> Result<bool, VaultError> {
        let row = sqlx::query(
            "SELECT secret FROM vault.second_factors
             WHERE account_id = $1 AND (enabled_at IS NOT NULL) = $2",
        )
        .bind(account.0)
        .bind(enabled)
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else {
            return Ok(false);
        };
        let secret: Vec<u8> = row.try_get("secret")?;
        let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let Some(step) = totp(&secret)?.check(&typed, now_seconds) else {
            return Ok(false);
        };
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let taken = sqlx::query(
            "UPDATE vault.second_factors SET last_step = $2
             WHERE account_id = $1 AND last_step < $2 AND secret = $3",
        )
        .bind(account.0)
        .bind(step)
        .bind(secret)
        .execute(self.pool())
        .await?;
        Ok(taken.rows_affected() > 0)
    }
}

fn builder(secret: &[u8]) -> Builder {
    Builder::new()
        .with_secret(secret.to_vec())
        .with_skew(SKEW_STEPS)
        .with_digits(DIGITS)
        .with_step_duration(STEP_SECONDS)
}

fn totp(secret: &[u8]) -> Result<Totp, VaultError> {
    builder(secret).build().map_err(|_| VaultError::Hashing)
}

fn hash(code: &str) -> Vec<u8> {
    Sha256::digest(code).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_6238() -> Result<(), VaultError> {
        // Appendix B, SHA-1, its last six digits.
        let totp = totp(b"12345678901234567890")?;
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(totp.check(code, time), Some(time / STEP_SECONDS));
            let late = time + 2 * STEP_SECONDS;
            assert_eq!(totp.check(code, late), None);
        }
        Ok(())
    }
}
