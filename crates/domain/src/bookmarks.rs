//! Bookmarks: an edge from an account to a post that it wants to find again, in a folder
//! or in none. Nobody else is told. Not here: the folders (see `bookmark_folders`).

use kernel::{AccountId, AggregateId, Decider, Facts, Kind, Read};
use serde::{Deserialize, Serialize};

use crate::{
    PersonalFields,
    bookmark_folders::{BookmarkFolders, FolderId},
    edges::{Edge, Ends},
    event::events,
    kinds,
    posts::{PostId, Posts},
};

/// The aggregate's edge goes from the account to the post. Said again, the bookmark is in
/// this folder from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bookmarked {
    pub folder: Option<FolderId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unbookmarked {}

events!(BookmarkEvent { Bookmarked = 1, Unbookmarked = 1 });

impl PersonalFields for Bookmarked {}
impl PersonalFields for Unbookmarked {}

/// The aggregate.
#[derive(Clone, Debug)]
pub struct Bookmarks;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookmarkState {
    pub held: bool,
    /// It may be deleted: the bookmark is in none then.
    pub folder: Option<FolderId>,
}

impl Bookmarks {
    pub fn id(account: AccountId, post: PostId) -> AggregateId {
        AggregateId::edge(kinds::BOOKMARK, account.0, post.0)
    }
}

impl Decider for Bookmarks {
    const KIND: Kind = kinds::BOOKMARK;
    const SHAPE: u8 = 1;
    type State = BookmarkState;
    type Event = BookmarkEvent;

    fn evolve(_: BookmarkState, event: &BookmarkEvent) -> BookmarkState {
        match event {
            BookmarkEvent::Bookmarked(made) => BookmarkState {
                held: true,
                folder: made.folder,
            },
            BookmarkEvent::Unbookmarked(_) => BookmarkState::default(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookmarkError {
    /// Also where it was deleted, or may not be seen.
    #[error("there is no such post")]
    PostNotFound,
    /// Also where it is somebody else's, or was deleted.
    #[error("there is no such folder")]
    FolderNotFound,
}

/// A bookmark of a deleted or hidden post can be undone too.
impl Edge for Bookmarks {
    type To = PostId;
    /// The folder.
    type Details = Option<FolderId>;
    type Error = BookmarkError;

    fn holds(state: &BookmarkState) -> bool {
        state.held
    }

    fn is_as_wanted(state: &BookmarkState, folder: &Option<FolderId>) -> bool {
        state.held && state.folder == *folder
    }

    fn reads(found: &Facts, ends: &Ends<PostId>) -> Vec<Read> {
        Posts::reads_to_see(found, ends.to, ends.account, ends.likely_author)
    }

    fn reads_of(folder: &Option<FolderId>) -> Vec<Read> {
        folder.map(BookmarkFolders::read).into_iter().collect()
    }

    fn find(facts: &Facts, ends: &Ends<PostId>) -> Result<(), BookmarkError> {
        let seen = Posts::author_if_seen(facts, ends.to, ends.account);
        seen.map(drop).ok_or(BookmarkError::PostNotFound)
    }

    fn connect(
        facts: &Facts,
        ends: &Ends<PostId>,
        folder: &Option<FolderId>,
    ) -> Result<BookmarkEvent, BookmarkError> {
        Self::find(facts, ends)?;
        let folder = *folder;
        if folder.is_some_and(|folder| !BookmarkFolders::is_of(facts, folder, ends.account)) {
            return Err(BookmarkError::FolderNotFound);
        }
        Ok(Bookmarked { folder }.into())
    }

    fn disconnect(_: &Facts, _: &Ends<PostId>) -> Result<BookmarkEvent, BookmarkError> {
        Ok(Unbookmarked {}.into())
    }
}
