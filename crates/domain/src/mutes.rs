//! Mutes: an edge from an account to one whose posts it does not want to come
//! across. The muted account does not notice, and can be looked at on purpose.

use kernel::{AccountId, Facts, Read};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::Accounts,
    edges::{Edge, Ends, Held, edge},
};

/// The aggregate's edge goes from the account that mutes to the muted one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Muted {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unmuted {}

edge! {
    /// The aggregate.
    Mutes(MUTE, AccountId), MuteEvent { Muted, Unmuted }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuteError {
    #[error("nobody can mute themselves")]
    SelfMute,
    /// Also where it blocks the account that mutes.
    #[error("there is no such account")]
    AccountNotFound,
}

impl Edge for Mutes {
    type To = AccountId;
    type Details = ();
    type Error = MuteError;

    fn holds(state: &Held) -> bool {
        state.0
    }

    fn reads(_: &Facts, ends: &Ends<AccountId>) -> Vec<Read> {
        Accounts::reads_to_find(ends.to, ends.account)
    }

    fn find(facts: &Facts, ends: &Ends<AccountId>) -> Result<(), MuteError> {
        match Accounts::found(facts, ends.to, ends.account) {
            true => Ok(()),
            false => Err(MuteError::AccountNotFound),
        }
    }

    fn connect(facts: &Facts, ends: &Ends<AccountId>, _: &()) -> Result<MuteEvent, MuteError> {
        if ends.account == ends.to {
            return Err(MuteError::SelfMute);
        }
        Self::find(facts, ends).map(|()| Muted {}.into())
    }

    fn disconnect(_: &Facts, _: &Ends<AccountId>) -> Result<MuteEvent, MuteError> {
        Ok(Unmuted {}.into())
    }
}
