//! What is read often, kept in process: posts as everybody sees them, and whom
//! one reader follows, likes and is not to see. An entry counts until an event that touches it
//! is folded; the caller says so with `touch`, and says with every read whether
//! it has told all that is folded. It refuses to mix readers: what depends on
//! who looks is put together anew for every answer.

mod stamps;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    Event,
    accounts::AccountEvent,
    posts::{PostEvent, PostId},
};
use kernel::{AccountId, AggregateId, Uuid};
use quick_cache::{Weighter, sync::Cache};
use sea_orm::sqlx::PgPool;
use stamps::{Bucket, Stamp, Stamps};

use crate::{
    ReadError, follows, likes, posts,
    posts::{Audience, PostRow},
    relationships::{self, Hidden},
    timelines,
};

/// Memory for posts, about.
const POSTS_BYTES_MAX: u64 = 32 * 1_024 * 1_024;
/// What a post costs beside what is shown of it.
const POST_BYTES: u64 = 160;
/// Readers whose follows and likes are kept, and authors whose ids are.
const READERS_MAX: usize = 16_384;
/// Follows of one reader that are kept; of more, each answer asks.
const FOLLOWS_MAX: u32 = 2_000;
/// Likes of one reader that are kept; of more, each answer asks.
const LIKES_MAX: u32 = 500;
/// Blocks and mutes of one reader that are kept; of more, each answer asks.
const HIDDEN_MAX: u32 = 2_000;
/// Readers whose first page of home is kept.
const PAGES_MAX: usize = 16_384;
/// Posts of a first page that is kept.
const PAGE_POSTS_MAX: u32 = 40;
/// Newest ids of one author that are kept.
const AUTHORED_MAX: u32 = 200;
/// An entry is read again after this time even if nothing touched it.
const ENTRY_SECONDS_MAX: u64 = 60;

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
    pub shown: T,
}

/// When a page began to be put together.
pub(crate) struct PageBegun(Stamp);

/// A post as one reader sees it.
pub struct Seen<T> {
    pub post: Arc<Shared<T>>,
    /// Whether the reader likes it; false for nobody.
    pub liked: bool,
}

/// What an event makes old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    Post(PostId),
    /// The post whose reply this was; only its row knows which.
    ParentOf(PostId),
    /// The posts that count what this account did; only rows know which.
    CountedBy(AccountId),
    Author(AccountId),
    Follows(AccountId),
    Likes(AccountId),
    /// Whom the account blocks, is blocked by, or mutes.
    Hidden(AccountId),
    Authored(AccountId),
    /// The lists that this account's event went into: its followers' and its
    /// own. To be told when it is fanned out; all others, when it is folded.
    FannedOut(AccountId),
}

/// What `event` makes old.
pub fn touches(aggregate: AggregateId, event: &Event) -> Vec<Touch> {
    let (account, member) = (AccountId(aggregate.id), aggregate.member);
    let post = PostId(aggregate.id);
    match event {
        Event::Post(PostEvent::PostCreated(created)) => {
            let parent = created.reply.map(|reply| Touch::Post(reply.parent));
            let author = created.author;
            let new = [
                Touch::Post(post),
                Touch::Authored(author),
                Touch::FannedOut(author),
            ];
            parent.into_iter().chain(new).collect()
        }
        Event::Post(PostEvent::PostEdited(_)) => vec![Touch::Post(post)],
        Event::Post(PostEvent::PostDeleted(deleted)) => vec![
            Touch::Post(post),
            Touch::ParentOf(post),
            Touch::Authored(deleted.author),
        ],
        Event::Like(_) => {
            let post = member.map(|post| Touch::Post(PostId(post)));
            post.into_iter().chain([Touch::Likes(account)]).collect()
        }
        Event::Follow(_) => vec![Touch::Follows(account), Touch::FannedOut(account)],
        // Posts of who leaves or comes back go out of homes and come into them.
        Event::Account(
            AccountEvent::AccountDeactivated(_) | AccountEvent::AccountReactivated(_),
        ) => vec![
            Touch::Author(account),
            Touch::CountedBy(account),
            Touch::FannedOut(account),
        ],
        Event::Account(_) => vec![Touch::Author(account)],
        Event::Block(_) => {
            let blocked = member.map(|member| Touch::Hidden(AccountId(member)));
            blocked
                .into_iter()
                .chain([Touch::Hidden(account)])
                .collect()
        }
        Event::Mute(_) => vec![Touch::Hidden(account)],
        Event::Handle(_) | Event::Operation(_) => Vec::new(),
    }
}

