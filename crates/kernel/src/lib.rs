#![doc = include_str!("../README.md")]

mod codec;
pub mod crash;
mod decider;
mod envelope;
mod file_url;
mod id;
mod personal;
mod position;
mod spans;
mod timestamp;

pub use codec::{CodecError, decode, encode};
pub use decider::{
    Command, Decider, EventPayload, ExpectedVersion, Facts, Read, Snapshot, Versioned,
};
pub use envelope::{Envelope, MAC_BYTES, Mac, Recorded};
pub use file_url::{FileUrlError, file_url, folder_of};
pub use id::{AccountId, AggregateId, Kind, ParseIdError, Route, compose_fine_id, compose_id};
pub use personal::{
    NamedPersonal, Personal, PersonalField, SealError, SealedIn, Sealer, SealerFuture,
};
pub use position::{ParsePositionError, Partition, Position, Positions};
pub use spans::{Span, SpanContext, SpanKind, SpanValue, Spans};
pub use timestamp::Timestamp;
pub use uuid::Uuid;
