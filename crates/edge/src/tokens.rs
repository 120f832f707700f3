//! Access tokens: JWTs that live 15 minutes, signed with one key and checked
//! with that key's own algorithm, never the token's choice. It refuses to know
//! whether a session was ended meanwhile: that is `ended`.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    jwk::{AlgorithmParameters, Jwk},
};
use kernel::{AccountId, Timestamp};
use parking_lot::Mutex;
use poem_openapi::{Object, types::Example};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::sealing::{CursorSecretError, keyed};

pub const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;
/// How far another process's clock may be ahead of ours.
const AHEAD_SECONDS_MAX: i64 = 60;
/// RFC 9068, 2.1: what no other JWT of the same key is.
const TYPE: &str = "at+jwt";
/// Of the proof that the session is the account's.
const PROOF_BYTES: usize = 16;
/// Ours have about 400; a longer one is not read.
const TOKEN_BYTES_MAX: usize = 1_024;
/// RFC 7518 wants a key at least as long as the hash.
pub const SECRET_BYTES_MIN: usize = 32;
/// Verified tokens remembered until they expire, about 150 bytes each.
const TOKENS_CACHED_MAX: usize = 50_000;

/// What signs. Its algorithm is part of it.
pub enum SigningKey {
    /// HS256; at least `SECRET_BYTES_MIN` bytes.
    Secret(Vec<u8>),
    /// EdDSA; an Ed25519 private key in PKCS#8 PEM.
    Ed25519(String),
}

pub struct TokenSettings {
    /// Put into tokens, and wanted in them: who makes them, and for whom.
    pub issuer: String,
    pub audience: String,
    pub signing: SigningKey,
    /// Keys that only verify: for a change of keys.
    pub accepted: Vec<SigningKey>,
    /// Another secret, of any length, which binds sessions to their accounts: whoever has
    /// the signing key alone can make up no session, which no sign-out would reach.
    pub session_secret: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenSettingsError {
    #[error(
        "the token secret has at least {SECRET_BYTES_MIN} bytes: make one with `openssl rand -base64 48`"
    )]
    ShortSecret,
    #[error(transparent)]
    Sessions(#[from] CursorSecretError),
    #[error(
        "the token key is not an Ed25519 private key in PKCS#8 PEM: make one with `openssl genpkey -algorithm ed25519`"
    )]
    Unreadable(#[source] jsonwebtoken::errors::Error),
}

/// What a valid token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    pub account: AccountId,
    pub session: Uuid,
    pub expires_at_seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the access token has expired")]
    Expired,
    #[error("the access token is not valid")]
    Invalid,
}

#[derive(Debug, thiserror::Error)]
#[error("an access token could not be signed")]
pub struct SigningFailed(#[from] jsonwebtoken::errors::Error);

/// Issues and verifies; shared in `EdgeServices`.
pub struct Tokens {
    issuer: String,
    audience: String,
    /// The first one signs.
    keys: Vec<Key>,
    sessions: Hmac<Sha256>,
    verified: Mutex<HashMap<[u8; 32], Claims>>,
}

struct Key {
    header: Header,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// None where there is no such half.
    public: Option<PublicKey>,
}

/// The half of an Ed25519 key that verifies, as a JWK (RFC 7517, RFC 8037).
#[derive(Clone, Object)]
#[oai(example)]
pub struct PublicKey {
    /// Always `OKP`.
    kty: String,
    /// Always `Ed25519`.
    crv: String,
    /// Always `EdDSA`.
    alg: String,
    /// Always `sig`.
    #[oai(rename = "use")]
    used_for: String,
    /// Tokens name the key that they are signed with by it.
    kid: String,
    /// 32 bytes in base64url.
    x: String,
}

impl PublicKey {
    fn ed25519(kid: &str, x: String) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            alg: "EdDSA".into(),
            used_for: "sig".into(),
            kid: kid.into(),
            x,
        }
    }
}

