//! Opens personal fields with the keys that the vault's table holds. A sealed
//! field is: 1, the account (16 bytes), a nonce (24), the ciphertext with its
//! tag. The first 17 bytes and the field's place in the log are authenticated. Seals
//! positions as the API has them.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    entries::{Event, Position},
    message_pack::Value,
};

const HEADER_BYTES: usize = 17;
const NONCE_BYTES: usize = 24;
/// Of what is padded before it is sealed: 0x80, and zeros.
const STEP_BYTES: usize = 32;

/// A token for `Min-Position`, with a key that is made of the cursor secret: 8 bytes of
/// any value, and for each position 2 of its partition, 8 of its epoch, 8 of its number.
pub fn positions<'a>(
    secret: &str,
    positions: impl Iterator<Item = &'a Position>,
) -> Option<String> {
    let mut key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    key.update(b"positions\0key");
    let cipher = XChaCha20Poly1305::new_from_slice(&key.finalize().into_bytes()).ok()?;
    let mut plain = vec![0; 8];
    for position in positions {
        plain.extend(position.partition.to_be_bytes());
        plain.extend(position.epoch.to_be_bytes());
        plain.extend(position.seq.to_be_bytes());
    }
    plain.push(0x80);
    plain.resize(plain.len().next_multiple_of(STEP_BYTES), 0);
    // Nobody but us sees it.
    let mut token = vec![0; NONCE_BYTES];
    let nonce = XNonce::from([0; NONCE_BYTES]);
    token.extend(cipher.encrypt(&nonce, plain.as_slice()).ok()?);
    Some(URL_SAFE_NO_PAD.encode(token))
}

/// By account; none where the key was destroyed.
pub struct Keys(pub BTreeMap<Uuid, Option<Vec<u8>>>);

impl Keys {
    /// The text of an event's field, which its actor's key opens; none where there is
    /// none, or nobody can read it any more.
    pub fn open(&self, event: &Event, name: &str) -> Result<Option<String>, String> {
        let owner = event.actor;
        let sealed = match event.data.field(name) {
            Value::Nil => return Ok(None),
            Value::Bytes(sealed) => sealed,
            _ => return Err("a personal field is not sealed".into()),
        };
        let (header, rest) =
            (sealed.split_at_checked(HEADER_BYTES)).ok_or("a sealed field is cut")?;
        let (nonce, ciphertext) =
            (rest.split_first_chunk::<NONCE_BYTES>()).ok_or("a sealed field is cut")?;
        if header[0] != 1 || &header[1..] != owner.as_bytes() {
            return Err(format!("a sealed field is not {owner}'s"));
        }
        let Some(key) = self.0.get(&owner) else {
            return Err(format!("{owner} never had a key"));
        };
        let Some(key) = key else {
            return Ok(None);
        };
        let cipher = XChaCha20Poly1305::new_from_slice(key);
        let cipher = cipher
            .map_err(|_| format!("a sealed field does not open with {owner}'s key: it is none"))?;
        let payload = Payload {
            msg: ciphertext,
            aad: &place(header, event, name),
        };
        let text = cipher.decrypt(&XNonce::from(*nonce), payload);
        let text = text.map_err(|_| format!("a sealed field does not open with {owner}'s key"))?;
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        Ok(Some(text))
    }
}

/// An account's key from the vault's table: 1, the id of what wrapped it (8 bytes), a nonce
/// (24), the ciphertext with its tag. Empty where none of the secrets opens it.
pub fn unwrap(secrets: &[String], account: Uuid, wrapped: &[u8]) -> Vec<u8> {
    let opened = secrets.iter().find_map(|secret| {
        let hash = |purpose: &str| Sha256::digest([purpose.as_bytes(), secret.as_bytes()].concat());
        let cipher = XChaCha20Poly1305::new_from_slice(&hash("headwater: master key\0")).ok()?;
        let (head, rest) = wrapped.split_at_checked(1 + 8)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let id = &hash("headwater: id of a master key\0")[..8];
        let aad = [&[1], id, b"account key\0", account.as_bytes()].concat();
        let payload = Payload {
            msg: ciphertext,
            aad: &aad,
        };
        let is_ours = head == [&[1], id].concat();
        is_ours.then(|| cipher.decrypt(&XNonce::from(*nonce), payload).ok())?
    });
    opened.unwrap_or_default()
}

/// What a field is bound to: the header, the aggregate, its version, the event's name
/// and the field's.
fn place(header: &[u8], event: &Event, name: &str) -> Vec<u8> {
    let aggregate = &event.aggregate;
    let mut place = header.to_vec();
    place.push(aggregate.kind);
    place.extend(aggregate.id.as_bytes());
    match aggregate.member {
        None => place.push(0),
        Some(member) => {
            place.push(1);
            place.extend(member.as_bytes());
        }
    }
    place.extend(event.version.to_be_bytes());
    place.push(event.name.len() as u8);
    place.extend(event.name.bytes());
    place.extend(name.bytes());
    place
}
