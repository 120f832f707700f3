//! The registry of events: one line a feature. It refuses logic.

use kernel::{CodecError, Envelope, EventPayload, Personal};

use crate::{
    accounts::AccountEvent, follows::FollowEvent, handles::HandleEvent, likes::LikeEvent,
    posts::PostEvent,
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
    ($($feature:ident($events:ident)),+ $(,)?) => {
        /// Any event of any feature.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $($feature($events)),+
        }

        impl Event {
            pub fn decode(envelope: &Envelope) -> Result<Self, CodecError> {
                let (name, version) = (envelope.event_type.as_str(), envelope.event_version);
                $(if let Some(event) = $events::from_bytes(name, version, &envelope.data) {
                    return event.map(Self::$feature);
                })+
                Err(CodecError::UnknownEvent { name: name.to_owned(), version })
            }

            pub fn personal(&mut self) -> Vec<&mut Personal> {
                match self {
                    $(Self::$feature(event) => event.personal()),+
                }
            }
        }
    };
}

registry! {
    Like(LikeEvent),
    Follow(FollowEvent),
    Post(PostEvent),
    Account(AccountEvent),
    Handle(HandleEvent),
}
