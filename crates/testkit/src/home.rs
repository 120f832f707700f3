//! Home and local as the API puts them together, without HTTP.

use domain::posts::PostId;
use kernel::AccountId;
use readmodel::{
    PgPool, ReadError,
    hot::{Hot, Seen, Shown},
    posts::PostRow,
    timelines::{EntryId, Home, Lists, Local, pulled_authors},
};

/// A row shown as it is.
pub struct Row(pub PostRow);

impl From<PostRow> for Row {
    fn from(row: PostRow) -> Self {
        Self(row)
    }
}

impl Shown for Row {
    fn bytes(&self) -> usize {
        size_of::<PostRow>()
    }
}

/// The next `limit` entries of home, by a process that knows nothing yet.
pub async fn home(
    pool: &PgPool,
    lists: Option<&Lists>,
    reader: AccountId,
    mut before: Option<EntryId>,
    limit: u32,
) -> Result<Vec<EntryId>, ReadError> {
    let pulled = pulled_authors(pool).await?;
    let hot = Hot::<Row>::default();
    let home = Home {
        reading: hot.reading(pool, false, Default::default()),
        lists: lists.map(|lists| (lists, &pulled)),
        reader,
    };
    let mut found: Vec<EntryId> = Vec::new();
    loop {
        let left = limit - found.len() as u32;
        let page = home.page(before, left).await?;
        found.extend(page.rows.iter().map(Seen::entry));
        before = page.next;
        if before.is_none() || found.len() == limit as usize {
            return Ok(found);
        }
    }
}

/// The first page of local by a process that knows nothing yet.
pub async fn local(
    pool: &PgPool,
    viewer: Option<AccountId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let hot = Hot::<Row>::default();
    let local = Local {
        reading: hot.reading(pool, false, Default::default()),
        viewer,
    };
    let page = local.page(None, limit).await?;
    Ok(page.rows.iter().map(|seen| seen.post.id).collect())
}
