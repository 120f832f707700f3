//! Properties of posts: any commands in any order, told beforehand by a plainer
//! model, with facts about others that come and go. It refuses to look at what
//! readers see.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{AccountId, ExpectedVersion, Personal, Timestamp};
use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

use super::*;
use crate::{
    accounts::{AccountState, Accounts, Standing},
    any,
    blocks::Blocks,
    edges::Held,
    follows::{FollowState, Follows},
    handles::{Handle, HandleState, Handles, Holder},
    memory::Memory,
    text,
};

#[derive(Clone, Debug)]
enum Step {
    AccountBecomes(AccountId, Standing, bool),
    BlockBecomes(AccountId, AccountId, bool),
    HandleBecomes(Handle, Option<AccountId>),
    FollowBecomes(AccountId, AccountId, bool),
    Publish(PublishPost),
    /// With the version that is expected: any, the right one, or one further.
    Edit(EditPost, Option<bool>),
    Delete(DeletePost, Option<bool>),
}

fn step() -> impl Strategy<Value = Step> {
    let standing = prop_oneof![4 => Just(Standing::Registered), 1 => any::standing()];
    let handle = (any::handle(), option::of(any::account()));
    let edge = || (any::account(), any::account(), any::<bool>());
    let account = (any::account(), standing, prop::bool::weighted(0.2));
    let expected = || option::weighted(0.3, any::<bool>());
    prop_oneof![
        2 => account.prop_map(|(a, s, private)| Step::AccountBecomes(a, s, private)),
        1 => edge().prop_map(|(a, b, held)| Step::BlockBecomes(a, b, held)),
        1 => handle.prop_map(|(handle, account)| Step::HandleBecomes(handle, account)),
        2 => edge().prop_map(|(a, b, held)| Step::FollowBecomes(a, b, held)),
        3 => publish().prop_map(Step::Publish),
        3 => (edit(), expected()).prop_map(|(edit, expected)| Step::Edit(edit, expected)),
        1 => (any::post(), any::account(), expected()).prop_map(|(post, actor, expected)| {
            let delete = DeletePost { post, actor, expected_version: ExpectedVersion::Any };
            Step::Delete(delete, expected)
        }),
    ]
}

fn publish() -> impl Strategy<Value = PublishPost> {
    let target = (any::post(), any::account(), option::of(any::post()));
    let content = (
        any::text(),
        option::of(any::language()),
        option::of(metadata()),
    );
    (target, content, any::visibility()).prop_map(|(target, content, visibility)| {
        let (post, author, reply_to) = target;
        let (text, language, metadata) = content;
        PublishPost {
            post,
            author,
            text,
            language,
            metadata,
            visibility,
            reply_to,
        }
    })
}

fn change<T>(value: Option<T>) -> Change<T> {
    value.map_or(Change::Clear, Change::Set)
}