impl Example for PublicKey {
    fn example() -> Self {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        Self::ed25519("6tQ4mNvWkZs", x.into())
    }
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    /// HMAC-SHA256 of both with the session secret, its first half in base64url.
    sub_sid: String,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing)]
    nbf: Option<i64>,
}

impl Tokens {
    pub fn new(settings: TokenSettings) -> Result<Self, TokenSettingsError> {
        // Another crate could switch on a second backend; this is ours.
        let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
        let all = std::iter::once(settings.signing).chain(settings.accepted);
        Ok(Self {
            issuer: settings.issuer,
            audience: settings.audience,
            keys: all.map(Key::new).collect::<Result<_, _>>()?,
            sessions: keyed(&settings.session_secret)?,
            verified: Mutex::default(),
        })
    }

    pub fn issue(
        &self,
        account: AccountId,
        session: Uuid,
        now: Timestamp,
    ) -> Result<String, SigningFailed> {
        let iat = seconds(now);
        let payload = Payload {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: account.0,
            sid: session,
            sub_sid: URL_SAFE_NO_PAD.encode(&self.proof(account.0, session)[..PROOF_BYTES]),
            iat,
            exp: iat + ACCESS_TOKEN_SECONDS,
            nbf: None,
        };
        let key = &self.keys[0];
        Ok(encode(&key.header, &payload, &key.encoding)?)
    }

    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = self.verified.lock().get(&hash).copied();
        let claims = match known {
            Some(claims) => claims,
            None => self.check(token, seconds(now))?,
        };
        if claims.expires_at_seconds <= seconds(now) {
            self.verified.lock().remove(&hash);
            return Err(TokenError::Expired);
        }
        if known.is_none() {
            self.remember(hash, claims, now);
        }
        Ok(claims)
    }

    /// None for HS256.
    pub fn public_keys(&self) -> impl Iterator<Item = PublicKey> {
        self.keys.iter().filter_map(|key| key.public.clone())
    }

    /// What says that the session is the account's.
    fn proof(&self, account: Uuid, session: Uuid) -> [u8; 32] {
        let mut keyed = self.sessions.clone();
        keyed.update(b"session\0");
        keyed.update(account.as_bytes());
        keyed.update(session.as_bytes());
        keyed.finalize().into_bytes().into()
    }

    /// Everything but whether it has expired.
    fn check(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
        // We understand no extension, so that each one that is critical is too much
        // (RFC 7515, 4.1.11).
        if header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let key = self.keys.iter().find(|key| key.header.kid == header.kid);
        let key = key.ok_or(TokenError::Invalid)?;
        let payload = decode::<Payload>(token, &key.decoding, &key.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let lifetime = payload.exp.checked_sub(payload.iat);
        let lives = lifetime.is_some_and(|lifetime| lifetime <= ACCESS_TOKEN_SECONDS);
        let begins = payload.iat.max(payload.nbf.unwrap_or(i64::MIN));
        let has_begun = begins <= now.saturating_add(AHEAD_SECONDS_MAX);
        if payload.iss != self.issuer || payload.aud != self.audience || !lives || !has_begun {
            return Err(TokenError::Invalid);
        }
        let proof = self.proof(payload.sub, payload.sid);
        if payload.sub_sid != URL_SAFE_NO_PAD.encode(&proof[..PROOF_BYTES]) {
            return Err(TokenError::Invalid);
        }
        Ok(Claims {
            account: AccountId(payload.sub),
            session: payload.sid,
            expires_at_seconds: payload.exp,
        })
    }

    fn remember(&self, hash: [u8; 32], claims: Claims, now: Timestamp) {
        let mut verified = self.verified.lock();
        if verified.len() >= TOKENS_CACHED_MAX {
            verified.retain(|_, claims| claims.expires_at_seconds > seconds(now));
        }
        // All of them alive: begin again rather than sort out the oldest.
        if verified.len() >= TOKENS_CACHED_MAX {
            verified.clear();
        }
        verified.insert(hash, claims);
    }
}

