//! Seals personal fields with XChaCha20-Poly1305 and the account's own key.
//! A sealed field is: 1 (layout), the account (16 bytes), a random nonce (24),
//! the ciphertext with its tag. Authenticated with it, and so bound to it: layout and
//! account, the aggregate (kind, 1 byte; id, 16; 1 and the member's 16, or 0), its version
//! after the event (8, big-endian), the event type (its length in 1 byte, the name) and
//! the field's name.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use kernel::{AccountId, Personal, PersonalField, SealError, SealedIn, Sealer, SealerFuture, Uuid};
use parking_lot::Mutex;
use sea_orm::{
    DatabaseConnection,
    sqlx::{self, Row},
};

use crate::{
    VaultError,
    wrapping::{MasterKeys, Wrapped},
};

const LAYOUT: u8 = 1;
const HEADER_BYTES: usize = 1 + 16;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
/// Keys kept in memory, and for how long: a destroyed key stops opening
/// fields after this time at the latest.
const KEYS_CACHED_MAX: usize = 100_000;
const KEY_CACHED_SECONDS: u64 = 60;

/// `None` where the account's key is destroyed or was never made.
type Cipher = Option<Arc<XChaCha20Poly1305>>;

pub struct KeySealer {
    database: DatabaseConnection,
    keys: MasterKeys,
    ciphers: Mutex<HashMap<AccountId, (Cipher, Instant)>>,
}

impl KeySealer {
    pub fn new(database: DatabaseConnection, keys: MasterKeys) -> Self {
        Self {
            database,
            keys,
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
            let account = row.try_get("account_id").map_err(unavailable)?;
            let wrapped: Option<&[u8]> = row.try_get("key").map_err(unavailable)?;
            let key = wrapped.map(|wrapped| {
                match (self.keys).unwrap(Wrapped::AccountKey, AccountId(account), wrapped) {
                    // It opens nothing, and so what it should open is told to be damaged.
                    Err(VaultError::Unwrapped) => Ok(vec![0; KEY_BYTES]),
                    unwrapped => {
                        unwrapped.map_err(|error| SealError::Unavailable(error.to_string()))
                    }
                }
            });
            let key = key.transpose()?;
            let cipher = key.and_then(|key| XChaCha20Poly1305::new_from_slice(&key).ok());
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
    fn seal<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        Box::pin(async move {
            let accounts = fields.iter().map(|field| field.of.account);
            let ciphers = self.ciphers(accounts).await?;
            for PersonalField { of, name, value } in fields {
                if let Personal::Plain(text) = &*value {
                    let cipher = ciphers.get(&of.account).and_then(Option::as_ref);
                    let cipher = cipher.ok_or(SealError::NoKey(of.account))?;
                    *value = Personal::Sealed(seal(cipher, &of, name, text)?);
                }
            }
            Ok(())
        })
    }

    fn open<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        Box::pin(async move {
            let is_sealed = |field: &&PersonalField| matches!(field.value, Personal::Sealed(_));
            let sealed = fields.iter().filter(is_sealed);
            let ciphers = self.ciphers(sealed.map(|field| field.of.account)).await?;
            for PersonalField { of, name, value } in fields {
                let Personal::Sealed(bytes) = &*value else {
                    continue;
                };
                // Before the key is asked for: what is another's is not taken for erased.
                if !bytes.starts_with(&header(of.account)) {
                    return Err(SealError::Damaged("it is not of the event's account"));
                }
                *value = match ciphers.get(&of.account).and_then(Option::as_ref) {
                    Some(cipher) => Personal::Plain(open(cipher, &of, name, bytes)?),
                    None => Personal::Erased,
                };
            }
            Ok(())
        })
    }
}

fn seal(
    cipher: &XChaCha20Poly1305,
    of: &SealedIn,
    name: &str,
    text: &str,
) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|e| SealError::Unavailable(e.to_string()))?;
    let payload = Payload {
        msg: text.as_bytes(),
        aad: &bound_to(of, name),
    };
    let ciphertext = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealError::Damaged("it cannot be encrypted"))?;
    let mut sealed = header(of.account).to_vec();
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

