//! Folders of bookmarks: making, naming and deleting them, for oneself alone.

use domain::bookmark_folders::{
    DeleteFolder, FOLDERS_MAX, FolderError, FolderId, FolderName, InvalidFolderName, MakeFolder,
    RenameFolder,
};
use edge::{
    answers::{Changed, Created, Done, Found},
    body::Input,
    identity::Authenticated,
    instant::{self, Instant},
    paging::Limit,
    preconditions::{self, IfMatch, IfNoneMatch, MustMatch},
    text,
};
use eventlog::Receipt;
use kernel::Uuid;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    types::Example,
};
use readmodel::bookmark_folders::{self, FolderRow};

use crate::{
    examples::{ACCOUNT_ID, CURSOR},
    explained::Explained,
    freshness::{Observed, View},
    handlers::{Read, Version, Write},
    problem::{Code, Problem},
    services::new_id,
    tags::Tag,
};

/// A folder to make, or its new name.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct FolderLabel {
    /// One line with something to see; characters are code points. Two folders may have
    /// the same.
    #[oai(validator(min_length = 1, max_length = 50))]
    folder_name: String,
}

impl Example for FolderLabel {
    fn example() -> Self {
        Self {
            folder_name: "To read".into(),
        }
    }
}

/// A folder of bookmarks.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Folder {
    id: Uuid,
    /// Missing where its owner's personal data was erased.
    folder_name: Option<String>,
    made_at: Instant,
    /// How many bookmarks are in it, those of unavailable posts too; 1000 where there are
    /// more.
    bookmarks_count: i64,
    /// For `If-Match`.
    version: u64,
}

impl From<FolderRow> for Folder {
    fn from(row: FolderRow) -> Self {
        Self {
            id: row.id.0,
            folder_name: row.name,
            made_at: row.made_at.into(),
            bookmarks_count: row.bookmarks,
            version: row.version,
        }
    }
}

impl Example for Folder {
    fn example() -> Self {
        Self {
            id: ACCOUNT_ID,
            folder_name: Some("To read".into()),
            made_at: instant::EXAMPLE,
            bookmarks_count: 3,
            version: 1,
        }
    }
}

/// A page of folders.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct FolderPage {
    items: Vec<Folder>,
    /// Send it as `cursor` for the next page; missing on the last one. A page may have fewer
    /// items than `limit`, and none, and yet go on: where much is hidden from the reader.
    next_cursor: Option<String>,
    /// Send it as `cursor` for the page before this one, in the same order: on the first
    /// page, for what came since. A page without items that gives it back as it was sent
    /// says that nothing is there for now.
    prev_cursor: String,
}

impl Example for FolderPage {
    fn example() -> Self {
        Self {
            items: vec![Folder::example()],
            next_cursor: None,
            prev_cursor: CURSOR.into(),
        }
    }
}

