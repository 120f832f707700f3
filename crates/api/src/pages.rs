//! Pages of the features: which key a cursor holds, and how a part of a list is answered.

use domain::posts::PostId;
use edge::{
    answers::Found,
    identity::Viewer,
    paging::{Cursors, Here, Limit},
};
use kernel::Uuid;
use readmodel::{
    accounts::AccountRow,
    hot::Seen,
    paging::{EdgeKey, Part},
    posts::PostRow,
    timelines::EntryId,
};

use crate::{
    accounts::{Account, AccountPage},
    freshness::{Moment, View},
    handlers::Read,
    posts::{self, Post, PostPage},
    problem::Problem,
    services::Services,
    shown::{self, ShownPost},
};

/// A page that is asked for, and what it is answered from.
pub(crate) struct Page<'a, K> {
    pub observed: Moment,
    pub view: View,
    /// The key of the last row seen.
    pub last: Option<K>,
    /// How many rows it has, at most.
    pub limit: u32,
    scope: String,
    cursors: &'a Cursors,
    here: &'a Here,
    viewer: Viewer,
    services: &'a Services,
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

impl Key for EntryId {
    fn read(bytes: &[u8]) -> Option<Self> {
        PostId::read(bytes).map(Self::from)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }
}

impl Key for u64 {
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }

    fn bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }
}

/// Of what has a time, as edges have: that, and what the edge leads to.
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
        observed: impl Future<Output = Result<(Moment, View), Problem>>,
    ) -> Result<Page<'_, K>, Problem> {
        let cursors = &*self.services.cursors;
        let key = cursor.map(|cursor| cursors.open(&scope, cursor));
        let last = key.transpose()?.and_then(|key| K::read(&key));
        let (observed, view) = observed.await?;
        Ok(Page {
            observed,
            view,
            last,
            limit: limit.into(),
            scope,
            cursors,
            here: &self.here,
            viewer: self.viewer(),
            services: &self.services,
        })
    }
}

impl<K: Key> Page<'_, K> {
    /// The page, with a link to the next one.
    pub fn answer<R, T>(
        &self,
        part: Part<R, K>,
        body: impl FnOnce(Vec<R>, Option<String>) -> T,
    ) -> Found<T> {
        let next_cursor = self.cursor(part.next);
        let link = next_cursor.as_deref().map(|cursor| self.here.next(cursor));
        let found = Found::new(body(part.rows, next_cursor)).next(link.as_deref());
        found.as_of(self.observed.header(self.view))
    }

    fn cursor(&self, next: Option<K>) -> Option<String> {
        next.map(|key| self.cursors.seal(&self.scope, &key.bytes()))
    }
}

impl Page<'_, PostId> {
    pub async fn posts(&self, part: Part<PostRow, PostId>) -> Result<Found<PostPage>, Problem> {
        let reading = self.services.reading(&self.observed);
        let rows = self.known(part.rows);
        let rows = posts::with_parents(&reading, self.viewer, rows).await?;
        let part = Part {
            rows,
            next: part.next,
        };
        Ok(self.answer(part, |items, next_cursor| PostPage { items, next_cursor }))
    }

    /// Without posts that are withheld, and those that wait for an operator: what is known
    /// of them is old, and they may be deleted.
    pub fn known(&self, mut rows: Vec<PostRow>) -> Vec<Post> {
        let (observed, viewer) = (&self.observed, self.viewer.account());
        rows.retain(|row| !observed.is_parked(row.id.0) && !observed.withheld.post(viewer, row));
        let post = |row| Post::of(row, self.viewer);
        rows.into_iter().map(post).collect()
    }
}

impl Page<'_, EntryId> {
    /// The page of what is kept in process.
    pub fn seen(&self, part: &Part<Seen<ShownPost>, EntryId>) -> Found<PostPage> {
        let next = self.cursor(part.next);
        let mut bytes = shown::write_items(&part.rows, &self.observed, self.viewer);
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
    pub fn accounts(&self, mut part: Part<(i64, AccountRow), EdgeKey>) -> Found<AccountPage> {
        let (withheld, viewer) = (&self.observed.withheld, self.viewer.account());
        part.rows
            .retain(|(_, row)| !withheld.account(viewer, row.id));
        let account = |(_, row)| Account::of(row, self.viewer);
        self.answer(part, |rows, next_cursor| AccountPage {
            items: rows.into_iter().map(account).collect(),
            next_cursor,
        })
    }
}
