//! Properties of accounts: any commands in any order, told beforehand by a
//! plainer model. It refuses to look at words: they are not decided on.

use std::collections::BTreeMap;

use kernel::ExpectedVersion;
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    any,
    memory::Memory,
    posts::{PostState, Posts, Visibility},
};

#[derive(Clone, Debug)]
enum Step {
    PostBecomes(PostId, PostState),
    PostIsDamaged(PostId),
    Register(RegisterAccount),
    Abandon(AbandonRegistration),
    /// With the version that is expected: any, the right one, or one further.
    Update(UpdateProfile, Option<bool>),
    Pin(PinPost),
    Unpin(UnpinPost),
    Deactivate(DeactivateAccount),
    Reactivate(ReactivateAccount),
}

fn step() -> impl Strategy<Value = Step> {
    let post = (any::post(), any::post_state());
    let register = (any::account(), any::handle(), option::of(display_name()));
    let fields = (
        option::of(display_name()),
        option::of(bio()),
        option::of(any::<bool>()),
    );
    let update = (any::account(), fields, option::of(any::<bool>()));
    prop_oneof![
        post.prop_map(|(post, state)| Step::PostBecomes(post, state)),
        any::post().prop_map(Step::PostIsDamaged),
        register.prop_map(|(account, handle, display_name)| {
            Step::Register(RegisterAccount {
                account,
                handle,
                display_name,
            })
        }),
        any::account().prop_map(|account| Step::Abandon(AbandonRegistration { account })),
        update.prop_map(|(account, (display_name, bio, private), expected)| {
            let update = UpdateProfile {
                account,
                display_name,
                bio,
                private,
                expected_version: ExpectedVersion::Any,
            };
            Step::Update(update, expected)
        }),
        (any::account(), any::post())
            .prop_map(|(account, post)| Step::Pin(PinPost { account, post })),
        any::account().prop_map(|account| Step::Unpin(UnpinPost { account })),
        any::account().prop_map(|account| Step::Deactivate(DeactivateAccount { account })),
        any::account().prop_map(|account| Step::Reactivate(ReactivateAccount { account })),
    ]
}

fn display_name() -> impl Strategy<Value = DisplayName> {
    prop_oneof![Just(""), Just("Ada")].prop_filter_map("a name", |name| name.parse().ok())
}

fn bio() -> impl Strategy<Value = Bio> {
    prop_oneof![Just(""), Just("Counts.")].prop_filter_map("a bio", |bio| bio.parse().ok())
}

/// What the model knows of an account.
#[derive(Clone, Debug, Default)]
struct Known {
    version: u64,
    state: AccountState,
}

impl Known {
    fn registered(&self) -> Result<(), AccountError> {
        match self.state.standing {
            Standing::Registered => Ok(()),
            Standing::Unknown | Standing::Abandoned | Standing::Deactivated => {
                Err(AccountError::AccountNotFound)
            }
        }
    }
}

type Decided = Result<Vec<AccountEvent>, AccountError>;

fn register(known: &mut Known, command: &RegisterAccount) -> Decided {
    match known.state.standing {
        Standing::Abandoned => return Err(AccountError::RegistrationAbandoned),
        Standing::Registered | Standing::Deactivated => {
            let same = known.state.handle.as_ref() == Some(&command.handle);
            return match same {
                true => Ok(vec![]),
                false => Err(AccountError::AccountExists),
            };
        }
        Standing::Unknown => {}
    }
    known.state.standing = Standing::Registered;
    known.state.handle = Some(command.handle.clone());
    let name = command.display_name.as_ref().map(DisplayName::as_str);
    let registered = AccountRegistered {
        handle: command.handle.clone(),
        display_name: match name {
            None | Some("") => None,
            Some(name) => Some(Personal::plain(name)),
        },
    };
    Ok(vec![registered.into()])
}

fn abandon(known: &mut Known) -> Decided {
    match known.state.standing {
        Standing::Registered | Standing::Deactivated => Err(AccountError::AccountExists),
        Standing::Abandoned => Ok(vec![]),
        Standing::Unknown => {
            known.state.standing = Standing::Abandoned;
            Ok(vec![RegistrationAbandoned {}.into()])
        }
    }
}

fn update(known: &mut Known, command: &UpdateProfile) -> Decided {
    known.registered()?;
    match &command.expected_version {
        ExpectedVersion::OneOf(versions) if !versions.contains(&known.version) => {
            return Err(AccountError::VersionMismatch(known.version));
        }
        ExpectedVersion::OneOf(_) | ExpectedVersion::Any => {}
    }
    let text = |text: &str| Personal::plain(text);
    let updated = ProfileUpdated {
        display_name: command.display_name.as_ref().map(|t| text(t.as_str())),
        bio: command.bio.as_ref().map(|t| text(t.as_str())),
    };
    let mut events: Vec<AccountEvent> = match (&updated.display_name, &updated.bio) {
        (None, None) => vec![],
        _ => vec![updated.into()],
    };
    let before = known.state.private;
    known.state.private = command.private.unwrap_or(before);
    match (before, known.state.private) {
        (false, true) => events.push(AccountMadePrivate {}.into()),
        (true, false) => events.push(AccountMadePublic {}.into()),
        (false, false) | (true, true) => {}
    }
    Ok(events)
}

