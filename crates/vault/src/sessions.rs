//! Sessions: who is signed in, and where. A session lives while its refresh
//! token is used; each use gives the next token. It refuses to keep a token:
//! their hashes stand here, and nobody can sign in with those.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, Postgres, Row, Transaction, postgres::PgRow};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::{
    DeviceToken, Vault, VaultError, codes::random, devices, emails::is_invisible, second_factors,
};

/// How long a session lives after the last use of its refresh token.
pub const SESSION_DAYS: i64 = 30;
/// Of one account at once; the one that was not seen for the longest time ends.
pub const SESSIONS_MAX: i64 = 100;
/// How long a used token still gives the session's current token, counted from its
/// first use: its reply may be lost. Longer, and a thief who refreshes in turn with the
/// owner goes unseen.
pub const RETRY_SECONDS: i64 = 60;
/// Rotations of one session within `RETRY_SECONDS`, each of which is noted; more
/// refreshes than that give the token back that was sent.
pub const ROTATIONS_NOTED_MAX: i64 = 256;
/// How long an ended session stays in its table: whoever refuses access tokens
/// of it has seen it by then.
const KEPT_AFTER_END_SECONDS: i64 = 60 * 60;
/// How often a session is refreshed at most, about 85 days at once each 15
/// minutes: each of its tokens is known by leading to the current one.
const ROTATIONS_MAX: i32 = 8_192;
/// Sessions that are deleted at once, and how often one purge does it: more than can
/// begin meanwhile.
const PURGED_AT_ONCE: i64 = 1_000;
const PURGES_MAX: u32 = 1_000;
/// A refresh that meets another one at the same moment looks again.
const TRIES_MAX: u32 = 3;
const DEVICE_CHARACTERS_MAX: usize = 200;
const SECRET_BYTES: usize = 32;

type Secret = [u8; SECRET_BYTES];

/// Opaque to clients: the session and 256 bits, 64 characters in all. Never
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    session: Uuid,
    secret: Secret,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a refresh token")]
pub struct InvalidRefreshToken;

impl RefreshToken {
    /// Of a session that is yet to begin.
    fn draw() -> Result<Self, VaultError> {
        Ok(Self {
            session: Uuid::now_v7(),
            secret: random()?,
        })
    }

    /// Begins its session.
    async fn insert(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        account: AccountId,
        device: &Device,
        known_as: Option<Uuid>,
    ) -> Result<(), VaultError> {
        let salt: Secret = random()?;
        sqlx::query(
            "INSERT INTO vault.sessions
                 (id, account_id, device, address, salt, token_hash, expires_at, device_id)
             VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(days => $7), $8)",
        )
        .bind(self.session)
        .bind(account.0)
        .bind(&device.name)
        .bind(&device.address)
        .bind(salt.as_slice())
        .bind(self.hash())
        .bind(SESSION_DAYS as i32)
        .bind(known_as)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// For the client alone.
    pub fn reveal(&self) -> String {
        let bytes = [self.session.as_bytes(), self.secret.as_slice()].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.secret).to_vec()
    }

    /// The same each time, so that whoever asks again after a lost reply gets
    /// what was lost; nobody knows it without the token itself.
    fn next(&self, salt: &[u8]) -> Result<Self, VaultError> {
        let mac = Hmac::<Sha256>::new_from_slice(salt);
        let mut mac = mac.map_err(|_| VaultError::Hashing)?;
        mac.update(&self.secret);
        Ok(Self {
            session: self.session,
            secret: mac.finalize().into_bytes().into(),
        })
    }

    /// The later token with this hash, and how many rotations later it is; none
    /// where it is another chain's.
    fn led_to(
        &self,
        hash: &[u8],
        salt: &[u8],
        rotations: i32,
    ) -> Result<Option<(i32, Self)>, VaultError> {
        let mut token = self.clone();
        for behind in 0..=rotations.min(ROTATIONS_MAX) {
            if token.hash() == hash {
                return Ok(Some((behind, token)));
            }
            token = token.next(salt)?;
        }
        Ok(None)
    }
}

