//! What stands around every event in the log. It refuses to look inside the
//! event: `data` is opaque here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AccountId, AggregateId, CodecError, Position, SpanContext, Timestamp};

/// Stored as a MessagePack array in this order: fields may only be added at
/// the end, with a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Past tense, such as `PostCreated`; never renamed once released.
    pub event_type: String,
    /// Of the event's own fields, from 1.
    pub event_version: u16,
    pub aggregate: AggregateId,
    /// Of the aggregate after this event, from 1.
    pub version: u64,
    pub recorded_at: Timestamp,
    pub actor: AccountId,
    /// The request that all of this began with.
    pub correlation: Uuid,
    /// The event that a policy answered to; none where a person asked.
    pub causation: Option<Position>,
    /// Hash of the idempotency key and its scope, and the fingerprint of the
    /// body, so that receipts can be restored from the log.
    pub receipt: Option<(u128, u64)>,
    pub data: Vec<u8>,
    /// The append, in the trace of its request; none where nobody records that.
    pub trace: Option<SpanContext>,
}

/// The fields as they are stored. The actor is nil where it is the aggregate's
/// own id, as with every edge and every account: 17 bytes of about 100. The trace
/// is not written at all where there is none.
#[derive(Serialize, Deserialize)]
struct Stored<'a>(
    Cow<'a, str>,
    u16,
    AggregateId,
    u64,
    Timestamp,
    Option<AccountId>,
    Uuid,
    Option<Position>,
    Option<(u128, u64)>,
    #[serde(with = "bytes")] Cow<'a, [u8]>,
    #[serde(with = "context", default, skip_serializing_if = "Option::is_none")]
    Option<SpanContext>,
);

impl Envelope {
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let stored = Stored(
            self.event_type.as_str().into(),
            self.event_version,
            self.aggregate,
            self.version,
            self.recorded_at,
            Some(self.actor).filter(|actor| actor.0 != self.aggregate.id),
            self.correlation,
            self.causation,
            self.receipt,
            self.data.as_slice().into(),
            self.trace,
        );
        Ok(rmp_serde::to_vec(&stored)?)
    }

    /// Tells this event from another one that stands at its place in another
    /// copy of the log.
    pub fn mark(&self) -> Uuid {
        let member = self.aggregate.member.unwrap_or_default().as_u128();
        let parts = [
            self.correlation.as_u128(),
            self.aggregate.id.as_u128(),
            member,
            u128::from(self.version) << 64,
            self.recorded_at.0 as u128,
        ];
        Uuid::from_u128(parts.into_iter().fold(0, |all, part| all ^ part))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let Stored(
            event_type,
            event_version,
            aggregate,
            version,
            recorded_at,
            actor,
            correlation,
            causation,
            receipt,
            data,
            trace,
        ) = rmp_serde::from_slice(bytes)?;
        Ok(Self {
            event_type: event_type.into_owned(),
            event_version,
            aggregate,
            version,
            recorded_at,
            actor: actor.unwrap_or(AccountId(aggregate.id)),
            correlation,
            causation,
            receipt,
            data: data.into_owned(),
            trace,
        })
    }
}

/// What shows that an event is ours: `eventlog` signs the bytes of its envelope.
pub type Mac = [u8; MAC_BYTES];
pub const MAC_BYTES: usize = 16;

/// An event where it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub position: Position,
    pub envelope: Envelope,
    pub mac: Mac,
}

impl Recorded {
    /// Reads an entry of the log: the envelope's bytes, then its MAC, which is not looked
    /// at here.
    pub fn from_entry(position: Position, entry: &[u8]) -> Result<Self, CodecError> {
        // Too short for a MAC: no envelope is read from it.
        let (envelope, mac) = entry.split_last_chunk().unwrap_or((&[], &[0; MAC_BYTES]));
        Ok(Self {
            position,
            envelope: Envelope::from_bytes(envelope)?,
            mac: *mac,
        })
    }

    pub fn to_entry(&self) -> Result<Vec<u8>, CodecError> {
        let mut entry = self.envelope.to_bytes()?;
        entry.extend_from_slice(&self.mac);
        Ok(entry)
    }
}

/// `Vec<u8>` as one byte string instead of a list of numbers.
mod bytes {
    use std::{borrow::Cow, fmt};

    use serde::{Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'static, [u8]>, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Cow<'static, [u8]>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.to_vec().into())
            }
        }

        deserializer.deserialize_bytes(Visitor)
    }
}

/// A span's context as one byte string.
mod context {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{SpanContext, bytes};

