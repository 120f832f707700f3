//! Likes: an edge from an account to a post. It refuses to count: counting is
//! the read model's.

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Kind, Read, Versioned};
use serde::{Deserialize, Serialize};

use crate::{
    PersonalFields,
    event::events,
    kinds,
    posts::{PostId, Posts},
};

/// The aggregate's edge goes from who likes to what is liked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Liked {
    /// Whose post it is.
    #[serde(rename = "author")]
    pub post_author: AccountId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unliked {
    #[serde(rename = "author")]
    pub post_author: AccountId,
}

events!(LikeEvent { Liked = 1, Unliked = 1 });

impl PersonalFields for Liked {}
impl PersonalFields for Unliked {}

/// The aggregate.
pub struct Likes;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LikeState(pub bool);

impl Likes {
    pub fn id(account: AccountId, post: PostId) -> AggregateId {
        AggregateId::edge(kinds::LIKE, account.0, post.0)
    }
}

impl Decider for Likes {
    const KIND: Kind = kinds::LIKE;
    const SHAPE: u8 = 1;
    type State = LikeState;
    type Event = LikeEvent;

    fn evolve(_: LikeState, event: &LikeEvent) -> LikeState {
        match event {
            LikeEvent::Liked(_) => LikeState(true),
            LikeEvent::Unliked(_) => LikeState(false),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LikeError {
    /// Also where it was deleted, or may not be seen.
    #[error("there is no such post")]
    PostNotFound,
}

#[derive(Clone, Debug)]
pub struct LikePost {
    pub account: AccountId,
    pub post: PostId,
}

impl Command for LikePost {
    type Decider = Likes;
    type Error = LikeError;

    fn aggregate(&self) -> AggregateId {
        Likes::id(self.account, self.post)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        Posts::reads_to_see(found, self.post, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<LikeState>,
        facts: &Facts,
    ) -> Result<Vec<LikeEvent>, LikeError> {
        let post_author =
            Posts::author_if_seen(facts, self.post, self.account).ok_or(LikeError::PostNotFound)?;
        if current.state.0 {
            return Ok(Vec::new());
        }
        Ok(vec![Liked { post_author }.into()])
    }
}

/// Allowed of a deleted or hidden post too, where there is a like.
#[derive(Clone, Debug)]
pub struct UnlikePost {
    pub account: AccountId,
    pub post: PostId,
}

impl Command for UnlikePost {
    type Decider = Likes;
    type Error = LikeError;

    fn aggregate(&self) -> AggregateId {
        Likes::id(self.account, self.post)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        Posts::reads_to_see(found, self.post, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<LikeState>,
        facts: &Facts,
    ) -> Result<Vec<LikeEvent>, LikeError> {
        if !current.state.0 {
            // Whether there is such a post is told to those who may see it.
            let seen = Posts::author_if_seen(facts, self.post, self.account);
            return seen.map(|_| Vec::new()).ok_or(LikeError::PostNotFound);
        }
        let author = facts.of::<Posts>(Posts::id(self.post)).state.author;
        let post_author = author.ok_or(LikeError::PostNotFound)?;
        Ok(vec![Unliked { post_author }.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posts::{PostState, Visibility};
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const POST: PostId = PostId(Uuid::from_u128(3));

    fn like() -> LikePost {
        LikePost {
            account: ADA,
            post: POST,
        }
    }

    fn post(deleted: bool, visibility: Visibility) -> Facts {
        let state = PostState {
            author: Some(BOB),
            deleted,
            visibility,
            ..PostState::default()
        };
        Facts::default()
            .with::<Posts>(Posts::id(POST), 1, &state)
            .unwrap_or_default()
    }

    #[test]
    fn liking_twice_is_one_event() {
        let facts = post(false, Visibility::Public);
        let first = like().decide(&Versioned::default(), &facts);
        assert_eq!(first, Ok(vec![Liked { post_author: BOB }.into()]));
        let liked = Versioned {
            version: 1,
            state: LikeState(true),
        };
        assert_eq!(like().decide(&liked, &facts), Ok(vec![]));
    }

    #[test]
    fn what_is_deleted_unknown_or_unseen_can_not_be_liked() {
        for facts in [
            Facts::default(),
            post(true, Visibility::Public),
            post(false, Visibility::Followers),
        ] {
            assert_eq!(
                like().decide(&Versioned::default(), &facts),
                Err(LikeError::PostNotFound)
            );
        }
    }
}
