//! Handles: who holds which. A handle is an aggregate of its own, so that two
//! accounts can't take one at once. It refuses to know why one was wanted.

use std::{fmt, str::FromStr};

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Kind, Timestamp, Versioned};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::{PersonalFields, event::events, kinds, text::Unfit};

pub const HANDLE_CHARACTERS_MIN: usize = 2;
pub const HANDLE_CHARACTERS_MAX: usize = 30;

/// What nobody may register: who speaks for a service (RFC 2142), and words that
/// programs and people read as something else than a name.
const RESERVED: [&str; 44] = [
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "all",
    "anonymous",
    "api",
    "channel",
    "contact",
    "deleted",
    "everyone",
    "help",
    "here",
    "hostmaster",
    "info",
    "mail",
    "me",
    "mod",
    "moderation",
    "moderator",
    "nobody",
    "noreply",
    "no_reply",
    "null",
    "official",
    "operator",
    "owner",
    "postmaster",
    "privacy",
    "root",
    "security",
    "service",
    "settings",
    "staff",
    "status",
    "support",
    "system",
    "team",
    "undefined",
    "unknown",
    "webmaster",
    "www",
    "headwater",
];

/// A handle, folded to lower case: ASCII letters, digits and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHandle {
    #[error("a handle {0}")]
    Length(Unfit),
    #[error("a handle has letters a-z, digits and underscores alone")]
    Characters,
}

impl Handle {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The handle that somebody wrote to name an account that is there: blanks around it and
    /// an `@` before it do not count, nor how wide its letters are.
    pub fn written(text: &str) -> Result<Self, InvalidHandle> {
        let narrow: String = text.trim().nfkc().collect();
        narrow.strip_prefix('@').unwrap_or(&narrow).parse()
    }

    /// Whether it would be taken for the service itself, or for no account.
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }

    /// The aggregate of this handle: a UUIDv5 of the folded handle, whose last
    /// bits route it.
    pub fn aggregate(&self) -> AggregateId {
        const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_2b64_5d0e_4b0c_9f43_7a3d_31c2_8a55);
        AggregateId::single(kinds::HANDLE, Uuid::new_v5(&NAMESPACE, self.0.as_bytes()))
    }
}

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !text.chars().all(legal) {
            return Err(InvalidHandle::Characters);
        }
        match text.len() {
            ..HANDLE_CHARACTERS_MIN => Err(InvalidHandle::Length(Unfit::TooShort(
                HANDLE_CHARACTERS_MIN,
            ))),
            HANDLE_CHARACTERS_MIN..=HANDLE_CHARACTERS_MAX => Ok(Self(text.to_ascii_lowercase())),
            _ => Err(InvalidHandle::Length(Unfit::TooLong(HANDLE_CHARACTERS_MAX))),
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `account` holds the handle from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandleReserved {
    pub handle: Handle,
    pub account: AccountId,
    /// Tells one try to register from another, so that a retry finds its own.
    pub attempt: Uuid,
    pub reserved_at: Timestamp,
}

/// Nobody holds the handle any more: its registration was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandleReleased {
    pub handle: Handle,
    pub account: AccountId,
}

events!(HandleEvent { HandleReserved = 1, HandleReleased = 1 });

impl PersonalFields for HandleReserved {}
impl PersonalFields for HandleReleased {}

/// The aggregate.
pub struct Handles;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandleState {
    pub holder: Option<Holder>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub account: AccountId,
    pub attempt: Uuid,
    pub reserved_at: Timestamp,
}

impl Decider for Handles {
    const KIND: Kind = kinds::HANDLE;
    const SHAPE: u8 = 1;
    /// An account's own events say which handle it has.
    const SHOWN: bool = false;
    type State = HandleState;
    type Event = HandleEvent;

