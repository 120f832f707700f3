//! Reposts: an edge from an account to a post, which brings the post to the account's
//! followers. Not here: where it is shown (see the read model).

use kernel::{AccountId, Facts, Read, typed_id};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    edges::{Edge, Ends, Held, edge},
    posts::{PostId, Posts},
};

typed_id!(
    /// One repost: a UUIDv8 (RFC 9562) that sorts by its time among posts. Bytes 8 to 13
    /// are those of the post, the last two route to who reposted.
    RepostId
);

/// The bytes of a post's id that ids of its reposts share.
const SHARED: std::ops::Range<usize> = 8..14;

impl RepostId {
    /// Of `post`, at the time of `drawn`: a new id of who reposts it.
    pub fn of(drawn: Uuid, post: PostId) -> Self {
        let mut bytes = *drawn.as_bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[SHARED].copy_from_slice(&post.0.as_bytes()[SHARED]);
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether `id` is one of a repost, and not of a post.
    pub fn is_of_repost(id: Uuid) -> bool {
        id.get_version_num() == 8
    }

    /// Whether it may be a repost of `post`: others share these bytes by chance alone.
    pub fn may_be_of(self, post: PostId) -> bool {
        self.0.as_bytes()[SHARED] == post.0.as_bytes()[SHARED]
    }
}

/// Of no repost: a command that ends one has no id to give.
impl Default for RepostId {
    fn default() -> Self {
        Self(Uuid::nil())
    }
}

/// The aggregate's edge goes from the account that reposts to the post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reposted {
    pub repost: RepostId,
    /// Whose post it is.
    #[serde(rename = "author")]
    pub post_author: AccountId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unreposted {
    #[serde(rename = "author")]
    pub post_author: AccountId,
}

edge! {
    /// The aggregate.
    Reposts(REPOST, PostId), RepostEvent { Reposted, Unreposted }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepostError {
    /// Also where it was deleted, or may not be seen.
    #[error("there is no such post")]
    PostNotFound,
    /// It is not for everybody, and somebody else's.
    #[error("the post is for followers of its author alone")]
    NotRepostable,
}

/// A repost of a deleted or hidden post can be undone too.
impl Edge for Reposts {
    type To = PostId;
    type Details = RepostId;
    type Error = RepostError;

    fn holds(state: &Held) -> bool {
        state.0
    }

    fn reads(found: &Facts, ends: &Ends<PostId>) -> Vec<Read> {
        Posts::reads_to_see(found, ends.to, ends.account, ends.likely_author)
    }

    fn reads_to_undo(ends: &Ends<PostId>) -> Vec<Read> {
        vec![Posts::read(ends.to)]
    }

    fn find(facts: &Facts, ends: &Ends<PostId>) -> Result<(), RepostError> {
        let seen = Posts::author_if_seen(facts, ends.to, ends.account);
        seen.map(drop).ok_or(RepostError::PostNotFound)
    }

    /// One's own may be for followers alone: nobody else sees the repost either.
    fn connect(
        facts: &Facts,
        ends: &Ends<PostId>,
        repost: &RepostId,
    ) -> Result<RepostEvent, RepostError> {
        let seen = Posts::author_if_seen(facts, ends.to, ends.account);
        let post_author = seen.ok_or(RepostError::PostNotFound)?;
        if post_author != ends.account && !Posts::is_for_all(facts, ends.to) {
            return Err(RepostError::NotRepostable);
        }
        let repost = *repost;
        Ok(Reposted {
            repost,
            post_author,
        }
        .into())
    }

    fn disconnect(facts: &Facts, ends: &Ends<PostId>) -> Result<RepostEvent, RepostError> {
        let author = facts.of::<Posts>(Posts::id(ends.to)).state.author;
        let post_author = author.ok_or(RepostError::PostNotFound)?;
        Ok(Unreposted { post_author }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{Route, compose_id};

    #[test]
    fn an_id_sorts_by_its_time_and_knows_its_post_and_its_maker() {
        let post = PostId(compose_id(1_700_000_000_000, [0xa5; 8], Route(7)));
        let other = PostId(compose_id(1_700_000_000_000, [0x5a; 8], Route(7)));
        let at = |milliseconds| compose_id(milliseconds, [0xff; 8], Route(9));
        let repost = RepostId::of(at(1_700_000_000_001), post);
        assert!(RepostId::is_of_repost(repost.0) && !RepostId::is_of_repost(post.0));
        assert!(repost.may_be_of(post) && !repost.may_be_of(other));
        assert_eq!(repost.route(), Route(9));
        assert!(post.0 < repost.0 && repost.0 < at(1_700_000_000_002));
    }
}
