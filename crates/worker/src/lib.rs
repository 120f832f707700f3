#![doc = include_str!("../README.md")]

mod batch;
mod context;
mod engine;
mod error;
mod fanning;
mod feed;
mod folding;
mod front;
mod leases;
mod parking;
mod partition;
mod partition_loop;
mod reading;
pub mod rebuilding;
pub mod repairing;
mod spans;

pub use context::WorkerContext;
pub use engine::Engine;
pub use error::WorkError;
pub use folding::BATCH_EVENTS_MAX;
pub use leases::LEASE_SECONDS;
