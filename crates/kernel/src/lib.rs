//! The few nouns that every room shares and no feature owns: typed ids with
//! routing bits, positions in the log, the event envelope, the decider, and
//! personal fields. It refuses feature words, I/O, clocks and random numbers.

mod codec;
mod decider;
mod envelope;
mod id;
mod personal;
mod position;
mod timestamp;

pub use codec::{CodecError, decode, encode};
pub use decider::{Command, Decider, EventPayload, Facts, Read, Snapshot, Versioned};
pub use envelope::{Envelope, Recorded};
pub use id::{AccountId, AggregateId, Kind, ParseIdError, Route, compose_id};
pub use personal::{Personal, SealError, Sealer, SealerFuture};
pub use position::{ParsePositionError, Partition, Position, Positions};
pub use timestamp::Timestamp;
pub use uuid::Uuid;