/// One a process.
pub struct Hot<T> {
    stamps: Stamps<Touch>,
    posts: Cache<PostId, Arc<KeptPost<T>>, Weigh>,
    follows: Cache<AccountId, Arc<Kept<Follows>>>,
    likes: Cache<AccountId, Arc<Kept<Likes>>>,
    /// None where there are too many.
    hidden: Cache<AccountId, Arc<Kept<Option<Hidden>>>>,
    authored: Cache<AccountId, Arc<Kept<Authored>>>,
    pages: Cache<AccountId, Arc<Kept<FirstPage<T>>>>,
}

/// The newest of a reader's home, and everything whose touch makes it old.
struct FirstPage<T> {
    limit: u32,
    posts: Arc<[Seen<T>]>,
    depends_on: Box<[Bucket]>,
}

/// A post, or that there is none.
type KeptPost<T> = Kept<Option<Arc<Shared<T>>>>;

/// An entry, and from when it is.
struct Kept<V> {
    read: Stamp,
    at: Instant,
    value: V,
}

enum Follows {
    All(BTreeSet<AccountId>),
    TooMany,
}

/// Likes of posts with ids from `since` on.
struct Likes {
    since: PostId,
    liked: Option<BTreeSet<PostId>>,
}

/// The newest ids, and whether they are all.
struct Authored {
    ids: Vec<PostId>,
    all: bool,
}

#[derive(Clone)]
struct Weigh;

impl<T: Shown> Weighter<PostId, Arc<KeptPost<T>>> for Weigh {
    fn weight(&self, _: &PostId, kept: &Arc<KeptPost<T>>) -> u64 {
        let shown = kept.value.as_ref().map_or(0, |post| post.shown.bytes());
        POST_BYTES + shown as u64
    }
}

