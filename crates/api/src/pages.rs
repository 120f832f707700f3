//! Pages of the features: which key a cursor holds, where a page is cut.

use domain::posts::PostId;
use kernel::{AccountId, Uuid};
use readmodel::{accounts::AccountRow, posts::PostRow};

use crate::{
    accounts::{Account, AccountPage},
    answers::Found,
    freshness::{Observed, View},
    identity::Viewer,
    paging::{Cursors, Here, Limit},
    posts::{Post, PostPage},
    problem::Problem,
};

/// One row more than a page has tells whether there is another page.
pub(crate) fn asked(limit: Limit) -> u32 {
    u32::try_from(limit.get()).unwrap_or(u32::MAX - 1) + 1
}

/// The id that the page before ended with.
pub(crate) fn post(
    cursors: &Cursors,
    scope: &str,
    cursor: Option<&str>,
) -> Result<Option<PostId>, Problem> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let key = cursors.open(scope, cursor)?;
    Ok(Uuid::from_slice(&key).ok().map(PostId))
}

/// The time and the account of the edge that the page before ended with.
pub(crate) fn edge(
    cursors: &Cursors,
    scope: &str,
    cursor: Option<&str>,
) -> Result<Option<(i64, AccountId)>, Problem> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let key = cursors.open(scope, cursor)?;
    let (at, id) = key.split_first_chunk::<8>().unzip();
    let at = at.map(|at| i64::from_be_bytes(*at));
    let id = id.and_then(|id| Uuid::from_slice(id).ok());
    Ok(at.zip(id.map(AccountId)))
}

/// The rows of the page, and the cursor of the next one. Posts that wait for an
/// operator are left out: what is known of them is old, and they may be deleted.
pub(crate) fn cut(
    cursors: &Cursors,
    observed: &Observed,
    scope: &str,
    mut rows: Vec<PostRow>,
    limit: Limit,
) -> (Vec<PostRow>, Option<String>) {
    let more = rows.len() > limit.get();
    rows.truncate(limit.get());
    let last = rows.last().filter(|_| more);
    let cursor = last.map(|row| cursors.seal(scope, row.id.0.as_bytes()));
    rows.retain(|row| !observed.is_parked(row.id.0));
    (rows, cursor)
}

pub(crate) fn posts(
    cursors: &Cursors,
    observed: &Observed,
    scope: &str,
    rows: Vec<PostRow>,
    limit: Limit,
    viewer: Viewer,
    here: &Here,
) -> Found<PostPage> {
    let (rows, next_cursor) = cut(cursors, observed, scope, rows, limit);
    let link = next_cursor.as_deref().map(|cursor| here.next(cursor));
    let items = Post::all(rows, viewer);
    Found::new(PostPage { items, next_cursor })
        .next(link.as_deref())
        .as_of(observed.header(View::Social))
}

pub(crate) fn accounts(
    cursors: &Cursors,
    scope: &str,
    mut rows: Vec<(i64, AccountRow)>,
    limit: Limit,
    here: &Here,
) -> Found<AccountPage> {
    let more = rows.len() > limit.get();
    rows.truncate(limit.get());
    let next_cursor = rows.last().filter(|_| more).map(|(at, row)| {
        let key = [at.to_be_bytes().as_slice(), row.id.0.as_bytes()].concat();
        cursors.seal(scope, &key)
    });
    let link = next_cursor.as_deref().map(|cursor| here.next(cursor));
    let items = rows
        .into_iter()
        .map(|(_, row)| Account::from(row))
        .collect();
    Found::new(AccountPage { items, next_cursor }).next(link.as_deref())
}
