//! The registry of events: one line a feature. It refuses logic.

use kernel::{CodecError, Decider, Envelope, EventPayload, Personal};

use crate::{
    accounts::{AccountEvent, Accounts},
    blocks::{BlockEvent, Blocks},
    follows::{FollowEvent, Follows},
    handles::{HandleEvent, Handles},
    likes::{LikeEvent, Likes},
    mutes::{MuteEvent, Mutes},
    operations::{OperationEvent, Operations},
    posts::{PostEvent, Posts},
};

/// Declares the events of a feature: for each a struct of the same name and
/// the version in which it is written today.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident { $($event:ident = $version:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum $name {
            $($event($event)),+
        }

        impl $name {
            /// The names of its events.
            pub(crate) const TYPES: &[&str] = &[$(stringify!($event)),+];
        }

        $(impl From<$event> for $name {
            fn from(event: $event) -> Self {
                Self::$event(event)
            }
        })+

        impl kernel::EventPayload for $name {
            fn event_type(&self) -> (&'static str, u16) {
                match self {
                    $(Self::$event(_) => (stringify!($event), $version)),+
                }
            }

            fn to_bytes(&self) -> Result<Vec<u8>, kernel::CodecError> {
                match self {
                    $(Self::$event(event) => kernel::encode(event)),+
                }
            }

            fn from_bytes(
                name: &str,
                version: u16,
                data: &[u8],
            ) -> Option<Result<Self, kernel::CodecError>> {
                match (name, version) {
                    $((stringify!($event), $version) => {
                        Some(kernel::decode(data).map(Self::$event))
                    })+
                    $((stringify!($event), _) => Some(Err(kernel::CodecError::UnknownEvent {
                        name: name.to_owned(),
                        version,
                    })),)+
                    _ => None,
                }
            }

            fn personal(&mut self) -> Vec<&mut kernel::Personal> {
                match self {
                    $(Self::$event(event) => $crate::PersonalFields::personal(event)),+
                }
            }
        }
    };
}
pub(crate) use events;

/// The personal fields of one event.
pub trait PersonalFields {
    fn personal(&mut self) -> Vec<&mut Personal> {
        Vec::new()
    }
}

macro_rules! registry {
    ($($feature:ident($events:ident, $decider:ident)),+ $(,)?) => {
        /// Any event of any feature.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $($feature($events)),+
        }

        impl Event {
            /// The names of all events.
            pub fn types() -> impl Iterator<Item = &'static str> {
                [$($events::TYPES),+].concat().into_iter()
            }

            pub fn decode(envelope: &Envelope) -> Result<Self, CodecError> {
                let (name, version) = (envelope.event_type.as_str(), envelope.event_version);
                $(if let Some(event) = $events::from_bytes(name, version, &envelope.data) {
                    return event.map(Self::$feature);
                })+
                Err(CodecError::UnknownEvent { name: name.to_owned(), version })
            }

            /// Its name and version.
            pub fn event_type(&self) -> (&'static str, u16) {
                match self {
                    $(Self::$feature(event) => event.event_type()),+
                }
            }

            pub fn personal(&mut self) -> Vec<&mut Personal> {
                match self {
                    $(Self::$feature(event) => event.personal()),+
                }
            }
        }

        $(impl From<$events> for Event {
            fn from(event: $events) -> Self {
                Self::$feature(event)
            }
        })+

        /// The state of any aggregate, as its events alone make it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum State {
            $($feature(<$decider as Decider>::State)),+
        }

        impl State {
            /// What an aggregate is after `event`; fails where an aggregate has
            /// events of two features.
            pub fn evolve(before: Option<Self>, event: &Event) -> Result<Self, MixedEvents> {
                match (before, event) {
                    $((None, Event::$feature(event)) => {
                        Ok(Self::$feature($decider::evolve(Default::default(), event)))
                    })+
                    $((Some(Self::$feature(state)), Event::$feature(event)) => {
                        Ok(Self::$feature($decider::evolve(state, event)))
                    })+
                    _ => Err(MixedEvents),
                }
            }

            /// The shape under which it is stored, and its bytes.
            pub fn stored(&self) -> Result<(u8, Vec<u8>), CodecError> {
                match self {
                    $(Self::$feature(state) => {
                        Ok(($decider::SHAPE, kernel::encode(state)?))
                    })+
                }
            }
        }
    };
}

