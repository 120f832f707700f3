//! What an event makes old in the caches of a process.

use domain::{Event, posts::PostId};
use kernel::{AccountId, AggregateId};

use crate::features;

/// What an event makes old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    Post(PostId),
    /// The post whose reply this was; only its row knows which.
    ParentOf(PostId),
    /// The posts that count what this account did; only rows know which.
    CountedBy(AccountId),
    Author(AccountId),
    Follows(AccountId),
    /// What the account did with the post.
    Mark(AccountId, PostId),
    /// Whom the account blocks, is blocked by, or mutes.
    Hidden(AccountId),
    Authored(AccountId),
    /// The lists that this account's event went into: its followers' and its
    /// own. To be told when it is fanned out; all others, when it is folded.
    FannedOut(AccountId),
}

impl Touch {
    /// Of an edge from an account to a post, which is a mark on it; `counted`: the post
    /// counts it too.
    pub(crate) fn of_mark(edge: AggregateId, counted: bool) -> Vec<Self> {
        let Some(post) = edge.member.map(PostId) else {
            return Vec::new();
        };
        let mark = Self::Mark(AccountId(edge.id), post);
        match counted {
            true => vec![Self::Post(post), mark],
            false => vec![mark],
        }
    }
}

/// What `event` makes old.
pub fn touches(aggregate: AggregateId, event: &Event) -> Vec<Touch> {
    features::invalidates(aggregate, event)
}
