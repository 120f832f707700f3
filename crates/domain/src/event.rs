//! What the registry of features (in `lib.rs`) makes of its lines: modules, kinds of
//! aggregates, and what any event and any state is.

use kernel::NamedPersonal;

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

            fn personal(&mut self) -> Vec<kernel::NamedPersonal<'_>> {
                match self {
                    $(Self::$event(event) => $crate::PersonalFields::personal(event)),+
                }
            }
        }
    };
}
pub(crate) use events;

/// The personal fields of one event, by their names.
pub trait PersonalFields {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        Vec::new()
    }
}

macro_rules! registry {
    ($($code:literal $kind:ident $name:literal $module:ident:
        $feature:ident($events:ident, $decider:ident)),+ $(,)?) => {
        $(pub mod $module;)+

        /// The sorts of aggregates: a stored code and a shown name each.
        pub mod kinds {
            use kernel::Kind;

            $(pub const $kind: Kind = Kind($code);)+
            pub const ALL: &[Kind] = &[$($kind),+];

            pub fn name(kind: Kind) -> &'static str {
                match kind {
                    $($kind => $name,)+
                    _ => "unknown",
                }
            }
        }

        /// Any event of any feature.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $($feature($module::$events)),+
        }

        impl Event {
            /// The names of all events.
            pub fn types() -> impl Iterator<Item = &'static str> {
                [$($module::$events::TYPES),+].concat().into_iter()
            }

            /// Of every feature: the kind of its aggregates and the names of its events.
            pub fn types_by_kind() -> Vec<(kernel::Kind, &'static [&'static str])> {
                vec![$((kinds::$kind, $module::$events::TYPES)),+]
            }

            pub fn decode(envelope: &kernel::Envelope) -> Result<Self, kernel::CodecError> {
                use kernel::EventPayload;
                let (name, version) = (envelope.event_type.as_str(), envelope.event_version);
                $(if let Some(event) = $module::$events::from_bytes(name, version, &envelope.data) {
                    return event.map(Self::$feature);
                })+
                Err(kernel::CodecError::UnknownEvent { name: name.to_owned(), version })
            }

            /// Its name and version.
            pub fn event_type(&self) -> (&'static str, u16) {
                match self {
                    $(Self::$feature(event) => kernel::EventPayload::event_type(event)),+
                }
            }

            pub fn to_bytes(&self) -> Result<Vec<u8>, kernel::CodecError> {
                match self {
                    $(Self::$feature(event) => kernel::EventPayload::to_bytes(event)),+
                }
            }

            pub fn personal(&mut self) -> Vec<kernel::NamedPersonal<'_>> {
                match self {
                    $(Self::$feature(event) => kernel::EventPayload::personal(event)),+
                }
            }
        }

        $(impl From<$module::$events> for Event {
            fn from(event: $module::$events) -> Self {
                Self::$feature(event)
            }
        })+

        /// The state of any aggregate, as its events alone make it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum State {
            $($feature(<$module::$decider as kernel::Decider>::State)),+
        }

        impl State {
            /// What an aggregate is after `event`; fails where an aggregate has
            /// events of two features.
            pub fn evolve(before: Option<Self>, event: &Event) -> Result<Self, MixedEvents> {
                use kernel::Decider;
                match (before, event) {
                    $((None, Event::$feature(event)) => {
                        Ok(Self::$feature($module::$decider::evolve(Default::default(), event)))
                    })+
                    $((Some(Self::$feature(state)), Event::$feature(event)) => {
                        Ok(Self::$feature($module::$decider::evolve(state, event)))
                    })+
                    _ => Err(MixedEvents),
                }
            }

            /// The shape under which it is stored, and its bytes.
            pub fn stored(&self) -> Result<(u8, Vec<u8>), kernel::CodecError> {
                match self {
                    $(Self::$feature(state) => Ok((
                        <$module::$decider as kernel::Decider>::SHAPE,
                        kernel::encode(state)?,
                    ))),+
                }
            }
        }
    };
}
pub(crate) use registry;

/// The log is not as this release writes it.
#[derive(Debug, thiserror::Error)]
#[error("an aggregate has events of two features")]
pub struct MixedEvents;

#[cfg(test)]
mod properties {
    use kernel::{AccountId, AggregateId, CodecError, Envelope, Kind, Personal, Timestamp};
    use proptest::prelude::*;
    use uuid::Uuid;

    use crate::{Event, any};

    fn envelope(event: &Event, version: u16) -> Result<Envelope, CodecError> {
        let ((name, _), data) = (event.event_type(), event.to_bytes()?);
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
            let mut names = std::collections::BTreeSet::new();
            for (name, field) in event.personal() {
                *field = Personal::plain("secret");
                prop_assert!(names.insert(name), "two fields are called {}", name);
            }
            let named = names.len();
            let written = envelope(&event, 1);
            prop_assert_eq!(written.is_err(), named > 0);
            let shown = serde_json::to_string(&event)?;
            prop_assert_eq!(shown.matches("secret").count(), named);
            for (_, field) in event.personal() {
                *field = Personal::Sealed(b"sealed".to_vec());
            }
            let written = envelope(&event, 1)?;
            prop_assert!(!written.data.windows(6).any(|window| window == b"secret"));
        }
    }
}