impl FromStr for RefreshToken {
    type Err = InvalidRefreshToken;

    fn from_str(text: &str) -> Result<Self, InvalidRefreshToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| InvalidRefreshToken)?;
        let (session, secret) = bytes.split_at_checked(16).ok_or(InvalidRefreshToken)?;
        Ok(Self {
            session: Uuid::from_slice(session).map_err(|_| InvalidRefreshToken)?,
            secret: secret.try_into().map_err(|_| InvalidRefreshToken)?,
        })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({}, …)", self.session)
    }
}

/// Where somebody signs in, as their client and their network tell it.
#[derive(Clone, Default)]
pub struct Device {
    name: Option<String>,
    address: Option<String>,
    /// What it says it is known by.
    pub(crate) shown: Option<DeviceToken>,
}

impl Device {
    /// `name` is cut where it is too long.
    pub fn new(name: Option<&str>, address: Option<String>) -> Self {
        let printable = |name: &str| -> String {
            let characters = name.chars().filter(|c| !is_invisible(*c));
            characters.take(DEVICE_CHARACTERS_MAX).collect()
        };
        let name = name.map(printable).filter(|name| !name.trim().is_empty());
        Self {
            name,
            address,
            shown: None,
        }
    }

    /// The same that shows what it is known by.
    #[must_use]
    pub fn showing(mut self, token: Option<DeviceToken>) -> Self {
        self.shown = token;
        self
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// What signing in gives.
#[derive(Clone, Debug)]
pub struct Begun {
    pub session: Uuid,
    pub token: RefreshToken,
    /// What the device is known by from now on.
    pub device: DeviceToken,
    /// Whether it was not known before.
    pub is_new_device: bool,
}

/// A session that lives, as its owner sees it.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub device: Option<String>,
    pub address: Option<String>,
    pub began_at: OffsetDateTime,
    pub seen_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// What using a refresh token gives.
#[derive(Clone, Debug)]
pub enum Refreshed {
    Next {
        account: AccountId,
        session: Uuid,
        token: RefreshToken,
    },
    /// There is no such token, or its session has expired.
    Unknown,
    /// The session was ended before.
    Ended,
    /// The token was used too long ago: somebody has it who should not, and the
    /// session is ended now.
    Reused { session: Uuid },
}

impl Vault {
    /// A new session, and its first token; none where `verified`, the password
    /// hash that was looked at, is another one meanwhile, where a second factor
    /// is asked for meanwhile and was not shown, or where the account is barred.
    pub async fn begin_session(
        &self,
        account: AccountId,
        device: &Device,
        verified: Option<&str>,
        factor_shown: bool,
    ) -> Result<Option<Begun>, VaultError> {
        let token = RefreshToken::draw()?;
        let mut transaction = self.begin().await?;
        // Whoever begins or changes the password waits for this to end.
        let row = sqlx::query(
            "SELECT password_hash, barred_at IS NOT NULL AS barred
             FROM vault.credentials WHERE account_id = $1 FOR UPDATE",
        )
        .bind(account.0)
        .fetch_optional(&mut *transaction)
        .await?;
        // After the lock: enabling one holds it too.
        let factor = sqlx::query(
            "SELECT 1 FROM vault.second_factors
             WHERE account_id = $1 AND enabled_at IS NOT NULL",
        )
        .bind(account.0)
        .fetch_optional(&mut *transaction)
        .await?;
        if factor.is_some() && !factor_shown {
            return Ok(None);
        }
        let (stored, barred): (Option<String>, bool) = match row {
            Some(row) => (row.try_get("password_hash")?, row.try_get("barred")?),
            None => (None, false),
        };
        if barred {
            return Ok(None);
        }
        if verified.is_some() && verified != stored.as_deref() {
            return Ok(None);
        }
        sqlx::query(
            "UPDATE vault.sessions SET ended_at = now() WHERE id IN (
                 SELECT id FROM vault.sessions
                 WHERE account_id = $1 AND ended_at IS NULL AND expires_at > now()
                 ORDER BY seen_at DESC OFFSET $2)",
        )
        .bind(account.0)
        .bind(SESSIONS_MAX - 1)
        .execute(&mut *transaction)
        .await?;
        let known = devices::learn(&mut transaction, account, device, factor_shown).await?;
        token
            .insert(&mut transaction, account, device, Some(known.id))
            .await?;
        transaction.commit().await?;
        Ok(Some(Begun {
            session: token.session,
            token,
            device: known.token,
            is_new_device: known.is_new,
        }))
    }

    /// The session of tools that act as an account, which lives for `lifetime` from now:
    /// its access tokens are all there is, since nobody gets its refresh token. An
    /// account has one at once. None where the account is barred.
    pub async fn begin_tool_session(
        &self,
        account: AccountId,
        device: &Device,
        lifetime: Duration,
    ) -> Result<Option<Uuid>, VaultError> {
        let mut transaction = self.begin().await?;
        // An account that has no credentials yet may be barred meanwhile.
        sqlx::query(
            "INSERT INTO vault.credentials (account_id, created_at) VALUES ($1, now())
             ON CONFLICT (account_id) DO NOTHING",
        )
        .bind(account.0)
        .execute(&mut *transaction)
        .await?;
        let row = sqlx::query(
            "SELECT barred_at IS NOT NULL AS barred
             FROM vault.credentials WHERE account_id = $1 FOR UPDATE",
        )
        .bind(account.0)
        .fetch_one(&mut *transaction)
        .await?;
        if row.try_get("barred")? {
            return Ok(None);
        }
        let known = sqlx::query(
            "SELECT id FROM vault.sessions
             WHERE account_id = $1 AND of_tools AND ended_at IS NULL AND expires_at > now()
             FOR UPDATE",
        )
        .bind(account.0)
        .fetch_optional(&mut *transaction)
        .await?;
        let session = match known {
            Some(row) => row.try_get("id")?,
            None => {
                let token = RefreshToken::draw()?;
                token
                    .insert(&mut transaction, account, device, None)
                    .await?;
                token.session
            }
        };
        sqlx::query(
            "UPDATE vault.sessions SET of_tools = true, seen_at = now(),
                 expires_at = now() + make_interval(secs => $2)
             WHERE id = $1",
        )
        .bind(session)
        .bind(lifetime.as_seconds_f64())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(session))
    }

