#![doc = include_str!("../README.md")]

// The registry of features: what each line says, the macro beside it makes of it.

/// Gives the counters of posts to a macro: column, variant, and name in answers.
#[macro_export]
macro_rules! for_each_post_counter {
    ($callback:ident) => {
        $callback! {
            /// As many as the list has for a reader who blocks none of them and is blocked
            /// by none; likes of deactivated accounts are in neither.
            likes Likes likes_count,
            /// Counted as likes are.
            reposts Reposts reposts_count,
            /// Direct replies that are not deleted, those for followers too: a reader who may
            /// not see some of them, or mutes or blocks their authors, finds fewer. Replies of
            /// deactivated accounts are not counted.
            replies Replies replies_count,
        }
    };
}

/// Gives the marks to a macro: what it says, the name in answers, a bit of its own, and
/// the table of its edges.
#[macro_export]
macro_rules! for_each_mark {
    ($callback:ident) => {
        $callback! {
            /// The viewer likes it.
            liked 1 "likes",
            /// The viewer bookmarked it; nobody else is told.
            bookmarked 2 "bookmarks",
            /// The viewer reposted it.
            reposted 4 "reposts",
        }
    };
}

// One line a feature: its module and the name of its events, in the order in which
// tables are written.
feature::features! {
    accounts: Account,
    posts: Post,
    likes: Like,
    follows: Follow,
    blocks: Block,
    mutes: Mute,
    reposts: Repost,
    bookmark_folders: Folder,
    bookmarks: Bookmark;
    Handle, Operation
}

#[macro_use]
mod counters;
#[macro_use]
pub mod marks;

pub mod accounts;
pub mod activity;
pub mod blocks;
pub mod bookmark_folders;
pub mod bookmarks;
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
pub mod paging;
pub mod posts;
pub mod progress;
pub mod projections;
pub mod relationships;
pub mod reposts;
pub mod social;
mod standing;
pub mod timelines;
pub mod touches;
pub mod visibility;
pub mod withheld;

pub use counters::{AccountCounts, PostCounts};
pub use database::{
    DATABASE_CONNECTIONS_DEFAULT, DatabaseAddress, ProcessRole, ReadError, Room, Seen, Share,
    begin, claim, connect, connect_to_migrate, look,
};
pub use generations::Generation;
pub use projections::{Projection, Projections, TableProjection};
pub use sea_orm::{DatabaseConnection, sqlx::PgPool};
pub use social::{Happened, Social, Written};
