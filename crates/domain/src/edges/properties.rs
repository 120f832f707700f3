//! One property for all edges: an edge is there once or not, whatever is asked, and is
//! admitted by the rule of its feature and by nothing else.

use std::{collections::BTreeMap, fmt::Debug};

use kernel::{AccountId, Decider};
use proptest::{collection::vec, prelude::*};

use super::{Connect, Disconnect, Edge, Held};
use crate::{
    accounts::{AccountState, Accounts, Standing},
    any,
    blocks::{BlockError, Blocked, Blocks, Unblocked},
    bookmark_folders::{BookmarkFolders, FolderId, FolderState},
    bookmarks::{BookmarkError, Bookmarked, Bookmarks, Unbookmarked},
    follows::{FollowState, Follows},
    likes::{LikeError, Liked, Likes, Unliked},
    memory::Memory,
    mutes::{MuteError, Muted, Mutes, Unmuted},
    posts::{PostId, PostState, Posts, Visibility},
    reposts::{RepostError, RepostId, Reposted, Reposts, Unreposted},
};

/// What an edge does, said again without its code.
trait Rule: Edge {
    fn to() -> BoxedStrategy<Self::To>;

    /// What is asked of an edge that says something; nothing of the others.
    fn details() -> BoxedStrategy<Self::Details> {
        Just(Self::Details::default()).boxed()
    }

    /// The event that connects.
    fn admitted(
        world: &World,
        account: AccountId,
        to: Self::To,
        details: &Self::Details,
    ) -> Result<Self::Event, Self::Error>;

    /// The event that disconnects.
    fn undone(world: &World, to: Self::To) -> Result<Self::Event, Self::Error>;

    /// The answer to an account that undoes an edge that is not there.
    fn found(world: &World, account: AccountId, to: Self::To) -> Result<(), Self::Error>;
}

#[derive(Clone, Debug)]
enum Step<T, D> {
    AccountBecomes(AccountId, Standing, bool),
    BlockBecomes(AccountId, AccountId, bool),
    FollowBecomes(AccountId, AccountId, bool),
    PostBecomes(PostId, PostState),
    PostIsDamaged(PostId),
    FolderBecomes(FolderId, FolderState),
    Connect(AccountId, T, D, Option<AccountId>),
    Disconnect(AccountId, T),
}

fn step<E: Rule>() -> impl Strategy<Value = Step<E::To, E::Details>> {
    let between = || (any::account(), any::account(), any::<bool>());
    let standing = prop_oneof![4 => Just(Standing::Registered), 1 => any::standing()];
    let account = (any::account(), standing, prop::bool::weighted(0.3));
    let guess = proptest::option::of(any::account());
    let connect = (any::account(), E::to(), E::details(), guess);
    let folder = (any::folder(), any::folder_state());
    prop_oneof![
        4 => account.prop_map(|(a, s, private)| Step::AccountBecomes(a, s, private)),
        2 => between().prop_map(|(a, b, held)| Step::BlockBecomes(a, b, held)),
        2 => between().prop_map(|(a, b, held)| Step::FollowBecomes(a, b, held)),
        4 => (any::post(), any::post_state()).prop_map(|(p, state)| Step::PostBecomes(p, state)),
        1 => any::post().prop_map(Step::PostIsDamaged),
        1 => folder.prop_map(|(folder, state)| Step::FolderBecomes(folder, state)),
        6 => connect.prop_map(|(a, to, details, guess)| Step::Connect(a, to, details, guess)),
        4 => (any::account(), E::to()).prop_map(|(a, to)| Step::Disconnect(a, to)),
    ]
}

#[derive(Default)]
struct World {
    memory: Memory,
}

impl World {
    fn account(&self, account: AccountId) -> AccountState {
        let state = self.memory.current::<Accounts>(Accounts::id(account));
        state.map(|account| account.state).unwrap_or_default()
    }

    fn is_registered(&self, account: AccountId) -> bool {
        self.account(account).standing == Standing::Registered
    }

    fn blocks(&self, from: AccountId, to: AccountId) -> bool {
        let block = self.memory.current::<Blocks>(Blocks::id(from, to));
        block.is_ok_and(|block| block.state.0)
    }

    /// The author of a post that is there and that `account` may see.
    fn author_seen_by(&self, account: AccountId, post: PostId) -> Option<AccountId> {
        let post = self.memory.current::<Posts>(Posts::id(post));
        let post = post.unwrap_or_default().state;
        let author = post.author?;
        let by = self.account(author);
        let follow = self.memory.current::<Follows>(Follows::id(account, author));
        let follows = follow.is_ok_and(|follow| follow.state == FollowState::Following);
        let public = post.visibility == Visibility::Public && !by.private;
        let may_see = by.standing == Standing::Registered
            && !self.blocks(account, author)
            && !self.blocks(author, account)
            && (public || follows);
        (!post.deleted && (account == author || may_see)).then_some(author)
    }

