//! Folders of bookmarks: making, naming and deleting them, for oneself alone.

use std::sync::Arc;

use domain::bookmark_folders::{
    DeleteFolder, FOLDERS_MAX, FolderError, FolderId, FolderName, InvalidFolderName, MakeFolder,
    RenameFolder,
};
use edge::{
    answers::{Changed, Created, Done, Found},
    body::Input,
    identity::{Authenticated, Viewer},
    instant::{self, Instant},
    paging::{Here, Limit},
    preconditions::{self, Idempotency, IfMatch, MinPosition, MustMatch},
    request::RequestId,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    types::Example,
};
use readmodel::bookmark_folders::{self, FolderRow};

use crate::{
    accounts::Version,
    examples::ACCOUNT_ID,
    freshness::{Observed, View},
    pages::EdgePage,
    problem::{Code, Problem},
    services::{Services, new_id},
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
    /// Send it as `cursor` for the next page; missing on the last one.
    next_cursor: Option<String>,
}

impl Example for FolderPage {
    fn example() -> Self {
        Self {
            items: vec![Folder::example()],
            next_cursor: None,
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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        body: Input<FolderLabel>,
    ) -> Result<Created<Version>, Problem> {
        let name: FolderName = body.0.folder_name.parse()?;
        // As far as they are folded: a write does not wait for the read model.
        let others = bookmark_folders::count(services.pool(), me.account, FOLDERS_MAX).await?;
        let command = MakeFolder {
            folder: FolderId(new_id(me.account)?),
            owner: me.account,
            name,
            others,
        };
        let key = idempotency.of(me.account);
        let receipt = services
            .execute_once(&command, me.account, request_id.0, key)
            .await?;
        let (id, version) = (receipt.aggregate.id, receipt.version);
        let location = format!("/v1/bookmark-folders/{id}");
        Ok(Created::new(&location, Version { id, version })
            .at(receipt.position)
            .version(version))
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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        min_position: MinPosition,
        here: Here,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<FolderPage>, Problem> {
        let (viewer, scope) = (Viewer(Some(me)), format!("folders:{}", me.account));
        let cursor = cursor.0.as_deref();
        let page = EdgePage::begin(&services, viewer, &min_position, scope, limit.0, cursor);
        let page = page.await?;
        let (last, asked) = (page.last, page.asked);
        let mut rows = bookmark_folders::list(services.pool(), me.account, last, asked).await?;
        let next_cursor = page.cut(&services, &mut rows, |row| (row.made_at.0, row.id.0));
        let items = rows.into_iter().map(Folder::from).collect();
        let link = next_cursor.as_deref().map(|cursor| here.next(cursor));
        Ok(Found::new(FolderPage { items, next_cursor })
            .next(link.as_deref())
            .as_of(page.observed.header(View::SOCIAL)))
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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        min_position: MinPosition,
        folder_id: Path<Uuid>,
    ) -> Result<Found<Folder>, Problem> {
        let observed = (services.freshness)
            .wait(View::SOCIAL, Some(me.account), &min_position.0)
            .await?;
        let folder = FolderId(folder_id.0);
        let row = find(&services, &observed, me.account, folder).await?;
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
    #[allow(clippy::too_many_arguments)]
    async fn rename(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        if_match: MustMatch,
        idempotency: Idempotency,
        folder_id: Path<Uuid>,
        body: Input<FolderLabel>,
    ) -> Result<Changed<Version>, Problem> {
        let command = RenameFolder {
            folder: FolderId(folder_id.0),
            actor: me.account,
            name: body.0.folder_name.parse()?,
            expected_version: if_match.0,
        };
        let key = idempotency.of(me.account);
        let receipt = services
            .execute_once(&command, me.account, request_id.0, key)
            .await?;
        let (id, version) = (folder_id.0, receipt.version);
        Ok(Changed::new(Version { id, version })
            .at(receipt.position)
            .version(version))
    }

    /// Delete a folder of mine
    ///
    /// Bookmarks that are in it stay, in no folder.
    #[oai(
        path = "/bookmark-folders/:folder_id",
        method = "delete",
        operation_id = "deleteBookmarkFolder"
    )]
    async fn delete(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        if_match: IfMatch,
        idempotency: Idempotency,
        folder_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = DeleteFolder {
            folder: FolderId(folder_id.0),
            actor: me.account,
            expected_version: if_match.0,
        };
        let key = idempotency.of(me.account);
        let receipt = services
            .execute_once(&command, me.account, request_id.0, key)
            .await?;
        Ok(Done::at(receipt.position))
    }
}

/// The folder where `account` has it.
pub(crate) async fn find(
    services: &Services,
    observed: &Observed,
    account: AccountId,
    folder: FolderId,
) -> Result<FolderRow, Problem> {
    let row = bookmark_folders::by_id(services.pool(), account, folder).await?;
    let row = row.ok_or_else(|| Problem::not_found("folder"))?;
    observed.refuse_parked(folder.0)?;
    Ok(row)
}

impl From<InvalidFolderName> for Problem {
    fn from(error: InvalidFolderName) -> Self {
        Self::invalid_field("/folder_name", error.to_string())
    }
}

impl From<FolderError> for Problem {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::FolderNotFound => Self::not_found("folder"),
            FolderError::TooManyFolders => Self::new(
                Code::Conflict,
                format!("An account has at most {FOLDERS_MAX} folders: delete one first."),
            ),
            FolderError::FolderExists => Self::new(Code::Conflict, "Another folder has this id."),
            FolderError::VersionMismatch(version) => {
                preconditions::version_mismatch(version).into()
            }
        }
    }
}
