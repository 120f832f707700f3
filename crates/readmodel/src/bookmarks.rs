//! Bookmarks: the edges, and what an account bookmarked, all of it or in one folder.

use domain::{
    bookmark_folders::FolderId,
    bookmarks::{BookmarkEvent, Bookmarked},
    posts::PostId,
};
use kernel::{AccountId, Timestamp, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::{
    ReadError,
    edges::{EdgeTable, edge_fold},
    paging::{EdgeKey, Part, Start, Step, Way, part, turned},
    touches::Touch,
};

const TABLE: EdgeTable = EdgeTable {
    name: "bookmarks",
    from: "account_id",
    to: "post_id",
    since: "bookmarked_at",
    detail: Some("folder_id"),
    counted: &[],
};
/// For the list of one folder, the last first.
const INDEX_BY_FOLDER: &str = "CREATE INDEX IF NOT EXISTS bookmarks_folder
    ON {schema}.bookmarks (account_id, folder_id, bookmarked_at DESC, post_id DESC);";

edge_fold!(
    TABLE, BOOKMARK, BookmarkEvent,
    BookmarkEvent::Bookmarked(Bookmarked { folder }) => BookmarkEvent::Unbookmarked(_),
    |edge| Touch::of_mark(edge, false),
    TABLE.index_by_from() + INDEX_BY_FOLDER,
    detail: folder.map(|folder| folder.0)
);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BookmarkRow {
    pub post: PostId,
    /// None where the folder was deleted, too.
    pub folder: Option<FolderId>,
    pub bookmarked_at: Timestamp,
}

/// The folder is looked up for each row of a page, and not joined: the planner would read
/// all folders.
macro_rules! list {
    ($condition:literal, $beyond:literal, $order:literal) => {
        concat!(
            "SELECT b.post_id, b.bookmarked_at, (
                SELECT f.id FROM bookmark_folders AS f WHERE f.id = b.folder_id
             ) AS folder_id
             FROM bookmarks AS b
             WHERE b.account_id = $1 AND (b.bookmarked_at, b.post_id) ",
            $beyond,
            " ($2, $3) ",
            $condition,
            "ORDER BY b.bookmarked_at ",
            $order,
            ", b.post_id ",
            $order,
            " LIMIT $4"
        )
    };
}

/// What `account` bookmarked, in `folder` where one is given, the last first, whatever
/// became of the posts.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    folder: Option<FolderId>,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<BookmarkRow, EdgeKey>, ReadError> {
    macro_rules! all {
        ($beyond:literal, $order:literal) => {
            list!("", $beyond, $order)
        };
    }
    macro_rules! of_folder {
        ($beyond:literal, $order:literal) => {
            list!("AND b.folder_id = $5 ", $beyond, $order)
        };
    }
    let look = |step: Step<EdgeKey>| async move {
        let (at, id) = step.key;
        let query = match folder {
            None => sqlx::query(turned!(step.way, all)),
            Some(_) => sqlx::query(turned!(step.way, of_folder)),
        };
        let query = query.bind(account.0).bind(at).bind(id);
        let query = query.bind(i64::from(step.count));
        let query = match folder {
            None => query,
            Some(folder) => query.bind(folder.0),
        };
        let rows = query.fetch_all(pool).await?;
        rows.iter().map(BookmarkRow::read).collect()
    };
    part(Way::Down, start, limit, look).await
}

impl BookmarkRow {
    fn read(row: &PgRow) -> Result<(EdgeKey, Option<Self>), ReadError> {
        let bookmark = Self {
            post: PostId(row.try_get("post_id")?),
            folder: row.try_get::<Option<Uuid>, _>("folder_id")?.map(FolderId),
            bookmarked_at: Timestamp(row.try_get("bookmarked_at")?),
        };
        let key = (bookmark.bookmarked_at.0, bookmark.post.0);
        Ok((key, Some(bookmark)))
    }
}
