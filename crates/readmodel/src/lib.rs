#![doc = include_str!("../README.md")]

#[macro_use]
mod counters;
#[macro_use]
pub mod marks;

pub mod accounts;
pub mod activity;
pub mod blocks;
pub mod checkpoints;
pub mod comparing;
pub mod database;
pub mod dead_letters;
mod edges;
mod feature;
pub mod follows;
pub mod generations;
pub mod hot;
pub mod leases;
pub mod likes;
pub mod mutes;
pub mod origin;
pub mod posts;
pub mod progress;
pub mod projections;
pub mod relationships;
pub mod social;
mod standing;
pub mod timelines;
pub mod visibility;

// One line a feature: its module and the name of its events, in the order in which
// tables are written.
feature::features! {
    accounts: Account,
    posts: Post,
    likes: Like,
    follows: Follow,
    blocks: Block,
    mutes: Mute;
    Handle, Operation
}

pub use counters::{AccountCounts, PostCounts};
pub use database::{
    DATABASE_CONNECTIONS_DEFAULT, DatabaseAddress, ProcessRole, ReadError, Room, Seen, Share,
    begin, claim, connect, connect_to_migrate, look,
};
pub use generations::Generation;
pub use projections::{Projection, Projections, TableProjection};
pub use sea_orm::{DatabaseConnection, sqlx::PgPool};
pub use social::{Happened, Social, Written};
