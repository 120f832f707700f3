//! Home and local as the API puts them together, without HTTP.

use domain::posts::PostId;
use kernel::AccountId;
use readmodel::{
    PgPool, ReadError,
    hot::{Hot, Seen, Shown},
    paging::{Direction, Part, Start},
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

/// `limit` entries of home, by a process that knows nothing yet: fewer at an end alone.
pub async fn home(
    pool: &PgPool,
    lists: Option<&Lists>,
    reader: AccountId,
    mut start: Start<EntryId>,
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
        let page = home.page(start, left).await?;
        let Part { next, prev, .. } = *page;
        let entries = page.rows.iter().map(Seen::entry);
        let key = match start.direction {
            Direction::Next => {
                found.extend(entries);
                next
            }
            Direction::Prev => {
                drop(found.splice(0..0, entries));
                prev
            }
        };
        if !page.more || found.len() == limit as usize {
            return Ok(found);
        }
        start.key = key;
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
    let page = local.page(Start::default(), limit).await?;
    Ok(page.rows.iter().map(|seen| seen.post.id).collect())
}
