//! The history that steps leave behind: each is a command, taken or refused.

use kernel::{AccountId, ExpectedVersion, Route, Timestamp, compose_id};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    ACCOUNTS, AnyEdge, Asked, BEGINNING, Entry, Far, Log, Step,
    steps::{Wish, Words},
};
use crate::{
    accounts::{
        AbandonRegistration, Accounts, DeactivateAccount, DisplayName, PinPost, ReactivateAccount,
        RegisterAccount, Standing, UnpinPost, UpdateProfile,
    },
    bookmark_folders::{DeleteFolder, FolderId, MakeFolder, RenameFolder},
    bookmarks::Bookmarks,
    edges::Connect,
    follows::{AcceptFollower, RemoveFollower, SeverFollow},
    handles::{Handle, ReleaseHandle, ReserveHandle},
    kinds,
    posts::{Change, DeletePost, EditPost, PostId, PublishPost, Visibility},
};

/// Whether a command was not refused.
type Taken = Result<bool, TestCaseError>;

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

fn folder(owner: AccountId, number: u64) -> FolderId {
    FolderId(compose_id(BEGINNING as u64 + number, [2; 8], owner.route()))
}

fn handle(number: u16) -> Result<Handle, TestCaseError> {
    Ok(format!("person_{number}").parse()?)
}

pub fn history(steps: &[Step]) -> Result<Vec<Entry>, TestCaseError> {
    let mut log = Log::default();
    for number in 0..ACCOUNTS / 2 {
        let asked = Asked {
            actor: account(number),
            at: BEGINNING,
            erased: false,
        };
        register(&mut log, asked, number, None)?;
    }
    for step in steps {
        take(&mut log, step)?;
    }
    Ok(log.entries())
}

fn register(log: &mut Log, asked: Asked, number: u16, display_name: Option<DisplayName>) -> Taken {
    let reserve = ReserveHandle {
        handle: handle(number)?,
        account: asked.actor,
        attempt: asked.actor.0,
        now: Timestamp(asked.at),
        abandoned: None,
    };
    let register = RegisterAccount {
        account: asked.actor,
        handle: handle(number)?,
        display_name,
    };
    Ok(log.execute(asked, &reserve)? && log.execute(asked, &register)?)
}

fn is_registered(log: &Log, account: AccountId) -> Taken {
    let state = log.state::<Accounts>(Accounts::id(account))?;
    Ok(state.standing == Standing::Registered)
}

/// What only an author may do is mostly asked by the author.
fn take(log: &mut Log, step: &Step) -> Taken {
    let asked = Asked {
        actor: account(step.account),
        at: BEGINNING + step.seconds * 1_000,
        erased: step.erased,
    };
    let own = Asked {
        actor: author(step.post),
        ..asked
    };
    let account = asked.actor;
    match step.wish.clone() {
        Wish::Register(name) => register(log, asked, step.account, name),
        Wish::Abandon => log.execute(asked, &AbandonRegistration { account }),
        Wish::Release if !is_registered(log, account)? => {
            let handle = handle(step.account)?;
            log.execute(asked, &ReleaseHandle { handle, account })
        }
        Wish::Reactivate => log.execute(asked, &ReactivateAccount { account }),
        // Nobody else can sign in.
        _ if !is_registered(log, account)? || !is_registered(log, own.actor)? => Ok(false),
        wish => signed_in(log, wish, post(step.post), asked, own),
    }
}

