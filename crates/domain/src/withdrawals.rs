//! What events take away from readers: it counts once its event is in the log, before any
//! read model has it. What gives waits for the fold.

use kernel::{AccountId, AggregateId};

use crate::{
    Event, accounts::AccountEvent, blocks::BlockEvent, follows::FollowEvent, posts::PostEvent,
    posts::PostId,
};

/// What is not to be seen any more, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withdrawal {
    /// A post was deleted: by anybody.
    Post(PostId),
    /// An account was deactivated: it and what it made, by anybody.
    Account(AccountId),
    /// An account was made private: what it publishes, by those who do not follow it.
    Public(AccountId),
    /// The first does not follow the second any more: what is for followers, by the first.
    Follow(AccountId, AccountId),
    /// The first blocks the second: the first and what it made, by the second.
    Sight(AccountId, AccountId),
}

impl Withdrawal {
    /// What `event` of `aggregate` takes away; none where it takes nothing away.
    pub fn of(aggregate: AggregateId, event: &Event) -> Option<Self> {
        let one = AccountId(aggregate.id);
        let other = AccountId(aggregate.member.unwrap_or_default());
        match event {
            Event::Post(PostEvent::PostDeleted(_)) => Some(Self::Post(PostId(aggregate.id))),
            Event::Account(AccountEvent::AccountDeactivated(_)) => Some(Self::Account(one)),
            Event::Account(AccountEvent::AccountMadePrivate(_)) => Some(Self::Public(one)),
            Event::Follow(
                FollowEvent::Unfollowed(_)
                | FollowEvent::FollowerRemoved(_)
                | FollowEvent::FollowSevered(_),
            ) => Some(Self::Follow(one, other)),
            Event::Block(BlockEvent::Blocked(_)) => Some(Self::Sight(one, other)),
            _ => None,
        }
    }
}
