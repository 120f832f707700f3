//! Blocks: an edge from an account to one that it wants to have nothing to do
//! with. Neither sees what the other publishes, nor does anything to it. It
//! refuses to end follows: `follows::SeverFollow` does.

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Kind, Read, Versioned};
use serde::{Deserialize, Serialize};

use crate::{PersonalFields, accounts::Accounts, event::events, kinds};

/// The aggregate's edge goes from who blocks to who is blocked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocked {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unblocked {}

events!(BlockEvent { Blocked = 1, Unblocked = 1 });

impl PersonalFields for Blocked {}
impl PersonalFields for Unblocked {}

/// The aggregate.
pub struct Blocks;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockState(pub bool);

impl Blocks {
    pub fn id(blocker: AccountId, blocked: AccountId) -> AggregateId {
        AggregateId::edge(kinds::BLOCK, blocker.0, blocked.0)
    }

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

impl Decider for Blocks {
    const KIND: Kind = kinds::BLOCK;
    const SHAPE: u8 = 1;
    type State = BlockState;
    type Event = BlockEvent;

    fn evolve(_: BlockState, event: &BlockEvent) -> BlockState {
        match event {
            BlockEvent::Blocked(_) => BlockState(true),
            BlockEvent::Unblocked(_) => BlockState(false),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("nobody can block themselves")]
    SelfBlock,
    #[error("there is no such account")]
    AccountNotFound,
}

/// Also of an account that blocks back: whoever is blocked may block too.
#[derive(Clone, Debug)]
pub struct BlockAccount {
    pub account: AccountId,
    pub target: AccountId,
}

impl Command for BlockAccount {
    type Decider = Blocks;
    type Error = BlockError;

    fn aggregate(&self) -> AggregateId {
        Blocks::id(self.account, self.target)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        vec![Accounts::read(self.target)]
    }

    fn decide(
        &self,
        current: &Versioned<BlockState>,
        facts: &Facts,
    ) -> Result<Vec<BlockEvent>, BlockError> {
        if self.account == self.target {
            return Err(BlockError::SelfBlock);
        }
        if !Accounts::exists(facts, self.target) {
            return Err(BlockError::AccountNotFound);
        }
        if current.state.0 {
            return Ok(Vec::new());
        }
        Ok(vec![Blocked {}.into()])
    }
}

/// Always allowed; nothing to do where there is no such edge.
#[derive(Clone, Debug)]
pub struct UnblockAccount {
    pub account: AccountId,
    pub target: AccountId,
}

impl Command for UnblockAccount {
    type Decider = Blocks;
    type Error = BlockError;

    fn aggregate(&self) -> AggregateId {
        Blocks::id(self.account, self.target)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        vec![Accounts::read(self.target)]
    }

    fn decide(
        &self,
        current: &Versioned<BlockState>,
        facts: &Facts,
    ) -> Result<Vec<BlockEvent>, BlockError> {
        if current.state.0 {
            return Ok(vec![Unblocked {}.into()]);
        }
        if !Accounts::exists(facts, self.target) {
            return Err(BlockError::AccountNotFound);
        }
        Ok(Vec::new())
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
            let state = BlockState(blocks);
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
        Block(AccountId, AccountId),
        Unblock(AccountId, AccountId),
    }

    fn step() -> impl Strategy<Value = Step> {
        let edge = || (any::account(), any::account());
        prop_oneof![
            (any::account(), any::standing()).prop_map(|(a, s)| Step::AccountBecomes(a, s)),
            edge().prop_map(|(from, to)| Step::Block(from, to)),
            edge().prop_map(|(from, to)| Step::Unblock(from, to)),
        ]
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn a_block_is_there_once_or_not_whatever_is_asked(steps in vec(step(), 1..60)) {
            let mut memory = Memory::default();
            let mut registered = BTreeSet::new();
            let mut blocked = BTreeSet::new();
            for step in steps {
                match step {
                    Step::AccountBecomes(account, standing) => {
                        let state = AccountState { standing, ..AccountState::default() };
                        memory.set::<Accounts>(Accounts::id(account), &state)?;
                        match standing == Standing::Registered {
                            true => registered.insert(account),
                            false => registered.remove(&account),
                        };
                    }
                    Step::Block(account, target) => {
                        let command = BlockAccount { account, target };
                        let expected = if account == target {
                            Err(BlockError::SelfBlock)
                        } else if !registered.contains(&target) {
                            Err(BlockError::AccountNotFound)
                        } else if blocked.insert((account, target)) {
                            Ok(vec![Blocked {}.into()])
                        } else {
                            Ok(vec![])
                        };
                        prop_assert_eq!(&memory.execute(&command)?, &expected);
                        prop_assert_eq!(memory.execute(&command)?, expected.map(|_| vec![]));
                    }
                    Step::Unblock(account, target) => {
                        let command = UnblockAccount { account, target };
                        let expected = if blocked.remove(&(account, target)) {
                            Ok(vec![Unblocked {}.into()])
                        } else if registered.contains(&target) {
                            Ok(vec![])
                        } else {
                            Err(BlockError::AccountNotFound)
                        };
                        prop_assert_eq!(memory.execute(&command)?, expected);
                    }
                }
                for (from, to) in &blocked {
                    let facts = Facts::default()
                        .with::<Blocks>(Blocks::id(*from, *to), 1, &memory.current::<Blocks>(Blocks::id(*from, *to))?.state)?
                        .with::<Blocks>(Blocks::id(*to, *from), 1, &memory.current::<Blocks>(Blocks::id(*to, *from))?.state)?;
                    prop_assert!(!Blocks::none_between(&facts, *from, *to));
                    prop_assert!(!Blocks::none_between(&facts, *to, *from));
                }
            }
        }
    }
}
