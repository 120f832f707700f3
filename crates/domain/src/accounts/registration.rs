//! Registering, and giving up a registration that died. Who holds the handle is
//! decided in `handles`.

use kernel::{AccountId, AggregateId, Command, Facts, Personal, Versioned};

use super::{
    AccountError, AccountEvent, AccountRegistered, AccountState, Accounts, DisplayName,
    RegistrationAbandoned, Standing,
};
use crate::handles::Handle;

#[derive(Clone, Debug)]
pub struct RegisterAccount {
    pub account: AccountId,
    pub handle: Handle,
    pub display_name: Option<DisplayName>,
}

impl Command for RegisterAccount {
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
            Standing::Unknown => {}
            Standing::Abandoned => return Err(AccountError::RegistrationAbandoned),
            Standing::Registered | Standing::Deactivated
                if current.state.handle.as_ref() == Some(&self.handle) =>
            {
                return Ok(Vec::new());
            }
            Standing::Registered | Standing::Deactivated => {
                return Err(AccountError::AccountExists);
            }
        }
        let name = self.display_name.as_ref().map(DisplayName::as_str);
        let registered = AccountRegistered {
            handle: self.handle.clone(),
            display_name: name.filter(|name| !name.is_empty()).map(Personal::plain),
        };
        Ok(vec![registered.into()])
    }
}

/// End a registration that died; nothing to do where it ended well.
#[derive(Clone, Debug)]
pub struct AbandonRegistration {
    pub account: AccountId,
}

impl Command for AbandonRegistration {
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
            Standing::Unknown => Ok(vec![RegistrationAbandoned {}.into()]),
            Standing::Abandoned => Ok(Vec::new()),
            Standing::Registered | Standing::Deactivated => Err(AccountError::AccountExists),
        }
    }
}
