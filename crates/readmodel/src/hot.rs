//! What is read often, kept in process: posts as everybody sees them, and whom
//! one reader follows, what it marked and what is hidden from it. An entry counts until an
//! event that touches it is folded; the caller says so with `touch`, and says with every
//! read whether all that is folded was said. Readers are never mixed: what depends on the
//! reader is put together anew for every answer.

mod home;
mod kept;
mod reading;
mod stamps;

use std::sync::Arc;

use domain::{posts::PostId, reposts::RepostId};
use kept::{ByBytes, Bytes, Kept};
use kernel::AccountId;
use quick_cache::sync::Cache;
use sea_orm::sqlx::PgPool;
use stamps::{Bucket, Stamps};

pub use reading::Reading;

use crate::{
    marks::Marks,
    paging::Part,
    posts::PostRow,
    reposts::Repost,
    timelines::EntryId,
    touches::Touch,
    visibility::{Audience, Hidden},
    withheld::Withheld,
};

/// Memory for posts, about.
const POSTS_BYTES_MAX: u64 = 32 * 1_024 * 1_024;
/// Memory for follows, for marks, and for first pages of home, about, each.
const READERS_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Memory for reposts, about.
const REPOSTS_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// Readers whose hidden accounts are kept, and authors whose ids are.
const READERS_MAX: usize = 16_384;
/// Follows of one reader that are kept; of more, each answer asks.
const FOLLOWS_MAX: u32 = 10_000;
/// Marks of one reader that are read at first: the newest.
const MARKS_FIRST: u32 = 500;
/// Marks of one reader that are kept: the newest. Of older posts, each answer asks.
const MARKS_MAX: u32 = 32_000;
/// Blocks and mutes of one reader that are kept; of more, each answer asks.
const HIDDEN_MAX: u32 = 2_000;
/// Posts of a first page that is kept.
const PAGE_POSTS_MAX: u32 = 30;
/// Newest ids of one author that are kept.
const AUTHORED_MAX: u32 = 200;

/// How a caller shows a post to everybody.
pub trait Shown: From<PostRow> + Send + Sync {
    /// Its memory, about.
    fn bytes(&self) -> usize;
}

/// A post as everybody sees it.
pub struct Shared<T> {
    pub id: PostId,
    pub author: AccountId,
    pub audience: Audience,
    /// What it replies to.
    pub parent: Option<PostId>,
    pub shown: T,
}

/// What a reply replies to, as one reader sees it.
pub enum Parent<T> {
    Shown(Arc<Shared<T>>),
    /// It is there, by this account, and not for this reader.
    Hidden(AccountId),
    /// It is deleted.
    Gone,
}

impl<T> Clone for Parent<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Shown(post) => Self::Shown(post.clone()),
            Self::Hidden(author) => Self::Hidden(*author),
            Self::Gone => Self::Gone,
        }
    }
}

/// A post as one reader sees it.
pub struct Seen<T> {
    pub post: Arc<Shared<T>>,
    /// What the reader did with it; empty for anonymous readers.
    pub marks: Marks,
    /// In home: the repost that it is shown by.
    pub repost: Option<Arc<Repost>>,
    /// Of a reply.
    pub parent: Option<Parent<T>>,
}

impl<T> Seen<T> {
    /// Its entry in the list.
    pub fn entry(&self) -> EntryId {
        match &self.repost {
            Some(repost) => repost.id.into(),
            None => self.post.id.into(),
        }
    }
}

/// One a process.
pub struct Hot<T> {
    stamps: Stamps<Touch>,
    posts: Cache<PostId, Arc<KeptPost<T>>, ByBytes>,
    follows: Cache<AccountId, Arc<Kept<Follows>>, ByBytes>,
    marks: Cache<AccountId, Arc<Kept<MarkSet>>, ByBytes>,
    /// None where there are too many.
    hidden: Cache<AccountId, Arc<Kept<Option<Hidden>>>>,
    reposts: Cache<RepostId, Arc<Kept<Arc<Repost>>>, ByBytes>,
    authored: Cache<AccountId, Arc<Kept<Authored>>>,
    pages: Cache<AccountId, Arc<Kept<FirstPage<T>>>, ByBytes>,
}

/// A post, or that there is none.
type KeptPost<T> = Kept<Option<Arc<Shared<T>>>>;

/// All, sorted; none where there are too many.
struct Follows(Option<Box<[AccountId]>>);

/// Marks on posts with ids from `since` on, sorted: the newest `limit`.
struct MarkSet {
    since: PostId,
    limit: u32,
    marks: Box<[(PostId, Marks)]>,
}

/// The newest ids, and whether they are all.
struct Authored {
    ids: Vec<EntryId>,
    all: bool,
}

/// The newest of a reader's home, and everything whose touch makes it old.
struct FirstPage<T> {
    limit: u32,
    page: Arc<Part<Seen<T>, EntryId>>,
    depends_on: Box<[Bucket]>,
}

impl<T: Shown> Bytes for Option<Arc<Shared<T>>> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, |post| post.shown.bytes())
    }
}

impl Bytes for Arc<Repost> {
    fn bytes(&self) -> usize {
        let name = self.by.display_name.as_ref().map_or(0, String::len);
        size_of::<Repost>() + self.by.handle.len() + name
    }
}

impl Bytes for Follows {
    fn bytes(&self) -> usize {
        self.0.as_deref().map_or(0, size_of_val)
    }
}

impl Bytes for MarkSet {
    fn bytes(&self) -> usize {
        size_of_val(&*self.marks)
    }
}

impl<T> Bytes for FirstPage<T> {
    fn bytes(&self) -> usize {
        size_of_val(&*self.page.rows) + size_of_val(&*self.depends_on)
    }
}

impl<T: Shown> Default for Hot<T> {
    fn default() -> Self {
        Self {
            stamps: Stamps::new(),
            posts: kept::cache(POSTS_BYTES_MAX),
            follows: kept::cache(READERS_BYTES_MAX),
            marks: kept::cache(READERS_BYTES_MAX),
            hidden: Cache::new(READERS_MAX),
            reposts: kept::cache(REPOSTS_BYTES_MAX),
            authored: Cache::new(READERS_MAX),
            pages: kept::cache(READERS_BYTES_MAX),
        }
    }
}

impl<T: Shown> Hot<T> {
    /// Makes entries old. To be called after the event that touches them is
    /// folded, and before anybody is told that it is.
    pub fn touch(&self, touches: impl IntoIterator<Item = Touch>) {
        for touch in touches {
            self.stamps.touch(&touch);
        }
    }

    /// Makes every entry old.
    pub fn forget(&self) {
        self.stamps.touch_all();
    }

    /// Who wrote `post`, where it was read lately: that never changes.
    pub fn author(&self, post: PostId) -> Option<AccountId> {
        let kept = self.posts.get(&post)?;
        kept.value.as_ref().map(|post| post.author)
    }

    /// To read with. Entries are taken where `is_current`: all that is folded was told
    /// with `touch`.
    pub fn reading<'a>(
        &'a self,
        pool: &'a PgPool,
        is_current: bool,
        withheld: Arc<Withheld>,
    ) -> Reading<'a, T> {
        Reading {
            hot: self,
            pool,
            is_current,
            withheld,
        }
    }
}

impl<T: Shown> From<PostRow> for Shared<T> {
    fn from(row: PostRow) -> Self {
        Self {
            id: row.id,
            author: row.author.id,
            audience: row.audience,
            parent: row.parent_id,
            shown: T::from(row),
        }
    }
}