    fn author(&self, post: PostId) -> Option<AccountId> {
        let post = self.memory.current::<Posts>(Posts::id(post));
        post.unwrap_or_default().state.author
    }

    /// Applies what is no edge of the feature; gives back what is.
    fn apply<T, D>(&mut self, step: Step<T, D>) -> Result<Option<Step<T, D>>, TestCaseError> {
        match step {
            Step::AccountBecomes(account, standing, private) => {
                let state = AccountState {
                    standing,
                    private,
                    ..AccountState::default()
                };
                self.memory.set::<Accounts>(Accounts::id(account), &state)?;
            }
            Step::BlockBecomes(from, to, held) => {
                self.memory
                    .set::<Blocks>(Blocks::id(from, to), &Held(held))?;
            }
            Step::FollowBecomes(from, to, held) => {
                let state = match held {
                    true => FollowState::Following,
                    false => FollowState::None,
                };
                self.memory.set::<Follows>(Follows::id(from, to), &state)?;
            }
            Step::PostBecomes(post, state) => {
                self.memory.set::<Posts>(Posts::id(post), &state)?;
            }
            Step::PostIsDamaged(post) => self.memory.damage(Posts::id(post)),
            Step::FolderBecomes(folder, state) => {
                let id = BookmarkFolders::id(folder);
                self.memory.set::<BookmarkFolders>(id, &state)?;
            }
            step @ (Step::Connect(..) | Step::Disconnect(..)) => return Ok(Some(step)),
        }
        Ok(None)
    }
}

/// `is_itself`: whether the edge is one that the steps change as a fact too.
fn holds_the_rule<E: Rule>(
    steps: Vec<Step<E::To, E::Details>>,
    is_itself: bool,
) -> Result<(), TestCaseError>
where
    E::To: Ord,
    E::Details: PartialEq,
    E::State: Debug + PartialEq,
    E::Event: Clone + Debug + PartialEq,
    E::Error: PartialEq,
{
    let mut world = World::default();
    let mut held = BTreeMap::new();
    for step in steps {
        if is_itself && matches!(step, Step::BlockBecomes(..)) {
            continue;
        }
        match world.apply(step)? {
            None => {}
            Some(Step::Connect(account, to, details, guess)) => {
                let admitted = E::admitted(&world, account, to, &details);
                let is_new = held.get(&(account, to)) != Some(&details);
                let expected = admitted.map(|event| if is_new { vec![event] } else { vec![] });
                let command = Connect::<E>::new(account, to).by_likely(guess);
                let command = command.with(details.clone());
                let decided = world.memory.execute(&command)?;
                prop_assert_eq!(&decided, &expected);
                let expected = expected.map(|_| vec![]);
                if expected.is_ok() {
                    held.insert((account, to), details);
                }
                prop_assert_eq!(world.memory.execute(&command)?, expected);
            }
            Some(Step::Disconnect(account, to)) => {
                let expected = match held.contains_key(&(account, to)) {
                    true => E::undone(&world, to).map(|event| vec![event]),
                    false => E::found(&world, account, to).map(|()| vec![]),
                };
                let command = Disconnect::<E>::new(account, to);
                prop_assert_eq!(&world.memory.execute(&command)?, &expected);
                if expected.is_ok() {
                    held.remove(&(account, to));
                }
            }
            Some(_) => return Err(TestCaseError::fail("no edge of the feature")),
        }
        for (&(account, to), details) in &held {
            let edge = world
                .memory
                .current::<E>(E::aggregate(&Connect::<E>::new(account, to).ends));
            prop_assert!(E::is_as_wanted(&edge?.state, details));
        }
    }
    Ok(())
}

impl Rule for Mutes {
    fn to() -> BoxedStrategy<AccountId> {
        any::account().boxed()
    }

    fn admitted(
        w: &World,
        account: AccountId,
        to: AccountId,
        (): &(),
    ) -> Result<Self::Event, MuteError> {
        match account == to {
            true => Err(MuteError::SelfMute),
            false => Self::found(w, account, to).map(|()| Muted {}.into()),
        }
    }

    fn undone(_: &World, _: AccountId) -> Result<Self::Event, MuteError> {
        Ok(Unmuted {}.into())
    }

    fn found(w: &World, account: AccountId, to: AccountId) -> Result<(), MuteError> {
        let found = w.is_registered(to) && (account == to || !w.blocks(to, account));
        found.then_some(()).ok_or(MuteError::AccountNotFound)
    }
}

impl Rule for Blocks {
    fn to() -> BoxedStrategy<AccountId> {
        any::account().boxed()
    }

    fn admitted(
        w: &World,
        account: AccountId,
        to: AccountId,
        (): &(),
    ) -> Result<Self::Event, BlockError> {
        match account == to {
            true => Err(BlockError::SelfBlock),
            false => Self::found(w, account, to).map(|()| Blocked {}.into()),
        }
    }

