//! The edges that are drawn: a line each.

use std::fmt;

use kernel::{AccountId, AggregateId, Decider, Kind};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Asked, Log};
use crate::{
    Event, blocks,
    bookmark_folders::FolderId,
    bookmarks,
    edges::{Connect, Disconnect},
    follows, likes, mutes,
    posts::PostId,
    reposts::{self, RepostId},
};

/// What an edge leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    Account,
    Post,
}

/// An edge of any feature: how histories make and end it.
#[derive(Clone, Copy)]
pub struct AnyEdge {
    name: &'static str,
    pub far: Far,
    /// How often it is made and ended, among about a hundred commands.
    pub weights: (u32, u32),
    pub id: fn(AccountId, Uuid) -> AggregateId,
    /// The event that makes it; its argument is the author of the post that it leads to.
    pub made: fn(AccountId) -> Event,
    pub ended: fn(AccountId) -> Event,
    /// The command that makes it.
    pub make: Asking,
    pub end: Asking,
}

type Asking = fn(&mut Log, Asked, Uuid) -> Result<bool, TestCaseError>;

impl AnyEdge {
    pub fn kind(&self) -> Kind {
        (self.id)(AccountId(Uuid::nil()), Uuid::nil()).kind
    }
}

impl fmt::Debug for AnyEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The edge whose aggregates are of `kind`.
pub fn edge(kind: Kind) -> Option<&'static AnyEdge> {
    EDGES.iter().find(|edge| edge.kind() == kind)
}

macro_rules! edges {
    ($($making:literal $ending:literal $feature:ident: $far:ident, $edges:ident,
        |$author:pat_param| $made:ident $made_fields:tt $ended:ident $ended_fields:tt,
        $make:ident $end:ident;)+) => {
        /// How often each is made and ended, what it leads to, its aggregate, its events
        /// (of the author of the post that it leads to), its commands.
        #[allow(unused_variables)]
        pub const EDGES: &[AnyEdge] = &[$(AnyEdge {
            name: stringify!($feature),
            far: Far::$far,
            weights: ($making, $ending),
            id: |from, to| edges!(@id $far $feature $edges from to),
            made: |$author| event_of::<$feature::$edges>($feature::$made $made_fields),
            ended: |$author| event_of::<$feature::$edges>($feature::$ended $ended_fields),
            make: |log, asked, to| log.execute(asked, &edges!(@command $far $feature $edges $make asked to)),
            end: |log, asked, to| log.execute(asked, &edges!(@command $far $feature $edges $end asked to)),
        }),+];
    };
    (@id Account $feature:ident $edges:ident $from:ident $to:ident) => {
        $feature::$edges::id($from, AccountId($to))
    };
    (@id Post $feature:ident $edges:ident $from:ident $to:ident) => {
        $feature::$edges::id($from, PostId($to))
    };
    (@command Account $feature:ident $edges:ident Connect $asked:ident $to:ident) => {
        Connect::<$feature::$edges>::new($asked.actor, AccountId($to))
    };
    (@command Account $feature:ident $edges:ident Disconnect $asked:ident $to:ident) => {
        Disconnect::<$feature::$edges>::new($asked.actor, AccountId($to))
    };
    (@command Post $feature:ident $edges:ident $command:ident $asked:ident $to:ident) => {
        $command::<$feature::$edges>::new($asked.actor, PostId($to))
    };
    (@command Account $feature:ident $edges:ident $command:ident $asked:ident $to:ident) => {
        $feature::$command { account: $asked.actor, target: AccountId($to) }
    };
}

edges! {
    8 5 likes: Post, Likes,
        |post_author| Liked { post_author } Unliked { post_author }, Connect Disconnect;
    10 6 follows: Account, Follows, |_| Followed {} Unfollowed {}, FollowAccount UnfollowAccount;
    2 6 blocks: Account, Blocks, |_| Blocked {} Unblocked {}, Connect Disconnect;
    4 4 mutes: Account, Mutes, |_| Muted {} Unmuted {}, Connect Disconnect;
    // Any id may be a folder's.
    8 10 bookmarks: Post, Bookmarks,
        |author| Bookmarked { folder: Some(FolderId(author.0)) } Unbookmarked {}, Connect Disconnect;
    6 4 reposts: Post, Reposts, |post_author| Reposted { repost: RepostId::default(), post_author }
        Unreposted { post_author }, Connect Disconnect;
}

/// An event of one feature as any event.
fn event_of<D: Decider<Event: Into<Event>>>(event: impl Into<D::Event>) -> Event {
    event.into().into()
}
