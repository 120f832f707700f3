//! Accounts: registering, the profile, who is private, the pinned post, leaving
//! for a time. It refuses e-mail addresses and passwords: they are the vault's.

mod profile;
#[cfg(test)]
mod properties;
mod registration;
mod standing;

use std::str::FromStr;

use kernel::{
    AccountId, AggregateId, Decider, Facts, Kind, NamedPersonal, Personal, Read, Versioned,
};
use serde::{Deserialize, Serialize};

use crate::{
    PersonalFields,
    blocks::Blocks,
    event::events,
    handles::Handle,
    kinds,
    posts::PostId,
    text::{Unfit, is_blank, seen_line, straight_lines},
};

pub use profile::{PinPost, UnpinPost, UpdateProfile};
pub use registration::{AbandonRegistration, RegisterAccount};
pub use standing::{DeactivateAccount, ReactivateAccount};

pub const DISPLAY_NAME_CHARACTERS_MAX: usize = 50;
pub const BIO_CHARACTERS_MAX: usize = 500;

macro_rules! short_text {
    ($(#[$doc:meta])* $name:ident, $max:ident, $what:literal, $kept:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Empty clears the field.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidProfile;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let wrong = |unfit| InvalidProfile($what, unfit);
                let text = text.trim();
                if !text.is_empty() && is_blank(text) {
                    return Err(wrong(Unfit::Blank));
                }
                let kept = $kept(text).map(String::from);
                let kept = kept.ok_or_else(|| wrong(Unfit::Characters))?;
                match kept.chars().count() <= $max {
                    true => Ok(Self(kept)),
                    false => Err(wrong(Unfit::TooLong($max))),
                }
            }
        }
    };
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} {1}")]
pub struct InvalidProfile(&'static str, pub Unfit);

short_text!(
    /// Shown instead of the handle: one line, trimmed.
    DisplayName, DISPLAY_NAME_CHARACTERS_MAX,
    "a display name", seen_line
);
short_text!(
    /// A few words about oneself: lines, trimmed.
    Bio, BIO_CHARACTERS_MAX, "a bio", straight_lines
);

/// A person joined. The aggregate is the account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountRegistered {
    pub handle: Handle,
    pub display_name: Option<Personal>,
}

/// The registration that took a handle or an address died before it ended, and
/// somebody else needed what it held: it can't end any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationAbandoned {}

/// Fields that are none did not change; an empty text was cleared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileUpdated {
    pub display_name: Option<Personal>,
    pub bio: Option<Personal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostPinned {
    pub post: PostId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostUnpinned {
    pub post: PostId,
}

/// From now on only followers see what the account publishes, earlier posts
/// too, and following it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountMadePrivate {}

/// Requests to follow that wait are still to be answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountMadePublic {}

/// The account and all that it published are hidden from everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountDeactivated {}

/// As it was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountReactivated {}

events!(AccountEvent {
    AccountRegistered = 1,
    RegistrationAbandoned = 1,
    ProfileUpdated = 1,
    PostPinned = 1,
    PostUnpinned = 1,
    AccountMadePrivate = 1,
    AccountMadePublic = 1,
    AccountDeactivated = 1,
    AccountReactivated = 1,
});

impl PersonalFields for AccountRegistered {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        let name = self.display_name.iter_mut();
        name.map(|name| ("display_name", name)).collect()
    }
}
impl PersonalFields for RegistrationAbandoned {}
impl PersonalFields for ProfileUpdated {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        let name = self
            .display_name
            .iter_mut()
            .map(|name| ("display_name", name));
        let bio = self.bio.iter_mut().map(|bio| ("bio", bio));
        name.chain(bio).collect()
    }
}
impl PersonalFields for PostPinned {}
impl PersonalFields for PostUnpinned {}
impl PersonalFields for AccountMadePrivate {}
impl PersonalFields for AccountMadePublic {}
impl PersonalFields for AccountDeactivated {}
impl PersonalFields for AccountReactivated {}

/// The aggregate.
pub struct Accounts;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountState {
    pub standing: Standing,
    pub handle: Option<Handle>,
    pub pinned: Option<PostId>,
    /// States of before accounts could be private lack it.
    #[serde(default)]
    pub private: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    #[default]
    Unknown,
    Registered,
    Abandoned,
    Deactivated,
}