impl Key {
    fn new(key: SigningKey) -> Result<Self, TokenSettingsError> {
        let unreadable = TokenSettingsError::Unreadable;
        let (algorithm, encoding, decoding, x, identity) = match key {
            SigningKey::Secret(secret) if secret.len() < SECRET_BYTES_MIN => {
                return Err(TokenSettingsError::ShortSecret);
            }
            SigningKey::Secret(secret) => (
                Algorithm::HS256,
                EncodingKey::from_secret(&secret),
                DecodingKey::from_secret(&secret),
                None,
                secret,
            ),
            SigningKey::Ed25519(pem) => {
                let encoding = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(unreadable)?;
                let jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA);
                let jwk = jwk.map_err(unreadable)?;
                let decoding = DecodingKey::from_jwk(&jwk).map_err(unreadable)?;
                let x = match jwk.algorithm {
                    AlgorithmParameters::OctetKeyPair(pair) => Some(pair.x),
                    _ => None,
                };
                // As JSON has it: names must not change, or tokens and verifiers that know
                // them would know nothing.
                let identity = format!("\"{}\"", x.as_deref().unwrap_or_default());
                (
                    Algorithm::EdDSA,
                    encoding,
                    decoding,
                    x,
                    identity.into_bytes(),
                )
            }
        };
        // A name that tells nothing: two hashes away from a secret.
        let name = Sha256::digest(Sha256::digest([b"kid:", identity.as_slice()].concat()));
        let kid = URL_SAFE_NO_PAD.encode(&name[..8]);
        let mut header = Header::new(algorithm);
        header.typ = Some(TYPE.into());
        header.kid = Some(kid.clone());
        let mut validation = Validation::new(algorithm);
        // The time is checked against the caller's clock, in `verify`.
        validation.validate_exp = false;
        // The audience is checked beside the issuer, in `check`.
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Ok(Self {
            header,
            encoding,
            decoding,
            validation,
            public: x.map(|x| PublicKey::ed25519(&kid, x)),
        })
    }
}

