//! Tokens that clients pass back and cannot read or make: XChaCha20-Poly1305, with a key
//! of its own for each purpose. What is sealed is padded to a step, and the nonce follows
//! from it (as in RFC 5297), so that the same is sealed to the same.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Lengths of what is sealed are told to this step alone (ISO/IEC 7816-4 padding).
const STEP_BYTES: usize = 32;
const PAD: u8 = 0x80;

#[derive(Debug, thiserror::Error)]
#[error("the cursor secret cannot be used as a key")]
pub struct CursorSecretError;

/// HMAC-SHA256 with the cursor secret.
pub(crate) fn keyed(secret: &[u8]) -> Result<Hmac<Sha256>, CursorSecretError> {
    Hmac::new_from_slice(secret).map_err(|_| CursorSecretError)
}

pub(crate) struct Seal {
    cipher: XChaCha20Poly1305,
    nonces: Hmac<Sha256>,
}

impl Seal {
    /// The keys are HMAC-SHA256(secret, `purpose` ‖ 0 ‖ "key" or "nonce").
    pub fn new(secret: &[u8], purpose: &str) -> Result<Self, CursorSecretError> {
        let derived = |part: &str| {
            let mut keyed = keyed(secret)?;
            keyed.update(purpose.as_bytes());
            keyed.update(b"\0");
            keyed.update(part.as_bytes());
            Ok(keyed.finalize().into_bytes())
        };
        let cipher = XChaCha20Poly1305::new_from_slice(&derived("key")?);
        Ok(Self {
            cipher: cipher.map_err(|_| CursorSecretError)?,
            nonces: keyed(&derived("nonce")?)?,
        })
    }

    /// base64url of the nonce (24 bytes), the ciphertext and its tag (16 bytes). It opens
    /// with the same `scope` alone.
    pub fn seal(&self, scope: &str, plain: &[u8]) -> String {
        let mut padded = plain.to_vec();
        padded.push(PAD);
        padded.resize(padded.len().next_multiple_of(STEP_BYTES), 0);
        let mut nonce = self.nonces.clone();
        nonce.update(&(scope.len() as u64).to_be_bytes());
        nonce.update(scope.as_bytes());
        nonce.update(&padded);
        let nonce = nonce.finalize().into_bytes();
        let mut token = nonce[..NONCE_BYTES].to_vec();
        let payload = Payload {
            msg: &padded,
            aad: scope.as_bytes(),
        };
        // It fails for more than 256 GiB; such a token would not open.
        let nonce = XNonce::try_from(token.as_slice()).unwrap_or_default();
        token.extend(self.cipher.encrypt(&nonce, payload).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// None where it was not sealed here, or for another scope.
    pub fn open(&self, scope: &str, token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: ciphertext,
            aad: scope.as_bytes(),
        };
        let mut plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        let end = plain.iter().rposition(|byte| *byte != 0)?;
        (plain[end] == PAD).then(|| plain.truncate(end))?;
        Some(plain)
    }
}

/// How many characters a token of so many bytes has.
pub(crate) const fn characters(plain_bytes: usize) -> usize {
    let padded = (plain_bytes + 1).next_multiple_of(STEP_BYTES);
    ((NONCE_BYTES + padded + TAG_BYTES) * 4).div_ceil(3)
}
