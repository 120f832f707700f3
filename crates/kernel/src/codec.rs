//! How events and snapshots are written: MessagePack with field names, so that
//! fields can be added later (with `#[serde(default)]`) and old bytes still
//! read. It refuses to know what is in them.

use serde::{Serialize, de::DeserializeOwned};

#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("cannot be written as MessagePack: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("cannot be read from MessagePack: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("no event type {name} of version {version} is known here; run a newer release")]
    UnknownEvent { name: String, version: u16 },
}

pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(rmp_serde::from_slice(bytes)?)
}
