#![doc = include_str!("../README.md")]

mod append;
mod connection;
mod execute;
mod fitness;
mod history;
mod keys;
mod load;
mod log;
mod read;
mod receipt;
mod server;
mod signing;
mod turns;
mod upkeep;
mod waiting;

pub use execute::{
    COMMAND_MILLISECONDS_MAX, CONFLICT_RETRIES_MAX, ExecuteError, Intent, KeyReused, Receipt,
};
pub use fitness::FITNESS_SECONDS;
pub use history::{Earlier, EarlierFuture, History};
pub use keys::{PARTITIONS_DEFAULT, PARTITIONS_MAX};
pub use log::{Found, Log, LogError, LogSettings};
pub use read::{EPOCH_STARTED, Gap, PATIENCE_SECONDS_MAX, READ_EVENTS_MAX, check_contiguous};
pub use receipt::{IdempotencyKey, RECEIPT_SECONDS};
pub use server::{Info, MEMORY_SHARE_MAX, ServerFinding, inspect};
pub use signing::LogKey;
pub use upkeep::{Beside, PartitionSize};
