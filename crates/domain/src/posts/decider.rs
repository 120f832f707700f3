//! The decisions about a post. It refuses to know its words: the state needs
//! none of them.

use kernel::{
    AccountId, AggregateId, Command, Decider, ExpectedVersion, Facts, Kind, Personal, Read,
    Versioned,
};
use serde::{Deserialize, Serialize};

use super::{
    Change, Language, Metadata, PostCreated, PostDeleted, PostEdited, PostEvent, PostId, Reply,
    Text, Visibility,
};
use crate::{
    accounts::{Accounts, Standing},
    blocks::Blocks,
    follows::Follows,
    handles::{Handle, Handles},
    kinds, text,
};

/// The aggregate.
pub struct Posts;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PostState {
    pub author: Option<AccountId>,
    pub visibility: Visibility,
    pub root: Option<PostId>,
    pub deleted: bool,
}

impl Posts {
    pub fn id(post: PostId) -> AggregateId {
        AggregateId::single(kinds::POST, post.0)
    }

    pub fn read(post: PostId) -> Read {
        Read::of::<Self>(Self::id(post))
    }

    /// What must be read to tell whether `viewer` may see `post`. Whoever knows who
    /// wrote it saves a round trip; a wrong guess costs one.
    pub fn reads_to_see(
        found: &Facts,
        post: PostId,
        viewer: AccountId,
        likely_author: Option<AccountId>,
    ) -> Vec<Read> {
        let mut reads = vec![Self::read(post)];
        let state = found.of::<Self>(Self::id(post)).state;
        let author = state.author.or(likely_author);
        if let Some(author) = author.filter(|author| *author != viewer) {
            reads.extend(Accounts::reads_to_find(author, viewer));
            let by = found.of::<Accounts>(Accounts::id(author)).state;
            if state.visibility == Visibility::Followers || by.private {
                reads.push(Follows::read(viewer, author));
            }
        }
        reads
    }

    /// The author of `post` where it exists and `viewer` may see it.
    pub fn author_if_seen(facts: &Facts, post: PostId, viewer: AccountId) -> Option<AccountId> {
        let state = facts.of::<Self>(Self::id(post)).state;
        let author = state.author?;
        let seen = author == viewer || {
            let by = facts.of::<Accounts>(Accounts::id(author)).state;
            by.standing == Standing::Registered
                && Blocks::none_between(facts, author, viewer)
                && (Self::is_for_all(facts, post) || Follows::holds(facts, viewer, author))
        };
        (seen && !state.deleted).then_some(author)
    }

    /// Whether everybody may see `post`, but for blocks, where it is there.
    pub fn is_for_all(facts: &Facts, post: PostId) -> bool {
        let state = facts.of::<Self>(Self::id(post)).state;
        let by = state.author.map(Accounts::id);
        let by = by.map(|author| facts.of::<Accounts>(author).state);
        state.visibility == Visibility::Public && by.is_some_and(|by| !by.private)
    }
}

impl Decider for Posts {
    const KIND: Kind = kinds::POST;
    const SHAPE: u8 = 1;
    type State = PostState;
    type Event = PostEvent;

