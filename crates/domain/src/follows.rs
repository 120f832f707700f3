//! Follows: an edge from an account to an account. It refuses to fill
//! timelines: they are folded.

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Kind, Read, Versioned};
use serde::{Deserialize, Serialize};

use crate::{PersonalFields, accounts::Accounts, event::events, kinds};

/// The aggregate's edge goes from the follower to the followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unfollowed {}

events!(FollowEvent { Followed = 1, Unfollowed = 1 });

impl PersonalFields for Followed {}
impl PersonalFields for Unfollowed {}

/// The aggregate.
pub struct Follows;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FollowState(pub bool);

impl Follows {
    pub fn id(follower: AccountId, followed: AccountId) -> AggregateId {
        AggregateId::edge(kinds::FOLLOW, follower.0, followed.0)
    }

    pub fn read(follower: AccountId, followed: AccountId) -> Read {
        Read::of::<Self>(Self::id(follower, followed))
    }

    pub fn holds(facts: &Facts, follower: AccountId, followed: AccountId) -> bool {
        facts.of::<Self>(Self::id(follower, followed)).state.0
    }
}

impl Decider for Follows {
    const KIND: Kind = kinds::FOLLOW;
    const SHAPE: u8 = 1;
    type State = FollowState;
    type Event = FollowEvent;

    fn evolve(_: FollowState, event: &FollowEvent) -> FollowState {
        match event {
            FollowEvent::Followed(_) => FollowState(true),
            FollowEvent::Unfollowed(_) => FollowState(false),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    #[error("nobody can follow themselves")]
    SelfFollow,
    #[error("there is no such account")]
    AccountNotFound,
}

#[derive(Clone, Debug)]
pub struct FollowAccount {
    pub account: AccountId,
    pub target: AccountId,
}

impl Command for FollowAccount {
    type Decider = Follows;
    type Error = FollowError;

    fn aggregate(&self) -> AggregateId {
        Follows::id(self.account, self.target)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        vec![Accounts::read(self.target)]
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        facts: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        if self.account == self.target {
            return Err(FollowError::SelfFollow);
        }
        if !Accounts::exists(facts, self.target) {
            return Err(FollowError::AccountNotFound);
        }
        if current.state.0 {
            return Ok(Vec::new());
        }
        Ok(vec![Followed {}.into()])
    }
}

/// Always allowed; nothing to do where there is no such edge.
#[derive(Clone, Debug)]
pub struct UnfollowAccount {
    pub account: AccountId,
    pub target: AccountId,
}

impl Command for UnfollowAccount {
    type Decider = Follows;
    type Error = FollowError;

    fn aggregate(&self) -> AggregateId {
        Follows::id(self.account, self.target)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        vec![Accounts::read(self.target)]
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        facts: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        if current.state.0 {
            return Ok(vec![Unfollowed {}.into()]);
        }
        if !Accounts::exists(facts, self.target) {
            return Err(FollowError::AccountNotFound);
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{AccountState, Standing};
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn follow(target: AccountId) -> FollowAccount {
        FollowAccount {
            account: ADA,
            target,
        }
    }

    fn exists(account: AccountId, standing: Standing) -> Facts {
        let state = AccountState {
            standing,
            ..AccountState::default()
        };
        Facts::default()
            .with::<Accounts>(Accounts::id(account), 1, &state)
            .unwrap_or_default()
    }

    #[test]
    fn following_twice_is_one_event() {
        let facts = exists(BOB, Standing::Registered);
        assert_eq!(
            follow(BOB).decide(&Versioned::default(), &facts),
            Ok(vec![Followed {}.into()])
        );
        let followed = Versioned {
            version: 1,
            state: FollowState(true),
        };
        assert_eq!(follow(BOB).decide(&followed, &facts), Ok(vec![]));
    }

    #[test]
    fn nobody_follows_themselves_or_a_ghost() {
        let facts = exists(ADA, Standing::Registered);
        assert_eq!(
            follow(ADA).decide(&Versioned::default(), &facts),
            Err(FollowError::SelfFollow)
        );
        for facts in [Facts::default(), exists(BOB, Standing::Abandoned)] {
            assert_eq!(
                follow(BOB).decide(&Versioned::default(), &facts),
                Err(FollowError::AccountNotFound)
            );
        }
    }
}

#[cfg(test)]
mod properties {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        accounts::{AccountState, Standing},
        any,
        memory::Memory,
    };

    #[derive(Clone, Debug)]
    enum Step {
        AccountBecomes(AccountId, Standing),
        Follow(AccountId, AccountId),
        Unfollow(AccountId, AccountId),
    }

    fn step() -> impl Strategy<Value = Step> {
        let edge = || (any::account(), any::account());
        prop_oneof![
            (any::account(), any::standing()).prop_map(|(a, s)| Step::AccountBecomes(a, s)),
            edge().prop_map(|(from, to)| Step::Follow(from, to)),
            edge().prop_map(|(from, to)| Step::Unfollow(from, to)),
        ]
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn a_follow_is_there_once_or_not_whatever_is_asked(steps in vec(step(), 1..60)) {
            let mut memory = Memory::default();
            let mut registered = BTreeSet::new();
            let mut followed = BTreeSet::new();
            for step in steps {
                match step {
                    Step::AccountBecomes(account, standing) => {
                        let state = AccountState { standing, ..AccountState::default() };
                        memory.set::<Accounts>(Accounts::id(account), &state)?;
                        match standing {
                            Standing::Registered => registered.insert(account),
                            Standing::Unknown | Standing::Abandoned => registered.remove(&account),
                        };
                    }
                    Step::Follow(account, target) => {
                        let command = FollowAccount { account, target };
                        let expected = if account == target {
                            Err(FollowError::SelfFollow)
                        } else if !registered.contains(&target) {
                            Err(FollowError::AccountNotFound)
                        } else if followed.insert((account, target)) {
                            Ok(vec![Followed {}.into()])
                        } else {
                            Ok(vec![])
                        };
                        prop_assert_eq!(&memory.execute(&command)?, &expected);
                        prop_assert_eq!(memory.execute(&command)?, expected.map(|_| vec![]));
                    }
                    Step::Unfollow(account, target) => {
                        let command = UnfollowAccount { account, target };
                        let expected = if followed.remove(&(account, target)) {
                            Ok(vec![Unfollowed {}.into()])
                        } else if registered.contains(&target) {
                            Ok(vec![])
                        } else {
                            Err(FollowError::AccountNotFound)
                        };
                        prop_assert_eq!(memory.execute(&command)?, expected);
                    }
                }
                let edges = followed.iter().map(|(from, to)| Follows::id(*from, *to));
                for edge in edges {
                    prop_assert!(memory.current::<Follows>(edge)?.state.0);
                }
            }
        }
    }
}
