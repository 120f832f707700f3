//! Likes: an edge from an account to a post. Not here: how many like a post (see the
//! read model).

use kernel::{AccountId, Facts, Read};
use serde::{Deserialize, Serialize};

use crate::{
    edges::{Edge, Ends, Held, edge},
    posts::{PostId, Posts},
};

/// The aggregate's edge goes from the account that likes to the liked post.
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

edge! {
    /// The aggregate.
    Likes(LIKE, PostId), LikeEvent { Liked, Unliked }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LikeError {
    /// Also where it was deleted, or may not be seen.
    #[error("there is no such post")]
    PostNotFound,
}

/// A like of a deleted or hidden post can be undone too.
impl Edge for Likes {
    type To = PostId;
    type Details = ();
    type Error = LikeError;

    fn holds(state: &Held) -> bool {
        state.0
    }

    fn reads(found: &Facts, ends: &Ends<PostId>) -> Vec<Read> {
        Posts::reads_to_see(found, ends.to, ends.account, ends.likely_author)
    }

    fn reads_to_undo(ends: &Ends<PostId>) -> Vec<Read> {
        vec![Posts::read(ends.to)]
    }

    fn find(facts: &Facts, ends: &Ends<PostId>) -> Result<(), LikeError> {
        let seen = Posts::author_if_seen(facts, ends.to, ends.account);
        seen.map(drop).ok_or(LikeError::PostNotFound)
    }

    fn connect(facts: &Facts, ends: &Ends<PostId>, _: &()) -> Result<LikeEvent, LikeError> {
        let seen = Posts::author_if_seen(facts, ends.to, ends.account);
        let post_author = seen.ok_or(LikeError::PostNotFound)?;
        Ok(Liked { post_author }.into())
    }

    fn disconnect(facts: &Facts, ends: &Ends<PostId>) -> Result<LikeEvent, LikeError> {
        let author = facts.of::<Posts>(Posts::id(ends.to)).state.author;
        let post_author = author.ok_or(LikeError::PostNotFound)?;
        Ok(Unliked { post_author }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        accounts::{AccountState, Accounts, Standing},
        blocks::Blocks,
        edges::Connect,
        posts::{PostState, Visibility},
    };
    use kernel::{CodecError, Command, Versioned};
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const POST: PostId = PostId(Uuid::from_u128(3));

    fn like() -> Connect<Likes> {
        Connect::new(ADA, POST)
    }

    fn post(deleted: bool, visibility: Visibility) -> Result<Facts, CodecError> {
        let state = PostState {
            author: Some(BOB),
            deleted,
            visibility,
            ..PostState::default()
        };
        let author = AccountState {
            standing: Standing::Registered,
            ..AccountState::default()
        };
        Facts::default()
            .with::<Posts>(Posts::id(POST), 1, &state)?
            .with::<Accounts>(Accounts::id(BOB), 1, &author)?
            .with::<Blocks>(Blocks::id(ADA, BOB), 0, &Held(false))?
            .with::<Blocks>(Blocks::id(BOB, ADA), 0, &Held(false))
    }

    #[test]
    fn liking_twice_is_one_event() -> Result<(), CodecError> {
        let facts = post(false, Visibility::Public)?;
        let first = like().decide(&Versioned::default(), &facts);
        assert_eq!(first, Ok(vec![Liked { post_author: BOB }.into()]));
        let liked = Versioned {
            version: 1,
            state: Held(true),
        };
        assert_eq!(like().decide(&liked, &facts), Ok(vec![]));
        Ok(())
    }

    #[test]
    fn what_is_deleted_unknown_or_unseen_can_not_be_liked() -> Result<(), CodecError> {
        let public = post(false, Visibility::Public)?;
        let blocked = public.with::<Blocks>(Blocks::id(BOB, ADA), 1, &Held(true))?;
        for facts in [
            Facts::default(),
            post(true, Visibility::Public)?,
            post(false, Visibility::Followers)?,
            blocked,
        ] {
            assert_eq!(
                like().decide(&Versioned::default(), &facts),
                Err(LikeError::PostNotFound)
            );
        }
        Ok(())
    }
}