fn signed_in(log: &mut Log, wish: Wish, post_id: PostId, asked: Asked, own: Asked) -> Taken {
    let account_id = asked.actor;
    match wish {
        Wish::Update(display_name, bio, private) => {
            let update = UpdateProfile {
                account: account_id,
                display_name,
                bio,
                private,
                expected_version: ExpectedVersion::Any,
            };
            log.execute(asked, &update)
        }
        Wish::Deactivate => {
            let account = account_id;
            log.execute(asked, &DeactivateAccount { account })
        }
        Wish::Pin => {
            let (account, post) = (own.actor, post_id);
            log.execute(own, &PinPost { account, post })
        }
        Wish::Unpin => {
            let account = account_id;
            log.execute(asked, &UnpinPost { account })
        }
        Wish::Publish(words, visibility, reply_to) => {
            publish(log, own, post_id, words, visibility, reply_to.map(post))
        }
        Wish::Edit(words) => edit(log, own, post_id, words),
        Wish::Delete => {
            let delete = DeletePost {
                post: post_id,
                actor: own.actor,
                expected_version: ExpectedVersion::Any,
            };
            log.execute(own, &delete)
        }
        Wish::Make(edge, other) => make(log, edge, asked, far(edge, post_id, other)),
        Wish::End(edge, other) => (edge.end)(log, asked, far(edge, post_id, other)),
        Wish::Accept(other) => {
            let (account, follower) = (account_id, account(other));
            log.execute(asked, &AcceptFollower { account, follower })
        }
        Wish::Remove(other) => {
            let (account, follower) = (account_id, account(other));
            log.execute(asked, &RemoveFollower { account, follower })
        }
        Wish::MakeFolder(..) | Wish::RenameFolder(..) | Wish::DeleteFolder(_) | Wish::File(_) => {
            file(log, wish, post_id, asked)
        }
        Wish::Register(_) | Wish::Abandon | Wish::Release | Wish::Reactivate => Ok(false),
    }
}

/// What one does with folders of one's own.
fn file(log: &mut Log, wish: Wish, post: PostId, asked: Asked) -> Taken {
    let actor = asked.actor;
    match wish {
        Wish::MakeFolder(number, name) => {
            let make = MakeFolder {
                folder: folder(actor, number),
                owner: actor,
                name,
                others: 0,
            };
            log.execute(asked, &make)
        }
        Wish::RenameFolder(number, name) => {
            let rename = RenameFolder {
                folder: folder(actor, number),
                actor,
                name,
                expected_version: ExpectedVersion::Any,
            };
            log.execute(asked, &rename)
        }
        Wish::DeleteFolder(number) => {
            let delete = DeleteFolder {
                folder: folder(actor, number),
                actor,
                expected_version: ExpectedVersion::Any,
            };
            log.execute(asked, &delete)
        }
        Wish::File(number) => {
            let into = number.map(|number| folder(actor, number));
            log.execute(asked, &Connect::<Bookmarks>::new(actor, post).with(into))
        }
        _ => Ok(false),
    }
}

fn publish(
    log: &mut Log,
    own: Asked,
    post: PostId,
    words: Words,
    visibility: Visibility,
    reply_to: Option<PostId>,
) -> Taken {
    let publish = PublishPost {
        post,
        author: own.actor,
        text: words.text,
        language: words.language,
        metadata: words.metadata,
        visibility,
        reply_to,
    };
    log.execute(own, &publish)
}

fn edit(log: &mut Log, own: Asked, post: PostId, words: Words) -> Taken {
    let edit = EditPost {
        post,
        actor: own.actor,
        text: words.text,
        language: change(words.language, own.at),
        metadata: change(words.metadata, own.at / 1_000),
        expected_version: ExpectedVersion::Any,
    };
    log.execute(own, &edit)
}

/// What is left out stays, or goes.
fn change<T>(value: Option<T>, at: i64) -> Change<T> {
    match value {
        Some(value) => Change::Set(value),
        None if at % 2 == 0 => Change::Clear,
        None => Change::Keep,
    }
}

fn far(edge: &AnyEdge, post: PostId, other: u16) -> Uuid {
    match edge.far {
        Far::Account => account(other).0,
        Far::Post => post.0,
    }
}

/// A block ends the follows between the two.
fn make(log: &mut Log, edge: &AnyEdge, asked: Asked, to: Uuid) -> Taken {
    let is_taken = (edge.make)(log, asked, to)?;
    if is_taken && edge.kind() == kinds::BLOCK {
        let (one, other) = (asked.actor, AccountId(to));
        for (follower, followed) in [(one, other), (other, one)] {
            log.execute(asked, &SeverFollow { follower, followed })?;
        }
    }
    Ok(is_taken)
}
