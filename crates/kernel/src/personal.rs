//! Personal fields: texts about a person that the log holds only encrypted,
//! with a key per account that is kept elsewhere. It refuses to encrypt: the
//! vault implements `Sealer`. A field that nobody sealed can't be written to
//! the log: serialising it to bytes is an error, not a leak.

use std::{fmt, future::Future, pin::Pin};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{AccountId, AggregateId};

/// One personal text in one of its three lives.
#[derive(Clone, PartialEq, Eq)]
pub enum Personal {
    /// Readable, in memory only.
    Plain(String),
    /// As the log holds it.
    Sealed(Vec<u8>),
    /// The key is destroyed; nobody will ever read it again.
    Erased,
}

impl Personal {
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    /// The text where it is readable.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Sealed(_) | Self::Erased => None,
        }
    }

    pub fn into_text(self) -> Option<String> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Sealed(_) | Self::Erased => None,
        }
    }
}

impl fmt::Debug for Personal {
    /// Never the text: debug output ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(…)",
            Self::Sealed(_) => "Sealed(…)",
            Self::Erased => "Erased",
        })
    }
}

impl Serialize for Personal {
    /// To people (JSON): the text, or null. To bytes: sealed or erased only;
    /// erased as no bytes, because nil is an optional field that is none.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) if serializer.is_human_readable() => serializer.serialize_str(text),
            Self::Plain(_) => Err(serde::ser::Error::custom(
                "a personal field must be sealed before it is written",
            )),
            Self::Sealed(bytes) if !serializer.is_human_readable() => {
                serializer.serialize_bytes(bytes)
            }
            Self::Erased if !serializer.is_human_readable() => serializer.serialize_bytes(&[]),
            Self::Sealed(_) | Self::Erased => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Personal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sealed bytes or nothing")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Personal, E> {
                Ok(match bytes {
                    [] => Personal::Erased,
                    sealed => Personal::Sealed(sealed.to_vec()),
                })
            }

            fn visit_unit<E: de::Error>(self) -> Result<Personal, E> {
                Ok(Personal::Erased)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("account {0} has no key to encrypt with: it is erased or was never registered")]
    NoKey(AccountId),
    #[error("a personal field is damaged: {0}")]
    Damaged(&'static str),
    #[error("the keys of personal fields cannot be read: {0}")]
    Unavailable(String),
}

/// The event that a personal field is a part of. A field is sealed for its event and
/// its name there, and opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct SealedIn {
    /// The event's actor, whose key seals it.
    pub account: AccountId,
    pub event_type: &'static str,
    pub aggregate: AggregateId,
    /// Of the aggregate after the event.
    pub version: u64,
}

/// A personal field by its name in its event.
pub type NamedPersonal<'a> = (&'static str, &'a mut Personal);

/// A personal field where it stands.
pub struct PersonalField<'a> {
    pub of: SealedIn,
    pub name: &'static str,
    pub value: &'a mut Personal,
}

impl SealedIn {
    pub fn fields<'a>(
        self,
        named: Vec<NamedPersonal<'a>>,
    ) -> impl Iterator<Item = PersonalField<'a>> {
        let field = move |(name, value)| PersonalField {
            of: self,
            name,
            value,
        };
        named.into_iter().map(field)
    }
}

pub type SealerFuture<'a> = Pin<Box<dyn Future<Output = Result<(), SealError>> + Send + 'a>>;

/// Turns plain into sealed and back. Implemented by the vault.
pub trait Sealer: Send + Sync {
    /// Seals every plain field with the key of its event's actor.
    fn seal<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a>;

    /// Opens every sealed field; one whose key is destroyed becomes `Erased`. One that
    /// was sealed elsewhere is `SealError::Damaged`.
    fn open<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_never_becomes_bytes() {
        assert!(crate::encode(&Personal::plain("secret")).is_err());
        assert!(!format!("{:?}", Personal::plain("secret")).contains("secret"));
    }

    #[test]
    fn sealed_and_erased_survive_the_log() -> Result<(), crate::CodecError> {
        for field in [Personal::Sealed(vec![1, 2, 3]), Personal::Erased] {
            assert_eq!(crate::decode::<Personal>(&crate::encode(&field)?)?, field);
        }
        Ok(())
    }

    #[test]
    fn an_optional_field_that_was_erased_is_not_one_that_never_was() -> Result<(), crate::CodecError>
    {
        for field in [Some(Personal::Erased), None] {
            let read: Option<Personal> = crate::decode(&crate::encode(&field)?)?;
            assert_eq!(read, field);
        }
        assert_eq!(
            crate::decode::<Personal>(&crate::encode(&())?)?,
            Personal::Erased
        );
        Ok(())
    }
}
