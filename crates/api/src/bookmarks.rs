//! Bookmarks: keeping a post to find it again, and what was kept. For oneself alone.

use domain::{
    bookmark_folders::FolderId,
    bookmarks::{BookmarkError, Bookmarks},
    edges::{Connect, Disconnect},
    posts::PostId,
};
use edge::{
    answers::{Changed, Found},
    body::Input,
    identity::Authenticated,
    instant::{self, Instant},
    paging::Limit,
    preconditions::IfNoneMatch,
};
use kernel::Uuid;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    types::Example,
};
use readmodel::bookmarks::{self, BookmarkRow};

use crate::{
    bookmark_folders,
    examples::CURSOR,
    handlers::{Read, Write},
    posts::{self, MarkedPost, Post},
    problem::Problem,
    tags::Tag,
};

/// Where to keep it.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct Shelf {
    /// A folder of mine; in none where it is left out.
    folder_id: Option<Uuid>,
}

impl Example for Shelf {
    fn example() -> Self {
        Self { folder_id: None }
    }
}

/// What was kept.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Bookmark {
    /// Of the post.
    id: Uuid,
    /// When it was put where it is.
    bookmarked_at: Instant,
    /// Missing where it is in none, or where its folder was deleted.
    folder_id: Option<Uuid>,
    /// The post is gone, or not for me any more.
    unavailable: bool,
    /// Missing where it is unavailable.
    post: Option<Post>,
}

impl Bookmark {
    fn of(row: BookmarkRow, post: Option<Post>) -> Self {
        Self {
            id: row.post.0,
            bookmarked_at: row.bookmarked_at.into(),
            folder_id: row.folder.map(|folder| folder.0),
            unavailable: post.is_none(),
            post,
        }
    }
}

impl Example for Bookmark {
    fn example() -> Self {
        // Linters take the two ids of a post in one example for ids of schemas.
        Self {
            id: Post::example().id(),
            bookmarked_at: instant::EXAMPLE,
            folder_id: None,
            unavailable: true,
            post: None,
        }
    }
}

/// A page of bookmarks.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct BookmarkPage {
    items: Vec<Bookmark>,
    /// Send it as `cursor` for the next page; missing on the last one. A page may have fewer
    /// items than `limit`, and none, and yet go on: where much is hidden from the reader.
    next_cursor: Option<String>,
    /// Send it as `cursor` for the page before this one, in the same order: on the first
    /// page, for what came since. A page without items that gives it back as it was sent
    /// says that nothing is there for now.
    prev_cursor: String,
}

impl Example for BookmarkPage {
    fn example() -> Self {
        Self {
            items: vec![Bookmark::example()],
            next_cursor: None,
            prev_cursor: CURSOR.into(),
        }
    }
}

pub struct BookmarksApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Bookmarks")]
impl BookmarksApi {
    /// Bookmark a post
    ///
    /// In a folder or in none; a bookmark that is elsewhere moves there, and is the newest.
    /// Said again, it changes nothing. Nobody else is told, and nothing counts it.
    #[oai(
        path = "/posts/:post_id/bookmark",
        method = "put",
        operation_id = "bookmarkPost"
    )]
    async fn bookmark(
        &self,
        write: Write,
        post_id: Path<Uuid>,
        body: Input<Option<Shelf>>,
    ) -> Result<Changed<MarkedPost>, Problem> {
        let post = PostId(post_id.0);
        let folder = body.0.and_then(|shelf| shelf.folder_id).map(FolderId);
        let author = write.services.author(post).await?;
        let command = Connect::<Bookmarks>::new(write.account(), post).by_likely(author);
        let command = command.with(folder);
        posts::mark(&write, &command, post).await
    }

    /// Take a bookmark back
    ///
    /// Whatever became of the post. Where there is none, nothing changes.
    #[oai(
        path = "/posts/:post_id/bookmark",
        method = "delete",
        operation_id = "unbookmarkPost"
    )]
    async fn unbookmark(
        &self,
        write: Write,
        post_id: Path<Uuid>,
    ) -> Result<Changed<MarkedPost>, Problem> {
        let post = PostId(post_id.0);
        let command = Disconnect::<Bookmarks>::new(write.account(), post);
        posts::mark(&write, &command, post).await
    }

    /// My bookmarks, the last first
    ///
    /// All, or those in one folder, a page at a time; the cursors neither repeat nor
    /// lose one. A post that is gone, or not for me any more, is `unavailable`, and its bookmark
    /// can be taken back.
    #[oai(path = "/bookmarks", method = "get", operation_id = "listBookmarks")]
    async fn list(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        /// A folder of mine.
        folder_id: Query<Option<Uuid>>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<BookmarkPage>, Problem> {
        let (me, folder) = (read.who.account, folder_id.0.map(FolderId));
        let within = folder.map_or("all".into(), |folder| folder.to_string());
        let scope = format!("bookmarks:{me}:{within}");
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        if let Some(folder) = folder {
            bookmark_folders::find(&read, &page.observed, folder).await?;
        }
        let part = bookmarks::list(read.pool(), me, folder, page.start, page.limit).await?;
        let ids: Vec<PostId> = part.rows.iter().map(|row| row.post).collect();
        let mut posts = posts::available(&read, &page.observed, &ids).await?;
        let item = |row: BookmarkRow| Bookmark::of(row, posts.remove(&row.post));
        Ok(page.answer(part, |rows, ends| BookmarkPage {
            items: rows.into_iter().map(item).collect(),
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        }))
    }
}

impl From<BookmarkError> for Problem {
    fn from(error: BookmarkError) -> Self {
        match error {
            BookmarkError::PostNotFound => Self::no_post(),
            BookmarkError::FolderNotFound => Self::no_folder(),
        }
    }
}
