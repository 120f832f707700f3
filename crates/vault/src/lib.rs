#![doc = include_str!("../README.md")]

mod credentials;
mod passwords;
mod roles;
mod sealer;

pub use credentials::{Credentials, Email, InvalidEmail, NewCredentials, Vault, VaultError};
pub use passwords::{
    InvalidPassword, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, Password, PasswordHashes,
    Verdict,
};
pub use roles::Role;
pub use sealer::KeySealer;
