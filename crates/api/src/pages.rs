//! Pages of the features: which key a cursor holds, and how a part of a list is answered.

use domain::posts::PostId;
use edge::{
    answers::Found,
    identity::Viewer,
    paging::{CURSOR, Cursors, Here, Limit, NEWER_THAN, invalid_cursor},
    preconditions::{IfNoneMatch, page_etag},
};
use kernel::Uuid;
use poem::http::HeaderValue;
use readmodel::{
    accounts::AccountRow,
    hot::Seen,
    paging::{Direction, EdgeKey, ListKey, Part, Start},
    posts::PostRow,
    timelines::EntryId,
};

use crate::{
    accounts::{Account, AccountPage},
    freshness::{Moment, View},
    handlers::Read,
    newer::{NEWER_MAX, Newer},
    posts::{self, Post, PostPage},
    problem::Problem,
    services::Services,
    shown::{self, ShownPost},
};

/// What a cursor begins with.
const NEXT: u8 = 0;
const PREV: u8 = 1;

/// A page that is asked for, and what it is answered from.
pub(crate) struct Page<'a, K> {
    pub observed: Moment,
    pub view: View,
    pub start: Start<K>,
    /// How many rows it has, at most.
    pub limit: u32,
    scope: String,
    cursors: &'a Cursors,
    here: &'a Here,
    viewer: Viewer,
    services: &'a Services,
    known: IfNoneMatch,
}

/// The cursors of the pages beside one.
pub(crate) struct Ends {
    pub next: Option<String>,
    pub prev: String,
}

/// What a cursor holds, beside its direction.
pub(crate) trait Key: ListKey {
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

fn read_start<K: Key>(bytes: &[u8]) -> Option<Start<K>> {
    let (direction, key) = bytes.split_first()?;
    let key = match key {
        [] => None,
        key => Some(K::read(key)?),
    };
    match *direction {
        NEXT => Some(Start::next(key)),
        PREV => Some(Start::prev(key)),
        _ => None,
    }
}

impl<W: Copy + Into<Viewer>> Read<W> {
    /// A page of what the social view has; `scope` is what its cursors are bound to.
    pub async fn page<K: Key>(
        &self,
        scope: String,
        limit: Limit,
        cursor: Option<String>,
        known: IfNoneMatch,
    ) -> Result<Page<'_, K>, Problem> {
        let observed = async { Ok((self.observe().await?, View::SOCIAL)) };
        self.page_of(scope, limit, cursor, known, observed).await
    }

    /// The same of another view, which is waited for after the cursor was read.
    pub async fn page_of<K: Key>(
        &self,
        scope: String,
        limit: Limit,
        cursor: Option<String>,
        known: IfNoneMatch,
        observed: impl Future<Output = Result<(Moment, View), Problem>>,
    ) -> Result<Page<'_, K>, Problem> {
        let start = cursor.map(|cursor| self.start(CURSOR, &scope, &cursor));
        let start = start.transpose()?.unwrap_or_default();
        let (observed, view) = observed.await?;
        Ok(Page {
            observed,
            view,
            start,
            limit: limit.into(),
            scope,
            cursors: &self.services.cursors,
            here: &self.here,
            viewer: self.viewer(),
            services: &self.services,
            known,
        })
    }

    /// What is newer than a page, to be counted: of the list with the same `scope`.
    pub async fn newer<K: Key>(
        &self,
        scope: String,
        newer_than: &str,
        observed: impl Future<Output = Result<(Moment, View), Problem>>,
    ) -> Result<Page<'_, K>, Problem> {
        let start = self.start(NEWER_THAN, &scope, newer_than)?;
        if start.direction != Direction::Prev {
            return Err(invalid_cursor(NEWER_THAN).into());
        }
        let (limit, known) = (Limit::default(), IfNoneMatch::default());
        let page = self.page_of(scope, limit, None, known, observed).await?;
        Ok(Page {
            start,
            limit: NEWER_MAX,
            ..page
        })
    }

    fn start<K: Key>(
        &self,
        parameter: &str,
        scope: &str,
        cursor: &str,
    ) -> Result<Start<K>, Problem> {
        let key = self.services.cursors.open(parameter, scope, cursor)?;
        read_start(&key).ok_or_else(|| invalid_cursor(parameter).into())
    }
}

