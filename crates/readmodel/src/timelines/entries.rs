//! Entries of home: a post, or a repost of one. Both sort by their time.

use domain::{posts::PostId, reposts::RepostId};
use kernel::Uuid;

use crate::paging::{ListKey, Way};

/// The id of a post or of a repost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub Uuid);

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Post(PostId),
    Repost(RepostId),
}

impl EntryId {
    pub(super) fn entry(self) -> Entry {
        match RepostId::is_of_repost(self.0) {
            true => Entry::Repost(RepostId(self.0)),
            false => Entry::Post(PostId(self.0)),
        }
    }

    /// The repost that it is.
    pub(super) fn repost(self) -> Option<RepostId> {
        match self.entry() {
            Entry::Repost(repost) => Some(repost),
            Entry::Post(_) => None,
        }
    }

    /// Where the day (24 hours) before it begins.
    pub(crate) fn day_before(self) -> Uuid {
        let milliseconds = self.0.as_u128() >> TIME_SHIFT;
        Uuid::from_u128(milliseconds.saturating_sub(DAY_MILLISECONDS) << TIME_SHIFT)
    }
}

impl ListKey for EntryId {
    const LEAST: Self = Self(Uuid::LEAST);
    const GREATEST: Self = Self(Uuid::GREATEST);

    fn neighbour(self, way: Way) -> Self {
        Self(self.0.neighbour(way))
    }
}

/// Bits of an id behind its milliseconds.
const TIME_SHIFT: u32 = 80;
/// A post that home showed so lately, it does not show again.
const DAY_MILLISECONDS: u128 = 86_400_000;

impl From<PostId> for EntryId {
    fn from(post: PostId) -> Self {
        Self(post.0)
    }
}

impl From<RepostId> for EntryId {
    fn from(repost: RepostId) -> Self {
        Self(repost.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{Route, compose_id};

    #[test]
    fn the_day_before_begins_at_the_same_millisecond() {
        let at = |milliseconds, bits| compose_id(milliseconds, [bits; 8], Route(1));
        let begins = EntryId(at(1_700_000_000_123, 0xa5)).day_before();
        assert!(begins < at(1_700_000_000_123 - 86_400_000, 0));
        assert!(begins > at(1_700_000_000_123 - 86_400_001, 0xff));
        assert_eq!(EntryId(Uuid::nil()).day_before(), Uuid::nil());
    }
}
