#![doc = include_str!("../README.md")]

mod bars;
mod breached;
mod codes;
mod credentials;
mod devices;
mod emails;
mod first_proof;
mod limits;
mod passwords;
mod roles;
mod sealer;
mod second_factors;
mod service_tokens;
mod sessions;
mod wrapping;

pub use breached::{BreachedPasswords, UnusableList};
pub use codes::{CODE_MINUTES, Drawn, Purpose, RESEND_SECONDS, Reset, Verified};
pub use credentials::{Credentials, NewCredentials, Vault, VaultError};
pub use devices::{DEVICES_MAX, DeviceToken, InvalidDeviceToken, KnownDevice};
pub use emails::{Email, InvalidEmail};
pub use first_proof::{FIRST_PROOF, Fate};
pub use limits::{Budget, InvalidBudget, Limits, Spend, Standing, Whose};
pub use passwords::{
    InvalidPassword, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, Password, PasswordHashes,
    Place, Verdict,
};
pub use roles::Role;
pub use sealer::KeySealer;
pub use second_factors::{Enabled, NewSecondFactor, RECOVERY_CODES, SecondFactorState};
pub use service_tokens::{
    SERVICE_TOKEN_DAYS_MAX, Scope, ServiceToken, ServiceTokenInfo, UnknownScope,
};
pub use sessions::{
    Begun, Device, InvalidRefreshToken, RETRY_SECONDS, ROTATIONS_NOTED_MAX, RefreshToken,
    Refreshed, SESSION_DAYS, SESSIONS_MAX, Session,
};
pub use wrapping::MasterKeys;
