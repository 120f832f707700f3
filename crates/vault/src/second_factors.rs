//! Second factors: codes of an authenticator (TOTP, RFC 6238: six digits, 30
//! seconds), and recovery codes for whoever lost theirs. It refuses a code that
//! counted before.

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, Postgres, Row, Transaction};
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Secret, Totp};

use crate::{
    Vault, VaultError,
    codes::{draw, grouped, plain, random},
    devices,
    sessions::end_all,
    wrapping::{MasterKeys, Wrapped},
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

/// What enabling an authenticator gives.
pub enum Enabled {
    /// From now on it is asked for. These sessions were ended.
    Done {
        recovery_codes: Vec<String>,
        ended: Vec<Uuid>,
    },
    /// The code is wrong.
    Wrong,
    /// The account's address is not verified: whoever reads its mail would be kept from
    /// the account by a reset that asks for what they do not have.
    Unverified,
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
    /// `enable_second_factor`; none where one is enabled, or where `shown`, the password
    /// hash that was looked at, is another one meanwhile.
    pub async fn draw_second_factor(
        &self,
        account: AccountId,
        shown: &str,
        issuer: &str,
        name: &str,
    ) -> Result<Option<NewSecondFactor>, VaultError> {
        let secret: [u8; SECRET_BYTES] = random()?;
        let wrapped = self.keys.wrap(Wrapped::SecondFactor, account, &secret)?;
        let drawn = sqlx::query(
            "INSERT INTO vault.second_factors AS f (account_id, secret)
             SELECT account_id, $2 FROM vault.credentials
             WHERE account_id = $1 AND password_hash = $3 FOR SHARE
             ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, last_step = 0
             WHERE f.enabled_at IS NULL",
        )
        .bind(account.0)
        .bind(wrapped)
        .bind(shown)
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

    /// Asks for the authenticator from now on, and ends all sessions but `kept`.
    pub async fn enable_second_factor(
        &self,
        account: AccountId,
        code: &str,
        now_seconds: u64,
        kept: Uuid,
    ) -> Result<Enabled, VaultError> {
        let mut transaction = self.begin().await?;
        lock(&mut transaction, account).await?;
        let verified = sqlx::query(
            "SELECT 1 AS one FROM vault.credentials
             WHERE account_id = $1 AND email_verified_at IS NOT NULL",
        )
        .bind(account.0)
        .fetch_optional(&mut *transaction)
        .await?;
        if verified.is_none() {
            return Ok(Enabled::Unverified);
        }
        if !take_code(
            &self.keys,
            &mut transaction,
            account,
            code,
            false,
            now_seconds,
        )
        .await?
        {
            return Ok(Enabled::Wrong);
        }
        let codes: Vec<_> = (0..RECOVERY_CODES)
            .map(|_| draw(RECOVERY_CHARACTERS))
            .collect::<Result<_, _>>()?;
        let hashes: Vec<_> = codes.iter().map(|code| hash(code)).collect();
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
        let ended = end_others(&mut transaction, account, kept).await?;
        sqlx::query(
            "UPDATE vault.devices SET second_factor_shown = true
             WHERE id = (SELECT device_id FROM vault.sessions WHERE id = $1)",
        )
        .bind(kept)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let shown = codes.iter().map(|code| grouped(code, 6));
        Ok(Enabled::Done {
            recovery_codes: shown.collect(),
            ended,
        })
    }

    /// Whether `code` is the authenticator's, or a recovery code, which is used
    /// up by that.
    pub async fn check_second_factor(
        &self,
        account: AccountId,
        code: &str,
        now_seconds: u64,
    ) -> Result<bool, VaultError> {
        let mut transaction = self.begin().await?;
        let right = check(&self.keys, &mut transaction, account, code, now_seconds).await?;
        transaction.commit().await?;
        Ok(right)
    }

    /// It is not asked for any more, and all sessions but `kept` are ended; returns
    /// those, or none where the code is wrong.
    pub async fn remove_second_factor(
        &self,
        account: AccountId,
        code: &str,
        now_seconds: u64,
        kept: Uuid,
    ) -> Result<Option<Vec<Uuid>>, VaultError> {
        let mut transaction = self.begin().await?;
        lock(&mut transaction, account).await?;
        if !check(&self.keys, &mut transaction, account, code, now_seconds).await? {
            return Ok(None);
        }
        forget(&mut transaction, account).await?;
        let ended = end_others(&mut transaction, account, kept).await?;
        transaction.commit().await?;
        Ok(Some(ended))
    }

    /// The same without a code, for whoever lost all of them: ends all sessions. None where
    /// there is no second factor.
    pub async fn reset_second_factor(
        &self,
        account: AccountId,
    ) -> Result<Option<Vec<Uuid>>, VaultError> {
        let mut transaction = self.begin().await?;
        lock(&mut transaction, account).await?;
        if forget(&mut transaction, account).await? == 0 {
            return Ok(None);
        }
        let ended = end_all(&mut transaction, account).await?;
        transaction.commit().await?;
        Ok(Some(ended))
    }
}

type Begun<'a> = Transaction<'a, Postgres>;

/// With another password: an authenticator that was added with the one before, and not
/// enabled yet, may be whose who knew that.
pub(crate) async fn forget_unfinished(
    transaction: &mut Begun<'_>,
    account: AccountId,
) -> Result<(), VaultError> {
    let sql = "DELETE FROM vault.second_factors WHERE account_id = $1 AND enabled_at IS NULL";
    let forgotten = sqlx::query(sql).bind(account.0);
    forgotten.execute(&mut **transaction).await?;
    Ok(())
}

/// Returns how much there was.
async fn forget(transaction: &mut Begun<'_>, account: AccountId) -> Result<u64, VaultError> {
    let mut gone = 0;
    for sql in [
        "DELETE FROM vault.second_factors WHERE account_id = $1",
        "DELETE FROM vault.recovery_codes WHERE account_id = $1",
    ] {
        let deleted = sqlx::query(sql).bind(account.0);
        gone += deleted.execute(&mut **transaction).await?.rows_affected();
    }
    Ok(gone)
}

/// Whoever signs in meanwhile waits, and looks again.
async fn lock(transaction: &mut Begun<'_>, account: AccountId) -> Result<(), VaultError> {
    sqlx::query("SELECT 1 FROM vault.credentials WHERE account_id = $1 FOR UPDATE")
        .bind(account.0)
        .fetch_optional(&mut **transaction)
        .await?;
    Ok(())
}

async fn end_others(
    transaction: &mut Begun<'_>,
    account: AccountId,
    kept: Uuid,
) -> Result<Vec<Uuid>, VaultError> {
    let rows = sqlx::query(
        "UPDATE vault.sessions SET ended_at = now()
         WHERE account_id = $1 AND id <> $2 AND ended_at IS NULL RETURNING id",
    )
    .bind(account.0)
    .bind(kept)
    .fetch_all(&mut **transaction)
    .await?;
    devices::forget_others(transaction, account, Some(kept)).await?;
    let ids = rows.iter().map(|row| row.try_get("id"));
    Ok(ids.collect::<sqlx::Result<_>>()?)
}

async fn check(
    keys: &MasterKeys,
    transaction: &mut Begun<'_>,
    account: AccountId,
    code: &str,
    now_seconds: u64,
) -> Result<bool, VaultError> {
    if take_code(keys, transaction, account, code, true, now_seconds).await? {
        return Ok(true);
    }
    let used = sqlx::query(
        "DELETE FROM vault.recovery_codes WHERE account_id = $1 AND code_hash = $2
         AND EXISTS (SELECT FROM vault.second_factors
             WHERE account_id = $1 AND enabled_at IS NOT NULL)",
    )
    .bind(account.0)
    .bind(hash(&plain(code)))
    .execute(&mut **transaction)
    .await?;
    Ok(used.rows_affected() > 0)
}

/// Whether it is the authenticator's code, of a step after all that counted.
async fn take_code(
    keys: &MasterKeys,
    transaction: &mut Begun<'_>,
    account: AccountId,
    code: &str,
    enabled: bool,
    now_seconds: u64,
) -> Result<bool, VaultError> {
    let row = sqlx::query(
        "SELECT secret FROM vault.second_factors
         WHERE account_id = $1 AND (enabled_at IS NOT NULL) = $2 FOR UPDATE",
    )
    .bind(account.0)
    .bind(enabled)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let secret = keys.unwrap(Wrapped::SecondFactor, account, row.try_get("secret")?)?;
    let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let Some(step) = totp(&secret)?.check(&typed, now_seconds) else {
        return Ok(false);
    };
    let taken = sqlx::query(
        "UPDATE vault.second_factors SET last_step = $2
         WHERE account_id = $1 AND last_step < $2",
    )
    .bind(account.0)
    .bind(i64::try_from(step).unwrap_or(i64::MAX))
    .execute(&mut **transaction)
    .await?;
    Ok(taken.rows_affected() > 0)
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