fn deactivate(known: &mut Known) -> Decided {
    if known.state.standing == Standing::Deactivated {
        return Ok(vec![]);
    }
    known.registered()?;
    known.state.standing = Standing::Deactivated;
    Ok(vec![AccountDeactivated {}.into()])
}

fn reactivate(known: &mut Known) -> Decided {
    if known.state.standing != Standing::Deactivated {
        return known.registered().map(|()| vec![]);
    }
    known.state.standing = Standing::Registered;
    Ok(vec![AccountReactivated {}.into()])
}

fn pin(known: &mut Known, command: &PinPost, post: &PostState) -> Decided {
    known.registered()?;
    let own = post.author == Some(command.account);
    if !own || post.deleted || post.visibility != Visibility::Public {
        return Err(AccountError::PostNotOwn);
    }
    let before = known.state.pinned.replace(command.post);
    match before == Some(command.post) {
        true => Ok(vec![]),
        false => Ok(vec![PostPinned { post: command.post }.into()]),
    }
}

fn unpin(known: &mut Known) -> Decided {
    known.registered()?;
    let unpinned = known.state.pinned.take();
    let unpinned = unpinned.map(|post| PostUnpinned { post }.into());
    Ok(unpinned.into_iter().collect())
}

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn an_account_is_registered_or_abandoned_once_and_pins_its_own(
        steps in vec(step(), 1..60),
    ) {
        let mut memory = Memory::default();
        let mut accounts: BTreeMap<AccountId, Known> = BTreeMap::new();
        for step in steps {
            let (account, decided, expected) = match step {
                Step::PostBecomes(post, state) => {
                    memory.set::<Posts>(Posts::id(post), &state)?;
                    continue;
                }
                Step::PostIsDamaged(post) => {
                    memory.damage(Posts::id(post));
                    continue;
                }
                Step::Register(command) => {
                    let known = accounts.entry(command.account).or_default();
                    (command.account, memory.execute(&command)?, register(known, &command))
                }
                Step::Abandon(command) => {
                    let known = accounts.entry(command.account).or_default();
                    (command.account, memory.execute(&command)?, abandon(known))
                }
                Step::Update(mut command, expected) => {
                    let known = accounts.entry(command.account).or_default();
                    let further = |right: bool| known.version + u64::from(!right);
                    command.expected_version = expected.map(|right| further(right).into()).unwrap_or_default();
                    (command.account, memory.execute(&command)?, update(known, &command))
                }
                Step::Pin(command) => {
                    let known = accounts.entry(command.account).or_default();
                    let post = memory.current::<Posts>(Posts::id(command.post)).unwrap_or_default();
                    let expected = pin(known, &command, &post.state);
                    let decided = memory.execute(&command)?;
                    if decided.is_ok() {
                        prop_assert_eq!(memory.execute(&command)?, Ok(vec![]));
                    }
                    (command.account, decided, expected)
                }
                Step::Unpin(command) => {
                    let known = accounts.entry(command.account).or_default();
                    (command.account, memory.execute(&command)?, unpin(known))
                }
                Step::Deactivate(command) => {
                    let known = accounts.entry(command.account).or_default();
                    (command.account, memory.execute(&command)?, deactivate(known))
                }
                Step::Reactivate(command) => {
                    let known = accounts.entry(command.account).or_default();
                    (command.account, memory.execute(&command)?, reactivate(known))
                }
            };
            prop_assert_eq!(&decided, &expected);
            let known = accounts.entry(account).or_default();
            known.version += decided.map_or(0, |events| events.len() as u64);
            for (account, known) in &accounts {
                let found = memory.current::<Accounts>(Accounts::id(*account))?;
                prop_assert_eq!((found.version, &found.state), (known.version, &known.state));
                let state = &found.state;
                let named = matches!(state.standing, Standing::Registered | Standing::Deactivated);
                prop_assert_eq!(state.handle.is_some(), named);
                prop_assert!(named || state.pinned.is_none());
            }
        }
    }

    #[test]
    fn a_short_text_is_trimmed_once_and_bounded_in_characters(
        text in prop_oneof![any::odd_text(8), any::odd_text(DISPLAY_NAME_CHARACTERS_MAX + 9)],
    ) {
        let inner = text.trim();
        let turns = |c: char| {
            ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        let turned = inner.chars().any(turns);
        let controls = inner.chars().any(char::is_control);
        let long = inner.chars().count() > DISPLAY_NAME_CHARACTERS_MAX;
        let name = text.parse::<DisplayName>();
        prop_assert!(name.is_err() || !(controls || turned || long));
        if let Ok(name) = name {
            prop_assert_eq!(name.as_str(), inner);
            prop_assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
        let bio = text.parse::<Bio>();
        prop_assert!(bio.is_err() || !turned);
        let plain = inner.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        prop_assert!(!plain || bio.is_ok() && text.parse::<DisplayName>().is_ok() != long);
    }
}
