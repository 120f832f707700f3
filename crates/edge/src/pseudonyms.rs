//! Names of people and places as a log may have them: the same name each time, so that
//! lines about one can be told from lines about another, and none that leads back without
//! the secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the key is derived from the secret with: what else the secret makes tells nothing
/// of it.
const USE: &[u8] = b"pseudonyms in log lines";
/// Of the 32: enough to tell millions apart.
const BYTES: usize = 8;

pub struct Pseudonyms(Option<Hmac<Sha256>>);

impl Pseudonyms {
    /// By a secret of the service.
    pub fn new(secret: &[u8]) -> Self {
        let derived = Hmac::<Sha256>::new_from_slice(secret).map(|mut keyed| {
            keyed.update(USE);
            keyed.finalize().into_bytes()
        });
        let keyed = derived.and_then(|key| Hmac::new_from_slice(&key));
        Self(keyed.ok())
    }

    /// Of `name`, which is one of `kind`: 16 hexadecimal digits.
    pub fn of(&self, kind: &str, name: &str) -> String {
        let Some(mut keyed) = self.0.clone() else {
            return String::new();
        };
        keyed.update(kind.as_bytes());
        keyed.update(&[0]);
        keyed.update(name.as_bytes());
        let bytes = keyed.finalize().into_bytes();
        bytes[..BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_same_each_time_and_another_for_another_secret() {
        let (one, other) = (Pseudonyms::new(b"one secret"), Pseudonyms::new(b"another"));
        let name = one.of("login", "ada");
        assert_eq!(name.len(), 2 * BYTES);
        assert_eq!(one.of("login", "ada"), name);
        for another in [
            one.of("login", "bob"),
            one.of("household", "ada"),
            other.of("login", "ada"),
        ] {
            assert_ne!(another, name);
        }
    }
}