impl Accounts {
    pub fn id(account: AccountId) -> AggregateId {
        AggregateId::single(kinds::ACCOUNT, account.0)
    }

    pub fn read(account: AccountId) -> Read {
        Read::of::<Self>(Self::id(account))
    }

    /// Whether there is such an account to follow, mention or reply to.
    pub fn exists(facts: &Facts, account: AccountId) -> bool {
        facts.of::<Self>(Self::id(account)).state.standing == Standing::Registered
    }

    /// What must be read to tell whether `seeker` finds `account`.
    pub fn reads_to_find(account: AccountId, seeker: AccountId) -> Vec<Read> {
        let mut reads = vec![Self::read(account)];
        if account != seeker {
            reads.extend(Blocks::reads_between(account, seeker));
        }
        reads
    }

    /// Whether there is such an account that does not block `seeker`.
    pub fn found(facts: &Facts, account: AccountId, seeker: AccountId) -> bool {
        Self::exists(facts, account)
            && (account == seeker || Blocks::admits(facts, account, seeker))
    }
}

impl Decider for Accounts {
    const KIND: Kind = kinds::ACCOUNT;
    const SHAPE: u8 = 1;
    type State = AccountState;
    type Event = AccountEvent;

    fn evolve(state: AccountState, event: &AccountEvent) -> AccountState {
        match event {
            AccountEvent::AccountRegistered(registered) => AccountState {
                standing: Standing::Registered,
                handle: Some(registered.handle.clone()),
                ..AccountState::default()
            },
            AccountEvent::RegistrationAbandoned(_) => AccountState {
                standing: Standing::Abandoned,
                ..state
            },
            AccountEvent::ProfileUpdated(_) => state,
            AccountEvent::PostPinned(pinned) => AccountState {
                pinned: Some(pinned.post),
                ..state
            },
            AccountEvent::PostUnpinned(_) => AccountState {
                pinned: None,
                ..state
            },
            AccountEvent::AccountMadePrivate(_) => AccountState {
                private: true,
                ..state
            },
            AccountEvent::AccountMadePublic(_) => AccountState {
                private: false,
                ..state
            },
            AccountEvent::AccountDeactivated(_) => AccountState {
                standing: Standing::Deactivated,
                ..state
            },
            AccountEvent::AccountReactivated(_) => AccountState {
                standing: Standing::Registered,
                ..state
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("the registration took too long and was abandoned; register again")]
    RegistrationAbandoned,
    #[error("the account is registered already")]
    AccountExists,
    #[error("there is no such account")]
    AccountNotFound,
    #[error("the profile is at version {0} by now")]
    VersionMismatch(u64),
    #[error("only a public post of one's own that still exists can be pinned")]
    PostNotOwn,
}

fn require_registered(current: &Versioned<AccountState>) -> Result<(), AccountError> {
    match current.state.standing {
        Standing::Registered => Ok(()),
        Standing::Unknown | Standing::Abandoned | Standing::Deactivated => {
            Err(AccountError::AccountNotFound)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{Command, ExpectedVersion};
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));

    fn register() -> RegisterAccount {
        RegisterAccount {
            account: ADA,
            handle: "ada".parse().unwrap_or_else(|_| unreachable!()),
            display_name: None,
        }
    }

    fn after(events: &[AccountEvent]) -> Versioned<AccountState> {
        Versioned {
            version: events.len() as u64,
            state: events
                .iter()
                .fold(AccountState::default(), Accounts::evolve),
        }
    }

    fn registered() -> Vec<AccountEvent> {
        register()
            .decide(&Versioned::default(), &Facts::default())
            .unwrap_or_default()
    }

    #[test]
    fn a_name_is_one_line_with_something_to_see() {
        for bad in [
            "\u{3164}",
            "\u{200b}",
            "\u{2800}",
            "\u{301}",
            "Ada\nAdministrator",
            "Ada\u{2028}Administrator",
            "Ada\tAdministrator",
            "Ada\u{202e}",
            "Ada\u{2067}\u{2069}",
            "Ada\u{7}",
            // As another one looks.
            "A\u{200b}da",
            "Ada\u{200d}",
            "Ad\u{200c}a",
            "\u{feff}Ada",
            "Ada\u{2060} L",
            "Ada\u{ad}",
            "Ada\u{3164}",
            "Ada\u{e0041}",
            "A\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}da",
        ] {
            assert!(bad.parse::<DisplayName>().is_err(), "{bad:?}");
        }
        for (good, kept) in [
            ("\u{3000}Ada 👩🏽‍💻\n", "Ada 👩🏽‍💻"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("\u{a0}", ""),
        ] {
            let name = good.parse::<DisplayName>();
            assert_eq!(name.as_ref().map(DisplayName::as_str), Ok(kept));
        }
        let bio = "one\r\n\ttwo".parse::<Bio>();
        assert_eq!(bio.as_ref().map(Bio::as_str), Ok("one\n\ttwo"));
        assert!("\u{3164}\n\u{3164}".parse::<Bio>().is_err());
    }

    #[test]
    fn an_abandoned_registration_can_never_finish() {
        let abandoned = AbandonRegistration { account: ADA }
            .decide(&Versioned::default(), &Facts::default())
            .unwrap_or_default();
        assert_eq!(
            register().decide(&after(&abandoned), &Facts::default()),
            Err(AccountError::RegistrationAbandoned)
        );
    }

    #[test]
    fn a_finished_registration_can_not_be_abandoned() {
        let given = after(&registered());
        let abandon = AbandonRegistration { account: ADA };
        assert_eq!(
            abandon.decide(&given, &Facts::default()),
            Err(AccountError::AccountExists)
        );
    }

    #[test]
    fn a_stale_version_is_refused() {
        let given = after(&registered());
        let update = |expected_version: u64| UpdateProfile {
            account: ADA,
            display_name: "Ada".parse().ok(),
            bio: None,
            private: None,
            expected_version: expected_version.into(),
        };
        assert_eq!(
            update(7).decide(&given, &Facts::default()),
            Err(AccountError::VersionMismatch(1))
        );
        assert!(update(1).decide(&given, &Facts::default()).is_ok());
    }

    #[test]
    fn a_foreign_post_can_not_be_pinned() {
        let pin = PinPost {
            account: ADA,
            post: PostId(Uuid::from_u128(9)),
        };
        assert_eq!(
            pin.decide(&after(&registered()), &Facts::default()),
            Err(AccountError::PostNotOwn)
        );
    }

    #[test]
    fn becoming_private_is_one_event_however_often_it_is_asked_for() {
        let update = |private| UpdateProfile {
            account: ADA,
            display_name: None,
            bio: None,
            private: Some(private),
            expected_version: ExpectedVersion::Any,
        };
        let mut events = registered();
        let decide = |private, events: &[AccountEvent]| {
            update(private).decide(&after(events), &Facts::default())
        };
        assert_eq!(decide(false, &events), Ok(vec![]));
        assert_eq!(
            decide(true, &events),
            Ok(vec![AccountMadePrivate {}.into()])
        );
        events.push(AccountMadePrivate {}.into());
        assert_eq!(decide(true, &events), Ok(vec![]));
        assert_eq!(
            decide(false, &events),
            Ok(vec![AccountMadePublic {}.into()])
        );
    }

    #[test]
    fn a_deactivated_account_does_nothing_until_it_is_back() {
        let mut events = registered();
        let leave = DeactivateAccount { account: ADA };
        let back = ReactivateAccount { account: ADA };
        assert_eq!(back.decide(&after(&events), &Facts::default()), Ok(vec![]));
        let left = leave.decide(&after(&events), &Facts::default());
        assert_eq!(left, Ok(vec![AccountDeactivated {}.into()]));
        events.push(AccountDeactivated {}.into());
        assert_eq!(leave.decide(&after(&events), &Facts::default()), Ok(vec![]));
        let unpin = UnpinPost { account: ADA };
        assert_eq!(
            unpin.decide(&after(&events), &Facts::default()),
            Err(AccountError::AccountNotFound)
        );
        let here = back.decide(&after(&events), &Facts::default());
        assert_eq!(here, Ok(vec![AccountReactivated {}.into()]));
    }

    #[test]
    fn a_state_of_before_accounts_could_be_private_is_read() -> Result<(), kernel::CodecError> {
        let before = (Standing::Registered, Some("ada"), None::<PostId>);
        let state: AccountState = kernel::decode(&kernel::encode(&before)?)?;
        assert_eq!(state.standing, Standing::Registered);
        assert!(!state.private);
        Ok(())
    }
}
