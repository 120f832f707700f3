//! Pages of the features: which key a cursor holds, where a page is cut.

use std::sync::Arc;

use domain::posts::PostId;
use edge::{
    answers::Found,
    identity::Viewer,
    paging::{Cursors, Here, Limit},
    preconditions::MinPosition,
};
use kernel::Uuid;
use readmodel::{accounts::AccountRow, hot::Seen, posts::PostRow};

use crate::{
    accounts::{Account, AccountPage},
    freshness::{Observed, View},
    posts::{Post, PostPage},
    problem::Problem,
    services::Services,
    shown::{self, ShownPost},
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
        .as_of(observed.header(View::SOCIAL))
}

/// The page of what is kept in process, as `viewer` sees it.
pub(crate) fn seen(
    cursors: &Cursors,
    (observed, view): (&Observed, View),
    scope: &str,
    posts: &[Seen<ShownPost>],
    limit: Limit,
    viewer: Viewer,
    here: &Here,
) -> Found<PostPage> {
    let more = posts.len() > limit.get();
    let posts = &posts[..posts.len().min(limit.get())];
    let mut bytes = shown::write_items(posts, observed, viewer);
    let last = posts.last().filter(|_| more);
    let next = last.map(|seen| cursors.seal(scope, seen.entry().0.as_bytes()));
    if let Some(cursor) = &next {
        bytes.extend_from_slice(br#","next_cursor":""#);
        bytes.extend_from_slice(cursor.as_bytes());
        bytes.push(b'"');
    }
    bytes.push(b'}');
    let link = next.map(|cursor| here.next(&cursor));
    let found = Found::written(bytes).as_of(observed.header(view));
    found.next(link.as_deref())
}

/// A page of what has a time, as edges have, the last first.
pub(crate) struct EdgePage {
    pub observed: Arc<Observed>,
    /// The key of the last row seen: its time, and what the edge leads to.
    pub last: Option<(i64, Uuid)>,
    /// How many rows to read.
    pub asked: u32,
    limit: Limit,
    scope: String,
}

impl EdgePage {
    /// Waits for what `viewer` may ask to see. `scope` is what the cursor is bound to.
    pub async fn begin(
        services: &Services,
        viewer: Viewer,
        min_position: &MinPosition,
        scope: String,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Self, Problem> {
        let key = cursor.map(|cursor| services.cursors.open(&scope, cursor));
        let last = key.transpose()?.and_then(|key| {
            let (at, id) = key.split_first_chunk::<8>()?;
            let id = Uuid::from_slice(id).ok()?;
            Some((i64::from_be_bytes(*at), id))
        });
        let observed = (services.freshness)
            .wait(View::SOCIAL, viewer.account(), &min_position.0)
            .await?;
        Ok(Self {
            observed,
            last,
            asked: asked(limit),
            limit,
            scope,
        })
    }

    /// Leaves the rows of the page, and gives the cursor of the next one.
    pub fn cut<T>(
        &self,
        services: &Services,
        rows: &mut Vec<T>,
        key: impl Fn(&T) -> (i64, Uuid),
    ) -> Option<String> {
        let more = rows.len() > self.limit.get();
        rows.truncate(self.limit.get());
        rows.last().filter(|_| more).map(|row| {
            let (at, id) = key(row);
            let key = [at.to_be_bytes().as_slice(), id.as_bytes()].concat();
            services.cursors.seal(&self.scope, &key)
        })
    }

    pub fn answer(
        self,
        services: &Services,
        mut rows: Vec<(i64, AccountRow)>,
        here: &Here,
    ) -> Found<AccountPage> {
        let next_cursor = self.cut(services, &mut rows, |(at, row)| (*at, row.id.0));
        let link = next_cursor.as_deref().map(|cursor| here.next(cursor));
        let items = rows
            .into_iter()
            .map(|(_, row)| Account::from(row))
            .collect();
        Found::new(AccountPage { items, next_cursor })
            .next(link.as_deref())
            .as_of(self.observed.header(View::SOCIAL))
    }
}
