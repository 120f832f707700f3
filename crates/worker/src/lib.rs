#![doc = include_str!("../README.md")]

mod engine;
mod fanning;
mod folding;
mod front;
mod leases;
mod parking;
mod reading;
pub mod rebuilding;
pub mod repairing;
mod spans;

pub use engine::{Engine, Parts, WorkError};
pub use folding::BATCH_EVENTS_MAX;
pub use leases::LEASE_SECONDS;