    /// Deletes sessions that are over for long, devices that were not seen for long, and
    /// addresses that nobody verified in time.
    pub async fn purge(&self) -> Result<(), VaultError> {
        for _ in 0..PURGES_MAX {
            let (sessions, devices) = (self.purge_sessions().await?, self.purge_devices().await?);
            if sessions + devices + self.purge_addresses().await? == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn purge_sessions(&self) -> Result<u64, VaultError> {
        let gone = sqlx::query(
            "DELETE FROM vault.sessions WHERE id IN (
                 SELECT id FROM vault.sessions
                 WHERE least(ended_at, expires_at) < now() - make_interval(secs => $1)
                 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(KEPT_AFTER_END_SECONDS as f64)
        .bind(PURGED_AT_ONCE)
        .execute(self.pool())
        .await?;
        Ok(gone.rows_affected())
    }

    /// Uses a token: one of many who do so at once moves the session on, and the
    /// others get the same answer. A token that was used less than `RETRY_SECONDS` ago
    /// gives the session's current token, however many rotations came since: there is
    /// one chain, and whoever is behind meets it at its end.
    pub async fn refresh_session(
        &self,
        token: &RefreshToken,
        device: &Device,
    ) -> Result<Refreshed, VaultError> {
        for _ in 0..TRIES_MAX {
            if let Some(refreshed) = self.try_refresh(token, device).await? {
                return Ok(refreshed);
            }
        }
        Err(VaultError::Busy)
    }

    /// None where somebody else moved the session meanwhile.
    async fn try_refresh(
        &self,
        token: &RefreshToken,
        device: &Device,
    ) -> Result<Option<Refreshed>, VaultError> {
        let row = sqlx::query(
            "SELECT account_id, salt, token_hash, rotations, ended_at IS NOT NULL AS ended,
                 expires_at < now() AS expired,
                 (SELECT count(*) FROM unnest(rotated_at || rotated_before) AS at
                  WHERE at > now() - make_interval(secs => $2)) AS rotated_lately
             FROM vault.sessions WHERE id = $1",
        )
        .bind(token.session)
        .bind(RETRY_SECONDS as f64)
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else {
            return Ok(Some(Refreshed::Unknown));
        };
        let hash: Vec<u8> = row.try_get("token_hash")?;
        let salt: Vec<u8> = row.try_get("salt")?;
        let rotations: i32 = row.try_get("rotations")?;
        let Some((behind, current)) = token.led_to(&hash, &salt, rotations)? else {
            return Ok(Some(Refreshed::Unknown));
        };
        if row.try_get("expired")? {
            return Ok(Some(Refreshed::Unknown));
        }
        if row.try_get("ended")? {
            return Ok(Some(Refreshed::Ended));
        }
        let account = AccountId(row.try_get("account_id")?);
        let session = token.session;
        let refreshed = |token| Refreshed::Next {
            account,
            session,
            token,
        };
        let rotated_lately: i64 = row.try_get("rotated_lately")?;
        if behind > 0 {
            // The latest come first, so this says whether its own rotation is one of them.
            if i64::from(behind) <= rotated_lately {
                return Ok(Some(refreshed(current)));
            }
            self.end_session(account, session).await?;
            return Ok(Some(Refreshed::Reused { session }));
        }
        if rotations >= ROTATIONS_MAX {
            self.end_session(account, session).await?;
            return Ok(Some(Refreshed::Ended));
        }
        if rotated_lately >= ROTATIONS_NOTED_MAX {
            return Ok(Some(refreshed(current)));
        }
        let next = current.next(&salt)?;
        let mut transaction = self.begin().await?;
        let moved = sqlx::query(
            "UPDATE vault.sessions SET token_hash = $3, rotations = rotations + 1,
                 rotated_at = greatest(now(), rotated_at),
                 rotated_before = ARRAY(
                     SELECT at FROM unnest(rotated_at || rotated_before)
                         WITH ORDINALITY AS one (at, behind)
                     WHERE at > now() - make_interval(secs => $7)
                     ORDER BY behind LIMIT $8),
                 seen_at = now(),
                 expires_at = now() + make_interval(days => $4),
                 device = coalesce($5, device), address = coalesce($6, address)
             WHERE id = $1 AND token_hash = $2 AND ended_at IS NULL",
        )
        .bind(session)
        .bind(hash)
        .bind(next.hash())
        .bind(SESSION_DAYS as i32)
        .bind(&device.name)
        .bind(&device.address)
        .bind(RETRY_SECONDS as f64)
        .bind(ROTATIONS_NOTED_MAX)
        .execute(&mut *transaction)
        .await?;
        if moved.rows_affected() == 0 {
            return Ok(None);
        }
        sqlx::query(
            "UPDATE vault.devices SET seen_at = now()
             WHERE id = (SELECT device_id FROM vault.sessions WHERE id = $1)",
        )
        .bind(session)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(refreshed(next)))
    }

    /// The sessions of an account that live, the one seen last first; at most
    /// `SESSIONS_MAX`.
    pub async fn sessions(&self, account: AccountId) -> Result<Vec<Session>, VaultError> {
        let rows = sqlx::query(
            "SELECT id, device, address, began_at, seen_at, expires_at FROM vault.sessions
             WHERE account_id = $1 AND ended_at IS NULL AND expires_at > now()
             ORDER BY seen_at DESC, id LIMIT $2",
        )
        .bind(account.0)
        .bind(SESSIONS_MAX)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.iter().map(session).collect::<Result<_, _>>()?)
    }

    /// Whether it was one of this account's that lived.
    pub async fn end_session(&self, account: AccountId, session: Uuid) -> Result<bool, VaultError> {
        let ended = sqlx::query(
            "UPDATE vault.sessions SET ended_at = now()
             WHERE id = $1 AND account_id = $2 AND ended_at IS NULL AND expires_at > now()",
        )
        .bind(session)
        .bind(account.0)
        .execute(self.pool())
        .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Ends a session elsewhere, and knows its device no more, unless that is the one of
    /// `kept`. Whether it was one of this account's that lived.
    pub async fn end_session_elsewhere(
        &self,
        account: AccountId,
        session: Uuid,
        kept: Uuid,
    ) -> Result<bool, VaultError> {
        let ended = sqlx::query(
            "WITH ended AS (
                 UPDATE vault.sessions SET ended_at = now()
                 WHERE id = $1 AND account_id = $2 AND ended_at IS NULL AND expires_at > now()
                 RETURNING device_id),
             forgotten AS (
                 DELETE FROM vault.devices WHERE id IN (SELECT device_id FROM ended)
                   AND id IS DISTINCT FROM (SELECT device_id FROM vault.sessions WHERE id = $3))
             SELECT 1 AS one FROM ended",
        )
        .bind(session)
        .bind(account.0)
        .bind(kept)
        .fetch_optional(self.pool())
        .await?;
        Ok(ended.is_some())
    }

    /// Ends all sessions of an account but `kept`; returns which, or none where that one
    /// was ended before: then it is not its holder's to end others.
    pub async fn end_other_sessions(
        &self,
        account: AccountId,
        kept: Uuid,
    ) -> Result<Option<Vec<Uuid>>, VaultError> {
        let mut transaction = self.begin().await?;
        let rows = sqlx::query(
            "UPDATE vault.sessions SET ended_at = now()
             WHERE account_id = $1 AND id <> $2 AND ended_at IS NULL
               AND NOT EXISTS (SELECT FROM vault.sessions
                   WHERE id = $2 AND ended_at IS NOT NULL)
             RETURNING id",
        )
        .bind(account.0)
        .bind(kept)
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() && is_ended(&mut transaction, kept).await? {
            return Ok(None);
        }
        devices::forget_others(&mut transaction, account, Some(kept)).await?;
        transaction.commit().await?;
        ids(&rows).map(Some)
    }

    /// Ends all sessions of an account; returns which.
    pub async fn end_all_sessions(&self, account: AccountId) -> Result<Vec<Uuid>, VaultError> {
        let mut transaction = self.begin().await?;
        // A session that begins now waits for this to end, or is seen here.
        sqlx::query("SELECT 1 FROM vault.credentials WHERE account_id = $1 FOR UPDATE")
            .bind(account.0)
            .fetch_optional(&mut *transaction)
            .await?;
        let ended = end_all(&mut transaction, account).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    /// Replaces a password hash that is still `old`, and ends all sessions of
    /// the account but `kept`, in one step; returns which, or none where the
    /// hash is another one meanwhile.
    pub async fn change_password(
        &self,
        account: AccountId,
        old: &str,
        new: &str,
        kept: Uuid,
    ) -> Result<Option<Vec<Uuid>>, VaultError> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE vault.credentials SET password_hash = $3
             WHERE account_id = $1 AND password_hash = $2",
        )
        .bind(account.0)
        .bind(old)
        .bind(new)
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(None);
        }
        let rows = sqlx::query(
            "UPDATE vault.sessions SET ended_at = now()
             WHERE account_id = $1 AND id <> $2 AND ended_at IS NULL RETURNING id",
        )
        .bind(account.0)
        .bind(kept)
        .fetch_all(&mut *transaction)
        .await?;
        devices::forget_others(&mut transaction, account, Some(kept)).await?;
        second_factors::forget_unfinished(&mut transaction, account).await?;
        transaction.commit().await?;
        ids(&rows).map(Some)
    }

    /// The sessions that were ended in the last `since`, whose access tokens may
    /// not have expired yet.
    pub async fn sessions_ended(&self, since: Duration) -> Result<Vec<Uuid>, VaultError> {
        let rows = sqlx::query(
            "SELECT id FROM vault.sessions WHERE ended_at > now() - make_interval(secs => $1)",
        )
        .bind(since.as_seconds_f64())
        .fetch_all(self.pool())
        .await?;
        ids(&rows)
    }
}