pub struct BookmarkFoldersApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Bookmarks")]
impl BookmarkFoldersApi {
    /// Make a folder for bookmarks
    ///
    /// An account has at most 100; more are a conflict. Those that are made at the same
    /// moment are not counted.
    #[oai(
        path = "/bookmark-folders",
        method = "post",
        operation_id = "makeBookmarkFolder"
    )]
    async fn make(
        &self,
        write: Write,
        body: Input<FolderLabel>,
    ) -> Result<Created<Folder>, Problem> {
        let name: FolderName = body.0.folder_name.parse()?;
        // As far as they are folded: a write does not wait for the read model.
        let (pool, owner) = (write.services.pool(), write.account());
        let others = bookmark_folders::count(pool, owner, FOLDERS_MAX).await?;
        let command = MakeFolder {
            folder: FolderId(new_id(owner)?),
            owner,
            name,
            others,
        };
        let receipt = write.execute_once(&command).await?;
        let location = format!("/v1/bookmark-folders/{}", receipt.aggregate.id);
        let created = match read_back(&write, &receipt).await {
            Some(folder) => Created::new(&location, folder),
            None => Created::short(&location, &Version::from(&receipt)),
        };
        Ok(created
            .at(receipt.position)
            .version(receipt.version)
            .replayed(receipt.again))
    }

    /// My folders for bookmarks, the last made first
    ///
    /// With how many bookmarks are in each, a page at a time.
    #[oai(
        path = "/bookmark-folders",
        method = "get",
        operation_id = "listBookmarkFolders"
    )]
    async fn list(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<FolderPage>, Problem> {
        let me = read.who.account;
        let scope = format!("folders:{me}");
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        let part = bookmark_folders::list(read.pool(), me, page.start, page.limit).await?;
        Ok(page.answer(part, |rows, ends| FolderPage {
            items: rows.into_iter().map(Folder::from).collect(),
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        }))
    }

    /// A folder of mine
    ///
    /// With how many bookmarks are in it.
    #[oai(
        path = "/bookmark-folders/:folder_id",
        method = "get",
        operation_id = "getBookmarkFolder"
    )]
    async fn get(
        &self,
        read: Read<Authenticated>,
        folder_id: Path<Uuid>,
    ) -> Result<Found<Folder>, Problem> {
        let observed = read.observe().await?;
        let row = find(&read, &observed, FolderId(folder_id.0)).await?;
        Ok(Found::new(Folder::from(row)).as_of(observed.header(View::SOCIAL)))
    }

    /// Rename a folder of mine
    ///
    /// `If-Match` says which version is renamed, or `*` for any: without it the answer is
    /// 428.
    #[oai(
        path = "/bookmark-folders/:folder_id",
        method = "patch",
        operation_id = "renameBookmarkFolder"
    )]
    async fn rename(
        &self,
        write: Write<MustMatch>,
        folder_id: Path<Uuid>,
        body: Input<FolderLabel>,
    ) -> Result<Changed<Folder>, Problem> {
        let command = RenameFolder {
            folder: FolderId(folder_id.0),
            actor: write.account(),
            name: body.0.folder_name.parse()?,
            expected_version: write.expected.0.clone(),
        };
        let receipt = write.execute_once(&command).await?;
        let changed = match read_back(&write, &receipt).await {
            Some(folder) => Changed::new(folder),
            None => Changed::short(Some(&Version::from(&receipt))),
        };
        Ok(changed
            .at(receipt.position)
            .version(receipt.version)
            .replayed(receipt.again))
    }

    /// Delete a folder of mine
    ///
    /// Bookmarks that are in it stay, in no folder.
    #[oai(
        path = "/bookmark-folders/:folder_id",
        method = "delete",
        operation_id = "deleteBookmarkFolder"
    )]
    async fn delete(&self, write: Write<IfMatch>, folder_id: Path<Uuid>) -> Result<Done, Problem> {
        let command = DeleteFolder {
            folder: FolderId(folder_id.0),
            actor: write.account(),
            expected_version: write.expected.0.clone(),
        };
        Ok(write.done(&write.execute_once(&command).await?))
    }
}

/// The folder that was written, as its GET shows it. None where the answer is the short
/// one.
async fn read_back<E>(write: &Write<E>, receipt: &Receipt) -> Option<Folder> {
    let read = write.read_back(&[*receipt]).await?;
    let observed = read.observe().await.ok()?;
    let row = find(&read, &observed, FolderId(receipt.aggregate.id)).await;
    row.ok().map(Folder::from)
}

/// The folder where the reader has it.
pub(crate) async fn find(
    read: &Read<Authenticated>,
    observed: &Observed,
    folder: FolderId,
) -> Result<FolderRow, Problem> {
    let row = bookmark_folders::by_id(read.pool(), read.who.account, folder).await?;
    let row = row.ok_or_else(Problem::no_folder)?;
    observed.refuse_parked(folder.0)?;
    Ok(row)
}

impl From<InvalidFolderName> for Problem {
    fn from(error: InvalidFolderName) -> Self {
        Self::invalid_field("/folder_name", error.explained())
    }
}

impl From<FolderError> for Problem {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::FolderNotFound => Self::no_folder(),
            FolderError::TooManyFolders => {
                let detail = text!(
                    "Delete a folder first: an account has at most {0}.",
                    "Löschen Sie zuerst einen Ordner: Ein Konto hat höchstens {0}."
                );
                let detail = detail.with([u64::from(FOLDERS_MAX).into()]);
                Self::new(Code::TooManyFolders, detail)
            }
            // Ids are drawn at random.
            FolderError::FolderExists => Self::internal(error),
            FolderError::VersionMismatch(version) => {
                preconditions::version_mismatch(version).into()
            }
        }
    }
}
