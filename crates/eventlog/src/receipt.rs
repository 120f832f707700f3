//! Receipts: what a command answered, kept for a time under its idempotency
//! key, so that the same key never has a second effect.

use std::time::Duration;

use kernel::{AccountId, AggregateId, Kind, Partition, Position, Uuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{execute::Receipt, log::LogError};

/// How long the same `Idempotency-Key` gives the same receipt: a day.
pub const RECEIPT_SECONDS: u64 = 24 * 60 * 60;
/// How long a command that nobody gave a key can be sent again by ourselves.
const RESEND_SECONDS: u64 = 60;

/// A key in its scope, hashed, and the fingerprint of what it was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub hash: u128,
    pub fingerprint: u64,
    pub lifetime: Duration,
    /// Whether a receipt may exist before the first try.
    pub(crate) given: bool,
}

impl IdempotencyKey {
    /// The key that a client gave: scoped by account, method and path, with a
    /// fingerprint of the body (SHA-256, cut to 16 and 8 bytes).
    pub fn given(scope: AccountId, method: &str, path: &str, key: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(scope.0.as_bytes());
        for part in [method, path, key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let key_digest = hash.finalize();
        let body_digest = Sha256::digest(body);
        Self {
            hash: fold(&key_digest[..16]),
            fingerprint: fold(&body_digest[..8]) as u64,
            lifetime: Duration::from_secs(RECEIPT_SECONDS),
            given: true,
        }
    }

    /// For a command that can't tell by itself that it was done already: one
    /// command an aggregate under one `correlation`.
    pub fn internal(correlation: Uuid) -> Self {
        Self {
            hash: correlation.as_u128(),
            fingerprint: 0,
            lifetime: Duration::from_secs(RESEND_SECONDS),
            given: false,
        }
    }

    /// One request may lead to several commands: our own key is one for each
    /// aggregate. A given key already names what it is for.
    pub(crate) fn for_aggregate(self, aggregate: &AggregateId) -> Self {
        if self.given {
            return self;
        }
        let mut hash = Sha256::new();
        hash.update(self.hash.to_be_bytes());
        hash.update([aggregate.kind.0]);
        hash.update(aggregate.id.as_bytes());
        // An edge to the nil id is not the aggregate alone.
        if let Some(member) = aggregate.member {
            hash.update(member.as_bytes());
        }
        Self {
            hash: fold(&hash.finalize()[..16]),
            ..self
        }
    }
}

fn fold(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |n, b| (n << 8) | u128::from(*b))
}

/// The part of a receipt that the append function does not know: the aggregate
/// as kind, id and member, and its version. A list, since names would be a
/// fifth of a receipt's memory.
#[derive(Serialize, Deserialize)]
pub(crate) struct Payload(
    Kind,
    Uuid,
    Option<Uuid>,
    u64,
    /// Where nothing was done in another partition than the actor's: the actor's
    /// last position then, which the receipt's own partition does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    Option<Position>,
);

impl Payload {
    pub fn new(aggregate: AggregateId, version: u64) -> Self {
        Self(
            aggregate.kind,
            aggregate.id,
            aggregate.member,
            version,
            None,
        )
    }

    pub fn at(self, actors_last: Option<Position>) -> Self {
        Self(self.0, self.1, self.2, self.3, actors_last)
    }
}

/// Reads `fingerprint first last payload`, the ids empty where there are none.
/// `Ok(None)` where the fingerprint is another one.
pub(crate) fn parse_receipt(
    bytes: &[u8],
    partition: Partition,
    fingerprint: u64,
) -> Result<Option<Receipt>, LogError> {
    let damaged = || LogError::Damaged("a receipt cannot be read".into());
    let mut parts = bytes.splitn(4, |byte| *byte == b' ');
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let stored = text().and_then(|text| text.parse::<u64>().ok());
    if stored.ok_or_else(damaged)? != fingerprint {
        return Ok(None);
    }
    let (first, last) = (text(), text());
    let last = parse_entry_id(partition, last.ok_or_else(damaged)?);
    let appended = !first.ok_or_else(damaged)?.is_empty();
    let payload = parts.next().ok_or_else(damaged)?;
    let Payload(kind, id, member, version, actors_last) =
        kernel::decode(payload).map_err(|_| damaged())?;
    Ok(Some(Receipt {
        aggregate: AggregateId { kind, id, member },
        version,
        position: last.or(actors_last),
        appended,
        again: true,
    }))
}

