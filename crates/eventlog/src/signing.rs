//! What shows that an event is ours: a MAC over all of its envelope, with a key that the
//! log server does not have.
//!
//! It tells an event that was made up, changed, or copied to another aggregate, version
//! or partition. It cannot tell that the end of the log was cut off, nor that one of our
//! events stands there twice: versions do, for whoever reads a whole history
//! (`headwater log verify`, `log restore`).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use kernel::{CodecError, Envelope, MAC_BYTES, Mac, Position, Recorded};
use sha2::{Digest, Sha256};

use crate::log::{LogError, damaged};

/// Tells this use of the secret from others.
const PURPOSE: &[u8] = b"headwater: events of the log\0";
/// Of SHA-256.
const BLOCK_BYTES: usize = 64;

/// Signs events, and knows those that it signed: HMAC-SHA256 (RFC 2104) over the bytes
/// of the envelope, cut to its first 16 bytes. Cheap to clone.
#[derive(Clone)]
pub struct LogKey(Hmac<Sha256>);

impl LogKey {
    pub fn new(secret: &[u8]) -> Self {
        let key = Sha256::new()
            .chain_update(PURPOSE)
            .chain_update(secret)
            .finalize();
        // As RFC 2104 has it: filled up with zeros to a block.
        let mut block = [0; BLOCK_BYTES];
        block[..key.len()].copy_from_slice(&key);
        Self(Hmac::new(&block.into()))
    }

    /// What the log keeps of an event: the bytes of its envelope, then its MAC.
    pub fn entry(&self, envelope: &Envelope) -> Result<Vec<u8>, CodecError> {
        let mut bytes = envelope.to_bytes()?;
        let mac = self.mac(&bytes);
        bytes.extend_from_slice(&mac);
        Ok(bytes)
    }

    /// The event of an entry, where it was signed with this key.
    pub(crate) fn read(&self, position: Position, entry: &[u8]) -> Result<Recorded, LogError> {
        let recorded = Recorded::from_entry(position, entry)
            .map_err(|error| damaged(format!("the entry at {position}: {error}")))?;
        let signed = &entry[..entry.len().saturating_sub(MAC_BYTES)];
        self.check_bytes(signed, &recorded)?;
        Ok(recorded)
    }

    /// The same for an event that was kept elsewhere.
    pub(crate) fn check(&self, recorded: &Recorded) -> Result<(), LogError> {
        let signed = recorded.envelope.to_bytes().map_err(damaged)?;
        self.check_bytes(&signed, recorded)
    }

    fn check_bytes(&self, signed: &[u8], recorded: &Recorded) -> Result<(), LogError> {
        let mut keyed = self.0.clone();
        keyed.update(signed);
        // In a time that does not tell how much of it is right.
        let checked = keyed.verify_truncated_left(&recorded.mac);
        checked.map_err(|_| {
            let at = recorded.position;
            damaged(format!(
                "the event at {at} was not written by us, or with another LOG_SECRET: its MAC is \
                 wrong"
            ))
        })
    }

    fn mac(&self, bytes: &[u8]) -> Mac {
        let mut keyed = self.0.clone();
        keyed.update(bytes);
        let whole = keyed.finalize().into_bytes();
        let mut mac = Mac::default();
        mac.copy_from_slice(&whole[..MAC_BYTES]);
        mac
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use kernel::{AccountId, AggregateId, Kind, Partition, Timestamp, Uuid};

    use super::*;

    fn liked() -> Envelope {
        let id = Uuid::from_u128;
        Envelope {
            event_type: "Liked".into(),
            event_version: 1,
            aggregate: AggregateId::edge(Kind(4), id(1), id(2)),
            version: 3,
            recorded_at: Timestamp(4),
            actor: AccountId(id(1)),
            correlation: id(5),
            causation: None,
            receipt: Some((6, 7)),
            data: vec![8],
            trace: None,
        }
    }

    #[test]
    fn only_what_was_signed_with_the_key_is_read() -> Result<(), LogError> {
        let at = Position {
            partition: Partition(0),
            epoch: 1,
            seq: 2,
        };
        let key = LogKey::new(b"secret");
        let entry = key.entry(&liked()).map_err(damaged)?;
        let recorded = key.read(at, &entry)?;
        assert_eq!(recorded.envelope, liked());
        key.check(&recorded)?;
        assert!(LogKey::new(b"another").read(at, &entry).is_err());
        for byte in 0..entry.len() {
            let mut changed = entry.clone();
            changed[byte] ^= 1;
            assert!(key.read(at, &changed).is_err(), "byte {byte} was changed");
        }
        for length in 0..entry.len() {
            assert!(key.read(at, &entry[..length]).is_err(), "cut to {length}");
        }
        let unsigned = liked().to_bytes().map_err(damaged)?;
        assert!(key.read(at, &unsigned).is_err());
        let elsewhere = Recorded {
            envelope: Envelope {
                version: 4,
                ..liked()
            },
            ..recorded
        };
        assert!(key.check(&elsewhere).is_err());
        Ok(())
    }
}
