//! Reading with the cache: what is kept and counts is taken, the rest is asked of the
//! database and kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use domain::{posts::PostId, reposts::RepostId};
use kernel::{AccountId, Uuid};
use quick_cache::{Weighter, sync::Cache};
use sea_orm::sqlx::PgPool;

use super::{
    AUTHORED_MAX, Authored, FOLLOWS_MAX, FirstPage, Follows, HIDDEN_MAX, Hot, Kept, MARKS_FIRST,
    MARKS_MAX, MarkSet, PAGE_POSTS_MAX, Parent, Seen, Shared, Shown, stamps::Stamp,
};
use crate::{
    ReadError, follows,
    marks::{self, Marks},
    paging::{Part, Step, Way},
    posts,
    reposts::{self, Repost},
    timelines::{self, EntryId},
    touches::Touch,
    visibility::{self, Audience, Hidden, Place, Viewer},
    withheld::Withheld,
};

/// A page of home.
type HomePage<T> = Arc<Part<Seen<T>, EntryId>>;

/// When a page began to be put together.
pub(crate) struct PageBegun(Stamp);

/// A post, and the repost that it is shown by.
pub(super) type Placed<T> = (Arc<Shared<T>>, Option<Arc<Repost>>);

/// A cache, and where to ask for what it lacks.
pub struct Reading<'a, T> {
    pub(super) hot: &'a Hot<T>,
    pub(crate) pool: &'a PgPool,
    pub(crate) is_current: bool,
    pub(crate) withheld: Arc<Withheld>,
}