    pub fn serialize<S: Serializer>(
        context: &Option<SpanContext>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match context {
            Some(context) => serializer.serialize_bytes(&context.to_bytes()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SpanContext>, D::Error> {
        let bytes = bytes::deserialize(deserializer)?;
        let wrong = || D::Error::invalid_length(bytes.len(), &"24 bytes of a span's context");
        SpanContext::from_bytes(&bytes).map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn an_envelope_survives_the_log_and_is_small() -> Result<(), CodecError> {
        let account = AccountId(Uuid::from_u128(u128::MAX - 1));
        let envelope = Envelope {
            event_type: "Liked".into(),
            event_version: 1,
            aggregate: AggregateId::edge(Kind(4), account.0, Uuid::from_u128(u128::MAX)),
            version: 1,
            recorded_at: Timestamp(1_790_000_000_000),
            actor: account,
            correlation: Uuid::from_u128(u128::MAX - 2),
            causation: None,
            receipt: None,
            data: Vec::new(),
            trace: None,
        };
        let bytes = envelope.to_bytes()?;
        assert!(bytes.len() <= 90, "{} bytes", bytes.len());
        assert_eq!(Envelope::from_bytes(&bytes)?, envelope);
        let traced = Envelope {
            trace: Some(SpanContext {
                trace: Uuid::from_u128(u128::MAX - 3),
                span: u64::MAX,
            }),
            ..envelope.clone()
        };
        let traced_bytes = traced.to_bytes()?;
        assert_eq!(traced_bytes.len(), bytes.len() + 2 + SpanContext::BYTES);
        assert_eq!(Envelope::from_bytes(&traced_bytes)?, traced);
        assert_eq!(traced.mark(), envelope.mark(), "it is the same event");
        let by_another = Envelope {
            actor: AccountId(Uuid::from_u128(7)),
            ..envelope
        };
        assert_eq!(Envelope::from_bytes(&by_another.to_bytes()?)?, by_another);
        Ok(())
    }
}

#[cfg(test)]
mod properties {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::{Kind, Partition, Personal};

    fn position() -> impl Strategy<Value = Position> {
        (any::<u16>(), any::<u64>(), any::<u64>()).prop_map(|(partition, epoch, seq)| Position {
            partition: Partition(partition),
            epoch,
            seq,
        })
    }

    fn envelope() -> impl Strategy<Value = Envelope> {
        let id = || any::<u128>().prop_map(Uuid::from_u128);
        let aggregate = (any::<u8>(), id(), option::of(id()));
        let name = ("[A-Za-z]{0,30}", any::<u16>(), any::<u64>(), any::<i64>());
        let causes = (id(), id(), option::of(position()));
        let receipt = option::of(any::<(u128, u64)>());
        let data = vec(any::<u8>(), 0..300);
        (aggregate, name, causes, receipt, data, trace()).prop_map(
            |((kind, id, member), name, (actor, correlation, causation), receipt, data, trace)| {
                Envelope {
                    event_type: name.0,
                    event_version: name.1,
                    aggregate: AggregateId {
                        kind: Kind(kind),
                        id,
                        member,
                    },
                    version: name.2,
                    recorded_at: Timestamp(name.3),
                    actor: AccountId(actor),
                    correlation,
                    causation,
                    receipt,
                    data,
                    trace,
                }
            },
        )
    }

    fn trace() -> impl Strategy<Value = Option<SpanContext>> {
        let context = any::<(u128, u64)>().prop_map(|(trace, span)| SpanContext {
            trace: Uuid::from_u128(trace),
            span,
        });
        option::of(context)
    }

    /// What was written before there were traces.
    fn before(envelope: &Envelope) -> Result<Vec<u8>, CodecError> {
        let actor = Some(envelope.actor).filter(|actor| actor.0 != envelope.aggregate.id);
        let fields = (
            &envelope.event_type,
            envelope.event_version,
            envelope.aggregate,
            envelope.version,
            envelope.recorded_at,
            actor,
            envelope.correlation,
            envelope.causation,
            envelope.receipt,
            Bytes(&envelope.data),
        );
        Ok(rmp_serde::to_vec(&fields)?)
    }

    #[derive(Serialize)]
    #[serde(transparent)]
    struct Bytes<'a>(#[serde(serialize_with = "bytes::serialize")] &'a [u8]);

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_envelope_survives_the_log(envelope in envelope()) {
            prop_assert_eq!(Envelope::from_bytes(&envelope.to_bytes()?)?, envelope);
        }

        #[test]
        fn what_has_no_trace_is_written_and_read_as_it_always_was(envelope in envelope()) {
            let plain = Envelope { trace: None, ..envelope };
            let bytes = before(&plain)?;
            prop_assert_eq!(&plain.to_bytes()?, &bytes);
            prop_assert_eq!(Envelope::from_bytes(&bytes)?, plain);
        }

        #[test]
        fn a_trace_is_one_more_field_behind_the_others(envelope in envelope()) {
            let Some(trace) = envelope.trace else { return Ok(()) };
            let mut bytes = before(&envelope)?;
            bytes[0] += 1;
            bytes.extend([0xc4, SpanContext::BYTES as u8]);
            bytes.extend(trace.to_bytes());
            prop_assert_eq!(envelope.to_bytes()?, bytes);
        }

        #[test]
        fn a_cut_envelope_is_an_error(envelope in envelope(), cut in any::<prop::sample::Index>()) {
            let bytes = envelope.to_bytes()?;
            prop_assert!(Envelope::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn damage_is_an_error_and_no_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Envelope::from_bytes(&bytes);
            let _ = crate::decode::<Personal>(&bytes);
        }

        #[test]
        fn any_sealed_field_survives_the_log(sealed in vec(any::<u8>(), 1..300)) {
            let field = Some(Personal::Sealed(sealed));
            prop_assert_eq!(crate::decode::<Option<Personal>>(&crate::encode(&field)?)?, field);
        }
    }
}
