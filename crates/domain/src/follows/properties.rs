//! Properties of follows: any commands in any order, told beforehand by a
//! plainer model, with accounts and blocks that come and go.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    accounts::{AccountState, Standing},
    any,
    edges::Held,
    memory::Memory,
};

#[derive(Clone, Debug)]
enum Step {
    AccountBecomes(AccountId, Standing, bool),
    BlockBecomes(AccountId, AccountId, bool),
    Follow(AccountId, AccountId),
    Unfollow(AccountId, AccountId),
    Accept(AccountId, AccountId),
    Remove(AccountId, AccountId),
    Sever(AccountId, AccountId),
}

fn step() -> impl Strategy<Value = Step> {
    let edge = || (any::account(), any::account());
    let account = (any::account(), any::standing(), any::<bool>());
    prop_oneof![
        2 => account.prop_map(|(a, s, private)| Step::AccountBecomes(a, s, private)),
        1 => (edge(), any::<bool>()).prop_map(|((a, b), held)| Step::BlockBecomes(a, b, held)),
        4 => edge().prop_map(|(from, to)| Step::Follow(from, to)),
        2 => edge().prop_map(|(from, to)| Step::Unfollow(from, to)),
        2 => edge().prop_map(|(from, to)| Step::Accept(from, to)),
        1 => edge().prop_map(|(from, to)| Step::Remove(from, to)),
        1 => edge().prop_map(|(from, to)| Step::Sever(from, to)),
    ]
}

/// What the model knows.
#[derive(Default)]
struct Known {
    /// Whether each is private.
    registered: BTreeMap<AccountId, bool>,
    blocks: BTreeSet<(AccountId, AccountId)>,
    follows: BTreeSet<(AccountId, AccountId)>,
    requests: BTreeSet<(AccountId, AccountId)>,
}

type Decided = Result<Vec<FollowEvent>, FollowError>;

impl Known {
    fn finds(&self, seeker: AccountId, account: AccountId) -> bool {
        self.registered.contains_key(&account)
            && (seeker == account || !self.blocks.contains(&(account, seeker)))
    }

    fn follow(&mut self, from: AccountId, to: AccountId) -> Decided {
        if from == to {
            return Err(FollowError::SelfFollow);
        }
        if !self.finds(from, to) {
            return Err(FollowError::AccountNotFound);
        }
        if self.blocks.contains(&(from, to)) {
            return Err(FollowError::TargetBlocked);
        }
        if self.follows.contains(&(from, to)) {
            return Ok(vec![]);
        }
        if self.registered.get(&to) == Some(&true) {
            let asked = self.requests.insert((from, to));
            return Ok(asked
                .then(|| FollowRequested {}.into())
                .into_iter()
                .collect());
        }
        let asked = self.requests.remove(&(from, to));
        self.follows.insert((from, to));
        let withdrawn = asked.then(|| FollowRequestWithdrawn {}.into());
        Ok(withdrawn.into_iter().chain([Followed {}.into()]).collect())
    }

    /// Ends what there is, by the name that it has for who ends it.
    fn end(
        &mut self,
        edge: (AccountId, AccountId),
        follow: impl Into<FollowEvent>,
        request: impl Into<FollowEvent>,
    ) -> Option<FollowEvent> {
        if self.follows.remove(&edge) {
            return Some(follow.into());
        }
        self.requests.remove(&edge).then(|| request.into())
    }

    fn unfollow(&mut self, from: AccountId, to: AccountId) -> Decided {
        match self.end((from, to), Unfollowed {}, FollowRequestWithdrawn {}) {
            Some(ended) => Ok(vec![ended]),
            None if self.finds(from, to) => Ok(vec![]),
            None => Err(FollowError::AccountNotFound),
        }
    }

    fn remove(&mut self, by: AccountId, follower: AccountId) -> Decided {
        match self.end((follower, by), FollowerRemoved {}, FollowRequestRejected {}) {
            Some(ended) => Ok(vec![ended]),
            None if self.finds(by, follower) => Ok(vec![]),
            None => Err(FollowError::AccountNotFound),
        }
    }

    fn accept(&mut self, by: AccountId, follower: AccountId) -> Decided {
        if self.follows.contains(&(follower, by)) {
            return Ok(vec![]);
        }
        if !self.requests.remove(&(follower, by)) {
            return Err(FollowError::RequestNotFound);
        }
        self.follows.insert((follower, by));
        Ok(vec![FollowRequestAccepted {}.into()])
    }

    fn sever(&mut self, from: AccountId, to: AccountId) -> Decided {
        let blocks = |from, to| self.blocks.contains(&(from, to));
        if !blocks(from, to) && !blocks(to, from) {
            return Ok(vec![]);
        }
        let ended = self.end((from, to), FollowSevered {}, FollowSevered {});
        Ok(ended.into_iter().collect())
    }
}

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn a_follow_is_there_asked_for_or_not_whatever_is_asked(steps in vec(step(), 1..60)) {
        let mut memory = Memory::default();
        let mut known = Known::default();
        for step in steps {
            match step {
                Step::AccountBecomes(account, standing, private) => {
                    let state = AccountState { standing, private, ..AccountState::default() };
                    memory.set::<Accounts>(Accounts::id(account), &state)?;
                    match standing == Standing::Registered {
                        true => known.registered.insert(account, private),
                        false => known.registered.remove(&account),
                    };
                }
                Step::BlockBecomes(from, to, held) => {
                    memory.set::<Blocks>(Blocks::id(from, to), &Held(held))?;
                    match held {
                        true => known.blocks.insert((from, to)),
                        false => known.blocks.remove(&(from, to)),
                    };
                }
                Step::Follow(account, target) => {
                    let expected = known.follow(account, target);
                    let command = FollowAccount { account, target };
                    prop_assert_eq!(&memory.execute(&command)?, &expected);
                    prop_assert_eq!(memory.execute(&command)?, expected.map(|_| vec![]));
                }
                Step::Unfollow(account, target) => {
                    let expected = known.unfollow(account, target);
                    let command = UnfollowAccount { account, target };
                    prop_assert_eq!(memory.execute(&command)?, expected);
                }
                Step::Accept(account, follower) => {
                    let expected = known.accept(account, follower);
                    let command = AcceptFollower { account, follower };
                    prop_assert_eq!(memory.execute(&command)?, expected);
                }
                Step::Remove(account, follower) => {
                    let expected = known.remove(account, follower);
                    let command = RemoveFollower { account, follower };
                    prop_assert_eq!(memory.execute(&command)?, expected);
                }
                Step::Sever(follower, followed) => {
                    let expected = known.sever(follower, followed);
                    let command = SeverFollow { follower, followed };
                    prop_assert_eq!(memory.execute(&command)?, expected);
                }
            }
            for (edges, state) in [
                (&known.follows, FollowState::Following),
                (&known.requests, FollowState::Requested),
            ] {
                for (from, to) in edges {
                    let found = memory.current::<Follows>(Follows::id(*from, *to))?;
                    prop_assert_eq!(found.state, state);
                }
            }
        }
    }
}
