//! What anybody may ask for, drawn at random.

use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};

use super::{AnyEdge, EDGES, language};
use crate::{
    accounts::{Bio, DisplayName},
    bookmark_folders::FolderName,
    posts::{Language, Metadata, Text, Visibility},
};

pub const ACCOUNTS: u16 = 7;
pub const BEGINNING: i64 = 1_790_000_000_000;
pub(super) const POSTS: u64 = 9;
/// Of each account.
pub(super) const FOLDERS: u64 = 3;

/// Who, when, and what; accounts and posts by their number.
#[derive(Clone, Debug)]
pub struct Step {
    pub(super) account: u16,
    pub(super) post: u64,
    pub(super) seconds: i64,
    pub(super) erased: bool,
    pub(super) wish: Wish,
}

#[derive(Clone, Debug)]
pub(super) enum Wish {
    Register(Option<DisplayName>),
    Release,
    Abandon,
    Update(Option<DisplayName>, Option<Bio>, Option<bool>),
    Deactivate,
    Reactivate,
    Pin,
    Unpin,
    Publish(Words, Visibility, Option<u64>),
    Edit(Words),
    Delete,
    /// To the step's post, or to this account.
    Make(&'static AnyEdge, u16),
    End(&'static AnyEdge, u16),
    Accept(u16),
    Remove(u16),
    /// Folders by their number.
    MakeFolder(u64, FolderName),
    RenameFolder(u64, FolderName),
    DeleteFolder(u64),
    /// Into the folder with this number, or out of all.
    File(Option<u64>),
}

#[derive(Clone, Debug)]
pub(super) struct Words {
    pub text: Text,
    pub language: Option<Language>,
    pub metadata: Option<Metadata>,
}

/// Text that a database or a list of texts could stumble over.
fn text() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "#rust",
        "#wald",
        "#ﷺ",
        "#İ",
        "@person_1",
        "@person_2",
        "'",
        "\"",
        "\\",
        "{a,b}",
        "NULL",
        ",",
        " ",
        "\n",
        "\u{200b}",
        "\u{202e}",
        "\u{ffff}",
        "🧑\u{200d}🚀",
        "$1",
        "%s",
    ]);
    let piece = prop_oneof![4 => piece.prop_map(str::to_owned), 1 => "\\PC{0,4}"];
    vec(piece, 1..6).prop_map(|pieces| pieces.join(" "))
}

fn short<T: std::str::FromStr + std::fmt::Debug>() -> impl Strategy<Value = T> {
    let texts = prop_oneof![1 => Just(String::new()), 4 => text()];
    texts.prop_filter_map("a short text", |text| text.parse().ok())
}

fn words() -> impl Strategy<Value = Words> {
    let text = text().prop_filter_map("a text", |text| text.parse().ok());
    let metadata = option::weighted(0.3, metadata());
    (text, option::of(language()), metadata).prop_map(|(text, language, metadata)| Words {
        text,
        language,
        metadata,
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let number = prop_oneof![
        any::<f64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
    ];
    ("\\PC{0,6}", number, text()).prop_filter_map("metadata", |(key, number, text)| {
        Metadata::try_from(serde_json::json!({ key: [number, text, null] })).ok()
    })
}

/// Mostly those who are there from the beginning, so that they meet.
fn somebody() -> impl Strategy<Value = u16> {
    prop_oneof![3 => 0..ACCOUNTS / 2, 1 => 0..ACCOUNTS]
}

fn wish() -> impl Strategy<Value = Wish> {
    let visibility = select(vec![
        Visibility::Public,
        Visibility::Public,
        Visibility::Followers,
    ]);
    let private = option::weighted(0.6, prop::bool::weighted(0.7));
    let profile = (option::of(short()), option::of(short()), private);
    let publish = (words(), visibility, option::of(0..POSTS));
    let edges = EDGES.iter().map(|edge| edge.weights.0 + edge.weights.1);
    let (account, post) = (
        prop_oneof![
            4 => option::of(short()).prop_map(Wish::Register),
            3 => Just(Wish::Release),
            3 => Just(Wish::Abandon),
            6 => profile.prop_map(|(name, bio, private)| Wish::Update(name, bio, private)),
            3 => Just(Wish::Deactivate),
            5 => Just(Wish::Reactivate),
            3 => Just(Wish::Pin),
            5 => Just(Wish::Unpin),
        ],
        prop_oneof![
            8 => publish.prop_map(|(words, seen, parent)| Wish::Publish(words, seen, parent)),
            6 => words().prop_map(Wish::Edit),
            2 => Just(Wish::Delete),
        ],
    );
    let folder = prop_oneof![
        3 => (0..FOLDERS, short()).prop_map(|(number, name)| Wish::MakeFolder(number, name)),
        2 => (0..FOLDERS, short()).prop_map(|(number, name)| Wish::RenameFolder(number, name)),
        1 => (0..FOLDERS).prop_map(Wish::DeleteFolder),
        6 => option::weighted(0.8, 0..FOLDERS).prop_map(Wish::File),
    ];
    prop_oneof![
        32 => account,
        16 => post,
        edges.sum::<u32>() => edge(),
        4 => somebody().prop_map(Wish::Accept),
        5 => somebody().prop_map(Wish::Remove),
        12 => folder,
    ]
}

/// Each edge as often as its weights say.
fn edge() -> impl Strategy<Value = Wish> {
    let edges = EDGES.iter().flat_map(|edge| {
        let make = somebody().prop_map(move |to| Wish::Make(edge, to));
        let end = somebody().prop_map(move |to| Wish::End(edge, to));
        [
            (edge.weights.0, make.boxed()),
            (edge.weights.1, end.boxed()),
        ]
    });
    Union::new_weighted(edges.collect())
}

pub fn step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![3 => 0..60_i64, 1 => 0..400_000_i64];
    let account = prop_oneof![1 => 0..ACCOUNTS / 2, 1 => 0..ACCOUNTS];
    let erased = prop::bool::weighted(0.1);
    (account, 0..POSTS, seconds, erased, wish()).prop_map(
        |(account, post, seconds, erased, wish)| Step {
            account,
            post,
            seconds,
            erased,
            wish,
        },
    )
}
