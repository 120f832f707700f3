//! For properties: what they draw. Few of each noun, so that commands meet.

use kernel::{AccountId, Personal, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};
use uuid::Uuid;

use crate::{
    Event,
    accounts::{
        AccountDeactivated, AccountEvent, AccountMadePrivate, AccountMadePublic,
        AccountReactivated, AccountRegistered, PostPinned, PostUnpinned, ProfileUpdated,
        RegistrationAbandoned, Standing,
    },
    blocks::{BlockEvent, Blocked, Unblocked},
    follows::{
        FollowEvent, FollowRequestAccepted, FollowRequestRejected, FollowRequestWithdrawn,
        FollowRequested, FollowSevered, Followed, FollowerRemoved, Unfollowed,
    },
    handles::{Handle, HandleEvent, HandleReleased, HandleReserved},
    likes::{LikeEvent, Liked, Unliked},
    mutes::{MuteEvent, Muted, Unmuted},
    operations::{OperationEvent, OperatorActed},
    posts::{
        Language, PostCreated, PostDeleted, PostEdited, PostEvent, PostId, PostState, Reply, Text,
        Visibility,
    },
};

/// Nothing is kept in files: what is found becomes a test with a name.
pub fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

pub fn account() -> impl Strategy<Value = AccountId> {
    (1..=4_u128).prop_map(|number| AccountId(Uuid::from_u128(number)))
}

pub fn post() -> impl Strategy<Value = PostId> {
    (11..=14_u128).prop_map(|number| PostId(Uuid::from_u128(number)))
}

pub fn handle() -> impl Strategy<Value = Handle> {
    select(vec!["ada", "bob", "eve"]).prop_filter_map("a handle", |handle| handle.parse().ok())
}

pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

pub fn standing() -> impl Strategy<Value = Standing> {
    select(vec![
        Standing::Unknown,
        Standing::Registered,
        Standing::Abandoned,
        Standing::Deactivated,
    ])
}

pub fn visibility() -> impl Strategy<Value = Visibility> {
    select(vec![Visibility::Public, Visibility::Followers])
}

/// A post as another feature finds it, possible or not.
pub fn post_state() -> impl Strategy<Value = PostState> {
    let root = option::of(post());
    (option::of(account()), visibility(), root, any::<bool>()).prop_map(
        |(author, visibility, root, deleted)| PostState {
            author,
            visibility,
            root,
            deleted,
        },
    )
}

/// Characters that fold to several, to none that may stand in a word, or to
/// what another one is; that join, turn or hide; and the marks themselves.
const ODD: [char; 44] = [
    '#', '＃', '@', '＠', '&', '_', '-', ' ', '\n', '\r', '\t', '\0', '\u{7f}', '\u{85}', '\u{a0}',
    '\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200f}', '\u{202e}', '\u{2066}', '\u{feff}',
    '\u{fe0f}', '\u{301}', '\u{345}', '\u{37a}', '\u{fc5e}', 'ﷺ', 'İ', 'ı', 'ß', 'ẞ', 'Σ', 'ς',
    'ﬃ', 'ŉ', 'ａ', '½', '①', '㊀', 'Ⅷ', 'ह', '🧑',
];

/// Any text, with more of what is odd than chance would give.
pub fn odd_text(characters_max: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        3 => select(ODD.to_vec()),
        2 => prop::char::range('a', 'z'),
        1 => prop::char::range('A', 'Z'),
        1 => prop::char::range('0', '9'),
        2 => any::<char>(),
    ];
    vec(character, 0..=characters_max).prop_map(String::from_iter)
}

/// Words that mention, tag and mean nothing.
pub fn text() -> impl Strategy<Value = Text> {
    let word = select(vec![
        "@ada", "@Bob", "@nobody", "#tag", "hi", "a@eve", "ünd",
    ]);
    vec(word, 1..6).prop_filter_map("a text", |words| words.join(" ").parse().ok())
}

pub fn language() -> impl Strategy<Value = Language> {
    select(vec!["en", "pt-BR"]).prop_filter_map("a language", |tag| tag.parse().ok())
}

/// A personal field as the log holds it.
pub fn stored() -> impl Strategy<Value = Personal> {
    prop_oneof![
        Just(Personal::Erased),
        vec(any::<u8>(), 1..40).prop_map(Personal::Sealed),
    ]
}