/// The log is not as this release writes it.
#[derive(Debug, thiserror::Error)]
#[error("an aggregate has events of two features")]
pub struct MixedEvents;

registry! {
    Like(LikeEvent, Likes),
    Follow(FollowEvent, Follows),
    Post(PostEvent, Posts),
    Account(AccountEvent, Accounts),
    Handle(HandleEvent, Handles),
    Operation(OperationEvent, Operations),
    Block(BlockEvent, Blocks),
    Mute(MuteEvent, Mutes),
}

#[cfg(test)]
mod properties {
    use kernel::{AccountId, AggregateId, Kind, Timestamp};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::any;

    fn envelope(event: &Event, version: u16) -> Result<Envelope, CodecError> {
        let ((name, _), data) = match event {
            Event::Like(event) => (event.event_type(), event.to_bytes()?),
            Event::Follow(event) => (event.event_type(), event.to_bytes()?),
            Event::Post(event) => (event.event_type(), event.to_bytes()?),
            Event::Account(event) => (event.event_type(), event.to_bytes()?),
            Event::Handle(event) => (event.event_type(), event.to_bytes()?),
            Event::Operation(event) => (event.event_type(), event.to_bytes()?),
            Event::Block(event) => (event.event_type(), event.to_bytes()?),
            Event::Mute(event) => (event.event_type(), event.to_bytes()?),
        };
        Ok(Envelope {
            event_type: name.to_owned(),
            event_version: version,
            aggregate: AggregateId::single(Kind(0), Uuid::nil()),
            version: 1,
            recorded_at: Timestamp(0),
            actor: AccountId(Uuid::nil()),
            correlation: Uuid::nil(),
            causation: None,
            receipt: None,
            data,
            trace: None,
        })
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn every_event_reads_back_as_it_was_written(event in any::event()) {
            let envelope = envelope(&event, 1)?;
            let read = Event::decode(&Envelope::from_bytes(&envelope.to_bytes()?)?)?;
            prop_assert_eq!(read, event);
        }

        #[test]
        fn an_event_of_another_version_is_unknown_and_never_misread(
            event in any::event(),
            version in any::<u16>().prop_filter("another", |version| *version != 1),
        ) {
            let envelope = envelope(&event, version)?;
            let name = envelope.event_type.clone();
            match Event::decode(&envelope) {
                Err(CodecError::UnknownEvent { name: told, version: of }) => {
                    prop_assert_eq!((told, of), (name, version));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn bytes_that_are_no_event_are_an_error(
            event in any::event(),
            data in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut envelope = envelope(&event, 1)?;
            envelope.data = data;
            // Whatever comes back, nothing panics.
            let _ = Event::decode(&envelope);
            envelope.event_type.push('x');
            prop_assert!(Event::decode(&envelope).is_err());
        }

        #[test]
        fn every_personal_field_is_named_or_the_event_can_not_be_written(
            mut event in any::event(),
        ) {
            let mut named = 0;
            for field in event.personal() {
                *field = Personal::plain("secret");
                named += 1;
            }
            let written = envelope(&event, 1);
            prop_assert_eq!(written.is_err(), named > 0);
            let shown = serde_json::to_string(&event)?;
            prop_assert_eq!(shown.matches("secret").count(), named);
            for field in event.personal() {
                *field = Personal::Sealed(b"sealed".to_vec());
            }
            let written = envelope(&event, 1)?;
            prop_assert!(!written.data.windows(6).any(|window| window == b"secret"));
        }
    }
}
