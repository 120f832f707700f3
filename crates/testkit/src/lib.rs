#![doc = include_str!("../README.md")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app;
mod client;
mod contract;
pub mod encrypted;
mod home;
mod positions;
pub mod secrets;
mod servers;
mod watch;

pub use app::App;
pub use client::{Answer, Client, Person, ids};
pub use home::{Row, home, local};
pub use positions::position;
pub use servers::{Servers, until};
pub use watch::Watch;
