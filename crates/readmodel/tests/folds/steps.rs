//! What anybody may ask for, at random, and the log that it leaves behind. It
//! refuses to fold.

use domain::{
    Event,
    accounts::{
        AbandonRegistration, Accounts, Bio, DeactivateAccount, DisplayName, PinPost,
        ReactivateAccount, RegisterAccount, Standing, UnpinPost, UpdateProfile,
    },
    blocks::Blocks,
    edges::{Connect, Disconnect},
    follows::{AcceptFollower, FollowAccount, RemoveFollower, SeverFollow, UnfollowAccount},
    handles::{Handle, ReleaseHandle, ReserveHandle},
    likes::Likes,
    mutes::Mutes,
    posts::{
        Change, DeletePost, EditPost, Language, Metadata, PostId, PublishPost, Text, Visibility,
    },
};
use kernel::{AccountId, ExpectedVersion, Route, Timestamp, compose_id};
use proptest::{collection::vec, option, prelude::*, sample::select};
use readmodel::Happened;

use super::deciding::{Asked, Deciding};

pub const ACCOUNTS: u16 = 7;
const POSTS: u64 = 9;
const BEGINNING: i64 = 1_790_000_000_000;

/// Who, when, and what; accounts and posts by their number.
#[derive(Clone, Debug)]
pub struct Step {
    account: u16,
    post: u64,
    seconds: i64,
    erased: bool,
    wish: Wish,
}

#[derive(Clone, Debug)]
enum Wish {
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
    Like,
    Unlike,
    Follow(u16),
    Unfollow(u16),
    Accept(u16),
    Remove(u16),
    Block(u16),
    Unblock(u16),
    Mute(u16),
    Unmute(u16),
}