impl<K: Key> Page<'_, K> {
    /// The page, with links to those beside it.
    pub fn answer<R, T>(&self, part: Part<R, K>, body: impl FnOnce(Vec<R>, Ends) -> T) -> Found<T> {
        let ends = self.ends(part.next, part.prev);
        let links = self.links(&ends);
        let found = Found::new(body(part.rows, ends)).page(&self.known);
        found.links(&links).as_of(self.observed.header(self.view))
    }

    fn links(&self, ends: &Ends) -> String {
        self.here.links(ends.next.as_deref(), &ends.prev)
    }

    fn ends(&self, next: Option<K>, prev: Option<K>) -> Ends {
        Ends {
            next: next.map(|key| self.cursor(NEXT, Some(key))),
            prev: self.cursor(PREV, prev),
        }
    }

    fn cursor(&self, direction: u8, key: Option<K>) -> String {
        let key = key.map(|key| key.bytes()).unwrap_or_default();
        let key = [[direction].as_slice(), &key].concat();
        self.cursors.seal(&self.scope, &key)
    }

    fn counted(&self, count: usize, more: bool) -> Found<Newer> {
        let newer = Newer {
            count: count as u32,
            more,
        };
        Found::new(newer).as_of(self.observed.header(self.view))
    }
}

impl Page<'_, PostId> {
    pub async fn posts(&self, part: Part<PostRow, PostId>) -> Result<Found<PostPage>, Problem> {
        let reading = self.services.reading(&self.observed);
        let (rows, part) = part.without_rows();
        let rows = self.known(rows);
        let rows = posts::with_parents(&reading, self.viewer, rows).await?;
        Ok(self.answer(part.with(rows), |items, ends| PostPage {
            items,
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        }))
    }

    pub fn newer_posts(&self, part: &Part<PostRow, PostId>) -> Found<Newer> {
        let known = part.rows.iter().filter(|row| self.is_known(row));
        self.counted(known.count(), part.more)
    }

    /// Without posts that are withheld, and those that wait for an operator: what is known
    /// of them is old, and they may be deleted.
    pub fn known(&self, mut rows: Vec<PostRow>) -> Vec<Post> {
        rows.retain(|row| self.is_known(row));
        let post = |row| Post::of(row, self.viewer);
        rows.into_iter().map(post).collect()
    }

    fn is_known(&self, row: &PostRow) -> bool {
        let (observed, viewer) = (&self.observed, self.viewer.account());
        !observed.is_parked(row.id.0) && !observed.withheld.post(viewer, row)
    }
}

impl Page<'_, EntryId> {
    /// The page of what is kept in process.
    pub fn seen(&self, part: &Part<Seen<ShownPost>, EntryId>) -> Found<PostPage> {
        let ends = self.ends(part.next, part.prev);
        let (mut bytes, mut pieces) = shown::write_items(&part.rows, &self.observed, self.viewer);
        let items = bytes.len();
        let next = ends.next.as_deref();
        let cursors = [("next_cursor", next), ("prev_cursor", Some(&*ends.prev))];
        for (name, cursor) in cursors {
            let Some(cursor) = cursor else { continue };
            for text in [",\"", name, "\":\"", cursor, "\""] {
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        bytes.push(b'}');
        pieces.add(bytes.get(items..).unwrap_or_default());
        let tag = page_etag(pieces.digest());
        let found = match self.known.has(&tag) {
            true => Found::known(),
            false => Found::written(bytes).links(&self.links(&ends)),
        };
        let found = found.tag(HeaderValue::from_str(&tag).ok());
        found.as_of(self.observed.header(self.view))
    }

    pub fn newer_seen(&self, part: &Part<Seen<ShownPost>, EntryId>) -> Found<Newer> {
        let unparked = shown::unparked(&part.rows, &self.observed);
        self.counted(unparked.count(), part.more)
    }
}

impl Page<'_, EdgeKey> {
    pub fn accounts(&self, mut part: Part<(i64, AccountRow), EdgeKey>) -> Found<AccountPage> {
        let (withheld, viewer) = (&self.observed.withheld, self.viewer.account());
        part.rows
            .retain(|(_, row)| !withheld.account(viewer, row.id));
        let account = |(_, row)| Account::of(row, self.viewer);
        self.answer(part, |rows, ends| AccountPage {
            items: rows.into_iter().map(account).collect(),
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        })
    }
}
