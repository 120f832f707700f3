//! Pages of the features: which key a cursor holds, where a page is cut.

use std::sync::Arc;

use domain::posts::PostId;
use edge::{
    answers::Found,
    identity::Viewer,
    paging::{Cursors, Here, Limit},
};
use kernel::Uuid;
use readmodel::{accounts::AccountRow, hot::Seen, posts::PostRow};

use crate::{
    accounts::{Account, AccountPage},
    freshness::{Observed, View},
    handlers::Read,
    posts::{Post, PostPage},
    problem::Problem,
    shown::{self, ShownPost},
};

/// A page that is asked for, and what it is answered from.
pub(crate) struct Page<'a, K> {
    pub observed: Arc<Observed>,
    pub view: View,
    /// The key of the last row seen.
    pub last: Option<K>,
    /// How many rows to read: one more than a page has tells whether there is another.
    pub asked: u32,
    limit: Limit,
    scope: String,
    cursors: &'a Cursors,
    here: &'a Here,
    viewer: Viewer,
}

/// What a page ends with.
pub(crate) trait Key: Sized {
    fn read(bytes: &[u8]) -> Option<Self>;
    fn bytes(&self) -> Vec<u8>;
}

impl Key for PostId {
    fn read(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }
}

/// Of what has a time, as edges have: that, and what the edge leads to.
pub(crate) type EdgeKey = (i64, Uuid);

impl Key for EdgeKey {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (at, id) = bytes.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*at), Uuid::from_slice(id).ok()?))
    }

    fn bytes(&self) -> Vec<u8> {
        [self.0.to_be_bytes().as_slice(), self.1.as_bytes()].concat()
    }
}

impl<W: Copy + Into<Viewer>> Read<W> {
    /// A page of what the social view has; `scope` is what its cursor is bound to.
    pub async fn page<K: Key>(
        &self,
        scope: String,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<'_, K>, Problem> {
        let observed = async { Ok((self.observe().await?, View::SOCIAL)) };
        self.page_of(scope, limit, cursor, observed).await
    }

    /// The same of another view, which is waited for after the cursor was read.
    pub async fn page_of<K: Key>(
        &self,
        scope: String,
        limit: Limit,
        cursor: Option<&str>,
        observed: impl Future<Output = Result<(Arc<Observed>, View), Problem>>,
    ) -> Result<Page<'_, K>, Problem> {
        let cursors = &*self.services.cursors;
        let key = cursor.map(|cursor| cursors.open(&scope, cursor));
        let last = key.transpose()?.and_then(|key| K::read(&key));
        let (observed, view) = observed.await?;
        Ok(Page {
            observed,
            view,
            last,
            asked: u32::try_from(limit.get()).unwrap_or(u32::MAX - 1) + 1,
            limit,
            scope,
            cursors,
            here: &self.here,
            viewer: self.viewer(),
        })
    }
}

impl<K: Key> Page<'_, K> {
    /// Leaves the rows of the page, and gives the cursor of the next one.
    pub fn cut<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> K) -> Option<String> {
        let next = self.next(rows, key);
        rows.truncate(self.limit.get());
        next
    }

    fn next<T>(&self, rows: &[T], key: impl Fn(&T) -> K) -> Option<String> {
        let more = rows.len() > self.limit.get();
        let rows = &rows[..rows.len().min(self.limit.get())];
        let last = rows.last().filter(|_| more)?;
        Some(self.cursors.seal(&self.scope, &key(last).bytes()))
    }

    /// The page, with a link to the next one.
    pub fn answer<T>(
        &self,
        next_cursor: Option<String>,
        body: impl FnOnce(Option<String>) -> T,
    ) -> Found<T> {
        let link = next_cursor.as_deref().map(|cursor| self.here.next(cursor));
        let found = Found::new(body(next_cursor)).next(link.as_deref());
        found.as_of(self.observed.header(self.view))
    }
}

impl Page<'_, PostId> {
    /// As `cut`. Posts that wait for an operator are left out: what is known of them is
    /// old, and they may be deleted.
    pub fn cut_posts(&self, rows: &mut Vec<PostRow>) -> Option<String> {
        let next_cursor = self.cut(rows, |row| row.id);
        rows.retain(|row| !self.observed.is_parked(row.id.0));
        next_cursor
    }

    pub fn posts(&self, mut rows: Vec<PostRow>) -> Found<PostPage> {
        let next_cursor = self.cut_posts(&mut rows);
        let items = Post::all(rows, self.viewer);
        self.answer(next_cursor, |next_cursor| PostPage { items, next_cursor })
    }

    /// The page of what is kept in process.
    pub fn seen(&self, posts: &[Seen<ShownPost>]) -> Found<PostPage> {
        let next = self.next(posts, |seen| PostId(seen.entry().0));
        let posts = &posts[..posts.len().min(self.limit.get())];
        let mut bytes = shown::write_items(posts, &self.observed, self.viewer);
        if let Some(cursor) = &next {
            bytes.extend_from_slice(br#","next_cursor":""#);
            bytes.extend_from_slice(cursor.as_bytes());
            bytes.push(b'"');
        }
        bytes.push(b'}');
        let link = next.map(|cursor| self.here.next(&cursor));
        let found = Found::written(bytes).next(link.as_deref());
        found.as_of(self.observed.header(self.view))
    }
}

impl Page<'_, EdgeKey> {
    pub fn accounts(&self, mut rows: Vec<(i64, AccountRow)>) -> Found<AccountPage> {
        let next_cursor = self.cut(&mut rows, |(at, row)| (*at, row.id.0));
        let account = |(_, row)| Account::from(row);
        let items = rows.into_iter().map(account).collect();
        self.answer(next_cursor, |next_cursor| AccountPage {
            items,
            next_cursor,
        })
    }
}
