//! Tokens of services: programs of operators and analysts that act for nobody.
//! Each says what it may do, expires, and can be revoked. It refuses to keep one:
//! its hash stands here.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kernel::Uuid;
use sea_orm::sqlx::{self, Row};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::{Vault, VaultError, codes::random};

/// So that scanners of source code know one.
const PREFIX: &str = "hws_";
const SECRET_BYTES: usize = 32;
pub const SERVICE_TOKEN_DAYS_MAX: i64 = 366;
/// How often its last use is written down, at most.
const USED_SECONDS: f64 = 60.0;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Sees how the system is doing.
    OperationsRead,
}

impl Scope {
    pub const ALL: [Self; 1] = [Self::OperationsRead];

    pub fn name(self) -> &'static str {
        match self {
            Self::OperationsRead => "operations:read",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no such scope; there is {}", Scope::ALL.map(Scope::name).join(", "))]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.name() == text);
        named.ok_or(UnknownScope)
    }
}

/// 256 bits. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceToken {
    id: Uuid,
    secret: [u8; SECRET_BYTES],
}

impl ServiceToken {
    /// None where `text` is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (id, secret) = bytes.split_at_checked(16)?;
        Some(Self {
            id: Uuid::from_slice(id).ok()?,
            secret: secret.try_into().ok()?,
        })
    }

    /// For whoever made it alone.
    pub fn reveal(&self) -> String {
        let bytes = [self.id.as_bytes(), self.secret.as_slice()].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.secret).to_vec()
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceToken({}, …)", self.id)
    }
}

/// A token as operators see it.
#[derive(Clone, Debug)]
pub struct ServiceTokenInfo {
    pub id: Uuid,
    pub name: String,
    pub scopes: Vec<String>,
    pub made_by: String,
    pub made_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub used_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
}

impl Vault {
    /// A new token with these scopes for `days`.
    pub async fn make_service_token(
        &self,
        name: &str,
        scopes: &[Scope],
        days: i64,
        made_by: &str,
    ) -> Result<(Uuid, ServiceToken), VaultError> {
        let token = ServiceToken {
            id: Uuid::now_v7(),
            secret: random()?,
        };
        let days = days.clamp(1, SERVICE_TOKEN_DAYS_MAX);
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.name().to_owned()).collect();
        sqlx::query(
            "INSERT INTO vault.service_tokens (id, name, token_hash, scopes, made_by, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(token.id)
        .bind(name)
        .bind(token.hash())
        .bind(scopes)
        .bind(made_by)
        .bind(OffsetDateTime::now_utc() + Duration::days(days))
        .execute(self.pool())
        .await?;
        Ok((token.id, token))
    }

    /// Whether the token counts, and has this scope.
    pub async fn service_may(
        &self,
        token: &ServiceToken,
        scope: Scope,
    ) -> Result<Option<bool>, VaultError> {
        let row = sqlx::query(
            "SELECT scopes, coalesce(used_at, made_at) < now() - make_interval(secs => $3) AS stale
             FROM vault.service_tokens
             WHERE id = $1 AND token_hash = $2 AND revoked_at IS NULL AND expires_at > now()",
        )
        .bind(token.id)
        .bind(token.hash())
        .bind(USED_SECONDS)
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        if row.try_get("stale")? {
            sqlx::query("UPDATE vault.service_tokens SET used_at = now() WHERE id = $1")
                .bind(token.id)
                .execute(self.pool())
                .await?;
        }
        let scopes: Vec<String> = row.try_get("scopes")?;
        Ok(Some(scopes.iter().any(|name| name == scope.name())))
    }

    /// All that did not expire long ago, the newest first.
    pub async fn service_tokens(&self) -> Result<Vec<ServiceTokenInfo>, VaultError> {
        let rows = sqlx::query(
            "SELECT id, name, scopes, made_by, made_at, expires_at, used_at, revoked_at
             FROM vault.service_tokens WHERE expires_at > now() - interval '30 days'
             ORDER BY id DESC LIMIT 1000",
        )
        .fetch_all(self.pool())
        .await?;
        let info = |row: &sqlx::postgres::PgRow| {
            Ok(ServiceTokenInfo {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                scopes: row.try_get("scopes")?,
                made_by: row.try_get("made_by")?,
                made_at: row.try_get("made_at")?,
                expires_at: row.try_get("expires_at")?,
                used_at: row.try_get("used_at")?,
                revoked_at: row.try_get("revoked_at")?,
            })
        };
        let infos = rows.iter().map(info);
        Ok(infos.collect::<sqlx::Result<_>>()?)
    }

    /// Whether there was one that counted.
    pub async fn revoke_service_token(&self, id: Uuid) -> Result<bool, VaultError> {
        let revoked = sqlx::query(
            "UPDATE vault.service_tokens SET revoked_at = now()
             WHERE id = $1 AND revoked_at IS NULL",
        )
        .bind(id)
        .execute(self.pool())
        .await?;
        Ok(revoked.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_is_never_printed() -> Result<(), VaultError> {
        let token = ServiceToken {
            id: Uuid::now_v7(),
            secret: random()?,
        };
        let shown = token.reveal();
        assert_eq!(ServiceToken::parse(&shown), Some(token.clone()));
        assert!(!format!("{token:?}").contains(&shown[30..]));
        for wrong in ["", "hws_", &shown[1..], &format!("{shown}AAAA"), "a.b.c"] {
            assert_eq!(ServiceToken::parse(wrong), None);
        }
        Ok(())
    }
}
