#![doc = include_str!("../README.md")]

mod redis;
mod tls;
mod trouble;

pub use redis::Redis;
pub use tls::{Tls, install_provider};
pub use trouble::Trouble;
