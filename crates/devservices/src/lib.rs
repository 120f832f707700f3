//! Private Redis and PostgreSQL servers on this machine.
//!
//! [`Stack::start`] gives `headwater up` the three servers of a folder (the log
//! Redis, the views Redis and PostgreSQL), persistent under `.headwater/`.
//! [`Stack::throwaway`] gives a test the same three in temporary folders.
//! [`Programs::find_or_install`] gets the programs.
//!
//! A server never outlives the process that started it, not even after
//! `kill -9`: see `supervisor.rs`. It does survive a Ctrl-C in the terminal, so
//! that its user can drain first.
//!
//! This crate refuses to serve production, to listen beyond 127.0.0.1, and to
//! know what is kept in the servers.

mod account;
mod cluster;
mod error;
mod install;
mod place;
mod ports;
mod postgres;
mod processes;
mod programs;
mod record;
mod redis;
mod stack;
mod supervisor;

pub use error::Error;
pub use postgres::PostgresServer;
pub use programs::{Program, Programs};
pub use redis::{RedisOptions, RedisRole, RedisServer};
pub use stack::{Stack, Urls, holder};
pub use supervisor::{START_SECONDS_MAX, STOP_SECONDS_MAX};
