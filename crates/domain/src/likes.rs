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
    /// Who wrote it, as far as the caller knows.
    pub likely_author: Option<AccountId>,
}

impl Command for LikePost {
    type Decider = Likes;
    type Error = LikeError;

    fn aggregate(&self) -> AggregateId {
        Likes::id(self.account, self.post)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        Posts::reads_to_see(found, self.post, self.account, self.likely_author)
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

    /// Who may see the post is of interest only where there is no like.
    fn reads(&self, found: &Facts) -> Vec<Read> {
        match found.known::<Likes>(self.aggregate()) {
            Some(like) if !like.state.0 => {
                Posts::reads_to_see(found, self.post, self.account, None)
            }
            Some(_) | None => vec![Posts::read(self.post)],
        }
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
    use crate::{
        accounts::{AccountState, Accounts, Standing},
        blocks::{BlockState, Blocks},
        posts::{PostState, Visibility},
    };
    use kernel::CodecError;
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const POST: PostId = PostId(Uuid::from_u128(3));

    fn like() -> LikePost {
        LikePost {
            account: ADA,
            post: POST,
            likely_author: None,
        }
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
            .with::<Blocks>(Blocks::id(ADA, BOB), 0, &BlockState(false))?
            .with::<Blocks>(Blocks::id(BOB, ADA), 0, &BlockState(false))
    }

    #[test]
    fn liking_twice_is_one_event() -> Result<(), CodecError> {
        let facts = post(false, Visibility::Public)?;
        let first = like().decide(&Versioned::default(), &facts);
        assert_eq!(first, Ok(vec![Liked { post_author: BOB }.into()]));
        let liked = Versioned {
            version: 1,
            state: LikeState(true),
        };
        assert_eq!(like().decide(&liked, &facts), Ok(vec![]));
        Ok(())
    }

    #[test]
    fn what_is_deleted_unknown_or_unseen_can_not_be_liked() -> Result<(), CodecError> {
        let public = post(false, Visibility::Public)?;
        let blocked = public.with::<Blocks>(Blocks::id(BOB, ADA), 1, &BlockState(true))?;
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

#[cfg(test)]
mod properties {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        accounts::{AccountState, Accounts, Standing},
        any,
        blocks::{BlockState, Blocks},
        follows::{FollowState, Follows},
        memory::Memory,
        posts::{PostState, Visibility},
    };

    #[derive(Clone, Debug)]
    enum Step {
        PostBecomes(PostId, PostState),
        PostIsDamaged(PostId),
        AccountBecomes(AccountId, Standing, bool),
        FollowBecomes(AccountId, AccountId, bool),
        BlockBecomes(AccountId, AccountId, bool),
        /// With a guess of who wrote it, right or not.
        Like(AccountId, PostId, Option<AccountId>),
        Unlike(AccountId, PostId),
    }

    fn step() -> impl Strategy<Value = Step> {
        let edge = || {
            let guess = proptest::option::of(any::account());
            (any::account(), any::post(), guess)
        };
        let between = || (any::account(), any::account(), any::<bool>());
        let standing = prop_oneof![4 => Just(Standing::Registered), 1 => any::standing()];
        let account = (any::account(), standing, prop::bool::weighted(0.3));
        prop_oneof![
            4 => (any::post(), any::post_state()).prop_map(|(p, state)| Step::PostBecomes(p, state)),
            1 => any::post().prop_map(Step::PostIsDamaged),
            4 => account.prop_map(|(a, s, private)| Step::AccountBecomes(a, s, private)),
            3 => between().prop_map(|(a, b, held)| Step::FollowBecomes(a, b, held)),
            1 => between().prop_map(|(a, b, held)| Step::BlockBecomes(a, b, held)),
            6 => edge().prop_map(|(account, post, guess)| Step::Like(account, post, guess)),
            4 => edge().prop_map(|(account, post, _)| Step::Unlike(account, post)),
        ]
    }

    /// The author as the rule says it: of what is there and may be seen.
    fn seen(
        memory: &Memory,
        account: AccountId,
        post: PostId,
    ) -> Result<Option<AccountId>, TestCaseError> {
        let state = memory.current::<Posts>(Posts::id(post)).unwrap_or_default();
        let Some(author) = state.state.author else {
            return Ok(None);
        };
        let by = memory.current::<Accounts>(Accounts::id(author))?.state;
        let follows = memory.current::<Follows>(Follows::id(account, author))?;
        let blocks = |from, to| memory.current::<Blocks>(Blocks::id(from, to));
        let blocked = blocks(account, author)?.state.0 || blocks(author, account)?.state.0;
        let public = state.state.visibility == Visibility::Public && !by.private;
        let may_see = by.standing == Standing::Registered
            && !blocked
            && (public || follows.state == FollowState::Following);
        let seen = !state.state.deleted && (account == author || may_see);
        Ok(seen.then_some(author))
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn a_like_is_there_once_or_not_whatever_is_asked(steps in vec(step(), 1..60)) {
            let mut memory = Memory::default();
            let mut liked = BTreeSet::new();
            for step in steps {
                match step {
                    Step::PostBecomes(post, state) => {
                        memory.set::<Posts>(Posts::id(post), &state)?;
                    }
                    Step::PostIsDamaged(post) => memory.damage(Posts::id(post)),
                    Step::AccountBecomes(account, standing, private) => {
                        let state = AccountState { standing, private, ..AccountState::default() };
                        memory.set::<Accounts>(Accounts::id(account), &state)?;
                    }
                    Step::FollowBecomes(a, b, held) => {
                        let state = if held { FollowState::Following } else { FollowState::None };
                        memory.set::<Follows>(Follows::id(a, b), &state)?;
                    }
                    Step::BlockBecomes(a, b, held) => {
                        memory.set::<Blocks>(Blocks::id(a, b), &BlockState(held))?;
                    }
                    Step::Like(account, post, likely_author) => {
                        let expected = match seen(&memory, account, post)? {
                            None => Err(LikeError::PostNotFound),
                            Some(_) if liked.contains(&(account, post)) => Ok(vec![]),
                            Some(post_author) => Ok(vec![Liked { post_author }.into()]),
                        };
                        if expected.is_ok() {
                            liked.insert((account, post));
                        }
                        let command = LikePost { account, post, likely_author };
                        prop_assert_eq!(&memory.execute(&command)?, &expected);
                        let again = expected.map(|_| vec![]);
                        prop_assert_eq!(memory.execute(&command)?, again);
                    }
                    Step::Unlike(account, post) => {
                        let seen = seen(&memory, account, post)?;
                        let known = memory.current::<Posts>(Posts::id(post)).unwrap_or_default();
                        let command = UnlikePost { account, post };
                        let expected = match (liked.contains(&(account, post)), known.state.author) {
                            (true, Some(post_author)) => Ok(vec![Unliked { post_author }.into()]),
                            (true, None) => Err(LikeError::PostNotFound),
                            (false, _) => seen.map(|_| vec![]).ok_or(LikeError::PostNotFound),
                        };
                        if expected.is_ok() {
                            liked.remove(&(account, post));
                        }
                        prop_assert_eq!(memory.execute(&command)?, expected);
                    }
                }
                for &(account, post) in &liked {
                    let state = memory.current::<Likes>(Likes::id(account, post))?;
                    prop_assert!(state.state.0);
                }
            }
        }
    }
}