    fn undone(_: &World, _: AccountId) -> Result<Self::Event, BlockError> {
        Ok(Unblocked {}.into())
    }

    fn found(w: &World, _: AccountId, to: AccountId) -> Result<(), BlockError> {
        let found = w.is_registered(to);
        found.then_some(()).ok_or(BlockError::AccountNotFound)
    }
}

impl Rule for Likes {
    fn to() -> BoxedStrategy<PostId> {
        any::post().boxed()
    }

    fn admitted(
        w: &World,
        account: AccountId,
        to: PostId,
        (): &(),
    ) -> Result<Self::Event, LikeError> {
        let post_author = w.author_seen_by(account, to);
        let post_author = post_author.ok_or(LikeError::PostNotFound)?;
        Ok(Liked { post_author }.into())
    }

    fn undone(w: &World, to: PostId) -> Result<Self::Event, LikeError> {
        let post_author = w.author(to).ok_or(LikeError::PostNotFound)?;
        Ok(Unliked { post_author }.into())
    }

    fn found(w: &World, account: AccountId, to: PostId) -> Result<(), LikeError> {
        let seen = w.author_seen_by(account, to);
        seen.map(drop).ok_or(LikeError::PostNotFound)
    }
}

impl Rule for Bookmarks {
    fn to() -> BoxedStrategy<PostId> {
        any::post().boxed()
    }

    fn details() -> BoxedStrategy<Option<FolderId>> {
        proptest::option::of(any::folder()).boxed()
    }

    fn admitted(
        w: &World,
        account: AccountId,
        to: PostId,
        folder: &Option<FolderId>,
    ) -> Result<Self::Event, BookmarkError> {
        Self::found(w, account, to)?;
        let folder = *folder;
        if let Some(id) = folder {
            let found = w.memory.current::<BookmarkFolders>(BookmarkFolders::id(id));
            let found = found.unwrap_or_default().state;
            if found.deleted || found.owner != Some(account) {
                return Err(BookmarkError::FolderNotFound);
            }
        }
        Ok(Bookmarked { folder }.into())
    }

    fn undone(_: &World, _: PostId) -> Result<Self::Event, BookmarkError> {
        Ok(Unbookmarked {}.into())
    }

    fn found(w: &World, account: AccountId, to: PostId) -> Result<(), BookmarkError> {
        let seen = w.author_seen_by(account, to);
        seen.map(drop).ok_or(BookmarkError::PostNotFound)
    }
}

impl Rule for Reposts {
    fn to() -> BoxedStrategy<PostId> {
        any::post().boxed()
    }

    fn admitted(
        w: &World,
        account: AccountId,
        to: PostId,
        _: &RepostId,
    ) -> Result<Self::Event, RepostError> {
        let post_author = w.author_seen_by(account, to);
        let post_author = post_author.ok_or(RepostError::PostNotFound)?;
        let post = w.memory.current::<Posts>(Posts::id(to)).unwrap_or_default();
        let is_public = post.state.visibility == Visibility::Public;
        if account != post_author && (!is_public || w.account(post_author).private) {
            return Err(RepostError::NotRepostable);
        }
        let repost = RepostId::default();
        Ok(Reposted {
            repost,
            post_author,
        }
        .into())
    }

    fn undone(w: &World, to: PostId) -> Result<Self::Event, RepostError> {
        let post_author = w.author(to).ok_or(RepostError::PostNotFound)?;
        Ok(Unreposted { post_author }.into())
    }

    fn found(w: &World, account: AccountId, to: PostId) -> Result<(), RepostError> {
        let seen = w.author_seen_by(account, to);
        seen.map(drop).ok_or(RepostError::PostNotFound)
    }
}

/// The property for each edge: a line.
macro_rules! properties {
    ($($test:ident: $edge:ident, is_itself: $is_itself:literal;)+) => {
        proptest! {
            #![proptest_config(any::config())]
            $(
                #[test]
                fn $test(steps in vec(step::<$edge>(), 1..60)) {
                    holds_the_rule::<$edge>(steps, $is_itself)?;
                }
            )+
        }

        #[test]
        fn every_plain_edge_is_tried() {
            let tried = [$(<$edge as Decider>::KIND),+];
            let plain: Vec<_> = crate::Event::types_by_kind()
                .into_iter()
                .filter(|(_, types)| types.len() == 2)
                .map(|(kind, _)| kind)
                .filter(|kind| *kind != crate::kinds::HANDLE)
                .collect();
            assert!(plain.iter().all(|kind| tried.contains(kind)), "{plain:?}");
        }
    };
}

properties! {
    a_mute_is_there_once_or_not: Mutes, is_itself: false;
    a_block_is_there_once_or_not: Blocks, is_itself: true;
    a_like_is_there_once_or_not: Likes, is_itself: false;
    a_bookmark_is_there_once_or_not: Bookmarks, is_itself: false;
    a_repost_is_there_once_or_not: Reposts, is_itself: false;
}