/// Every event of every feature, as the log holds it.
pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        like_event().prop_map(Event::Like),
        follow_event().prop_map(Event::Follow),
        post_event().prop_map(Event::Post),
        account_event().prop_map(Event::Account),
        handle_event().prop_map(Event::Handle),
        operation_event().prop_map(Event::Operation),
        block_event().prop_map(Event::Block),
        mute_event().prop_map(Event::Mute),
    ]
}

fn operation_event() -> impl Strategy<Value = OperationEvent> {
    let text = || "[a-z ]{0,9}";
    (text(), text(), text(), option::of(text())).prop_map(|(operator, action, target, reason)| {
        let acted = OperatorActed {
            operator,
            action,
            target,
            reason,
        };
        acted.into()
    })
}

fn like_event() -> impl Strategy<Value = LikeEvent> {
    prop_oneof![
        account().prop_map(|post_author| Liked { post_author }.into()),
        account().prop_map(|post_author| Unliked { post_author }.into()),
    ]
}

fn follow_event() -> impl Strategy<Value = FollowEvent> {
    select(vec![
        Followed {}.into(),
        Unfollowed {}.into(),
        FollowRequested {}.into(),
        FollowRequestWithdrawn {}.into(),
        FollowRequestAccepted {}.into(),
        FollowRequestRejected {}.into(),
        FollowerRemoved {}.into(),
        FollowSevered {}.into(),
    ])
}

fn block_event() -> impl Strategy<Value = BlockEvent> {
    select(vec![Blocked {}.into(), Unblocked {}.into()])
}

fn mute_event() -> impl Strategy<Value = MuteEvent> {
    select(vec![Muted {}.into(), Unmuted {}.into()])
}

fn handle_event() -> impl Strategy<Value = HandleEvent> {
    let reserved = (handle(), account(), any::<u128>(), timestamp());
    prop_oneof![
        reserved.prop_map(|(handle, account, attempt, reserved_at)| {
            let attempt = Uuid::from_u128(attempt);
            HandleReserved {
                handle,
                account,
                attempt,
                reserved_at,
            }
            .into()
        }),
        (handle(), account())
            .prop_map(|(handle, account)| HandleReleased { handle, account }.into()),
    ]
}

fn account_event() -> impl Strategy<Value = AccountEvent> {
    let name = || option::of(stored());
    prop_oneof![
        (handle(), name()).prop_map(|(handle, display_name)| AccountRegistered {
            handle,
            display_name
        }
        .into()),
        Just(RegistrationAbandoned {}.into()),
        (name(), name())
            .prop_map(|(display_name, bio)| ProfileUpdated { display_name, bio }.into()),
        post().prop_map(|post| PostPinned { post }.into()),
        post().prop_map(|post| PostUnpinned { post }.into()),
        select(vec![
            AccountMadePrivate {}.into(),
            AccountMadePublic {}.into(),
            AccountDeactivated {}.into(),
            AccountReactivated {}.into(),
        ]),
    ]
}

fn post_event() -> impl Strategy<Value = PostEvent> {
    prop_oneof![
        (
            content(),
            option::of(language()),
            account(),
            visibility(),
            option::of(reply())
        )
            .prop_map(|(edited, language, author, visibility, reply)| {
                let created = PostCreated {
                    author,
                    text: edited.text,
                    hashtags: edited.hashtags,
                    metadata: edited.metadata,
                    language,
                    visibility,
                    mentions: edited.mentions,
                    reply,
                };
                created.into()
            }),
        content().prop_map(PostEvent::from),
        account().prop_map(|author| PostDeleted { author }.into()),
    ]
}

fn content() -> impl Strategy<Value = PostEdited> {
    let field = || option::of(stored());
    let mentions = vec(account(), 0..4);
    // A tag, or empty where it was cleared.
    let tag = language().prop_map(|language| language.as_str().to_owned());
    let tag = prop_oneof![3 => tag, 1 => Just(String::new())];
    (stored(), field(), field(), option::of(tag), mentions).prop_map(
        |(text, hashtags, metadata, language, mentions)| PostEdited {
            text,
            hashtags,
            metadata,
            language,
            mentions,
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    (post(), account(), post()).prop_map(|(parent, parent_author, root)| Reply {
        parent,
        parent_author,
        root,
    })
}