    fn evolve(state: PostState, event: &PostEvent) -> PostState {
        match event {
            PostEvent::PostCreated(created) => PostState {
                author: Some(created.author),
                visibility: created.visibility,
                root: created.reply.map(|reply| reply.root),
                deleted: false,
            },
            PostEvent::PostEdited(_) => state,
            PostEvent::PostDeleted(_) => PostState {
                deleted: true,
                ..state
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Also where it was deleted, or may not be seen.
    #[error("there is no such post")]
    PostNotFound,
    #[error("the post to reply to does not exist")]
    ParentNotFound,
    #[error("the post is somebody else's")]
    PostNotOwn,
    #[error("the post is at version {0} by now")]
    VersionMismatch(u64),
    #[error("another post has this id")]
    PostExists,
    #[error("there is no such account")]
    AccountNotFound,
}

#[derive(Clone, Debug)]
pub struct PublishPost {
    pub post: PostId,
    pub author: AccountId,
    pub text: Text,
    pub language: Option<Language>,
    pub metadata: Option<Metadata>,
    pub visibility: Visibility,
    pub reply_to: Option<PostId>,
}

impl Command for PublishPost {
    type Decider = Posts;
    type Error = PostError;

    fn aggregate(&self) -> AggregateId {
        Posts::id(self.post)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        let mut reads = mention_reads(&self.text, self.author, found);
        reads.push(Accounts::read(self.author));
        if let Some(parent) = self.reply_to {
            reads.extend(Posts::reads_to_see(found, parent, self.author, None));
        }
        reads
    }

    fn decide(
        &self,
        current: &Versioned<PostState>,
        facts: &Facts,
    ) -> Result<Vec<PostEvent>, PostError> {
        match current.state.author {
            Some(author) if author == self.author => return Ok(Vec::new()),
            Some(_) => return Err(PostError::PostExists),
            None => {}
        }
        if !Accounts::exists(facts, self.author) {
            return Err(PostError::AccountNotFound);
        }
        let reply = match self.reply_to {
            None => None,
            Some(parent) => Some(Reply {
                parent,
                parent_author: Posts::author_if_seen(facts, parent, self.author)
                    .ok_or(PostError::ParentNotFound)?,
                root: facts
                    .of::<Posts>(Posts::id(parent))
                    .state
                    .root
                    .unwrap_or(parent),
            }),
        };
        let created = PostCreated {
            author: self.author,
            text: Personal::plain(self.text.as_str()),
            hashtags: hashtags(&self.text),
            metadata: self.metadata.as_ref().map(|m| Personal::plain(m.to_json())),
            language: self.language.clone(),
            visibility: self.visibility,
            mentions: mentioned(&self.text, self.author, facts),
            reply,
        };
        Ok(vec![created.into()])
    }
}

/// Replace the text, and what else is to change.
#[derive(Clone, Debug)]
pub struct EditPost {
    pub post: PostId,
    pub actor: AccountId,
    pub text: Text,
    pub language: Change<Language>,
    pub metadata: Change<Metadata>,
    pub expected_version: ExpectedVersion,
}

impl Command for EditPost {
    type Decider = Posts;
    type Error = PostError;

    fn aggregate(&self) -> AggregateId {
        Posts::id(self.post)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        let mut reads = mention_reads(&self.text, self.actor, found);
        reads.extend(Posts::reads_to_see(found, self.post, self.actor, None));
        reads
    }

    fn decide(
        &self,
        current: &Versioned<PostState>,
        facts: &Facts,
    ) -> Result<Vec<PostEvent>, PostError> {
        require_own(self.post, self.actor, current, facts)?;
        if !self.expected_version.admits(current.version) {
            return Err(PostError::VersionMismatch(current.version));
        }
        let edited = PostEdited {
            text: Personal::plain(self.text.as_str()),
            hashtags: hashtags(&self.text),
            metadata: self
                .metadata
                .event_text(Metadata::to_json)
                .map(Personal::plain),
            language: self.language.event_text(|tag| tag.as_str().to_owned()),
            mentions: mentioned(&self.text, self.actor, facts),
        };
        Ok(vec![edited.into()])
    }
}

/// Deleting what is deleted already does nothing more.
#[derive(Clone, Debug)]
pub struct DeletePost {
    pub post: PostId,
    pub actor: AccountId,
    pub expected_version: ExpectedVersion,
}

impl Command for DeletePost {
    type Decider = Posts;
    type Error = PostError;

    fn aggregate(&self) -> AggregateId {
        Posts::id(self.post)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        Posts::reads_to_see(found, self.post, self.actor, None)
    }

    fn decide(
        &self,
        current: &Versioned<PostState>,
        facts: &Facts,
    ) -> Result<Vec<PostEvent>, PostError> {
        if current.state.deleted && current.state.author == Some(self.actor) {
            return Ok(Vec::new());
        }
        require_own(self.post, self.actor, current, facts)?;
        if !self.expected_version.admits(current.version) {
            return Err(PostError::VersionMismatch(current.version));
        }
        let author = self.actor;
        Ok(vec![PostDeleted { author }.into()])
    }
}

/// A post that may not be seen is not found, rather than somebody else's.
fn require_own(
    post: PostId,
    actor: AccountId,
    current: &Versioned<PostState>,
    facts: &Facts,
) -> Result<(), PostError> {
    if current.state.author == Some(actor) && !current.state.deleted {
        return Ok(());
    }
    match Posts::author_if_seen(facts, post, actor) {
        Some(author) if author != actor => Err(PostError::PostNotOwn),
        _ => Err(PostError::PostNotFound),
    }
}

fn hashtags(text: &Text) -> Option<Personal> {
    let tags = text::hashtags(text.as_str());
    (!tags.is_empty()).then(|| Personal::plain(tags.join(" ")))
}

/// First who holds each handle, then whether that account is there, and neither
/// blocks the other.
fn mention_reads(text: &Text, author: AccountId, found: &Facts) -> Vec<Read> {
    let mut reads = Vec::new();
    for handle in text::mentions(text.as_str()) {
        reads.push(Read::of::<Handles>(handle.aggregate()));
        if let Some(account) = holder(&handle, found) {
            reads.extend(Accounts::reads_to_find(account, author));
        }
    }
    reads
}

fn mentioned(text: &Text, author: AccountId, facts: &Facts) -> Vec<AccountId> {
    let may_be_mentioned = |account: &AccountId| {
        Accounts::exists(facts, *account) && Blocks::none_between(facts, author, *account)
    };
    text::mentions(text.as_str())
        .iter()
        .filter_map(|handle| holder(handle, facts))
        .filter(may_be_mentioned)
        .collect()
}

fn holder(handle: &Handle, facts: &Facts) -> Option<AccountId> {
    let holder = facts.of::<Handles>(handle.aggregate()).state.holder;
    holder.map(|holder| holder.account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        accounts::AccountState,
        edges::Held,
        follows::FollowState,
        handles::{HandleState, Holder},
    };
    use kernel::{CodecError, Timestamp};
    use uuid::Uuid;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const ROOT: PostId = PostId(Uuid::from_u128(10));
    const PARENT: PostId = PostId(Uuid::from_u128(11));
    const POST: PostId = PostId(Uuid::from_u128(12));

    fn registered() -> Result<Facts, CodecError> {
        let state = AccountState {
            standing: Standing::Registered,
            ..AccountState::default()
        };
        Facts::default()
            .with::<Accounts>(Accounts::id(ADA), 1, &state)?
            .with::<Accounts>(Accounts::id(BOB), 1, &state)?
            .with::<Blocks>(Blocks::id(ADA, BOB), 0, &Held(false))?
            .with::<Blocks>(Blocks::id(BOB, ADA), 0, &Held(false))
    }

    fn publish(text: &str, reply_to: Option<PostId>) -> PublishPost {
        PublishPost {
            post: POST,
            author: ADA,
            text: text.parse().unwrap_or_else(|_| unreachable!()),
            language: None,
            metadata: None,
            visibility: Visibility::Public,
            reply_to,
        }
    }

    fn bobs(visibility: Visibility, deleted: bool) -> PostState {
        PostState {
            author: Some(BOB),
            visibility,
            root: Some(ROOT),
            deleted,
        }
    }

    #[test]
    fn a_reply_hangs_on_its_parent_and_the_parents_root() -> Result<(), CodecError> {
        let facts =
            registered()?.with::<Posts>(Posts::id(PARENT), 1, &bobs(Visibility::Public, false))?;
        let events = publish("yes", Some(PARENT)).decide(&Versioned::default(), &facts);
        let Ok([PostEvent::PostCreated(created)]) = events.as_deref() else {
            unreachable!("{events:?}")
        };
        let reply = Reply {
            parent: PARENT,
            parent_author: BOB,
            root: ROOT,
        };
        assert_eq!(created.reply, Some(reply));
        Ok(())
    }

    #[test]
    fn a_followers_only_parent_takes_replies_from_followers() -> Result<(), CodecError> {
        let parent = bobs(Visibility::Followers, false);
        let facts = registered()?.with::<Posts>(Posts::id(PARENT), 1, &parent)?;
        let command = publish("yes", Some(PARENT));
        assert!(command.reads(&facts).contains(&Follows::read(ADA, BOB)));
        assert_eq!(
            command.decide(&Versioned::default(), &facts),
            Err(PostError::ParentNotFound)
        );
        let facts = facts.with::<Follows>(Follows::id(ADA, BOB), 1, &FollowState::Following)?;
        assert!(command.decide(&Versioned::default(), &facts).is_ok());
        Ok(())
    }

    #[test]
    fn mentions_become_accounts_where_the_handle_is_held() -> Result<(), CodecError> {
        let held = HandleState {
            holder: Some(Holder {
                account: BOB,
                attempt: Uuid::nil(),
                reserved_at: Timestamp(0),
            }),
        };
        let bob: Handle = "bob".parse().unwrap_or_else(|_| unreachable!());
        let facts = registered()?.with::<Handles>(bob.aggregate(), 1, &held)?;
        let events = publish("hi @bob and @nobody", None).decide(&Versioned::default(), &facts);
        let Ok([PostEvent::PostCreated(created)]) = events.as_deref() else {
            unreachable!("{events:?}")
        };
        assert_eq!(created.mentions, [BOB]);
        Ok(())
    }

    #[test]
    fn only_the_author_edits_and_only_the_current_version() -> Result<(), CodecError> {
        let current = Versioned {
            version: 3,
            state: bobs(Visibility::Public, false),
        };
        let facts = registered()?.with::<Posts>(Posts::id(POST), 3, &current.state)?;
        let edit = |actor, expected_version| EditPost {
            post: POST,
            actor,
            text: "new".parse().unwrap_or_else(|_| unreachable!()),
            language: Change::Keep,
            metadata: Change::Keep,
            expected_version,
        };
        assert_eq!(
            edit(ADA, ExpectedVersion::Any).decide(&current, &facts),
            Err(PostError::PostNotOwn)
        );
        assert_eq!(
            edit(BOB, 2.into()).decide(&current, &facts),
            Err(PostError::VersionMismatch(3))
        );
        assert!(edit(BOB, 3.into()).decide(&current, &facts).is_ok());
        let either = ExpectedVersion::OneOf(vec![9, 3]);
        assert!(edit(BOB, either).decide(&current, &facts).is_ok());
        Ok(())
    }

    #[test]
    fn an_edit_keeps_sets_or_clears() -> Result<(), CodecError> {
        let current = Versioned {
            version: 3,
            state: bobs(Visibility::Public, false),
        };
        let facts = registered()?.with::<Posts>(Posts::id(POST), 3, &current.state)?;
        let german = || "de".parse().unwrap_or_else(|_| unreachable!());
        let metadata =
            || Metadata::try_from(serde_json::json!({"a": 1})).unwrap_or_else(|_| unreachable!());
        for (language, metadata, tag, json) in [
            (Change::Keep, Change::Keep, None, None),
            (Change::Clear, Change::Clear, Some(""), Some("")),
            (
                Change::Set(german()),
                Change::Set(metadata()),
                Some("de"),
                Some("{\"a\":1}"),
            ),
        ] {
            let edit = EditPost {
                post: POST,
                actor: BOB,
                text: "new".parse().unwrap_or_else(|_| unreachable!()),
                language,
                metadata,
                expected_version: ExpectedVersion::Any,
            };
            let decided = edit.decide(&current, &facts);
            let Ok([PostEvent::PostEdited(edited)]) = decided.as_deref() else {
                unreachable!("{decided:?}")
            };
            assert_eq!(edited.language.as_deref(), tag);
            assert_eq!(edited.metadata, json.map(Personal::plain));
        }
        Ok(())
    }

    #[test]
    fn a_hidden_foreign_post_is_not_found_instead_of_forbidden() -> Result<(), CodecError> {
        let current = Versioned {
            version: 1,
            state: bobs(Visibility::Followers, false),
        };
        let facts = registered()?.with::<Posts>(Posts::id(POST), 1, &current.state)?;
        let delete = DeletePost {
            post: POST,
            actor: ADA,
            expected_version: ExpectedVersion::Any,
        };
        assert_eq!(
            delete.decide(&current, &facts),
            Err(PostError::PostNotFound)
        );
        Ok(())
    }

    #[test]
    fn deleting_twice_is_one_event() -> Result<(), CodecError> {
        let current = Versioned {
            version: 2,
            state: bobs(Visibility::Public, true),
        };
        let delete = DeletePost {
            post: POST,
            actor: BOB,
            expected_version: ExpectedVersion::Any,
        };
        assert_eq!(delete.decide(&current, &registered()?), Ok(vec![]));
        Ok(())
    }

    #[test]
    fn what_was_deleted_since_the_facts_were_read_is_not_found() -> Result<(), CodecError> {
        let current = Versioned {
            version: 2,
            state: bobs(Visibility::Public, true),
        };
        let before = bobs(Visibility::Public, false);
        let facts = registered()?.with::<Posts>(Posts::id(POST), 1, &before)?;
        let edit = EditPost {
            post: POST,
            actor: BOB,
            text: "late".parse().unwrap_or_else(|_| unreachable!()),
            language: Change::Keep,
            metadata: Change::Keep,
            expected_version: ExpectedVersion::Any,
        };
        assert_eq!(edit.decide(&current, &facts), Err(PostError::PostNotFound));
        Ok(())
    }

    #[test]
    fn what_a_private_account_publishes_is_for_followers() -> Result<(), CodecError> {
        let private = AccountState {
            standing: Standing::Registered,
            private: true,
            ..AccountState::default()
        };
        let facts = registered()?
            .with::<Accounts>(Accounts::id(BOB), 2, &private)?
            .with::<Posts>(Posts::id(PARENT), 1, &bobs(Visibility::Public, false))?;
        assert_eq!(Posts::author_if_seen(&facts, PARENT, ADA), None);
        assert_eq!(Posts::author_if_seen(&facts, PARENT, BOB), Some(BOB));
        let following = FollowState::Following;
        let facts = facts.with::<Follows>(Follows::id(ADA, BOB), 1, &following)?;
        assert_eq!(Posts::author_if_seen(&facts, PARENT, ADA), Some(BOB));
        Ok(())
    }

    #[test]
    fn a_block_either_way_hides_posts_and_makes_no_mention() -> Result<(), CodecError> {
        let held = HandleState {
            holder: Some(Holder {
                account: BOB,
                attempt: Uuid::nil(),
                reserved_at: Timestamp(0),
            }),
        };
        let bob: Handle = "bob".parse().unwrap_or_else(|_| unreachable!());
        let parent = bobs(Visibility::Public, false);
        let facts = registered()?
            .with::<Handles>(bob.aggregate(), 1, &held)?
            .with::<Posts>(Posts::id(PARENT), 1, &parent)?;
        let reply = publish("hi @bob", Some(PARENT));
        assert!(reply.decide(&Versioned::default(), &facts).is_ok());
        for (from, to) in [(ADA, BOB), (BOB, ADA)] {
            let facts = (facts.clone()).with::<Blocks>(Blocks::id(from, to), 1, &Held(true))?;
            assert_eq!(
                reply.decide(&Versioned::default(), &facts),
                Err(PostError::ParentNotFound)
            );
            let events = publish("hi @bob", None).decide(&Versioned::default(), &facts);
            let Ok([PostEvent::PostCreated(created)]) = events.as_deref() else {
                unreachable!("{events:?}")
            };
            assert_eq!(created.mentions, []);
        }
        Ok(())
    }
}