#[derive(Clone, Debug)]
struct Words {
    text: Text,
    language: Option<Language>,
    metadata: Option<Metadata>,
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
    let language = select(vec!["en", "pt-BR", "zh-Hant-TW"]);
    let language = language.prop_map(|tag| tag.parse().unwrap());
    (
        text,
        option::of(language),
        option::weighted(0.3, metadata()),
    )
        .prop_map(|(text, language, metadata)| Words {
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

fn wish() -> impl Strategy<Value = Wish> {
    let visibility = select(vec![
        Visibility::Public,
        Visibility::Public,
        Visibility::Followers,
    ]);
    let private = option::weighted(0.6, prop::bool::weighted(0.7));
    let profile = (option::of(short()), option::of(short()), private);
    // Mostly those who are there from the beginning, so that they meet.
    let somebody = || prop_oneof![3 => 0..ACCOUNTS / 2, 1 => 0..ACCOUNTS];
    let publish = (words(), visibility, option::of(0..POSTS));
    prop_oneof![
        4 => option::of(short()).prop_map(Wish::Register),
        3 => Just(Wish::Release),
        3 => Just(Wish::Abandon),
        6 => profile.prop_map(|(name, bio, private)| Wish::Update(name, bio, private)),
        3 => Just(Wish::Deactivate),
        5 => Just(Wish::Reactivate),
        3 => Just(Wish::Pin),
        5 => Just(Wish::Unpin),
        8 => publish.prop_map(|(words, seen, parent)| Wish::Publish(words, seen, parent)),
        6 => words().prop_map(Wish::Edit),
        2 => Just(Wish::Delete),
        8 => Just(Wish::Like),
        5 => Just(Wish::Unlike),
        10 => somebody().prop_map(Wish::Follow),
        6 => somebody().prop_map(Wish::Unfollow),
        4 => somebody().prop_map(Wish::Accept),
        5 => somebody().prop_map(Wish::Remove),
        2 => somebody().prop_map(Wish::Block),
        6 => somebody().prop_map(Wish::Unblock),
        4 => somebody().prop_map(Wish::Mute),
        4 => somebody().prop_map(Wish::Unmute),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![3 => 0..60_i64, 1 => 0..400_000_i64];
    let account = prop_oneof![1 => 0..ACCOUNTS / 2, 1 => 0..ACCOUNTS];
    (
        account,
        0..POSTS,
        seconds,
        prop::bool::weighted(0.1),
        wish(),
    )
        .prop_map(|(account, post, seconds, erased, wish)| Step {
            account,
            post,
            seconds,
            erased,
            wish,
        })
}

fn account(number: u16) -> AccountId {
    let random = [number as u8; 8];
    AccountId(compose_id(BEGINNING as u64, random, Route(number)))
}

/// A post has one author for ever, so its number says who: it has their route.
fn author(post: u64) -> AccountId {
    account((post % u64::from(ACCOUNTS)) as u16)
}

fn post(number: u64) -> PostId {
    let at = BEGINNING as u64 + number;
    PostId(compose_id(at, [1; 8], author(number).route()))
}

pub fn history(steps: &[Step]) -> Vec<Happened> {
    let mut log = Deciding::default();
    for number in 0..ACCOUNTS / 2 {
        let asked = Asked {
            actor: account(number),
            at: BEGINNING,
            erased: false,
        };
        register(&mut log, asked, number, None);
    }
    for step in steps {
        take(&mut log, step);
    }
    log.history()
}

fn handle(number: u16) -> Handle {
    format!("person_{number}").parse().unwrap()
}

fn register(log: &mut Deciding, asked: Asked, number: u16, display_name: Option<DisplayName>) {
    let reserve = ReserveHandle {
        handle: handle(number),
        account: asked.actor,
        attempt: asked.actor.0,
        now: Timestamp(asked.at),
        abandoned: None,
    };
    let register = RegisterAccount {
        account: asked.actor,
        handle: handle(number),
        display_name,
    };
    if log.execute(asked, &reserve, Event::Handle) {
        log.execute(asked, &register, Event::Account);
    }
}

fn registered(log: &Deciding, account: AccountId) -> bool {
    let state = log.state::<Accounts>(Accounts::id(account));
    state.standing == Standing::Registered
}

/// What is left out stays, or goes.
fn change<T>(value: Option<T>, at: i64) -> Change<T> {
    match value {
        Some(value) => Change::Set(value),
        None if at % 2 == 0 => Change::Clear,
        None => Change::Keep,
    }
}

/// One command, taken or refused. What only an author may do is mostly asked
/// by the author.
fn take(log: &mut Deciding, step: &Step) {
    let asked = Asked {
        actor: account(step.account),
        at: BEGINNING + step.seconds * 1_000,
        erased: step.erased,
    };
    let own = Asked {
        actor: author(step.post),
        ..asked
    };
    let (account_id, post_id) = (asked.actor, post(step.post));
    match step.wish.clone() {
        Wish::Register(name) => register(log, asked, step.account, name),
        Wish::Abandon => {
            let abandon = AbandonRegistration {
                account: account_id,
            };
            log.execute(asked, &abandon, Event::Account);
        }
        Wish::Release if !registered(log, account_id) => {
            let release = ReleaseHandle {
                handle: handle(step.account),
                account: account_id,
            };
            log.execute(asked, &release, Event::Handle);
        }
        Wish::Reactivate => {
            let back = ReactivateAccount {
                account: account_id,
            };
            log.execute(asked, &back, Event::Account);
        }
        // Nobody else can sign in.
        _ if !registered(log, account_id) || !registered(log, own.actor) => {}
        Wish::Release => {}
        Wish::Update(display_name, bio, private) => {
            let update = UpdateProfile {
                account: account_id,
                display_name,
                bio,
                private,
                expected_version: ExpectedVersion::Any,
            };
            log.execute(asked, &update, Event::Account);
        }
        Wish::Deactivate => {
            let leave = DeactivateAccount {
                account: account_id,
            };
            log.execute(asked, &leave, Event::Account);
        }
        Wish::Pin => {
            let pin = PinPost {
                account: own.actor,
                post: post_id,
            };
            log.execute(own, &pin, Event::Account);
        }
        Wish::Unpin => {
            let unpin = UnpinPost {
                account: account_id,
            };
            log.execute(asked, &unpin, Event::Account);
        }
        Wish::Publish(words, visibility, reply_to) => {
            let publish = PublishPost {
                post: post_id,
                author: own.actor,
                text: words.text,
                language: words.language,
                metadata: words.metadata,
                visibility,
                reply_to: reply_to.map(post),
            };
            log.execute(own, &publish, Event::Post);
        }
        Wish::Edit(words) => {
            let edit = EditPost {
                post: post_id,
                actor: own.actor,
                text: words.text,
                language: change(words.language, asked.at),
                metadata: change(words.metadata, asked.at / 1_000),
                expected_version: ExpectedVersion::Any,
            };
            log.execute(own, &edit, Event::Post);
        }
        Wish::Delete => {
            let delete = DeletePost {
                post: post_id,
                actor: own.actor,
                expected_version: ExpectedVersion::Any,
            };
            log.execute(own, &delete, Event::Post);
        }
        Wish::Like => {
            let like = Connect::<Likes>::new(account_id, post_id);
            log.execute(asked, &like, Event::Like);
        }
        Wish::Unlike => {
            let unlike = Disconnect::<Likes>::new(account_id, post_id);
            log.execute(asked, &unlike, Event::Like);
        }
        Wish::Follow(other) => {
            let follow = FollowAccount {
                account: account_id,
                target: account(other),
            };
            log.execute(asked, &follow, Event::Follow);
        }
        Wish::Unfollow(other) => {
            let unfollow = UnfollowAccount {
                account: account_id,
                target: account(other),
            };
            log.execute(asked, &unfollow, Event::Follow);
        }
        Wish::Accept(other) => {
            let accept = AcceptFollower {
                account: account_id,
                follower: account(other),
            };
            log.execute(asked, &accept, Event::Follow);
        }
        Wish::Remove(other) => {
            let remove = RemoveFollower {
                account: account_id,
                follower: account(other),
            };
            log.execute(asked, &remove, Event::Follow);
        }
        Wish::Block(other) => {
            let target = account(other);
            let block = Connect::<Blocks>::new(account_id, target);
            if log.execute(asked, &block, Event::Block) {
                for (follower, followed) in [(account_id, target), (target, account_id)] {
                    let sever = SeverFollow {
                        follower,
                        followed,
                        fence: true,
                    };
                    log.execute(asked, &sever, Event::Follow);
                }
            }
        }
        Wish::Unblock(other) => {
            let unblock = Disconnect::<Blocks>::new(account_id, account(other));
            log.execute(asked, &unblock, Event::Block);
        }
        Wish::Mute(other) => {
            let mute = Connect::<Mutes>::new(account_id, account(other));
            log.execute(asked, &mute, Event::Mute);
        }
        Wish::Unmute(other) => {
            let unmute = Disconnect::<Mutes>::new(account_id, account(other));
            log.execute(asked, &unmute, Event::Mute);
        }
    }
}
