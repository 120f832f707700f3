//! What properties draw, here and in the rooms above: nouns, events, commands in any
//! order and the histories that they leave. Few of each noun, so that commands meet.

mod edges;
mod events;
mod history;
mod life;
mod steps;

use kernel::{AccountId, Personal, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};
use uuid::Uuid;

use crate::{
    accounts::Standing,
    bookmark_folders::{FolderId, FolderState},
    handles::Handle,
    posts::{Language, PostId, PostState, Text, Visibility},
};

pub use edges::{AnyEdge, EDGES, Far, edge};
pub use events::event;
pub use history::{Asked, Entry, Log, PARTITIONS};
pub use life::history;
pub use steps::{ACCOUNTS, BEGINNING, Step, step};

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

pub fn folder() -> impl Strategy<Value = FolderId> {
    (21..=23_u128).prop_map(|number| FolderId(Uuid::from_u128(number)))
}

/// A folder as another feature finds it, possible or not.
pub fn folder_state() -> impl Strategy<Value = FolderState> {
    (option::of(account()), prop::bool::weighted(0.2))
        .prop_map(|(owner, deleted)| FolderState { owner, deleted })
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
    select(vec!["en", "pt-BR", "zh-Hant-TW"]).prop_filter_map("a language", |tag| tag.parse().ok())
}

/// A personal field as the log holds it.
pub fn stored() -> impl Strategy<Value = Personal> {
    prop_oneof![
        Just(Personal::Erased),
        vec(any::<u8>(), 1..40).prop_map(Personal::Sealed),
    ]
}
