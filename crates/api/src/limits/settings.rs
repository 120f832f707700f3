//! The settings of all limits.

use edge::limits::Metering;
use vault::{Budget, Limits};

/// What one may do how often.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Points of an address, for requests of nobody.
    pub anonymous: Budget,
    /// Points of an account.
    pub account: Budget,
    /// Bytes that an account writes.
    pub account_bytes: Budget,
    /// Failed sign-ins to one account from one address.
    pub sign_in: Budget,
    /// Registrations from one address.
    pub registration: Budget,
    /// Codes that are sent to e-mail addresses or tried, from one address, and codes of
    /// second factors that are tried with one account from devices that it does not
    /// know, from one that it knows, or by one session.
    pub codes: Budget,
    /// Hashes of passwords for one address, right or wrong, and of right ones of one
    /// account.
    pub password_hashes: Budget,
}

impl LimitSettings {
    /// Nothing is limited: for tools that measure.
    pub const NONE: Self = Self {
        anonymous: Budget::NONE,
        account: Budget::NONE,
        account_bytes: Budget::NONE,
        sign_in: Budget::NONE,
        registration: Budget::NONE,
        codes: Budget::NONE,
        password_hashes: Budget::NONE,
    };

    pub(super) fn all(&self) -> [(&'static str, Budget, &'static str); 7] {
        [
            (
                "anonymous",
                self.anonymous,
                "Requests without an access token, and those that have no use for one, by \
                 address; a refresh with a good token counts for its account.",
            ),
            (
                "account",
                self.account,
                "Requests with an access token, by account.",
            ),
            (
                "account_bytes",
                self.account_bytes,
                "Bytes that an account writes: those of the bodies of requests that change \
                 something, and 256 for each.",
            ),
            (
                "sign_in",
                self.sign_in,
                "Failed sign-ins with one login from one address; five times as many with all logins \
                 from one address, ten times as many with one login from devices it does not know, and \
                 as many with one device that it knows. Wrong current passwords, by session.",
            ),
            (
                "registration",
                self.registration,
                "Registrations from one address, those of a taken handle or address too.",
            ),
            (
                "codes",
                self.codes,
                "Codes sent by e-mail, and wrong ones tried, from one address; wrong codes of a \
                 second factor, by account from devices that it does not know, by device from \
                 those that it knows, and by session.",
            ),
            (
                "password_hashes",
                self.password_hashes,
                "Passwords that are looked at or set from one address, right or wrong; right ones of \
                 one account.",
            ),
        ]
    }
}

/// How often what may be done, and what counts it.
pub struct Limiting {
    pub(crate) settings: LimitSettings,
    pub(crate) counted: Limits,
}

impl Limiting {
    pub fn new(settings: LimitSettings, counted: Limits) -> Self {
        Self { settings, counted }
    }

    /// What counts requests.
    pub(crate) fn metering(&self) -> Metering {
        let LimitSettings {
            anonymous,
            account,
            account_bytes,
            ..
        } = self.settings;
        Metering::new(anonymous, account, account_bytes, self.counted.clone())
    }
}