async fn is_ended(
    transaction: &mut Transaction<'_, Postgres>,
    session: Uuid,
) -> Result<bool, VaultError> {
    let sql = "SELECT 1 AS one FROM vault.sessions WHERE id = $1 AND ended_at IS NOT NULL";
    let ended = sqlx::query(sql).bind(session);
    Ok(ended.fetch_optional(&mut **transaction).await?.is_some())
}

/// Within the transaction of whoever holds the account's credentials. No device is known
/// any more.
pub(crate) async fn end_all(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
) -> Result<Vec<Uuid>, VaultError> {
    let rows = sqlx::query(
        "UPDATE vault.sessions SET ended_at = now()
         WHERE account_id = $1 AND ended_at IS NULL RETURNING id",
    )
    .bind(account.0)
    .fetch_all(&mut **transaction)
    .await?;
    devices::forget_others(transaction, account, None).await?;
    ids(&rows)
}

fn session(row: &PgRow) -> sqlx::Result<Session> {
    Ok(Session {
        id: row.try_get("id")?,
        device: row.try_get("device")?,
        address: row.try_get("address")?,
        began_at: row.try_get("began_at")?,
        seen_at: row.try_get("seen_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

fn ids(rows: &[PgRow]) -> Result<Vec<Uuid>, VaultError> {
    let ids = rows.iter().map(|row| row.try_get("id"));
    Ok(ids.collect::<sqlx::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_is_never_printed() -> Result<(), VaultError> {
        let token = RefreshToken::draw()?;
        let shown = token.reveal();
        assert_eq!((shown.len(), shown.parse()), (64, Ok(token.clone())));
        assert!(!format!("{token:?}").contains(&shown[30..]));
        for wrong in [
            "",
            "a",
            &shown[1..],
            &format!("{shown}AAAA"),
            &"é".repeat(64),
        ] {
            assert_eq!(wrong.parse::<RefreshToken>(), Err(InvalidRefreshToken));
        }
        Ok(())
    }

    #[test]
    fn a_former_token_is_told_from_a_forged_one() -> Result<(), VaultError> {
        let (first, salt): (_, Secret) = (RefreshToken::draw()?, random()?);
        let mut current = first.clone();
        for _ in 0..100 {
            current = current.next(&salt)?;
        }
        let hash = current.hash();
        let behind = |token: &RefreshToken, rotations| {
            let found = token.led_to(&hash, &salt, rotations)?;
            Ok::<_, VaultError>(found.filter(|(_, end)| *end == current).map(|(n, _)| n))
        };
        assert_eq!(behind(&first, 100)?, Some(100));
        assert_eq!(behind(&first, 99)?, None);
        assert_eq!(behind(&current, 100)?, Some(0));
        let forged = RefreshToken {
            secret: random()?,
            ..first
        };
        assert_eq!(behind(&forged, 100)?, None);
        Ok(())
    }
}
