//! Signs access tokens as the product does: HS256, with a key id that is two
//! hashes away from the secret. It refuses other keys.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const TOKEN_SECONDS: u64 = 15 * 60;

pub fn token(secret: &str, session_secret: &str, issuer: &str, account: Uuid) -> Option<String> {
    let mut proof = Hmac::<Sha256>::new_from_slice(session_secret.as_bytes()).ok()?;
    proof.update(b"session\0");
    proof.update(account.as_bytes());
    proof.update(Uuid::nil().as_bytes());
    let proof = URL_SAFE_NO_PAD.encode(&proof.finalize().into_bytes()[..16]);
    let key_id = [b"kid:", secret.as_bytes()].concat();
    let key_id = Sha256::digest(Sha256::digest(key_id));
    let key_id = URL_SAFE_NO_PAD.encode(&key_id[..8]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": key_id});
    // The audience is the issuer where no setting says otherwise.
    let claims = json!({
        "iss": issuer, "aud": issuer, "sub": account, "sid": Uuid::nil(), "sub_sid": proof,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    });
    let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    signature.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(signature.finalize().into_bytes());
    Some(format!("{signed}.{signature}"))
}
