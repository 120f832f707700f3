//! One-time codes that go to an e-mail address: whoever reads its mail shows
//! that it is theirs. It refuses to keep a code: its hash stands here, for ten
//! minutes, and so many wrong ones end it; another code does not give more tries. Of
//! another password strangers' tries end it for strangers.

use kernel::AccountId;
use sea_orm::sqlx::{self, Postgres, Row, Transaction, postgres::PgRow};
use sha2::{Digest, Sha256};

use crate::{
    Device, DeviceToken, Email, Vault, VaultError,
    credentials::{lock_address, take_address},
    devices,
    first_proof::{self, forget_codes},
    second_factors,
    sessions::end_all,
};

/// 50 bits: what five tries, ten minutes and some hundred resends cannot guess.
const CODE_CHARACTERS: usize = 10;
pub const CODE_MINUTES: i64 = 10;
/// Between two codes that show an address.
pub const RESEND_SECONDS: i64 = 60;
/// Crockford's: no letter looks like a digit.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }

    /// Wrong codes in [`CODE_MINUTES`]. Anybody may try to reset a password: few
    /// tries would let them keep its owner from it, and 50 bits need no more. With a
    /// device that the account knows its owner is not kept from it at all.
    fn tries_max(self) -> i32 {
        match self {
            Self::VerifyEmail => 5,
            Self::ResetPassword => 1_000,
        }
    }

    /// Until the next code, which ends the one before. Anybody may ask for a reset: the
    /// owner's code counts as long as it was told to.
    fn resend_seconds(self) -> i64 {
        match self {
            Self::VerifyEmail => RESEND_SECONDS,
            Self::ResetPassword => CODE_MINUTES * 60,
        }
    }
}

/// What asking for a code gives. Never printed.
pub enum Drawn {
    /// For the one who reads mail at the address.
    Code(String),
    /// The last one was sent a moment ago, and counts on.
    TooSoon,
}

/// What a code that shows an address gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Verified {
    /// The address is the account's own now. `before`: another one, which it had verified
    /// until then.
    Done { before: Option<Email> },
    /// Another account has verified the address meanwhile.
    Taken,
    /// The code is wrong.
    Wrong,
}

/// What a code for another password gives.
pub enum Reset {
    /// These sessions were ended, and the device is known by this token from now on.
    Done {
        account: AccountId,
        ended: Vec<kernel::Uuid>,
        device: DeviceToken,
    },
    /// The code is right, and the password is not taken.
    NotTaken,
    /// The code is wrong.
    Wrong,
}

impl Vault {
    /// Where a code of this purpose goes; none where there is no address, it was verified
    /// before, or the account is barred.
    pub async fn code_address(
        &self,
        account: AccountId,
        purpose: Purpose,
    ) -> Result<Option<Email>, VaultError> {
        let row = sqlx::query(
            "SELECT email FROM vault.credentials
             WHERE account_id = $1 AND email IS NOT NULL AND barred_at IS NULL
               AND ($2 OR email_verified_at IS NULL)",
        )
        .bind(account.0)
        .bind(purpose == Purpose::ResetPassword)
        .fetch_optional(self.pool())
        .await?;
        row.as_ref().map_or(Ok(None), address)
    }

    /// A new code for who reads mail at `to`; the one before counts no more.
    pub async fn draw_code(
        &self,
        account: AccountId,
        purpose: Purpose,
        to: &Email,
    ) -> Result<Drawn, VaultError> {
        let (code, salt) = (draw(CODE_CHARACTERS)?, random::<16>()?);
        let drawn = sqlx::query(
            "INSERT INTO vault.codes AS c
                 (account_id, purpose, email, salt, code_hash, expires_at)
             VALUES ($1, $2, $3, $4, $5, now() + make_interval(mins => $6))
             ON CONFLICT (account_id, purpose) DO UPDATE SET
                 email = excluded.email, salt = excluded.salt,
                 code_hash = excluded.code_hash, sent_at = now(),
                 expires_at = excluded.expires_at,
                 tries = CASE WHEN c.tries_since < now() - make_interval(mins => $6)
                     THEN 0 ELSE c.tries END,
                 tries_since = CASE WHEN c.tries_since < now() - make_interval(mins => $6)
                     THEN now() ELSE c.tries_since END
             WHERE c.sent_at <= now() - make_interval(secs => $7)",
        )
        .bind(account.0)
        .bind(purpose.name())
        .bind(to.as_str())
        .bind(&salt[..])
        .bind(hash(&salt, &code))
        .bind(i32::try_from(CODE_MINUTES).unwrap_or(i32::MAX))
        .bind(purpose.resend_seconds() as f64)
        .execute(self.pool())
        .await?;
        Ok(match drawn.rows_affected() {
            0 => Drawn::TooSoon,
            _ => Drawn::Code(grouped(&code, CODE_CHARACTERS / 2)),
        })
    }

