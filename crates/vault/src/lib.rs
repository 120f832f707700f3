#![doc = include_str!("../README.md")]

mod credentials;
mod limits;
mod passwords;
mod roles;
mod sealer;
mod sessions;

pub use credentials::{Credentials, Email, InvalidEmail, NewCredentials, Vault, VaultError};
pub use limits::{Budget, InvalidBudget, Limits, Spend, Standing, Whose};
pub use passwords::{
    InvalidPassword, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, Password, PasswordHashes,
    Verdict,
};
pub use roles::Role;
pub use sealer::KeySealer;
pub use sessions::{
    Device, InvalidRefreshToken, RETRY_SECONDS, RefreshToken, Refreshed, SESSION_DAYS,
    SESSIONS_MAX, Session,
};
