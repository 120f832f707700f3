//! Follows: an edge from an account to an account, which a private account must
//! let in. It refuses to fill timelines: they are folded.

#[cfg(test)]
mod properties;

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Kind, Read, Versioned};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{PersonalFields, accounts::Accounts, blocks::Blocks, event::events, kinds};

/// The aggregate's edge goes from the follower to the followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unfollowed {}

/// Asked a private account to be let in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowRequested {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowRequestWithdrawn {}

/// By the followed: from now on the follower follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowRequestAccepted {}

/// By the followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowRequestRejected {}

/// By the followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowerRemoved {}

/// One of the two blocked the other: there is no follow and no request any
/// more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowSevered {}

events!(FollowEvent {
    Followed = 1,
    Unfollowed = 1,
    FollowRequested = 1,
    FollowRequestWithdrawn = 1,
    FollowRequestAccepted = 1,
    FollowRequestRejected = 1,
    FollowerRemoved = 1,
    FollowSevered = 1,
});

impl PersonalFields for Followed {}
impl PersonalFields for Unfollowed {}
impl PersonalFields for FollowRequested {}
impl PersonalFields for FollowRequestWithdrawn {}
impl PersonalFields for FollowRequestAccepted {}
impl PersonalFields for FollowRequestRejected {}
impl PersonalFields for FollowerRemoved {}
impl PersonalFields for FollowSevered {}

/// The aggregate.
pub struct Follows;

/// Stored as false, true, and 2: edges are many, and most were never requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowState {
    #[default]
    None,
    Following,
    Requested,
}

const STORED_REQUESTED: u8 = 2;

impl Serialize for FollowState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            Self::Following => serializer.serialize_bool(true),
            Self::Requested => serializer.serialize_u8(STORED_REQUESTED),
        }
    }
}