    /// Makes the address that `code` was sent to the account's own. Other codes of the
    /// account count no more then.
    pub async fn verify_email(
        &self,
        account: AccountId,
        code: &str,
    ) -> Result<Verified, VaultError> {
        let purpose = Purpose::VerifyEmail;
        let row =
            sqlx::query("SELECT email FROM vault.codes WHERE account_id = $1 AND purpose = $2")
                .bind(account.0)
                .bind(purpose.name())
                .fetch_optional(self.pool())
                .await?;
        let Some(sent_to) = row.as_ref().map_or(Ok(None), address)? else {
            return Ok(Verified::Wrong);
        };
        let folded = sent_to.folded();
        let mut transaction = self.begin().await?;
        lock_address(&mut transaction, &folded).await?;
        // Before its codes, as everywhere.
        let row = sqlx::query(
            "SELECT email, email_verified_at IS NOT NULL AS verified
             FROM vault.credentials WHERE account_id = $1 FOR UPDATE",
        )
        .bind(account.0)
        .fetch_optional(&mut *transaction)
        .await?;
        let shown = redeem(&mut transaction, account, purpose, code, None).await?;
        let row = match row {
            // Another code may have been sent elsewhere meanwhile.
            Some(row) if shown.as_ref() == Some(&sent_to) => row,
            _ => {
                transaction.commit().await?;
                return Ok(Verified::Wrong);
            }
        };
        match take_address(&mut transaction, account, &folded).await {
            Err(VaultError::EmailTaken(_)) => return Ok(Verified::Taken),
            taken => taken?,
        }
        sqlx::query(
            "UPDATE vault.credentials SET email = $2, email_folded = $3, email_verified_at = now()
             WHERE account_id = $1",
        )
        .bind(account.0)
        .bind(sent_to.as_str())
        .bind(&folded)
        .execute(&mut *transaction)
        .await?;
        forget_codes(&mut transaction, account).await?;
        transaction.commit().await?;
        let before = match row.try_get("verified")? {
            true => address(&row)?.filter(|before| before.folded() != folded),
            false => None,
        };
        Ok(Verified::Done { before })
    }

    /// Takes another password of whoever has the code, and ends all sessions of
    /// the account. Where it is the first proof of the address, what was set before it
    /// goes (`first_proof`). It takes as long where nobody has `email`. Without a hash the
    /// code counts on: the password is one that the account must not have, which
    /// nobody learns who has no code.
    pub async fn reset_password(
        &self,
        email: &Email,
        code: &str,
        password_hash: Option<&str>,
        device: &Device,
    ) -> Result<Reset, VaultError> {
        let mut transaction = self.begin().await?;
        // Sessions that begin now wait for this row, and so does whoever registers with
        // the address.
        let row = sqlx::query(
            "SELECT account_id, email_verified_at IS NOT NULL AS verified
             FROM vault.credentials WHERE email_folded = $1 FOR UPDATE",
        )
        .bind(email.folded())
        .fetch_optional(&mut *transaction)
        .await?;
        let (account, verified) = match row {
            Some(row) => (
                AccountId(row.try_get("account_id")?),
                row.try_get("verified")?,
            ),
            None => (AccountId(kernel::Uuid::nil()), false),
        };
        let (purpose, shown) = (Purpose::ResetPassword, device.shown.as_ref());
        let sent_to = redeem(&mut transaction, account, purpose, code, shown).await?;
        if sent_to.map(|sent_to| sent_to.folded()) != Some(email.folded()) {
            // The try counts. Nobody waits for the disk, or addresses that nobody has,
            // which write nothing, would be told by the time.
            sqlx::query("SET LOCAL synchronous_commit TO OFF")
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            return Ok(Reset::Wrong);
        }
        let Some(password_hash) = password_hash else {
            transaction.rollback().await?;
            return Ok(Reset::NotTaken);
        };
        let taken = sqlx::query(
            "UPDATE vault.credentials SET password_hash = $2
             WHERE account_id = $1 AND barred_at IS NULL",
        )
        .bind(account.0)
        .bind(password_hash)
        .execute(&mut *transaction)
        .await?;
        if taken.rows_affected() == 0 {
            // The code was drawn before the account was barred, and counts no more.
            transaction.commit().await?;
            return Ok(Reset::Wrong);
        }
        mark_verified(&mut transaction, account, &email.folded()).await?;
        let ended = match verified {
            true => {
                second_factors::forget_unfinished(&mut transaction, account).await?;
                end_all(&mut transaction, account).await?
            }
            false => first_proof::wipe(&mut transaction, account).await?,
        };
        // Whoever reads the mail is let in, though others guess.
        let known = devices::learn(&mut transaction, account, device, false).await?;
        transaction.commit().await?;
        Ok(Reset::Done {
            account,
            ended,
            device: known.token,
        })
    }
}