fn open(
    cipher: &XChaCha20Poly1305,
    of: &SealedIn,
    name: &str,
    sealed: &[u8],
) -> Result<String, SealError> {
    let damaged = || SealError::Damaged("it was changed, cut or moved");
    let (_, rest) = sealed.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
    let (nonce, ciphertext) = rest.split_first_chunk().ok_or_else(damaged)?;
    let nonce: [u8; NONCE_BYTES] = *nonce;
    let payload = Payload {
        msg: ciphertext,
        aad: &bound_to(of, name),
    };
    let text = cipher
        .decrypt(&XNonce::from(nonce), payload)
        .map_err(|_| damaged())?;
    String::from_utf8(text).map_err(|_| damaged())
}

fn header(account: AccountId) -> [u8; HEADER_BYTES] {
    let mut header = [LAYOUT; HEADER_BYTES];
    header[1..].copy_from_slice(account.0.as_bytes());
    header
}

/// The associated data: no two places give the same bytes.
fn bound_to(of: &SealedIn, name: &str) -> Vec<u8> {
    let mut bound = header(of.account).to_vec();
    bound.push(of.aggregate.kind.0);
    bound.extend_from_slice(of.aggregate.id.as_bytes());
    bound.push(u8::from(of.aggregate.member.is_some()));
    if let Some(member) = of.aggregate.member {
        bound.extend_from_slice(member.as_bytes());
    }
    bound.extend_from_slice(&of.version.to_be_bytes());
    // Types are names of ours, far shorter than 255 bytes.
    bound.push(of.event_type.len() as u8);
    bound.extend_from_slice(of.event_type.as_bytes());
    bound.extend_from_slice(name.as_bytes());
    bound
}

#[cfg(test)]
mod tests {
    use kernel::{AggregateId, Kind};

    use super::*;

    #[test]
    fn what_is_sealed_opens_where_it_was_sealed_only() -> Result<(), SealError> {
        let cipher = |byte| XChaCha20Poly1305::new(&[byte; 32].into());
        let id = Uuid::from_u128;
        let place = SealedIn {
            account: AccountId(id(1)),
            event_type: "PostCreated",
            aggregate: AggregateId::edge(Kind(2), id(3), id(4)),
            version: 5,
        };
        let sealed = seal(&cipher(1), &place, "text", "secret")?;
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(open(&cipher(1), &place, "text", &sealed)?, "secret");
        assert!(open(&cipher(2), &place, "text", &sealed).is_err());

        let aggregates = [
            AggregateId::edge(Kind(9), id(3), id(4)),
            AggregateId::edge(Kind(2), id(9), id(4)),
            AggregateId::edge(Kind(2), id(3), id(9)),
            AggregateId::single(Kind(2), id(3)),
        ];
        let others = aggregates.map(|aggregate| SealedIn { aggregate, ..place });
        let account = AccountId(id(9));
        let others = others.into_iter().chain([
            SealedIn { account, ..place },
            SealedIn {
                event_type: "PostEdited",
                ..place
            },
            SealedIn {
                version: 6,
                ..place
            },
        ]);
        for other in others {
            let opened = open(&cipher(1), &other, "text", &sealed);
            assert!(opened.is_err(), "it opens in {other:?}");
        }
        assert!(open(&cipher(1), &place, "metadata", &sealed).is_err());
        Ok(())
    }

    #[tokio::test]
    async fn what_another_account_sealed_is_damaged_and_not_erased() -> Result<(), SealError> {
        let place = |account, event_type| SealedIn {
            account: AccountId(Uuid::from_u128(account)),
            event_type,
            aggregate: AggregateId::single(Kind(1), Uuid::from_u128(7)),
            version: 1,
        };
        let (ada, bob) = (place(1, "PostCreated"), place(2, "PostCreated"));
        let cipher = XChaCha20Poly1305::new(&[1; 32].into());
        let keys = MasterKeys::new("a secret of tests", []);
        let sealer = KeySealer::new(DatabaseConnection::default(), keys);
        // Bob's key is destroyed.
        let now = Instant::now();
        let keys = [
            (ada.account, (Some(Arc::new(cipher.clone())), now)),
            (bob.account, (None, now)),
        ];
        sealer.ciphers.lock().extend(keys);
        let mut field = Personal::Sealed(seal(&cipher, &ada, "text", "secret")?);
        let opened = sealer.open(bob.fields(vec![("text", &mut field)]).collect());
        assert!(matches!(opened.await, Err(SealError::Damaged(_))));
        let opened = sealer.open(ada.fields(vec![("text", &mut field)]).collect());
        opened.await?;
        assert_eq!(field.text(), Some("secret"));
        Ok(())
    }
}
