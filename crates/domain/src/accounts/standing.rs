//! Leaving for a time, and coming back.

use kernel::{AccountId, AggregateId, Command, Facts, Versioned};

use super::{
    AccountDeactivated, AccountError, AccountEvent, AccountReactivated, AccountState, Accounts,
    Standing,
};

/// Leave for a time: everything stays, and nobody sees it.
#[derive(Clone, Debug)]
pub struct DeactivateAccount {
    pub account: AccountId,
}

impl Command for DeactivateAccount {
    type Decider = Accounts;
    type Error = AccountError;

    fn aggregate(&self) -> AggregateId {
        Accounts::id(self.account)
    }

    fn decide(
        &self,
        current: &Versioned<AccountState>,
        _: &Facts,
    ) -> Result<Vec<AccountEvent>, AccountError> {
        match current.state.standing {
            Standing::Registered => Ok(vec![AccountDeactivated {}.into()]),
            Standing::Deactivated => Ok(Vec::new()),
            Standing::Unknown | Standing::Abandoned => Err(AccountError::AccountNotFound),
        }
    }
}

/// Come back; nothing to do for who is here.
#[derive(Clone, Debug)]
pub struct ReactivateAccount {
    pub account: AccountId,
}

impl Command for ReactivateAccount {
    type Decider = Accounts;
    type Error = AccountError;

    fn aggregate(&self) -> AggregateId {
        Accounts::id(self.account)
    }

    fn decide(
        &self,
        current: &Versioned<AccountState>,
        _: &Facts,
    ) -> Result<Vec<AccountEvent>, AccountError> {
        match current.state.standing {
            Standing::Registered => Ok(Vec::new()),
            Standing::Deactivated => Ok(vec![AccountReactivated {}.into()]),
            Standing::Unknown | Standing::Abandoned => Err(AccountError::AccountNotFound),
        }
    }
}