impl<T: Shown> Default for Hot<T> {
    fn default() -> Self {
        let posts = (POSTS_BYTES_MAX / (4 * POST_BYTES)) as usize;
        Self {
            stamps: Stamps::new(),
            posts: Cache::with_weighter(posts, POSTS_BYTES_MAX, Weigh),
            follows: Cache::new(READERS_MAX),
            likes: Cache::new(READERS_MAX),
            hidden: Cache::new(READERS_MAX),
            authored: Cache::new(READERS_MAX),
            pages: Cache::new(PAGES_MAX),
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

    /// The posts that the reader may see, in the order of `ids`. Entries are
    /// taken where `told`: all that is folded was told with `touch`.
    pub async fn posts(
        &self,
        pool: &PgPool,
        reader: Option<AccountId>,
        ids: &[PostId],
        told: bool,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let all = self.shared(pool, ids, told).await?;
        let for_followers = |post: &Arc<Shared<T>>| post.audience == Audience::Followers;
        let follows = match reader {
            Some(reader) if all.iter().any(for_followers) => {
                self.followed_of(pool, reader, &all, told).await?
            }
            Some(_) | None => BTreeSet::new(),
        };
        let hidden = match reader {
            Some(reader) => self.hidden_of(pool, reader, &all, told).await?,
            None => Hidden::default(),
        };
        let may_see = |post: &Arc<Shared<T>>| {
            let among = match post.audience {
                Audience::Nobody => return false,
                Audience::Everybody => true,
                Audience::Followers => follows.contains(&post.author),
            };
            reader == Some(post.author) || (among && !hidden.blocked.contains(&post.author))
        };
        let visible = all.into_iter().filter(may_see).collect();
        self.seen(pool, reader, visible, told).await
    }

    /// The first page of home as it was put together before.
    pub(crate) fn first_page(&self, reader: AccountId, limit: u32) -> Option<Arc<[Seen<T>]>> {
        let kept = self.pages.get(&reader)?;
        let counts = kept.value.limit == limit
            && kept.is_young(Instant::now())
            && self.stamps.all_count(kept.read, &kept.value.depends_on);
        counts.then(|| kept.value.posts.clone())
    }

    /// To be taken before a first page is put together.
    pub(crate) fn begin_page(&self) -> PageBegun {
        PageBegun(self.stamps.now())
    }

    /// Keeps a first page, where all that it depends on is known.
    pub(crate) fn keep_page(
        &self,
        PageBegun(read): PageBegun,
        reader: AccountId,
        limit: u32,
        posts: &Arc<[Seen<T>]>,
    ) {
        let follows = self.follows.get(&reader);
        let follows =
            follows.filter(|kept| self.counts(kept, Instant::now(), &[Touch::Follows(reader)]));
        let Some(Follows::All(followed)) = follows.as_ref().map(|kept| &kept.value) else {
            return;
        };
        if limit > PAGE_POSTS_MAX {
            return;
        }
        let own = [
            Touch::Follows(reader),
            Touch::Likes(reader),
            Touch::Hidden(reader),
            Touch::FannedOut(reader),
        ];
        let of_posts = posts.iter().map(|seen| Touch::Post(seen.post.id));
        let of_authors = posts.iter().map(|seen| Touch::Author(seen.post.author));
        let of_followed = followed.iter().map(|account| Touch::FannedOut(*account));
        let touches = of_posts.chain(of_authors).chain(of_followed).chain(own);
        let page = FirstPage {
            limit,
            posts: posts.clone(),
            depends_on: touches.map(|touch| self.stamps.bucket(&touch)).collect(),
        };
        self.pages.insert(reader, Arc::new(Kept::new(read, page)));
    }

    /// Home posts of `ids`, in that order: those of oneself and of whom one
    /// follows now, unless they are hidden. Posts for followers need no other
    /// condition.
    pub(crate) async fn home(
        &self,
        pool: &PgPool,
        reader: AccountId,
        ids: &[PostId],
        told: bool,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let all = self.shared(pool, ids, told).await?;
        let follows = self.followed_of(pool, reader, &all, told).await?;
        let hidden = self.hidden_of(pool, reader, &all, told).await?;
        let at_home = |post: &Arc<Shared<T>>| {
            let author = &post.author;
            let by_another = follows.contains(author) && !hidden.has(author);
            post.audience != Audience::Nobody && (*author == reader || by_another)
        };
        let visible = all.into_iter().filter(at_home).collect();
        self.seen(pool, Some(reader), visible, told).await
    }

    /// Posts of `ids` that everybody may see, in that order, without those of whom
    /// the reader mutes, blocks or is blocked by.
    pub(crate) async fn public(
        &self,
        pool: &PgPool,
        reader: Option<AccountId>,
        ids: &[PostId],
        told: bool,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let mut all = self.shared(pool, ids, told).await?;
        all.retain(|post| post.audience == Audience::Everybody);
        if let Some(reader) = reader {
            let hidden = self.hidden_of(pool, reader, &all, told).await?;
            all.retain(|post| !hidden.has(&post.author));
        }
        self.seen(pool, reader, all, told).await
    }

    /// Whom `reader` follows of `authors`.
    pub(crate) async fn followed(
        &self,
        pool: &PgPool,
        reader: AccountId,
        authors: &BTreeSet<AccountId>,
        told: bool,
    ) -> Result<BTreeSet<AccountId>, ReadError> {
        let kept = self.follows.get(&reader);
        let touch = Touch::Follows(reader);
        let kept = match kept.filter(|kept| told && self.counts(kept, Instant::now(), &[touch])) {
            Some(kept) => kept,
            None => {
                let read = self.stamps.now();
                let followed = follows::followed(pool, reader, FOLLOWS_MAX + 1).await?;
                let kept = Kept::new(
                    read,
                    match followed.len() > FOLLOWS_MAX as usize {
                        true => Follows::TooMany,
                        false => Follows::All(followed.into_iter().collect()),
                    },
                );
                let kept = Arc::new(kept);
                self.follows.insert(reader, kept.clone());
                kept
            }
        };
        match &kept.value {
            Follows::All(followed) => Ok(authors.intersection(followed).copied().collect()),
            Follows::TooMany => follows::followed_among(pool, reader, authors).await,
        }
    }

    /// Ids of `author`'s posts below `before`, newest first, at most `count`.
    pub(crate) async fn authored(
        &self,
        pool: &PgPool,
        author: AccountId,
        before: Option<PostId>,
        count: u32,
        told: bool,
    ) -> Result<Vec<PostId>, ReadError> {
        let touch = Touch::Authored(author);
        let kept = self.authored.get(&author);
        let kept = match kept.filter(|kept| told && self.counts(kept, Instant::now(), &[touch])) {
            Some(kept) => kept,
            None => {
                let read = self.stamps.now();
                let ids = timelines::authored_ids(pool, author, None, AUTHORED_MAX).await?;
                let all = ids.len() < AUTHORED_MAX as usize;
                let kept = Arc::new(Kept::new(read, Authored { ids, all }));
                self.authored.insert(author, kept.clone());
                kept
            }
        };
        let Authored { ids, all } = &kept.value;
        let below = before.map_or(0, |before| ids.partition_point(|id| *id >= before));
        let ids = &ids[below..];
        if *all || ids.len() >= count as usize {
            return Ok(ids.iter().take(count as usize).copied().collect());
        }
        timelines::authored_ids(pool, author, before, count).await
    }

    /// The posts that there are, in the order of `ids`.
    async fn shared(
        &self,
        pool: &PgPool,
        ids: &[PostId],
        told: bool,
    ) -> Result<Vec<Arc<Shared<T>>>, ReadError> {
        let now = Instant::now();
        let known = |id: &PostId| {
            let kept = self.posts.get(id).filter(|_| told)?;
            let author = kept.value.as_ref().map(|post| Touch::Author(post.author));
            let counts = self.counts(&kept, now, &[Touch::Post(*id)])
                && author.is_none_or(|author| self.stamps.count(kept.read, &author));
            counts.then(|| kept.value.clone())
        };
        let mut found: Vec<_> = ids.iter().map(known).collect();
        let unknown = ids.iter().zip(&found).filter(|(_, found)| found.is_none());
        let unknown: Vec<PostId> = unknown.map(|(id, _)| *id).collect();
        if !unknown.is_empty() {
            let read = self.stamps.now();
            let rows = posts::as_everybody_sees(pool, &unknown).await?;
            let mut posts: HashMap<PostId, Option<Arc<Shared<T>>>> =
                unknown.into_iter().map(|id| (id, None)).collect();
            posts.extend(
                rows.into_iter()
                    .map(|row| (row.id, Some(Arc::new(row.into())))),
            );
            for (id, found) in ids.iter().zip(&mut found) {
                if found.is_none() {
                    *found = posts.get(id).cloned();
                }
            }
            for (id, post) in posts {
                self.posts.insert(id, Arc::new(Kept::new(read, post)));
            }
        }
        Ok(found.into_iter().flatten().flatten().collect())
    }

    async fn followed_of(
        &self,
        pool: &PgPool,
        reader: AccountId,
        posts: &[Arc<Shared<T>>],
        told: bool,
    ) -> Result<BTreeSet<AccountId>, ReadError> {
        let authors = posts.iter().map(|post| post.author);
        let others = authors.filter(|author| *author != reader).collect();
        self.followed(pool, reader, &others, told).await
    }

    /// Who of the posts' authors is hidden from `reader`.
    async fn hidden_of(
        &self,
        pool: &PgPool,
        reader: AccountId,
        posts: &[Arc<Shared<T>>],
        told: bool,
    ) -> Result<Hidden, ReadError> {
        if posts.is_empty() {
            return Ok(Hidden::default());
        }
        match self.hidden(pool, reader, told).await? {
            Some(hidden) => Ok(hidden),
            None => {
                let authors = posts.iter().map(|post| post.author).collect();
                relationships::hidden_among(pool, reader, &authors).await
            }
        }
    }

    /// All who are hidden from `reader`; none where they are too many.
    pub(crate) async fn hidden(
        &self,
        pool: &PgPool,
        reader: AccountId,
        told: bool,
    ) -> Result<Option<Hidden>, ReadError> {
        let kept = self.hidden.get(&reader);
        let touch = Touch::Hidden(reader);
        if let Some(kept) = kept.filter(|kept| told && self.counts(kept, Instant::now(), &[touch]))
        {
            return Ok(kept.value.clone());
        }
        let read = self.stamps.now();
        let hidden = relationships::hidden(pool, reader, HIDDEN_MAX).await?;
        let kept = Kept::new(read, hidden.clone());
        self.hidden.insert(reader, Arc::new(kept));
        Ok(hidden)
    }

    async fn seen(
        &self,
        pool: &PgPool,
        reader: Option<AccountId>,
        posts: Vec<Arc<Shared<T>>>,
        told: bool,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let liked = match reader {
            Some(reader) if !posts.is_empty() => self.liked(pool, reader, &posts, told).await?,
            Some(_) | None => BTreeSet::new(),
        };
        let seen = posts.into_iter().map(|post| Seen {
            liked: liked.contains(&post.id),
            post,
        });
        Ok(seen.collect())
    }

    async fn liked(
        &self,
        pool: &PgPool,
        reader: AccountId,
        posts: &[Arc<Shared<T>>],
        told: bool,
    ) -> Result<BTreeSet<PostId>, ReadError> {
        let ids: Vec<PostId> = posts.iter().map(|post| post.id).collect();
        let oldest = ids.iter().min().copied().unwrap_or(PostId(Uuid::nil()));
        let kept = self.likes.get(&reader).filter(|kept| {
            told && kept.value.since <= oldest
                && self.counts(kept, Instant::now(), &[Touch::Likes(reader)])
        });
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let read = self.stamps.now();
                let liked = likes::liked_since(pool, reader, oldest, LIKES_MAX + 1).await?;
                let few = liked.len() <= LIKES_MAX as usize;
                let likes = Likes {
                    since: oldest,
                    liked: few.then(|| liked.into_iter().collect()),
                };
                let kept = Arc::new(Kept::new(read, likes));
                self.likes.insert(reader, kept.clone());
                kept
            }
        };
        match &kept.value.liked {
            Some(liked) => Ok(ids.into_iter().filter(|id| liked.contains(id)).collect()),
            None => likes::liked_among(pool, reader, &ids).await,
        }
    }

    /// Whether an entry counts at `now`.
    fn counts<V>(&self, kept: &Kept<V>, now: Instant, touches: &[Touch]) -> bool {
        kept.is_young(now)
            && touches
                .iter()
                .all(|touch| self.stamps.count(kept.read, touch))
    }
}

impl<T: Shown> From<PostRow> for Shared<T> {
    fn from(row: PostRow) -> Self {
        Self {
            id: row.id,
            author: row.author.id,
            audience: row.audience,
            shown: T::from(row),
        }
    }
}

impl<V> Kept<V> {
    /// `read`: taken before the value was asked for.
    fn new(read: Stamp, value: V) -> Self {
        let at = Instant::now();
        Self { read, at, value }
    }

    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < Duration::from_secs(ENTRY_SECONDS_MAX)
    }
}
