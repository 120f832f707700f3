//! Wraps what opens other things (keys of personal fields, secrets of authenticators)
//! for the database: without a master key, which is a setting, a copy of the database
//! opens nothing. Something wrapped is: 1 (layout), the master key's id (8 bytes), a
//! random nonce (24), the ciphertext of XChaCha20-Poly1305 with its tag. Bound to it:
//! layout and id, what it is (its name and a zero byte), and the account (16 bytes).

use std::sync::Arc;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, AssertSqlSafe, Row};
use sha2::{Digest, Sha256};

use crate::{Vault, VaultError};

const LAYOUT: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
/// Rows that are wrapped anew in one transaction.
const CHUNK_ROWS: i64 = 500;

/// What is wrapped: its table, the column, and its name in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrapped {
    AccountKey,
    SecondFactor,
}

impl Wrapped {
    const ALL: [Self; 2] = [Self::AccountKey, Self::SecondFactor];

    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::AccountKey => ("account_keys", "key"),
            Self::SecondFactor => ("second_factors", "secret"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::AccountKey => "account key",
            Self::SecondFactor => "second factor",
        }
    }
}

/// The master key that wraps, and those before it that still unwrap. Cheap to clone;
/// never printed.
#[derive(Clone)]
pub struct MasterKeys(Arc<Vec<MasterKey>>);

struct MasterKey {
    id: [u8; ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl MasterKeys {
    /// From secrets of 32 bytes or more each.
    pub fn new<'a>(current: &'a str, before: impl IntoIterator<Item = &'a str>) -> Self {
        let all = std::iter::once(current).chain(before);
        Self(Arc::new(all.map(MasterKey::new).collect()))
    }

    fn id(&self) -> &[u8] {
        self.0.first().map_or(&[], |current| &current.id)
    }

    pub(crate) fn wrap(
        &self,
        what: Wrapped,
        account: AccountId,
        plain: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let key = self.0.first().ok_or(VaultError::MasterKey)?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::Hashing)?;
        let payload = Payload {
            msg: plain,
            aad: &bound_to(&key.id, what, account),
        };
        let ciphertext = key.cipher.encrypt(&XNonce::from(nonce), payload);
        let ciphertext = ciphertext.map_err(|_| VaultError::MasterKey)?;
        Ok([&[LAYOUT], &key.id[..], &nonce, &ciphertext].concat())
    }

    /// Fails where none of the keys wrapped it, or it was wrapped as something else.
    pub(crate) fn unwrap(
        &self,
        what: Wrapped,
        account: AccountId,
        wrapped: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let rest = wrapped.strip_prefix(&[LAYOUT]);
        let parts = rest.and_then(|rest| {
            let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
            let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
            Some((id, nonce, ciphertext))
        });
        let (id, nonce, ciphertext) = parts.ok_or(VaultError::Unwrapped)?;
        let key = self.0.iter().find(|key| key.id == *id);
        let payload = Payload {
            msg: ciphertext,
            aad: &bound_to(id, what, account),
        };
        let cipher = &key.ok_or(VaultError::MasterKey)?.cipher;
        let plain = cipher.decrypt(&XNonce::from(*nonce), payload);
        plain.map_err(|_| VaultError::Unwrapped)
    }
}

impl MasterKey {
    fn new(secret: &str) -> Self {
        let derived = |purpose: &[u8]| {
            let hash = Sha256::new_with_prefix(purpose);
            hash.chain_update(secret.as_bytes()).finalize()
        };
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&derived(b"headwater: id of a master key\0")[..ID_BYTES]);
        let cipher = XChaCha20Poly1305::new(&derived(b"headwater: master key\0"));
        Self { id, cipher }
    }
}

fn bound_to(id: &[u8], what: Wrapped, account: AccountId) -> Vec<u8> {
    let name = what.name().as_bytes();
    [&[LAYOUT], id, name, &[0], account.0.as_bytes()].concat()
}

/// The SQL condition that a column holds something wrapped. A damaged value does not match:
/// no master key opens it, and it must not stop the others from being used.
fn is_wrapped(column: &str) -> String {
    format!(
        "(CASE WHEN length({column}) > {} THEN get_byte({column}, 0) = {LAYOUT} ELSE false END)",
        1 + ID_BYTES + NONCE_BYTES
    )
}

