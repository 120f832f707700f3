//! Mutes: an edge from an account to one whose posts it does not want to come
//! across. Whoever is muted does not notice, and can be looked at on purpose.

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Kind, Read, Versioned};
use serde::{Deserialize, Serialize};

use crate::{PersonalFields, accounts::Accounts, event::events, kinds};

/// The aggregate's edge goes from who mutes to who is muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Muted {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unmuted {}

events!(MuteEvent { Muted = 1, Unmuted = 1 });

impl PersonalFields for Muted {}
impl PersonalFields for Unmuted {}

/// The aggregate.
pub struct Mutes;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MuteState(pub bool);

impl Mutes {
    pub fn id(muter: AccountId, muted: AccountId) -> AggregateId {
        AggregateId::edge(kinds::MUTE, muter.0, muted.0)
    }
}

impl Decider for Mutes {
    const KIND: Kind = kinds::MUTE;
    const SHAPE: u8 = 1;
    type State = MuteState;
    type Event = MuteEvent;

    fn evolve(_: MuteState, event: &MuteEvent) -> MuteState {
        match event {
            MuteEvent::Muted(_) => MuteState(true),
            MuteEvent::Unmuted(_) => MuteState(false),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuteError {
    #[error("nobody can mute themselves")]
    SelfMute,
    /// Also where it blocks who asks.
    #[error("there is no such account")]
    AccountNotFound,
}

#[derive(Clone, Debug)]
pub struct MuteAccount {
    pub account: AccountId,
    pub target: AccountId,
}

impl Command for MuteAccount {
    type Decider = Mutes;
    type Error = MuteError;

    fn aggregate(&self) -> AggregateId {
        Mutes::id(self.account, self.target)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        Accounts::reads_to_find(self.target, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<MuteState>,
        facts: &Facts,
    ) -> Result<Vec<MuteEvent>, MuteError> {
        if self.account == self.target {
            return Err(MuteError::SelfMute);
        }
        if !Accounts::found(facts, self.target, self.account) {
            return Err(MuteError::AccountNotFound);
        }
        if current.state.0 {
            return Ok(Vec::new());
        }
        Ok(vec![Muted {}.into()])
    }
}

/// Always allowed; nothing to do where there is no such edge.
#[derive(Clone, Debug)]
pub struct UnmuteAccount {
    pub account: AccountId,
    pub target: AccountId,
}

impl Command for UnmuteAccount {
    type Decider = Mutes;
    type Error = MuteError;

    fn aggregate(&self) -> AggregateId {
        Mutes::id(self.account, self.target)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        Accounts::reads_to_find(self.target, self.account)
    }

    fn decide(
        &self,
        current: &Versioned<MuteState>,
        facts: &Facts,
    ) -> Result<Vec<MuteEvent>, MuteError> {
        if current.state.0 {
            return Ok(vec![Unmuted {}.into()]);
        }
        if !Accounts::found(facts, self.target, self.account) {
            return Err(MuteError::AccountNotFound);
        }
        Ok(Vec::new())
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
        blocks::{BlockState, Blocks},
        memory::Memory,
    };

    #[derive(Clone, Debug)]
    enum Step {
        AccountBecomes(AccountId, Standing),
        BlockBecomes(AccountId, AccountId, bool),
        Mute(AccountId, AccountId),
        Unmute(AccountId, AccountId),
    }

    fn step() -> impl Strategy<Value = Step> {
        let edge = || (any::account(), any::account());
        prop_oneof![
            (any::account(), any::standing()).prop_map(|(a, s)| Step::AccountBecomes(a, s)),
            (edge(), any::<bool>()).prop_map(|((a, b), held)| Step::BlockBecomes(a, b, held)),
            edge().prop_map(|(from, to)| Step::Mute(from, to)),
            edge().prop_map(|(from, to)| Step::Unmute(from, to)),
        ]
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn a_mute_is_there_once_or_not_whatever_is_asked(steps in vec(step(), 1..60)) {
            let mut memory = Memory::default();
            let mut registered = BTreeSet::new();
            let mut blocks = BTreeSet::new();
            let mut muted = BTreeSet::new();
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
                    Step::BlockBecomes(from, to, held) => {
                        memory.set::<Blocks>(Blocks::id(from, to), &BlockState(held))?;
                        match held {
                            true => blocks.insert((from, to)),
                            false => blocks.remove(&(from, to)),
                        };
                    }
                    Step::Mute(account, target) => {
                        let command = MuteAccount { account, target };
                        let expected = if account == target {
                            Err(MuteError::SelfMute)
                        } else if !registered.contains(&target) || blocks.contains(&(target, account)) {
                            Err(MuteError::AccountNotFound)
                        } else if muted.insert((account, target)) {
                            Ok(vec![Muted {}.into()])
                        } else {
                            Ok(vec![])
                        };
                        prop_assert_eq!(&memory.execute(&command)?, &expected);
                        prop_assert_eq!(memory.execute(&command)?, expected.map(|_| vec![]));
                    }
                    Step::Unmute(account, target) => {
                        let command = UnmuteAccount { account, target };
                        let found = registered.contains(&target)
                            && (account == target || !blocks.contains(&(target, account)));
                        let expected = if muted.remove(&(account, target)) {
                            Ok(vec![Unmuted {}.into()])
                        } else if found {
                            Ok(vec![])
                        } else {
                            Err(MuteError::AccountNotFound)
                        };
                        prop_assert_eq!(memory.execute(&command)?, expected);
                    }
                }
            }
        }
    }
}
