//! Seals personal fields with XChaCha20-Poly1305 and the account's own key.
//! A sealed field is: 1 (layout), the account (16 bytes), a random nonce (24),
//! the ciphertext with its tag. The account is authenticated with it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use kernel::{AccountId, Personal, SealError, Sealer, SealerFuture, Uuid};
use parking_lot::Mutex;
use sea_orm::{
    DatabaseConnection,
    sqlx::{self, Row},
};

const LAYOUT: u8 = 1;
const HEADER_BYTES: usize = 1 + 16;
const NONCE_BYTES: usize = 24;
/// Keys kept in memory, and for how long: a destroyed key stops opening
/// fields after this time at the latest.
const KEYS_CACHED_MAX: usize = 100_000;
const KEY_CACHED_SECONDS: u64 = 60;

/// `None` where the account's key is destroyed or was never made.
type Cipher = Option<Arc<XChaCha20Poly1305>>;

pub struct KeySealer {
    database: DatabaseConnection,
    ciphers: Mutex<HashMap<AccountId, (Cipher, Instant)>>,
}

impl KeySealer {
    pub fn new(database: DatabaseConnection) -> Self {
        Self {
            database,
            ciphers: Mutex::default(),
        }
    }

    async fn ciphers(
        &self,
        accounts: impl Iterator<Item = AccountId>,
    ) -> Result<HashMap<AccountId, Cipher>, SealError> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let cached = self.ciphers.lock();
            let fresh = Duration::from_secs(KEY_CACHED_SECONDS);
            for account in accounts {
                match cached.get(&account) {
                    Some((cipher, at)) if at.elapsed() < fresh => {
                        found.insert(account, cipher.clone());
                    }
                    _ => missing.push(account.0),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable();
        missing.dedup();
        let unavailable = |error: sqlx::Error| SealError::Unavailable(error.to_string());
        let sql = "SELECT account_id, key FROM vault.account_keys WHERE account_id = ANY($1)";
        let rows = sqlx::query(sql)
            .bind(&missing)
            .fetch_all(self.database.get_postgres_connection_pool())
            .await
            .map_err(unavailable)?;
        let mut loaded: HashMap<Uuid, Cipher> = HashMap::new();
        for row in rows {
            let key: Option<Vec<u8>> = row.try_get("key").map_err(unavailable)?;
            let cipher = key.and_then(|key| XChaCha20Poly1305::new_from_slice(&key).ok());
            let account = row.try_get("account_id").map_err(unavailable)?;
            loaded.insert(account, cipher.map(Arc::new));
        }
        let mut cached = self.ciphers.lock();
        if cached.len() + missing.len() > KEYS_CACHED_MAX {
            cached.clear();
        }
        for account in missing {
            let cipher = loaded.remove(&account);
            // An account that has no key yet may get one: not cached.
            if let Some(cipher) = &cipher {
                cached.insert(AccountId(account), (cipher.clone(), Instant::now()));
            }
            found.insert(AccountId(account), cipher.flatten());
        }
        Ok(found)
    }
}

impl Sealer for KeySealer {
    fn seal<'a>(&'a self, subject: AccountId, fields: Vec<&'a mut Personal>) -> SealerFuture<'a> {
        Box::pin(async move {
            let mut ciphers = self.ciphers(std::iter::once(subject)).await?;
            let cipher = ciphers.remove(&subject).flatten();
            let cipher = cipher.ok_or(SealError::NoKey(subject))?;
            for field in fields {
                if let Personal::Plain(text) = field {
                    *field = Personal::Sealed(seal(&cipher, subject, text)?);
                }
            }
            Ok(())
        })
    }

    fn open<'a>(&'a self, fields: Vec<&'a mut Personal>) -> SealerFuture<'a> {
        Box::pin(async move {
            let subjects: Vec<_> = fields.iter().filter_map(|field| subject(field)).collect();
            let ciphers = self.ciphers(subjects.into_iter()).await?;
            for field in fields {
                let Personal::Sealed(bytes) = &*field else {
                    continue;
                };
                let subject = subject(field).ok_or(SealError::Damaged("it has no account"))?;
                *field = match ciphers.get(&subject).cloned().flatten() {
                    Some(cipher) => Personal::Plain(open(&cipher, bytes)?),
                    None => Personal::Erased,
                };
            }
            Ok(())
        })
    }
}

fn seal(cipher: &XChaCha20Poly1305, subject: AccountId, text: &str) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|e| SealError::Unavailable(e.to_string()))?;
    let mut sealed = vec![LAYOUT];
    sealed.extend_from_slice(subject.0.as_bytes());
    let payload = Payload {
        msg: text.as_bytes(),
        aad: &sealed,
    };
    let ciphertext = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealError::Damaged("it cannot be encrypted"))?;
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

fn open(cipher: &XChaCha20Poly1305, sealed: &[u8]) -> Result<String, SealError> {
    let damaged = || SealError::Damaged("it was changed or cut");
    let (header, rest) = sealed.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
    let (nonce, ciphertext) = rest.split_first_chunk().ok_or_else(damaged)?;
    let nonce: [u8; NONCE_BYTES] = *nonce;
    let payload = Payload {
        msg: ciphertext,
        aad: header,
    };
    let text = cipher
        .decrypt(&XNonce::from(nonce), payload)
        .map_err(|_| damaged())?;
    String::from_utf8(text).map_err(|_| damaged())
}

/// Whose key sealed the field; none where it is not sealed or is damaged.
fn subject(field: &Personal) -> Option<AccountId> {
    let Personal::Sealed(bytes) = field else {
        return None;
    };
    if bytes.first() != Some(&LAYOUT) {
        return None;
    }
    let id = bytes.get(1..HEADER_BYTES)?;
    Uuid::from_slice(id).ok().map(AccountId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_own_key_only() -> Result<(), SealError> {
        let cipher = |byte| XChaCha20Poly1305::new(&[byte; 32].into());
        let ada = AccountId(Uuid::from_u128(1));
        let sealed = seal(&cipher(1), ada, "secret")?;
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(open(&cipher(1), &sealed)?, "secret");
        assert!(open(&cipher(2), &sealed).is_err());
        assert_eq!(subject(&Personal::Sealed(sealed.clone())), Some(ada));

        let mut moved = sealed;
        moved[16] ^= 1;
        assert!(
            open(&cipher(1), &moved).is_err(),
            "the account is authenticated"
        );
        Ok(())
    }
}