impl Vault {
    /// Fails where something is wrapped by a master key that is not among those here.
    pub async fn check_master_keys(&self) -> Result<(), VaultError> {
        let known: Vec<&[u8]> = self.keys.0.iter().map(|key| &key.id[..]).collect();
        for what in Wrapped::ALL {
            let (table, column) = what.place();
            let sql = format!(
                "SELECT 1 AS one FROM vault.{table}
                 WHERE {} AND substring({column} FROM 2 FOR {ID_BYTES}) <> ALL($1) LIMIT 1",
                is_wrapped(column)
            );
            let unknown = sqlx::query(AssertSqlSafe(sql)).bind(&known);
            if unknown.fetch_optional(self.pool()).await?.is_some() {
                return Err(VaultError::MasterKey);
            }
        }
        Ok(())
    }

    /// How many are wrapped by a master key before the current one.
    pub async fn wrapped_before(&self) -> Result<u64, VaultError> {
        let mut count = 0;
        for what in Wrapped::ALL {
            let (table, column) = what.place();
            let sql = format!(
                "SELECT count(*) AS count FROM vault.{table}
                 WHERE {} AND substring({column} FROM 2 FOR {ID_BYTES}) <> $1",
                is_wrapped(column)
            );
            let row = sqlx::query(AssertSqlSafe(sql)).bind(self.keys.id());
            let row = row.fetch_one(self.pool()).await?;
            count += row.try_get::<i64, _>("count")?.unsigned_abs();
        }
        Ok(count)
    }

    /// Wraps up to a few hundred anew that a master key before the current one wrapped,
    /// and says how many: none when all are done.
    pub async fn wrap_anew(&self) -> Result<u64, VaultError> {
        for what in Wrapped::ALL {
            let done = self.wrap_some_anew(what).await?;
            if done > 0 {
                return Ok(done);
            }
        }
        Ok(0)
    }

    async fn wrap_some_anew(&self, what: Wrapped) -> Result<u64, VaultError> {
        let (table, column) = what.place();
        let mut transaction = self.begin().await?;
        let sql = format!(
            "SELECT account_id, {column} AS wrapped FROM vault.{table}
             WHERE {} AND substring({column} FROM 2 FOR {ID_BYTES}) <> $1
             ORDER BY account_id LIMIT $2 FOR UPDATE",
            is_wrapped(column)
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(self.keys.id())
            .bind(CHUNK_ROWS)
            .fetch_all(&mut *transaction)
            .await?;
        let (mut accounts, mut wrapped): (Vec<Uuid>, Vec<Vec<u8>>) = Default::default();
        for row in &rows {
            let account = AccountId(row.try_get("account_id")?);
            let plain = self.keys.unwrap(what, account, row.try_get("wrapped")?)?;
            accounts.push(account.0);
            wrapped.push(self.keys.wrap(what, account, &plain)?);
        }
        let sql = format!(
            "UPDATE vault.{table} AS t SET {column} = n.wrapped
             FROM unnest($1::uuid[], $2::bytea[]) AS n (account_id, wrapped)
             WHERE t.account_id = n.account_id"
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(accounts)
            .bind(wrapped)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_opens_with_its_key_for_its_account_alone() -> Result<(), VaultError> {
        let (first, second) = ("a first secret, long enough to be one", "a second secret");
        let [ada, bob] = [1, 2].map(|id| AccountId(Uuid::from_u128(id)));
        let old = MasterKeys::new(first, []);
        let wrapped = old.wrap(Wrapped::AccountKey, ada, b"key")?;
        assert_eq!(old.unwrap(Wrapped::AccountKey, ada, &wrapped)?, b"key");
        let rotated = MasterKeys::new(second, [first]);
        assert_eq!(rotated.unwrap(Wrapped::AccountKey, ada, &wrapped)?, b"key");
        for (keys, what, account) in [
            (&old, Wrapped::AccountKey, bob),
            (&old, Wrapped::SecondFactor, ada),
            (&MasterKeys::new(second, []), Wrapped::AccountKey, ada),
        ] {
            assert!(keys.unwrap(what, account, &wrapped).is_err());
        }
        for cut in 0..wrapped.len() {
            assert!(
                old.unwrap(Wrapped::AccountKey, ada, &wrapped[..cut])
                    .is_err()
            );
        }
        for place in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[place] ^= 1;
            assert!(old.unwrap(Wrapped::AccountKey, ada, &changed).is_err());
        }
        Ok(())
    }
}
