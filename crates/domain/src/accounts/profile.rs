//! What an account shows of itself: its profile, who is private, the pinned post.

use kernel::{AccountId, AggregateId, Command, ExpectedVersion, Facts, Personal, Read, Versioned};

use super::{
    AccountError, AccountEvent, AccountMadePrivate, AccountMadePublic, AccountState, Accounts, Bio,
    DisplayName, PostPinned, PostUnpinned, ProfileUpdated, require_registered,
};
use crate::posts::{PostId, Posts, Visibility};

#[derive(Clone, Debug)]
pub struct UpdateProfile {
    pub account: AccountId,
    pub display_name: Option<DisplayName>,
    pub bio: Option<Bio>,
    pub private: Option<bool>,
    pub expected_version: ExpectedVersion,
}

impl Command for UpdateProfile {
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
        require_registered(current)?;
        if !self.expected_version.admits(current.version) {
            return Err(AccountError::VersionMismatch(current.version));
        }
        let mut events = Vec::new();
        if self.display_name.is_some() || self.bio.is_some() {
            let updated = ProfileUpdated {
                display_name: self.display_name.as_ref().map(|n| Personal::plain(&n.0)),
                bio: self.bio.as_ref().map(|bio| Personal::plain(&bio.0)),
            };
            events.push(updated.into());
        }
        match self.private {
            Some(true) if !current.state.private => events.push(AccountMadePrivate {}.into()),
            Some(false) if current.state.private => events.push(AccountMadePublic {}.into()),
            Some(_) | None => {}
        }
        Ok(events)
    }
}

#[derive(Clone, Debug)]
pub struct PinPost {
    pub account: AccountId,
    pub post: PostId,
}

impl Command for PinPost {
    type Decider = Accounts;
    type Error = AccountError;

    fn aggregate(&self) -> AggregateId {
        Accounts::id(self.account)
    }

    fn reads(&self, _: &Facts) -> Vec<Read> {
        vec![Posts::read(self.post)]
    }

    fn decide(
        &self,
        current: &Versioned<AccountState>,
        facts: &Facts,
    ) -> Result<Vec<AccountEvent>, AccountError> {
        require_registered(current)?;
        let post = facts.of::<Posts>(Posts::id(self.post)).state;
        let public = post.visibility == Visibility::Public;
        if post.author != Some(self.account) || post.deleted || !public {
            return Err(AccountError::PostNotOwn);
        }
        if current.state.pinned == Some(self.post) {
            return Ok(Vec::new());
        }
        Ok(vec![PostPinned { post: self.post }.into()])
    }
}

#[derive(Clone, Debug)]
pub struct UnpinPost {
    pub account: AccountId,
}

impl Command for UnpinPost {
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
        require_registered(current)?;
        let unpinned = current
            .state
            .pinned
            .map(|post| PostUnpinned { post }.into());
        Ok(unpinned.into_iter().collect())
    }
}
