#![doc = include_str!("../README.md")]

// What features use of the edge.
use edge::{admission, answers, header_text, identity, paging, preconditions};

mod appending;
mod causes;
mod contract_rules;
mod examples;
mod explained;
mod freshness;
mod handlers;
mod health;
mod letters;
mod logins;
mod metrics;
mod named;
mod newer;
mod pages;
mod problem;
mod refusals;
mod registration;
mod server;
mod services;
mod shown;
mod standing;
mod tags;
mod throttle;

// The registry of features: a line each.
server::registry! {
    Identity {
        accounts: AccountsApi,
        deactivation: DeactivationApi,
        sessions: SessionsApi,
        passwords: PasswordsApi,
        emails: EmailsApi,
        second_factors: SecondFactorsApi,
    }
    Social {
        posts: PostsApi,
        likes: LikesApi,
        reposts: RepostsApi,
        follows: FollowsApi,
        blocks: BlocksApi,
        mutes: MutesApi,
        bookmarks: BookmarksApi,
        bookmark_folders: BookmarkFoldersApi,
        relationships: RelationshipsApi,
        timelines: TimelinesApi,
    }
    Operation {
        operations: OperationsApi,
        operators: OperatorsApi,
        limits: LimitsApi,
    }
}

pub use limits::{LimitSettings, Limiting};
pub use metrics::Measured;
pub use operations::{LookError, look};
pub use server::{document, serve};
pub use services::{Rooms, Services, ServicesError};
