//! Logins: what one signs in with, a handle or an e-mail address.

use std::fmt;

use domain::handles::{Handle, Handles};
use kernel::AccountId;
use vault::Email;

use crate::{problem::Problem, services::Services};

/// What one signs in with, as it is compared.
pub(crate) enum Login {
    Handle(Handle),
    Email(Email),
    /// Nobody has it.
    Nothing(String),
}

impl From<&str> for Login {
    fn from(text: &str) -> Self {
        if let Ok(email) = text.parse() {
            return Self::Email(email);
        }
        let handle = Handle::written(text).map(Self::Handle);
        handle.unwrap_or_else(|_| Self::Nothing(text.trim().to_owned()))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(handle) => write!(f, "handle {handle}"),
            Self::Email(email) => write!(f, "e-mail {}", email.folded()),
            Self::Nothing(text) => write!(f, "nothing {text}"),
        }
    }
}

impl Login {
    pub async fn find(&self, services: &Services) -> Result<Option<AccountId>, Problem> {
        match self {
            Self::Email(email) => {
                let credentials = services.vault.by_email(email).await?;
                Ok(credentials.map(|credentials| credentials.account))
            }
            Self::Handle(handle) => {
                let state = services.log.state::<Handles>(handle.aggregate()).await?;
                Ok(state.state.holder.map(|holder| holder.account))
            }
            Self::Nothing(_) => Ok(None),
        }
    }
}