/// The address that a right code was sent to; none where it is wrong, which is
/// counted. A code counts once. However many guess, whoever shows it with a device that the
/// account knows is heard.
async fn redeem(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
    purpose: Purpose,
    code: &str,
    device: Option<&DeviceToken>,
) -> Result<Option<Email>, VaultError> {
    // Whoever tries at the same moment waits for this row.
    let tried = sqlx::query(
        "UPDATE vault.codes SET tries = least(tries, $3) + 1
         WHERE account_id = $1 AND purpose = $2 AND expires_at > now()
           AND (tries < $3 OR EXISTS (SELECT FROM vault.devices
               WHERE account_id = $1 AND token_hash = $4))
         RETURNING salt, code_hash, email",
    )
    .bind(account.0)
    .bind(purpose.name())
    .bind(purpose.tries_max())
    .bind(device.map(DeviceToken::hash))
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = tried else {
        return Ok(None);
    };
    let (salt, kept): (Vec<u8>, Vec<u8>) = (row.try_get("salt")?, row.try_get("code_hash")?);
    // Hashes of what was guessed tell nothing of the code by their time.
    if hash(&salt, &plain(code)) != kept {
        return Ok(None);
    }
    sqlx::query("DELETE FROM vault.codes WHERE account_id = $1 AND purpose = $2")
        .bind(account.0)
        .bind(purpose.name())
        .execute(&mut **transaction)
        .await?;
    address(&row)
}

/// None where there is none.
fn address(row: &PgRow) -> Result<Option<Email>, VaultError> {
    let email: Option<String> = row.try_get("email")?;
    Ok(email.and_then(|email| email.parse().ok()))
}

async fn mark_verified(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
    email_folded: &str,
) -> Result<(), VaultError> {
    sqlx::query(
        "UPDATE vault.credentials SET email_verified_at = coalesce(email_verified_at, now())
         WHERE account_id = $1 AND email_folded = $2",
    )
    .bind(account.0)
    .bind(email_folded)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn hash(salt: &[u8], code: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(code);
    hash.finalize().to_vec()
}

/// So many characters of five bits each.
pub(crate) fn draw(characters: usize) -> Result<String, VaultError> {
    let mut bytes = vec![0; characters];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::Hashing)?;
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    Ok(bytes.iter().map(letter).collect())
}

/// As somebody typed it, as it was drawn.
pub(crate) fn plain(code: &str) -> String {
    let typed = code.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let letter = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    typed.map(letter).collect()
}

/// As it is easy to read.
pub(crate) fn grouped(code: &str, characters: usize) -> String {
    let bytes = code.as_bytes().chunks(characters);
    let groups: Vec<_> = bytes.map(String::from_utf8_lossy).collect();
    groups.join("-")
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::Hashing)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_may_be_typed_as_people_type() -> Result<(), VaultError> {
        let code = draw(CODE_CHARACTERS)?;
        let shown = grouped(&code, 5);
        assert_eq!((shown.len(), shown.as_bytes()[5]), (11, b'-'));
        assert_eq!(plain(&shown), code);
        assert_eq!(plain(&format!(" {} ", shown.to_lowercase())), code);
        assert_eq!(plain("oIl0-1"), "01101");
        Ok(())
    }
}