/// `None` where `id` is empty or no entry id.
pub(crate) fn parse_entry_id(partition: Partition, id: &str) -> Option<Position> {
    let (epoch, seq) = id.split_once('-')?;
    Some(Position {
        partition,
        epoch: epoch.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use kernel::Kind;

    use super::*;

    #[test]
    fn an_edge_to_the_nil_id_has_a_key_of_its_own() {
        let own = IdempotencyKey::internal(Uuid::from_u128(1));
        let alone = AggregateId::single(Kind(1), Uuid::nil());
        let edge = AggregateId::edge(Kind(1), Uuid::nil(), Uuid::nil());
        assert_ne!(own.for_aggregate(&alone), own.for_aggregate(&edge));
    }
}

#[cfg(test)]
mod properties {
    use kernel::Kind;
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// Few letters, so that the ends of one part look like the next one.
    type Parts = (u128, String, String, String, Vec<u8>);

    fn parts() -> impl Strategy<Value = Parts> {
        let text = || "[ab/]{0,3}";
        (0..3_u128, text(), text(), text(), vec(0..3_u8, 0..3))
    }

    fn given((scope, method, path, key, body): &Parts) -> IdempotencyKey {
        let scope = AccountId(Uuid::from_u128(*scope));
        IdempotencyKey::given(scope, method, path, key, body)
    }

    fn aggregate() -> impl Strategy<Value = AggregateId> {
        let id = || (0..3_u128).prop_map(Uuid::from_u128);
        (0..3_u8, id(), option::of(id())).prop_map(|(kind, id, member)| AggregateId {
            kind: Kind(kind),
            id,
            member,
        })
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_key_differs_where_any_part_of_it_does(one in parts(), other in parts()) {
            let (key, with) = (given(&one), given(&other));
            let scoped = |parts: &Parts| (parts.0, parts.1.clone(), parts.2.clone(), parts.3.clone());
            prop_assert_eq!(key.hash == with.hash, scoped(&one) == scoped(&other));
            prop_assert_eq!(key.fingerprint == with.fingerprint, one.4 == other.4);
        }

        #[test]
        fn our_own_key_is_one_for_each_aggregate_and_request(
            request in 0..3_u128,
            with in 0..3_u128,
            one in aggregate(),
            other in aggregate(),
        ) {
            let own = |request| IdempotencyKey::internal(Uuid::from_u128(request));
            let key = own(request).for_aggregate(&one);
            let same = (request, one) == (with, other);
            prop_assert_eq!(key == own(with).for_aggregate(&other), same);
            let given = given(&(request, "PUT".into(), "/".into(), "key".into(), vec![]));
            prop_assert_eq!(given.for_aggregate(&one), given);
        }

        #[test]
        fn a_damaged_receipt_is_an_error_and_no_panic(
            bytes in vec(any::<u8>(), 0..60),
            text in "[0-9]{1,3} [0-9-]{0,5} [0-9-]{0,5} \\PC{0,10}",
        ) {
            for bytes in [bytes, text.into_bytes()] {
                let read = parse_receipt(&bytes, Partition(0), 7);
                prop_assert!(!matches!(read, Ok(Some(_))));
            }
        }

        #[test]
        fn an_entry_id_reads_back(partition in any::<u16>(), epoch in any::<u64>(), seq in any::<u64>()) {
            let position = Position { partition: Partition(partition), epoch, seq };
            prop_assert_eq!(parse_entry_id(position.partition, &position.entry_id()), Some(position));
        }
    }
}
