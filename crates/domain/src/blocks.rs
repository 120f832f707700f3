//! Blocks: an edge from an account to one that it wants to have nothing to do
//! with. Neither sees what the other publishes, nor does anything to it. Not here: the
//! end of follows between the two (see `follows::SeverFollow`).

use kernel::{AccountId, Facts, Read};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::Accounts,
    edges::{Edge, Ends, Held, edge},
};

/// The aggregate's edge goes from the account that blocks to the blocked one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocked {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unblocked {}

edge! {
    /// The aggregate.
    Blocks(BLOCK, AccountId), BlockEvent { Blocked, Unblocked }
}

impl Blocks {
    /// What must be read to tell whether one of the two blocks the other.
    pub fn reads_between(one: AccountId, other: AccountId) -> [Read; 2] {
        [Self::id(one, other), Self::id(other, one)].map(Read::of::<Self>)
    }

    /// Whether it is known that `blocker` does not block `blocked`: one that was
    /// not read, or cannot be, counts as a block.
    pub fn admits(facts: &Facts, blocker: AccountId, blocked: AccountId) -> bool {
        let block = facts.known::<Self>(Self::id(blocker, blocked));
        block.is_some_and(|block| !block.state.0)
    }

    /// Whether it is known that neither blocks the other.
    pub fn none_between(facts: &Facts, one: AccountId, other: AccountId) -> bool {
        one == other || (Self::admits(facts, one, other) && Self::admits(facts, other, one))
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("nobody can block themselves")]
    SelfBlock,
    #[error("there is no such account")]
    AccountNotFound,
}

/// Also of an account that blocks back: a blocked account may block too.
impl Edge for Blocks {
    type To = AccountId;
    type Details = ();
    type Error = BlockError;

    fn holds(state: &Held) -> bool {
        state.0
    }

    fn reads(_: &Facts, ends: &Ends<AccountId>) -> Vec<Read> {
        vec![Accounts::read(ends.to)]
    }

    fn find(facts: &Facts, ends: &Ends<AccountId>) -> Result<(), BlockError> {
        match Accounts::exists(facts, ends.to) {
            true => Ok(()),
            false => Err(BlockError::AccountNotFound),
        }
    }

    fn connect(facts: &Facts, ends: &Ends<AccountId>, _: &()) -> Result<BlockEvent, BlockError> {
        if ends.account == ends.to {
            return Err(BlockError::SelfBlock);
        }
        Self::find(facts, ends).map(|()| Blocked {}.into())
    }

    fn disconnect(_: &Facts, _: &Ends<AccountId>) -> Result<BlockEvent, BlockError> {
        Ok(Unblocked {}.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    #[test]
    fn a_block_that_nobody_looked_for_counts_as_one() {
        let with = |facts: Facts, from, to, blocks| {
            let state = Held(blocks);
            facts.with::<Blocks>(Blocks::id(from, to), 1, &state)
        };
        let unread = Facts::default();
        assert!(!Blocks::none_between(&unread, ADA, BOB));
        let one = with(unread, ADA, BOB, false).unwrap_or_default();
        assert!(!Blocks::none_between(&one, ADA, BOB));
        let both = with(one.clone(), BOB, ADA, false).unwrap_or_default();
        assert!(Blocks::none_between(&both, ADA, BOB));
        let blocked = with(one, BOB, ADA, true).unwrap_or_default();
        assert!(!Blocks::none_between(&blocked, ADA, BOB));
        assert!(
            Blocks::none_between(&blocked, ADA, ADA),
            "nobody blocks themselves"
        );
    }
}