fn edit() -> impl Strategy<Value = EditPost> {
    (publish(), any::account()).prop_map(|(publish, actor)| EditPost {
        post: publish.post,
        actor,
        text: publish.text,
        language: change(publish.language),
        metadata: change(publish.metadata),
        expected_version: ExpectedVersion::Any,
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    any::<i64>().prop_filter_map("metadata", |number| {
        Metadata::try_from(serde_json::json!({ "market": number })).ok()
    })
}

/// What the model knows.
#[derive(Debug, Default)]
struct Known {
    /// Whether each is private.
    registered: BTreeMap<AccountId, bool>,
    blocks: BTreeSet<(AccountId, AccountId)>,
    holders: BTreeMap<Handle, AccountId>,
    follows: BTreeSet<(AccountId, AccountId)>,
    posts: BTreeMap<PostId, (u64, PostState)>,
}

impl Known {
    fn seen(&self, post: PostId, viewer: AccountId) -> Option<&PostState> {
        let (_, state) = self.posts.get(&post)?;
        let author = state.author?;
        let for_all =
            state.visibility == Visibility::Public && self.registered.get(&author) == Some(&false);
        let by_another = self.registered.contains_key(&author)
            && !self.blocked(author, viewer)
            && (for_all || self.follows.contains(&(viewer, author)));
        (!state.deleted && (author == viewer || by_another)).then_some(state)
    }

    /// Whether one of two others blocks the other.
    fn blocked(&self, one: AccountId, other: AccountId) -> bool {
        let blocks = |from, to| from != to && self.blocks.contains(&(from, to));
        blocks(one, other) || blocks(other, one)
    }

    fn mentioned(&self, text: &Text, by: AccountId) -> Vec<AccountId> {
        let handles = text::mentions(text.as_str());
        let held = handles.iter().filter_map(|handle| self.holders.get(handle));
        held.filter(|account| self.registered.contains_key(account))
            .filter(|account| !self.blocked(by, **account))
            .copied()
            .collect()
    }

    fn publish(&mut self, command: &PublishPost) -> Result<Vec<PostEvent>, PostError> {
        match self.posts.get(&command.post) {
            Some((_, state)) if state.author == Some(command.author) => return Ok(vec![]),
            Some(_) => return Err(PostError::PostExists),
            None => {}
        }
        if !self.registered.contains_key(&command.author) {
            return Err(PostError::AccountNotFound);
        }
        let reply = match command.reply_to {
            None => None,
            Some(parent) => {
                let above = self.seen(parent, command.author);
                let above = above.ok_or(PostError::ParentNotFound)?;
                let parent_author = above.author.ok_or(PostError::ParentNotFound)?;
                Some(Reply {
                    parent,
                    parent_author,
                    root: above.root.unwrap_or(parent),
                })
            }
        };
        let state = PostState {
            author: Some(command.author),
            visibility: command.visibility,
            root: reply.map(|reply| reply.root),
            deleted: false,
        };
        self.posts.insert(command.post, (1, state));
        let created = PostCreated {
            author: command.author,
            text: Personal::plain(command.text.as_str()),
            hashtags: tags(&command.text),
            metadata: command.metadata.as_ref().map(json),
            language: command.language.clone(),
            visibility: command.visibility,
            mentions: self.mentioned(&command.text, command.author),
            reply,
        };
        Ok(vec![created.into()])
    }

    fn edit(&mut self, command: &EditPost) -> Result<Vec<PostEvent>, PostError> {
        self.change(command.post, command.actor, &command.expected_version)?;
        let edited = PostEdited {
            text: Personal::plain(command.text.as_str()),
            hashtags: tags(&command.text),
            metadata: match &command.metadata {
                Change::Keep => None,
                Change::Clear => Some(Personal::plain("")),
                Change::Set(metadata) => Some(json(metadata)),
            },
            language: match &command.language {
                Change::Keep => None,
                Change::Clear => Some(String::new()),
                Change::Set(language) => Some(language.as_str().to_owned()),
            },
            mentions: self.mentioned(&command.text, command.actor),
        };
        Ok(vec![edited.into()])
    }

    fn delete(&mut self, command: &DeletePost) -> Result<Vec<PostEvent>, PostError> {
        let (post, author) = (command.post, command.actor);
        let before = self.posts.get(&post);
        if before.is_some_and(|(_, state)| state.deleted && state.author == Some(author)) {
            return Ok(vec![]);
        }
        self.change(post, author, &command.expected_version)?
            .deleted = true;
        Ok(vec![PostDeleted { author }.into()])
    }

    /// Only the author's, only what is there, only at the version it is at.
    fn change(
        &mut self,
        post: PostId,
        actor: AccountId,
        expected: &ExpectedVersion,
    ) -> Result<&mut PostState, PostError> {
        let seen = self.seen(post, actor).ok_or(PostError::PostNotFound)?;
        if seen.author != Some(actor) {
            return Err(PostError::PostNotOwn);
        }
        let held = self.posts.get_mut(&post).ok_or(PostError::PostNotFound)?;
        if !expected.admits(held.0) {
            return Err(PostError::VersionMismatch(held.0));
        }
        held.0 += 1;
        Ok(&mut held.1)
    }

    /// One further where it is to be refused.
    fn version(&self, post: PostId, right: bool) -> u64 {
        self.posts.get(&post).map_or(0, |held| held.0) + u64::from(!right)
    }
}

fn tags(text: &Text) -> Option<Personal> {
    let tagged = text.as_str().split(' ').any(|word| word == "#tag");
    tagged.then(|| Personal::plain("tag"))
}

fn json(metadata: &Metadata) -> Personal {
    Personal::plain(metadata.to_json())
}

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn a_post_is_its_authors_from_its_first_event_to_its_last(
        steps in vec(step(), 1..60),
    ) {
        let mut memory = Memory::default();
        let mut known = Known::default();
        for step in steps {
            match step {
                Step::AccountBecomes(account, standing, private) => {
                    let state = AccountState { standing, private, ..AccountState::default() };
                    memory.set::<Accounts>(Accounts::id(account), &state)?;
                    match standing == Standing::Registered {
                        true => known.registered.insert(account, private),
                        false => known.registered.remove(&account),
                    };
                }
                Step::BlockBecomes(a, b, held) => {
                    memory.set::<Blocks>(Blocks::id(a, b), &Held(held))?;
                    match held {
                        true => known.blocks.insert((a, b)),
                        false => known.blocks.remove(&(a, b)),
                    };
                }
                Step::HandleBecomes(handle, account) => {
                    let holder = account.map(|account| Holder {
                        account,
                        attempt: Uuid::nil(),
                        reserved_at: Timestamp(0),
                    });
                    memory.set::<Handles>(handle.aggregate(), &HandleState { holder })?;
                    match account {
                        Some(account) => known.holders.insert(handle, account),
                        None => known.holders.remove(&handle),
                    };
                }
                Step::FollowBecomes(a, b, held) => {
                    let state = if held { FollowState::Following } else { FollowState::None };
                    memory.set::<Follows>(Follows::id(a, b), &state)?;
                    match held {
                        true => known.follows.insert((a, b)),
                        false => known.follows.remove(&(a, b)),
                    };
                }
                Step::Publish(command) => {
                    let expected = known.publish(&command);
                    prop_assert_eq!(memory.execute(&command)?, expected);
                    if known.posts.get(&command.post).is_some_and(|(_, state)| state.author == Some(command.author)) {
                        prop_assert_eq!(memory.execute(&command)?, Ok(vec![]));
                    }
                }
                Step::Edit(mut command, expected) => {
                    let version = |right| known.version(command.post, right);
                    command.expected_version = expected.map(|right| version(right).into()).unwrap_or_default();
                    let expected = known.edit(&command);
                    prop_assert_eq!(memory.execute(&command)?, expected);
                }
                Step::Delete(mut command, expected) => {
                    let version = |right| known.version(command.post, right);
                    command.expected_version = expected.map(|right| version(right).into()).unwrap_or_default();
                    let expected = known.delete(&command);
                    let deleted = expected.is_ok();
                    prop_assert_eq!(memory.execute(&command)?, expected);
                    if deleted {
                        prop_assert_eq!(memory.execute(&command)?, Ok(vec![]));
                    }
                }
            }
            for (post, (version, state)) in &known.posts {
                let found = memory.current::<Posts>(Posts::id(*post))?;
                prop_assert_eq!((found.version, &found.state), (*version, state));
                let root = state.root.map(|root| known.posts.get(&root));
                let hangs = |root: Option<&(u64, PostState)>| root.is_some_and(|(_, root)| root.root.is_none());
                prop_assert!(root.is_none_or(hangs), "a root hangs on nothing");
            }
        }
    }
}
