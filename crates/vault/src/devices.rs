//! Devices that an account was signed in to from: whoever shows the token of one is let
//! in, however many guess from elsewhere. It outlives sessions, since whoever signed out
//! yesterday signs in tomorrow. It refuses to keep a token: their hashes stand here.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, Postgres, Row, Transaction};
use sha2::{Digest, Sha256};

use crate::{Device, Vault, VaultError, codes::random};

/// How long one is known that is not seen again.
const KNOWN_DAYS: i32 = 180;
/// Of one account; the one that was not seen for the longest time is forgotten.
pub const DEVICES_MAX: i64 = 32;
/// That one purge deletes.
const PURGED_AT_ONCE: i64 = 1_000;
const TOKEN_BYTES: usize = 32;

/// What a device is known by: 256 random bits, 43 characters. It lets nobody in by itself:
/// only the password does. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken([u8; TOKEN_BYTES]);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a device token")]
pub struct InvalidDeviceToken;

impl DeviceToken {
    /// For the client alone.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0).to_vec()
    }
}

impl FromStr for DeviceToken {
    type Err = InvalidDeviceToken;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| InvalidDeviceToken)?;
        let bytes = bytes.try_into().map_err(|_| InvalidDeviceToken)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken(…)")
    }
}

/// A device that somebody was let in to the account from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    pub id: Uuid,
    /// Whether they showed the account's second factor there.
    pub second_factor_shown: bool,
}

/// A device from which somebody was let in just now.
pub(crate) struct Learned {
    pub id: Uuid,
    pub token: DeviceToken,
    /// Whether it was not known.
    pub is_new: bool,
}

impl Vault {
    /// The account's device with this token. It takes as long without a token, and where
    /// there is no such account.
    pub async fn known_device(
        &self,
        account: AccountId,
        shown: Option<&DeviceToken>,
    ) -> Result<Option<KnownDevice>, VaultError> {
        let row = sqlx::query(
            "SELECT id, second_factor_shown FROM vault.devices
             WHERE account_id = $1 AND token_hash = $2",
        )
        .bind(account.0)
        .bind(shown.map(DeviceToken::hash))
        .fetch_optional(self.pool())
        .await?;
        let known = row.map(|row| {
            Ok::<_, sqlx::Error>(KnownDevice {
                id: row.try_get("id")?,
                second_factor_shown: row.try_get("second_factor_shown")?,
            })
        });
        Ok(known.transpose()?)
    }

    /// Deletes some of those that were not seen for long. Returns how many.
    pub(crate) async fn purge_devices(&self) -> Result<u64, VaultError> {
        let gone = sqlx::query(
            "DELETE FROM vault.devices WHERE id IN (
                 SELECT id FROM vault.devices
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

/// Within the transaction of whoever lets somebody in, who showed the second factor or did
/// not. A device that shows its token keeps it.
pub(crate) async fn learn(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
    device: &Device,
    second_factor_shown: bool,
) -> Result<Learned, VaultError> {
    if let Some(token) = &device.shown {
        let seen = sqlx::query(
            "UPDATE vault.devices SET seen_at = now(),
                 second_factor_shown = second_factor_shown OR $3
             WHERE account_id = $1 AND token_hash = $2 RETURNING id",
        )
        .bind(account.0)
        .bind(token.hash())
        .bind(second_factor_shown)
        .fetch_optional(&mut **transaction)
        .await?;
        if let Some(row) = seen {
            return Ok(Learned {
                id: row.try_get("id")?,
                token: token.clone(),
                is_new: false,
            });
        }
    }
    let (id, token) = (Uuid::now_v7(), DeviceToken(random()?));
    sqlx::query(
        "INSERT INTO vault.devices (id, account_id, token_hash, second_factor_shown)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(id)
    .bind(account.0)
    .bind(token.hash())
    .bind(second_factor_shown)
    .execute(&mut **transaction)
    .await?;
    // What others hold is left to them: two who let in at once wait for each other never.
    sqlx::query(
        "DELETE FROM vault.devices WHERE id IN (
             SELECT id FROM vault.devices WHERE account_id = $1
             ORDER BY seen_at DESC, id DESC OFFSET $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(account.0)
    .bind(DEVICES_MAX)
    .execute(&mut **transaction)
    .await?;
    Ok(Learned {
        id,
        token,
        is_new: true,
    })
}

/// Within the transaction of whoever ends all sessions of an account but `kept`: of its
/// devices, that of `kept` alone is known on.
pub(crate) async fn forget_others(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
    kept: Option<Uuid>,
) -> Result<(), VaultError> {
    sqlx::query(
        "DELETE FROM vault.devices WHERE account_id = $1
           AND id IS DISTINCT FROM (SELECT device_id FROM vault.sessions WHERE id = $2)",
    )
    .bind(account.0)
    .bind(kept)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_is_never_printed() {
        let token = DeviceToken([7; TOKEN_BYTES]);
        let shown = token.reveal();
        assert_eq!((shown.len(), shown.parse()), (43, Ok(token.clone())));
        assert!(!format!("{token:?}").contains(&shown[..10]));
        for wrong in [
            "",
            "a",
            &shown[1..],
            &format!("{shown}AAAA"),
            &"é".repeat(43),
        ] {
            assert_eq!(wrong.parse::<DeviceToken>(), Err(InvalidDeviceToken));
        }
    }
}