impl<T: Shown> Reading<'_, T> {
    pub fn pool(&self) -> &PgPool {
        self.pool
    }

    /// The posts that the reader may see, in the order of `ids`.
    pub async fn posts(
        &self,
        reader: Option<AccountId>,
        ids: &[PostId],
    ) -> Result<Vec<Seen<T>>, ReadError> {
        self.shown(reader, ids, Place::Direct).await
    }

    /// Posts of `ids` that everybody may see and that are not hidden from the reader, in
    /// that order.
    pub(crate) async fn public(
        &self,
        reader: Option<AccountId>,
        ids: &[PostId],
    ) -> Result<Vec<Seen<T>>, ReadError> {
        self.shown(reader, ids, Place::Public).await
    }

    async fn shown(
        &self,
        reader: Option<AccountId>,
        ids: &[PostId],
        place: Place,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let mut posts = self.shared(ids).await?;
        let viewer = self.viewer_of(reader, &posts, place).await?;
        posts.retain(|post| viewer.sees(post.author, post.audience, place));
        let posts = posts.into_iter().map(|post| (post, None)).collect();
        self.marked_all(reader, posts).await
    }

    /// What must be known of the reader for these posts there.
    async fn viewer_of(
        &self,
        reader: Option<AccountId>,
        posts: &[Arc<Shared<T>>],
        place: Place,
    ) -> Result<Viewer, ReadError> {
        let for_followers = |post: &Arc<Shared<T>>| post.audience == Audience::Followers;
        let with_follows =
            !self.withheld.is_empty() || place == Place::Direct && posts.iter().any(for_followers);
        let authors = posts.iter().map(|post| post.author).collect();
        self.viewer(reader, &authors, with_follows).await
    }

    /// What the posts `ids`, which were replied to, are to the reader: all of them.
    pub async fn parents(
        &self,
        reader: Option<AccountId>,
        ids: &BTreeSet<PostId>,
    ) -> Result<BTreeMap<PostId, Parent<T>>, ReadError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<PostId> = ids.iter().copied().collect();
        let there = self.shared(&ids).await?;
        let viewer = self.viewer_of(reader, &there, Place::Direct).await?;
        let gone = ids.into_iter().map(|id| (id, Parent::Gone));
        let mut parents: BTreeMap<_, _> = gone.collect();
        for post in there {
            let parent = match viewer.sees(post.author, post.audience, Place::Direct) {
                true => Parent::Shown(post.clone()),
                false => Parent::Hidden(post.author),
            };
            parents.insert(post.id, parent);
        }
        Ok(parents)
    }

    /// The same posts with what the reader did with each, and what they reply to.
    pub(super) async fn marked_all(
        &self,
        reader: Option<AccountId>,
        posts: Vec<Placed<T>>,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let marks = match reader {
            Some(reader) if !posts.is_empty() => {
                let ids: Vec<PostId> = posts.iter().map(|(post, _)| post.id).collect();
                self.marked(reader, &ids).await?
            }
            Some(_) | None => BTreeMap::new(),
        };
        let parents = posts.iter().filter_map(|(post, _)| post.parent).collect();
        let parents = self.parents(reader, &parents).await?;
        let seen = posts.into_iter().map(|(post, repost)| Seen {
            marks: marks.get(&post.id).copied().unwrap_or_default(),
            parent: post.parent.and_then(|id| parents.get(&id).cloned()),
            post,
            repost,
        });
        Ok(seen.collect())
    }

    /// What must be known of the reader for what these accounts made.
    pub(super) async fn viewer(
        &self,
        reader: Option<AccountId>,
        accounts: &BTreeSet<AccountId>,
        with_follows: bool,
    ) -> Result<Viewer, ReadError> {
        let mut viewer = match reader {
            None => Viewer::default(),
            Some(reader) => self.known_of(reader, accounts, with_follows).await?,
        };
        if !self.withheld.is_empty() {
            self.withheld.narrow(&mut viewer, accounts);
        }
        Ok(viewer)
    }

    async fn known_of(
        &self,
        id: AccountId,
        accounts: &BTreeSet<AccountId>,
        with_follows: bool,
    ) -> Result<Viewer, ReadError> {
        let follows = match with_follows {
            true => self.followed(id, accounts).await?,
            false => BTreeSet::new(),
        };
        let hidden = match accounts.is_empty() {
            true => Hidden::default(),
            false => match self.hidden(id).await? {
                Some(hidden) => hidden,
                None => visibility::hidden_among(self.pool, id, accounts).await?,
            },
        };
        Ok(Viewer {
            id: Some(id),
            follows,
            hidden,
        })
    }

    /// The first page of home as it was put together before.
    pub(crate) fn first_page(&self, reader: AccountId, limit: u32) -> Option<HomePage<T>> {
        if !self.withheld.is_empty() {
            return None;
        }
        let kept = self.hot.pages.get(&reader)?;
        let counts = kept.value.limit == limit
            && kept.is_young(Instant::now())
            && (self.hot.stamps).all_count(kept.read, &kept.value.depends_on);
        counts.then(|| kept.value.page.clone())
    }

    /// To be taken before a first page is put together.
    pub(crate) fn begin_page(&self) -> PageBegun {
        PageBegun(self.hot.stamps.now())
    }

    /// Keeps a first page, where all that it depends on is known. `others`: beside the
    /// posts on it, and whom its reader follows and hides.
    pub(crate) fn keep_page(
        &self,
        PageBegun(read): PageBegun,
        reader: AccountId,
        limit: u32,
        page: &HomePage<T>,
        others: Vec<Touch>,
    ) {
        let follows = self.hot.follows.get(&reader);
        let follows = follows.filter(|kept| self.counts(kept, &[Touch::Follows(reader)]));
        let Some(followed) = follows.as_ref().and_then(|kept| kept.value.0.as_deref()) else {
            return;
        };
        if limit > PAGE_POSTS_MAX || !self.withheld.is_empty() {
            return;
        }
        let own = [
            Touch::Follows(reader),
            Touch::Hidden(reader),
            Touch::FannedOut(reader),
        ];
        let of_posts = page.rows.iter().flat_map(|seen| {
            let (post, author) = (seen.post.id, seen.post.author);
            [
                Touch::Post(post),
                Touch::Mark(reader, post),
                Touch::Author(author),
            ]
        });
        let of_parents = page.rows.iter().flat_map(|seen| {
            let author = match &seen.parent {
                Some(Parent::Shown(parent)) => Some(Touch::Author(parent.author)),
                Some(Parent::Hidden(author)) => Some(Touch::Author(*author)),
                Some(Parent::Gone) | None => None,
            };
            seen.post.parent.map(Touch::Post).into_iter().chain(author)
        });
        let of_followed = followed.iter().map(|account| Touch::FannedOut(*account));
        let touches = of_posts
            .chain(of_parents)
            .chain(of_followed)
            .chain(own)
            .chain(others);
        let depends_on: BTreeSet<_> = touches
            .map(|touch| self.hot.stamps.bucket(&touch))
            .collect();
        let page = FirstPage {
            limit,
            page: page.clone(),
            depends_on: depends_on.into_iter().collect(),
        };
        let page = Arc::new(Kept::new(read, page));
        self.hot.pages.insert(reader, page);
    }

    /// Whom `reader` follows of `authors`.
    pub(crate) async fn followed(
        &self,
        reader: AccountId,
        authors: &BTreeSet<AccountId>,
    ) -> Result<BTreeSet<AccountId>, ReadError> {
        let load = async {
            let mut followed = follows::followed(self.pool, reader, FOLLOWS_MAX + 1).await?;
            followed.sort_unstable();
            let all = followed.len() <= FOLLOWS_MAX as usize;
            Ok(Follows(all.then(|| followed.into())))
        };
        let touch = Touch::Follows(reader);
        let kept = self.kept(&self.hot.follows, reader, touch, load).await?;
        match kept.value.0.as_deref() {
            Some(followed) => {
                let is_followed = |author: &&AccountId| followed.binary_search(author).is_ok();
                Ok(authors.iter().filter(is_followed).copied().collect())
            }
            None => follows::followed_among(self.pool, reader, authors).await,
        }
    }

    /// All who are hidden from `reader`; none where they are too many.
    pub(crate) async fn hidden(&self, reader: AccountId) -> Result<Option<Hidden>, ReadError> {
        let load = visibility::hidden(self.pool, reader, HIDDEN_MAX);
        let touch = Touch::Hidden(reader);
        let kept = self.kept(&self.hot.hidden, reader, touch, load).await?;
        Ok(kept.value.clone())
    }

    /// Ids of `author`'s posts and reposts, the nearest first.
    pub(crate) async fn authored(
        &self,
        author: AccountId,
        step: Step<EntryId>,
    ) -> Result<Vec<EntryId>, ReadError> {
        let load = async {
            let newest = Step::newest(AUTHORED_MAX);
            let ids = timelines::authored_ids(self.pool, author, newest).await?;
            let all = ids.len() < AUTHORED_MAX as usize;
            Ok(Authored { ids, all })
        };
        let touch = Touch::Authored(author);
        let kept = self.kept(&self.hot.authored, author, touch, load).await?;
        let Authored { ids, all } = &kept.value;
        let count = step.count as usize;
        let above = ids.partition_point(|id| *id > step.key);
        match step.way {
            Way::Up if *all || above < ids.len() => {
                Ok(ids[..above].iter().rev().take(count).copied().collect())
            }
            Way::Down if *all || ids.len() - above > count => {
                let below = ids[above..].iter().filter(|id| **id < step.key);
                Ok(below.take(count).copied().collect())
            }
            Way::Up | Way::Down => timelines::authored_ids(self.pool, author, step).await,
        }
    }

    /// An entry, or what `load` gives, which is kept until `touch`.
    async fn kept<V, W: Weighter<AccountId, Arc<Kept<V>>> + Clone>(
        &self,
        cache: &Cache<AccountId, Arc<Kept<V>>, W>,
        key: AccountId,
        touch: Touch,
        load: impl Future<Output = Result<V, ReadError>>,
    ) -> Result<Arc<Kept<V>>, ReadError> {
        let kept = cache.get(&key).filter(|kept| self.counts(kept, &[touch]));
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let read = self.hot.stamps.now();
        let kept = Arc::new(Kept::new(read, load.await?));
        cache.insert(key, kept.clone());
        Ok(kept)
    }

    /// Those of `ids` that there are, in any order. One that is not there is asked for again:
    /// lists have few of them.
    pub(crate) async fn reposts(&self, ids: &[RepostId]) -> Result<Vec<Arc<Repost>>, ReadError> {
        let known = |id: &RepostId| {
            let kept = self.hot.reposts.get(id)?;
            let counts = self.counts(&kept, &kept.value.touches()[..2]);
            counts.then(|| kept.value.clone())
        };
        let (mut found, mut unknown) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match known(id) {
                Some(repost) => found.push(repost),
                None => unknown.push(*id),
            }
        }
        if !unknown.is_empty() {
            let read = self.hot.stamps.now();
            for repost in reposts::by_ids(self.pool, &unknown).await? {
                let repost = Arc::new(repost);
                let kept = Arc::new(Kept::new(read, repost.clone()));
                self.hot.reposts.insert(repost.id, kept);
                found.push(repost);
            }
        }
        Ok(found)
    }

    /// The posts that there are, in the order of `ids`.
    pub(super) async fn shared(&self, ids: &[PostId]) -> Result<Vec<Arc<Shared<T>>>, ReadError> {
        let known = |id: &PostId| {
            let kept = self.hot.posts.get(id)?;
            let author = kept.value.as_ref().map(|post| Touch::Author(post.author));
            let counts = self.counts(&kept, &[Touch::Post(*id)])
                && author.is_none_or(|author| self.hot.stamps.count(kept.read, &author));
            counts.then(|| kept.value.clone())
        };
        let mut found: Vec<_> = ids.iter().map(known).collect();
        let unknown = ids.iter().zip(&found).filter(|(_, found)| found.is_none());
        let unknown: Vec<PostId> = unknown.map(|(id, _)| *id).collect();
        if !unknown.is_empty() {
            let read = self.hot.stamps.now();
            let rows = posts::as_everybody_sees(self.pool, &unknown).await?;
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
                let kept = Arc::new(Kept::new(read, post));
                self.hot.posts.insert(id, kept);
            }
        }
        let found = found.into_iter().flatten().flatten();
        Ok(found
            .filter(|post| !self.withheld.deleted(post.id))
            .collect())
    }

    /// What the reader did with each of `posts`; those with which it did nothing are left
    /// out.
    async fn marked(
        &self,
        reader: AccountId,
        posts: &[PostId],
    ) -> Result<BTreeMap<PostId, Marks>, ReadError> {
        let oldest = posts.iter().min().copied().unwrap_or(PostId(Uuid::nil()));
        let kept = self.hot.marks.get(&reader);
        let mut kept = match kept.filter(|kept| self.counts(kept, &[])) {
            Some(kept) if kept.value.since <= oldest || kept.value.limit >= MARKS_MAX => kept,
            Some(kept) => self.load_marks(reader, kept.value.limit * 4).await?,
            None => self.load_marks(reader, MARKS_FIRST).await?,
        };
        let is_unsure = |kept: &Kept<MarkSet>, post: &PostId| {
            *post < kept.value.since
                || !(self.hot.stamps).count(kept.read, &Touch::Mark(reader, *post))
        };
        // A few are read again as quickly as those that are unsure.
        let are_few = kept.value.marks.len() < MARKS_FIRST as usize;
        if are_few && posts.iter().any(|post| is_unsure(&kept, post)) {
            kept = self.load_marks(reader, kept.value.limit).await?;
        }
        let unsure: Vec<PostId> = (posts.iter().copied())
            .filter(|post| is_unsure(&kept, post))
            .collect();
        let mut marks: BTreeMap<PostId, Marks> = posts
            .iter()
            .filter_map(|post| Some((*post, kept.value.of(*post)?)))
            .collect();
        if !unsure.is_empty() {
            marks.retain(|post, _| !unsure.contains(post));
            marks.extend(marks::among(self.pool, reader, &unsure).await?);
        }
        Ok(marks)
    }

    async fn load_marks(
        &self,
        reader: AccountId,
        limit: u32,
    ) -> Result<Arc<Kept<MarkSet>>, ReadError> {
        let limit = limit.min(MARKS_MAX);
        let read = self.hot.stamps.now();
        let (since, marks) = marks::newest(self.pool, reader, limit).await?;
        let marks = MarkSet {
            since,
            limit,
            marks: marks.into_iter().collect(),
        };
        let kept = Arc::new(Kept::new(read, marks));
        self.hot.marks.insert(reader, kept.clone());
        Ok(kept)
    }

    /// Whether an entry counts now.
    fn counts<V>(&self, kept: &Kept<V>, touches: &[Touch]) -> bool {
        let count = |touch| self.hot.stamps.count(kept.read, touch);
        self.is_current
            && kept.is_young(Instant::now())
            && self.hot.stamps.all_count(kept.read, &[])
            && touches.iter().all(count)
    }
}

impl MarkSet {
    fn of(&self, post: PostId) -> Option<Marks> {
        let place = self.marks.binary_search_by_key(&post, |(post, _)| *post);
        place.ok().map(|place| self.marks[place].1)
    }
}