impl<'de> Deserialize<'de> for FollowState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = FollowState;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("false, true or 2")
            }

            fn visit_bool<E: de::Error>(self, follows: bool) -> Result<FollowState, E> {
                Ok(match follows {
                    false => FollowState::None,
                    true => FollowState::Following,
                })
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<FollowState, E> {
                match number == u64::from(STORED_REQUESTED) {
                    true => Ok(FollowState::Requested),
                    false => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Follows {
    pub fn id(follower: AccountId, followed: AccountId) -> AggregateId {
        AggregateId::edge(kinds::FOLLOW, follower.0, followed.0)
    }

    pub fn read(follower: AccountId, followed: AccountId) -> Read {
        Read::of::<Self>(Self::id(follower, followed))
    }

    pub fn holds(facts: &Facts, follower: AccountId, followed: AccountId) -> bool {
        let follow = facts.of::<Self>(Self::id(follower, followed));
        follow.state == FollowState::Following
    }
}

impl Decider for Follows {
    const KIND: Kind = kinds::FOLLOW;
    const SHAPE: u8 = 1;
    type State = FollowState;
    type Event = FollowEvent;

    fn evolve(_: FollowState, event: &FollowEvent) -> FollowState {
        match event {
            FollowEvent::Followed(_) | FollowEvent::FollowRequestAccepted(_) => {
                FollowState::Following
            }
            FollowEvent::FollowRequested(_) => FollowState::Requested,
            FollowEvent::Unfollowed(_)
            | FollowEvent::FollowRequestWithdrawn(_)
            | FollowEvent::FollowRequestRejected(_)
            | FollowEvent::FollowerRemoved(_)
            | FollowEvent::FollowSevered(_) => FollowState::None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    #[error("nobody can follow themselves")]
    SelfFollow,
    /// Also where it blocks who asks.
    #[error("there is no such account")]
    AccountNotFound,
    #[error("whom one blocks, one cannot follow: unblock them first")]
    TargetBlocked,
    #[error("that account has not asked to follow")]
    RequestNotFound,
}

/// Follow, or ask to where the account is private.
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
        Accounts::reads_to_find(self.target, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        facts: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        if self.account == self.target {
            return Err(FollowError::SelfFollow);
        }
        if !Accounts::found(facts, self.target, self.account) {
            return Err(FollowError::AccountNotFound);
        }
        if !Blocks::admits(facts, self.account, self.target) {
            return Err(FollowError::TargetBlocked);
        }
        let target = facts.of::<Accounts>(Accounts::id(self.target)).state;
        Ok(match (current.state, target.private) {
            (FollowState::Following, _) | (FollowState::Requested, true) => Vec::new(),
            (FollowState::None, true) => vec![FollowRequested {}.into()],
            (FollowState::None, false) => vec![Followed {}.into()],
            // Public by now: nobody needs to answer any more.
            (FollowState::Requested, false) => {
                vec![FollowRequestWithdrawn {}.into(), Followed {}.into()]
            }
        })
    }
}

/// Stop following, or asking to. Always allowed; nothing to do where there is
/// no such edge.
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
        Accounts::reads_to_find(self.target, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        facts: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        match current.state {
            FollowState::Following => Ok(vec![Unfollowed {}.into()]),
            FollowState::Requested => Ok(vec![FollowRequestWithdrawn {}.into()]),
            FollowState::None if Accounts::found(facts, self.target, self.account) => {
                Ok(Vec::new())
            }
            FollowState::None => Err(FollowError::AccountNotFound),
        }
    }
}

/// Let in who asked to follow; nothing to do where they follow already.
#[derive(Clone, Debug)]
pub struct AcceptFollower {
    pub account: AccountId,
    pub follower: AccountId,
}

impl Command for AcceptFollower {
    type Decider = Follows;
    type Error = FollowError;

    fn aggregate(&self) -> AggregateId {
        Follows::id(self.follower, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        _: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        match current.state {
            FollowState::Requested => Ok(vec![FollowRequestAccepted {}.into()]),
            FollowState::Following => Ok(Vec::new()),
            FollowState::None => Err(FollowError::RequestNotFound),
        }
    }
}

/// Let a follower follow no longer, or refuse who asked to; nothing to do where
/// they do neither.
#[derive(Clone, Debug)]
pub struct RemoveFollower {
    pub account: AccountId,
    pub follower: AccountId,
}

impl Command for RemoveFollower {
    type Decider = Follows;
    type Error = FollowError;

    fn aggregate(&self) -> AggregateId {
        Follows::id(self.follower, self.account)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        Accounts::reads_to_find(self.follower, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        facts: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        match current.state {
            FollowState::Following => Ok(vec![FollowerRemoved {}.into()]),
            FollowState::Requested => Ok(vec![FollowRequestRejected {}.into()]),
            FollowState::None if Accounts::found(facts, self.follower, self.account) => {
                Ok(Vec::new())
            }
            FollowState::None => Err(FollowError::AccountNotFound),
        }
    }
}

/// What a block does to one edge between the two; nothing where neither blocks the
/// other, or where there is no follow and no request: then the log says nothing, which
/// would tell of the block. A follow may be decided before the block and appended after
/// this: so it is sent after the block, after each follow, and once more before the
/// block is lifted. Whichever of block and follow is appended last, what is sent after
/// it finds both.
#[derive(Clone, Debug)]
pub struct SeverFollow {
    pub follower: AccountId,
    pub followed: AccountId,
}

impl Command for SeverFollow {
    type Decider = Follows;
    type Error = FollowError;

    fn aggregate(&self) -> AggregateId {
        Follows::id(self.follower, self.followed)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        Blocks::reads_between(self.follower, self.followed).into()
    }

    fn decide(
        &self,
        current: &Versioned<FollowState>,
        facts: &Facts,
    ) -> Result<Vec<FollowEvent>, FollowError> {
        let is_blocked = !Blocks::none_between(facts, self.follower, self.followed);
        Ok(match current.state {
            FollowState::Following | FollowState::Requested if is_blocked => {
                vec![FollowSevered {}.into()]
            }
            FollowState::None | FollowState::Following | FollowState::Requested => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        accounts::{AccountState, Standing},
        edges::Held,
    };
    use kernel::CodecError;
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn follow(target: AccountId) -> FollowAccount {
        FollowAccount {
            account: ADA,
            target,
        }
    }

    fn at(state: FollowState) -> Versioned<FollowState> {
        Versioned { version: 1, state }
    }

    /// No blocks, and one account.
    fn exists(account: AccountId, standing: Standing, private: bool) -> Result<Facts, CodecError> {
        let state = AccountState {
            standing,
            private,
            ..AccountState::default()
        };
        Facts::default()
            .with::<Accounts>(Accounts::id(account), 1, &state)?
            .with::<Blocks>(Blocks::id(ADA, BOB), 0, &Held(false))?
            .with::<Blocks>(Blocks::id(BOB, ADA), 0, &Held(false))
    }

    #[test]
    fn following_twice_is_one_event() -> Result<(), CodecError> {
        let facts = exists(BOB, Standing::Registered, false)?;
        assert_eq!(
            follow(BOB).decide(&Versioned::default(), &facts),
            Ok(vec![Followed {}.into()])
        );
        let followed = at(FollowState::Following);
        assert_eq!(follow(BOB).decide(&followed, &facts), Ok(vec![]));
        Ok(())
    }

    #[test]
    fn nobody_follows_themselves_or_a_ghost() -> Result<(), CodecError> {
        let facts = exists(ADA, Standing::Registered, false)?;
        assert_eq!(
            follow(ADA).decide(&Versioned::default(), &facts),
            Err(FollowError::SelfFollow)
        );
        for facts in [
            Facts::default(),
            exists(BOB, Standing::Abandoned, false)?,
            exists(BOB, Standing::Deactivated, false)?,
        ] {
            assert_eq!(
                follow(BOB).decide(&Versioned::default(), &facts),
                Err(FollowError::AccountNotFound)
            );
        }
        Ok(())
    }

    #[test]
    fn a_private_account_is_asked_and_lets_in_or_not() -> Result<(), CodecError> {
        let facts = exists(BOB, Standing::Registered, true)?;
        let asked = follow(BOB).decide(&Versioned::default(), &facts);
        assert_eq!(asked, Ok(vec![FollowRequested {}.into()]));
        let requested = at(FollowState::Requested);
        assert_eq!(follow(BOB).decide(&requested, &facts), Ok(vec![]));
        let accept = AcceptFollower {
            account: BOB,
            follower: ADA,
        };
        assert_eq!(accept.aggregate(), follow(BOB).aggregate());
        assert_eq!(
            accept.decide(&requested, &facts),
            Ok(vec![FollowRequestAccepted {}.into()])
        );
        assert_eq!(
            accept.decide(&Versioned::default(), &facts),
            Err(FollowError::RequestNotFound)
        );
        let refuse = RemoveFollower {
            account: BOB,
            follower: ADA,
        };
        assert_eq!(
            refuse.decide(&requested, &facts),
            Ok(vec![FollowRequestRejected {}.into()])
        );
        // Whoever asks again where the account is public by now, follows.
        let public = exists(BOB, Standing::Registered, false)?;
        assert_eq!(
            follow(BOB).decide(&requested, &public),
            Ok(vec![FollowRequestWithdrawn {}.into(), Followed {}.into()])
        );
        Ok(())
    }

    #[test]
    fn a_block_keeps_both_from_following_and_tells_the_blocked_nothing() -> Result<(), CodecError> {
        let facts = exists(BOB, Standing::Registered, false)?;
        let by_bob = facts
            .clone()
            .with::<Blocks>(Blocks::id(BOB, ADA), 1, &Held(true))?;
        assert_eq!(
            follow(BOB).decide(&Versioned::default(), &by_bob),
            Err(FollowError::AccountNotFound)
        );
        let by_ada = facts.with::<Blocks>(Blocks::id(ADA, BOB), 1, &Held(true))?;
        assert_eq!(
            follow(BOB).decide(&Versioned::default(), &by_ada),
            Err(FollowError::TargetBlocked)
        );
        Ok(())
    }

    #[test]
    fn a_block_severs_what_is_there_and_says_nothing_where_nobody_follows() -> Result<(), CodecError>
    {
        let sever = SeverFollow {
            follower: ADA,
            followed: BOB,
        };
        let between = |by_ada: bool, by_bob: bool| {
            Facts::default()
                .with::<Blocks>(Blocks::id(ADA, BOB), 1, &Held(by_ada))?
                .with::<Blocks>(Blocks::id(BOB, ADA), 1, &Held(by_bob))
        };
        for (by_ada, by_bob) in [(false, false), (true, false), (false, true), (true, true)] {
            let facts = between(by_ada, by_bob)?;
            let expected = match by_ada || by_bob {
                true => vec![FollowSevered {}.into()],
                false => vec![],
            };
            for held in [FollowState::Following, FollowState::Requested] {
                assert_eq!(sever.decide(&at(held), &facts), Ok(expected.clone()));
            }
            assert_eq!(sever.decide(&at(FollowState::None), &facts), Ok(vec![]));
        }
        // It may be the follow's turn last.
        assert_eq!(sever.reads(&Facts::default()).len(), 2);
        Ok(())
    }

    #[test]
    fn a_state_of_before_follows_were_asked_for_is_read() -> Result<(), CodecError> {
        for (stored, state) in [
            (kernel::encode(&false)?, FollowState::None),
            (kernel::encode(&true)?, FollowState::Following),
            (kernel::encode(&2_u8)?, FollowState::Requested),
        ] {
            assert_eq!(kernel::encode(&state)?, stored);
            assert_eq!(kernel::decode::<FollowState>(&stored)?, state);
        }
        assert!(kernel::decode::<FollowState>(&kernel::encode(&3_u8)?).is_err());
        Ok(())
    }
}