fn seconds(now: Timestamp) -> i64 {
    now.0.div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON;
    use serde_json::{Value, json};

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----";
    const SESSION_SECRET: &[u8] = b"another secret of this test";
    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const SESSION: Uuid = Uuid::from_u128(2);
    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn secret(byte: u8) -> SigningKey {
        SigningKey::Secret(vec![byte; SECRET_BYTES_MIN])
    }

    fn tokens(
        signing: SigningKey,
        accepted: Vec<SigningKey>,
    ) -> Result<Tokens, TokenSettingsError> {
        Tokens::new(TokenSettings {
            issuer: "headwater".into(),
            audience: "headwater-api".into(),
            signing,
            accepted,
            session_secret: SESSION_SECRET.into(),
        })
    }

    /// What a token of ours has, as of `NOW`.
    fn payload(tokens: &Tokens) -> Value {
        let proof = tokens.proof(ADA.0, SESSION);
        json!({
            "iss": "headwater", "aud": "headwater-api", "sub": ADA, "sid": SESSION,
            "sub_sid": URL_SAFE_NO_PAD.encode(&proof[..PROOF_BYTES]),
            "iat": seconds(NOW), "exp": seconds(NOW) + ACCESS_TOKEN_SECONDS,
        })
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1_000)
    }

    #[test]
    fn a_token_says_who_until_it_expires() -> TestResult {
        for key in [secret(7), SigningKey::Ed25519(ED25519.into())] {
            let tokens = tokens(key, vec![])?;
            let token = tokens.issue(ADA, SESSION, NOW)?;
            for _ in 0..2 {
                let claims = tokens.verify(&token, later(ACCESS_TOKEN_SECONDS - 1))?;
                assert_eq!((claims.account, claims.session), (ADA, SESSION));
            }
            let expired = tokens.verify(&token, later(ACCESS_TOKEN_SECONDS));
            assert_eq!(expired, Err(TokenError::Expired));
            assert!(token.len() < 450, "{} bytes", token.len());
        }
        Ok(())
    }

    #[test]
    fn a_forged_token_is_invalid() -> TestResult {
        let tokens_here = tokens(secret(7), vec![])?;
        let token = tokens_here.issue(ADA, SESSION, NOW)?;
        let mut parts: Vec<_> = token.split('.').collect();
        let payload = URL_SAFE_NO_PAD.decode(parts[1])?;
        let other = String::from_utf8(payload)?.replace("000001", "000009");
        let other = URL_SAFE_NO_PAD.encode(other);
        parts[1] = &other;
        let foreign = tokens(secret(8), vec![])?.issue(ADA, SESSION, NOW)?;
        let too_long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for forged in [
            parts.join("."),
            foreign,
            "a.b.c".into(),
            too_long,
            String::new(),
        ] {
            assert_eq!(tokens_here.verify(&forged, NOW), Err(TokenError::Invalid));
        }
        Ok(())
    }

    #[test]
    fn a_token_of_another_issuer_or_for_another_audience_is_invalid() -> TestResult {
        let tokens = tokens(secret(7), vec![])?;
        let payload = payload(&tokens);
        let signed = |changes: &[(&str, Value)]| {
            let mut payload = payload.clone();
            for (name, value) in changes {
                payload[*name] = value.clone();
            }
            // As if it were not there.
            if let Some(fields) = payload.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
            encode(&tokens.keys[0].header, &payload, &tokens.keys[0].encoding)
        };
        assert!(tokens.verify(&signed(&[])?, NOW).is_ok());
        for (name, value) in [
            ("iss", json!("elsewhere")),
            ("iss", json!(null)),
            ("aud", json!("elsewhere")),
            ("aud", json!(null)),
            // Whoever is one of many must not pass it on to us.
            ("aud", json!(["headwater-api", "elsewhere"])),
        ] {
            let token = signed(&[(name, value.clone())])?;
            let verified = tokens.verify(&token, NOW);
            assert_eq!(verified, Err(TokenError::Invalid), "{name}: {value}");
        }
        Ok(())
    }

    #[test]
    fn a_token_that_we_would_not_have_made_is_invalid_whoever_signed_it() -> TestResult {
        let tokens = tokens(secret(7), vec![])?;
        let key = &tokens.keys[0];
        let verified = |header: &Header, payload: &Value| {
            let token = encode(header, payload, &key.encoding)?;
            Ok::<_, jsonwebtoken::errors::Error>(tokens.verify(&token, NOW).map(|_| ()))
        };
        let of_ours = payload(&tokens);
        assert_eq!(verified(&key.header, &of_ours)?, Ok(()));
        let (now, ahead) = (seconds(NOW), seconds(NOW) + AHEAD_SECONDS_MAX);
        for (changes, counts) in [
            // Longer than ours live, however it is said.
            (json!({"exp": now + ACCESS_TOKEN_SECONDS + 1}), false),
            (json!({"exp": 1_i64 << 62}), false),
            (json!({"iat": i64::MIN, "exp": i64::MAX}), false),
            // Not made yet.
            (json!({"iat": ahead, "exp": ahead + 1}), true),
            (json!({"iat": ahead + 1, "exp": ahead + 2}), false),
            (json!({"nbf": ahead}), true),
            (json!({"nbf": ahead + 1}), false),
            // A session of nobody, or of somebody else.
            (json!({"sid": Uuid::from_u128(3)}), false),
            (json!({"sub": Uuid::from_u128(9)}), false),
            (json!({"sub_sid": ""}), false),
        ] {
            let mut payload = of_ours.clone();
            let (fields, changed) = (payload.as_object_mut(), changes.as_object());
            let (fields, changed) = fields.zip(changed).ok_or("no objects")?;
            fields.extend(changed.clone());
            let expected = if counts {
                Ok(())
            } else {
                Err(TokenError::Invalid)
            };
            assert_eq!(verified(&key.header, &payload)?, expected, "{changes}");
        }
        for typ in [None, Some("JWT".into()), Some("at+JWT".into())] {
            let header = Header {
                typ,
                ..key.header.clone()
            };
            let refused = verified(&header, &of_ours)?;
            assert_eq!(refused, Err(TokenError::Invalid), "{:?}", header.typ);
        }
        let critical = Header {
            crit: Some(vec!["exp".into()]),
            ..key.header.clone()
        };
        assert_eq!(verified(&critical, &of_ours)?, Err(TokenError::Invalid));
        Ok(())
    }

    #[test]
    fn the_key_chooses_the_algorithm_and_not_the_token() -> TestResult {
        let tokens = tokens(SigningKey::Ed25519(ED25519.into()), vec![])?;
        let public = tokens.public_keys().next().ok_or("no public key")?;
        let x = URL_SAFE_NO_PAD.decode(&public.x)?;
        assert_eq!((x.len(), public.crv.as_str()), (32, "Ed25519"));
        let payload = payload(&tokens);
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.into());
        header.kid = Some(public.kid.clone());
        let confused = encode(&header, &payload, &EncodingKey::from_secret(&x))?;
        let mut unsigned = tokens.issue(ADA, SESSION, NOW)?;
        let none = URL_SAFE_NO_PAD
            .encode(json!({"typ": TYPE, "alg": "none", "kid": public.kid}).to_string());
        let end = unsigned.find('.').unwrap_or_default();
        unsigned.replace_range(..end, &none);
        for forged in [confused, unsigned] {
            assert_eq!(tokens.verify(&forged, NOW), Err(TokenError::Invalid));
        }
        Ok(())
    }

    #[test]
    fn keys_are_changed_while_both_are_published() -> TestResult {
        const OTHER: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----";
        let key = |pem: &str| SigningKey::Ed25519(pem.into());
        let before = tokens(key(ED25519), vec![])?;
        let between = tokens(key(OTHER), vec![key(ED25519)])?;
        let after = tokens(key(OTHER), vec![])?;
        let names =
            |tokens: &Tokens| -> Vec<_> { tokens.public_keys().map(|key| key.kid).collect() };
        let (old, both, new) = (names(&before), names(&between), names(&after));
        assert_eq!((old.len(), both.len(), new.len()), (1, 2, 1));
        assert_eq!((both.first(), both.last()), (new.first(), old.first()));
        // The same in every process and release, or none would take another's.
        assert_eq!(old, ["OAXJkJz4e6M"]);
        let (first, second) = (
            before.issue(ADA, SESSION, NOW)?,
            between.issue(ADA, SESSION, NOW)?,
        );
        assert!(between.verify(&first, NOW).is_ok() && after.verify(&second, NOW).is_ok());
        assert_eq!(after.verify(&first, NOW), Err(TokenError::Invalid));
        assert_eq!(before.verify(&second, NOW), Err(TokenError::Invalid));
        Ok(())
    }

    #[test]
    fn a_token_is_verified_with_what_is_published() -> TestResult {
        let tokens = tokens(SigningKey::Ed25519(ED25519.into()), vec![])?;
        let token = tokens.issue(ADA, SESSION, NOW)?;
        let public = tokens.public_keys().next().ok_or("no public key")?;
        let jwk: Jwk = serde_json::from_value(public.to_json().ok_or("no JSON")?)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.set_audience(&["headwater-api"]);
        let payload = decode::<Payload>(&token, &DecodingKey::from_jwk(&jwk)?, &validation)?;
        assert_eq!(payload.claims.sub, ADA.0);
        assert_eq!(payload.header.kid, Some(public.kid));
        Ok(())
    }

    #[test]
    fn tokens_of_an_accepted_key_count_until_they_expire() -> TestResult {
        let token = tokens(secret(7), vec![])?.issue(ADA, SESSION, NOW)?;
        let now = tokens(secret(8), vec![secret(7)])?;
        assert!(now.verify(&token, NOW).is_ok());
        assert_eq!(now.public_keys().count(), 0);
        assert!(matches!(
            tokens(SigningKey::Secret(vec![1]), vec![]),
            Err(TokenSettingsError::ShortSecret)
        ));
        Ok(())
    }
}