    fn evolve(_: HandleState, event: &HandleEvent) -> HandleState {
        match event {
            HandleEvent::HandleReserved(reserved) => HandleState {
                holder: Some(Holder {
                    account: reserved.account,
                    attempt: reserved.attempt,
                    reserved_at: reserved.reserved_at,
                }),
            },
            HandleEvent::HandleReleased(_) => HandleState { holder: None },
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    #[error("the handle is taken")]
    HandleTaken,
}

/// Take a handle that nobody holds, or that `abandoned` holds.
#[derive(Clone, Debug)]
pub struct ReserveHandle {
    pub handle: Handle,
    pub account: AccountId,
    pub attempt: Uuid,
    pub now: Timestamp,
    /// The account whose registration was seen to be dead, and was abandoned.
    pub abandoned: Option<AccountId>,
}

impl Command for ReserveHandle {
    type Decider = Handles;
    type Error = HandleError;

    fn aggregate(&self) -> AggregateId {
        self.handle.aggregate()
    }

    fn decide(
        &self,
        current: &Versioned<HandleState>,
        _: &Facts,
    ) -> Result<Vec<HandleEvent>, HandleError> {
        if let Some(holder) = &current.state.holder {
            if holder.account == self.account {
                return Ok(Vec::new());
            }
            if Some(holder.account) != self.abandoned {
                return Err(HandleError::HandleTaken);
            }
        }
        let reserved = HandleReserved {
            handle: self.handle.clone(),
            account: self.account,
            attempt: self.attempt,
            reserved_at: self.now,
        };
        Ok(vec![reserved.into()])
    }
}

/// Give a handle back; nothing to do where `account` does not hold it.
#[derive(Clone, Debug)]
pub struct ReleaseHandle {
    pub handle: Handle,
    pub account: AccountId,
}

impl Command for ReleaseHandle {
    type Decider = Handles;
    type Error = HandleError;

    fn aggregate(&self) -> AggregateId {
        self.handle.aggregate()
    }

    fn decide(
        &self,
        current: &Versioned<HandleState>,
        _: &Facts,
    ) -> Result<Vec<HandleEvent>, HandleError> {
        let holds = |holder: &Holder| holder.account == self.account;
        if !current.state.holder.as_ref().is_some_and(holds) {
            return Ok(Vec::new());
        }
        let released = HandleReleased {
            handle: self.handle.clone(),
            account: self.account,
        };
        Ok(vec![released.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(account: u128, abandoned: Option<u128>) -> ReserveHandle {
        ReserveHandle {
            handle: Handle("ada".into()),
            account: AccountId(Uuid::from_u128(account)),
            attempt: Uuid::from_u128(account),
            now: Timestamp(0),
            abandoned: abandoned.map(|id| AccountId(Uuid::from_u128(id))),
        }
    }

    fn held_by(account: u128) -> Versioned<HandleState> {
        let events = reserve(account, None).decide(&Versioned::default(), &Facts::default());
        let state = events
            .iter()
            .flatten()
            .fold(HandleState::default(), Handles::evolve);
        Versioned { version: 1, state }
    }

    #[test]
    fn a_free_handle_is_reserved_and_a_held_one_refused() {
        assert_eq!(
            reserve(2, None).decide(&held_by(1), &Facts::default()),
            Err(HandleError::HandleTaken)
        );
        assert_eq!(
            reserve(1, None).decide(&held_by(1), &Facts::default()),
            Ok(vec![])
        );
    }

    #[test]
    fn an_abandoned_holder_is_replaced_but_nobody_else() {
        let taken_over = reserve(2, Some(1)).decide(&held_by(1), &Facts::default());
        assert_eq!(taken_over.map(|events| events.len()), Ok(1));
        assert_eq!(
            reserve(2, Some(3)).decide(&held_by(1), &Facts::default()),
            Err(HandleError::HandleTaken)
        );
    }

    #[test]
    fn handles_are_folded_and_bounded() {
        assert_eq!("Ada_1".parse(), Ok(Handle("ada_1".into())));
        for bad in [
            "a",
            "",
            "a b",
            "ünal",
            &"x".repeat(31),
            "a-b",
            " ada",
            "ada\u{200b}",
            "ad\u{ad}a",
            "@ada",
            "ａｄａ",
            "аda",
        ] {
            assert!(bad.parse::<Handle>().is_err(), "{bad}");
        }
        for written in ["ada ", "\u{a0}Ada\n", "@ada", "\u{3000}＠ａｄａ", "ADA"] {
            assert_eq!(
                Handle::written(written),
                Ok(Handle("ada".into())),
                "{written}"
            );
        }
        for bad in ["@@ada", "ad a", "@", "ada@", "аda", "a\u{200b}da"] {
            assert!(Handle::written(bad).is_err(), "{bad}");
        }
    }
}

#[cfg(test)]
mod properties {
    use std::collections::BTreeMap;

    use kernel::Route;
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::{any, memory::Memory};

    fn reserve() -> impl Strategy<Value = ReserveHandle> {
        let who = (any::account(), option::of(any::account()));
        (any::handle(), who, any::<u128>(), any::timestamp()).prop_map(
            |(handle, (account, abandoned), attempt, now)| ReserveHandle {
                handle,
                account,
                attempt: Uuid::from_u128(attempt),
                now,
                abandoned,
            },
        )
    }

    fn release() -> impl Strategy<Value = ReleaseHandle> {
        (any::handle(), any::account())
            .prop_map(|(handle, account)| ReleaseHandle { handle, account })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(ReserveHandle),
        Release(ReleaseHandle),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => reserve().prop_map(Step::Reserve),
            1 => release().prop_map(Step::Release),
        ]
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn a_handle_has_one_holder_who_loses_it_only_when_abandoned_or_released(
            steps in vec(step(), 1..60),
        ) {
            let mut memory = Memory::default();
            let mut held: BTreeMap<Handle, Holder> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Reserve(command) => {
                        let before = held.get(&command.handle).map(|holder| holder.account);
                        let reserved = HandleReserved {
                            handle: command.handle.clone(),
                            account: command.account,
                            attempt: command.attempt,
                            reserved_at: command.now,
                        };
                        let expected = match before {
                            Some(before) if before == command.account => Ok(vec![]),
                            Some(before) if Some(before) != command.abandoned => {
                                Err(HandleError::HandleTaken)
                            }
                            Some(_) | None => Ok(vec![reserved.into()]),
                        };
                        if expected.as_ref().is_ok_and(|events| !events.is_empty()) {
                            let holder = Holder {
                                account: command.account,
                                attempt: command.attempt,
                                reserved_at: command.now,
                            };
                            held.insert(command.handle.clone(), holder);
                        }
                        prop_assert_eq!(&memory.execute(&command)?, &expected);
                        prop_assert_eq!(memory.execute(&command)?, expected.map(|_| vec![]));
                    }
                    Step::Release(command) => {
                        let holds = |holder: &Holder| holder.account == command.account;
                        let released = HandleReleased {
                            handle: command.handle.clone(),
                            account: command.account,
                        };
                        let expected = match held.get(&command.handle).is_some_and(holds) {
                            true => Ok(vec![released.into()]),
                            false => Ok(vec![]),
                        };
                        if held.get(&command.handle).is_some_and(holds) {
                            held.remove(&command.handle);
                        }
                        prop_assert_eq!(memory.execute(&command)?, expected);
                        prop_assert_eq!(memory.execute(&command)?, Ok(vec![]));
                    }
                }
                for name in ["ada", "bob", "eve"] {
                    let handle: Handle = name.parse()?;
                    let state = memory.current::<Handles>(handle.aggregate())?.state;
                    prop_assert_eq!(state.holder.as_ref(), held.get(&handle));
                }
            }
        }

        #[test]
        fn a_handle_is_its_own_folding_and_routes_by_it(text in "[A-Za-z0-9_]{2,30}") {
            let handle: Handle = text.parse()?;
            prop_assert_eq!(handle.as_str(), text.to_ascii_lowercase());
            prop_assert_eq!(handle.as_str().parse(), Ok(handle.clone()));
            prop_assert_eq!(handle.to_string().parse(), Ok(handle.clone()));
            let loud: Handle = text.to_ascii_uppercase().parse()?;
            prop_assert_eq!(loud.aggregate(), handle.aggregate());
            for partitions in [1, 8, 1_000] {
                let partition = handle.aggregate().route().partition(partitions);
                prop_assert!(partition.0 < partitions);
            }
        }

        #[test]
        fn whatever_looks_like_a_handle_and_is_none_is_refused(text in any::odd_text(34)) {
            let legal = text.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_'));
            let fits = (2..=30).contains(&text.chars().count());
            let handle = text.parse::<Handle>();
            prop_assert_eq!(handle.is_ok(), legal && fits, "{:?}", text);
        }

        #[test]
        fn different_handles_are_different_aggregates(
            one in "[a-z0-9_]{2,4}",
            other in "[a-z0-9_]{2,4}",
        ) {
            let (one, other): (Handle, Handle) = (one.parse()?, other.parse()?);
            prop_assert_eq!(one == other, one.aggregate() == other.aggregate());
        }
    }

    #[test]
    fn nobody_is_the_service_in_any_spelling() -> Result<(), InvalidHandle> {
        for reserved in RESERVED {
            let shouted: Handle = reserved.to_ascii_uppercase().parse()?;
            assert!(shouted.is_reserved(), "{shouted}");
        }
        for free in ["ada", "admin_ada", "meg", "supporters"] {
            assert!(!free.parse::<Handle>()?.is_reserved(), "{free}");
        }
        Ok(())
    }

    #[test]
    fn a_handle_stays_where_it_was_routed_in_every_release() -> Result<(), InvalidHandle> {
        let routed = |text: &str| Ok(text.parse::<Handle>()?.aggregate());
        let ada = routed("ada")?;
        assert_eq!(ada, routed("ADA")?);
        assert_eq!(ada.to_string(), "2:e9e80f0c-ba7f-50e0-9e37-c4df707b5307");
        assert_eq!(ada.route(), Route(0x5307));
        Ok(())
    }
}
