#![doc = include_str!("../README.md")]

// What features use of the edge.
use edge::{admission, answers, header_text, identity, paging, preconditions, request};

mod accounts;
mod appending;
mod blocks;
mod causes;
mod contract_rules;
mod deactivation;
mod emails;
mod examples;
mod follows;
mod freshness;
mod health;
mod likes;
mod limits;
mod metrics;
mod mutes;
mod operations;
mod operators;
mod pages;
mod passwords;
mod posts;
mod problem;
mod registration;
mod relationships;
mod second_factors;
mod server;
mod services;
mod sessions;
mod shown;
mod standing;
mod tags;
mod throttle;
mod timelines;

pub use limits::{LimitSettings, Limiting};
pub use metrics::Measured;
pub use operations::{LookError, look};
pub use server::{document, serve};
pub use services::{Rooms, Services, ServicesError};
