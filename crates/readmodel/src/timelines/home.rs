//! A page of home: which entries come next, and which of them are shown. A repost is
//! shown unless the same post stands in home within the day before it, as itself or by
//! another repost. So no page depends on the one before it, and what is undone or hidden
//! brings forth what it kept back. It refuses to know what a reader may see.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use domain::{posts::PostId, reposts::RepostId};
use kernel::{AccountId, Uuid};

use super::{
    EntryId, Lists, TIMELINE_ENTRIES_MAX, Timeline,
    entries::Entry,
    ids::{followed_ids, unhidden_ids},
    lists::Slice,
    refilled, slice,
};
use crate::{
    ReadError,
    hot::{Reading, Seen, Shown},
    paging::{Part, Start, Step, Way},
    reposts::{self, Repost},
    touches::Touch,
};

/// What a page of home is put together from.
pub struct Home<'a, T> {
    pub reading: Reading<'a, T>,
    /// Lists, and those whose posts are not in them; without the views server
    /// everything is queried.
    pub lists: Option<(&'a Lists, &'a BTreeSet<AccountId>)>,
    pub reader: AccountId,
}

impl<T: Shown> Home<'_, T> {
    /// Up to `limit` posts.
    pub async fn page(
        &self,
        start: Start<EntryId>,
        limit: u32,
    ) -> Result<Arc<Part<Seen<T>, EntryId>>, ReadError> {
        let reading = &self.reading;
        if !start.is_first_page() || !reading.is_current || self.lists.is_none() {
            return Ok(refilled(self, start, limit).await?.0.into());
        }
        if let Some(page) = reading.first_page(self.reader, limit) {
            return Ok(page);
        }
        let begun = reading.begin_page();
        let (page, touches) = refilled(self, start, limit).await?;
        let page = Arc::new(page);
        reading.keep_page(begun, self.reader, limit, &page, touches);
        Ok(page)
    }

    /// Without those who are hidden: there may be much of them, and nothing is to be
    /// read of it.
    async fn queried(&self, step: Step<EntryId>) -> Result<Vec<EntryId>, ReadError> {
        let (pool, reader) = (self.reading.pool, self.reader);
        match self.reading.hidden(reader).await? {
            Some(hidden) => followed_ids(pool, reader, &hidden.ids(), step).await,
            None => unhidden_ids(pool, reader, step).await,
        }
    }
}

impl<T: Shown> Timeline<T> for Home<'_, T> {
    /// From the reader's list as far as it reaches, below it from the query.
    async fn candidates(&self, step: Step<EntryId>) -> Result<Vec<EntryId>, ReadError> {
        let (pool, reader) = (self.reading.pool, self.reader);
        let Some((lists, pulled)) = self.lists else {
            return self.queried(step).await;
        };
        let slice = slice(pool, lists, reader, step).await;
        let slice = slice.unwrap_or_else(|error| {
            tracing::debug!(%error, "home comes from the database");
            None
        });
        let Some(Slice { mut ids, floor }) = slice else {
            return self.queried(step).await;
        };
        let wanted = step.count as usize;
        match (step.way, floor) {
            (Way::Down, Some(floor)) if ids.len() < wanted => {
                // The list ends here; the query goes on, pulled authors included.
                let key = step.key.min(floor);
                ids.extend(self.queried(Step { key, ..step }).await?);
            }
            // What comes next is below the list.
            (Way::Up, Some(floor)) if step.key < floor => return self.queried(step).await,
            _ => {}
        }
        let mut pulled_ids = Vec::new();
        if !pulled.is_empty() {
            let followed = self.reading.followed(reader, pulled).await?;
            for author in followed {
                let authored = self.reading.authored(author, step);
                pulled_ids.extend(authored.await?);
            }
        }
        if !pulled_ids.is_empty() {
            ids.extend(pulled_ids);
            match step.way {
                Way::Up => ids.sort_unstable(),
                Way::Down => ids.sort_unstable_by(|a, b| b.cmp(a)),
            }
            ids.dedup();
        }
        ids.truncate(wanted);
        Ok(ids)
    }

    async fn seen(
        &self,
        ids: &[EntryId],
        touches: &mut Vec<Touch>,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let reposts: Vec<RepostId> = ids.iter().filter_map(|id| id.repost()).collect();
        let reposts = self.reading.reposts(&reposts).await?;
        let earlier = self.earlier(&reposts).await?;
        let by_id: HashMap<RepostId, &Arc<Repost>> =
            reposts.iter().map(|repost| (repost.id, repost)).collect();
        let entry = |id: &EntryId| match id.entry() {
            Entry::Post(post) => Some((post, None)),
            Entry::Repost(id) => by_id
                .get(&id)
                .map(|repost| (repost.post, Some((*repost).clone()))),
        };
        let entries = ids.iter().filter_map(entry).collect();
        touches.extend(
            reposts
                .iter()
                .chain(&earlier)
                .flat_map(|repost| repost.touches()),
        );
        let reading = &self.reading;
        reading.home(self.reader, entries, &earlier, touches).await
    }
}

/// Ids from the first one on, below the second.
type Window = (Uuid, Uuid);

impl<T: Shown> Home<'_, T> {
    /// Reposts by those whom the reader follows, of the same posts as `reposts` and of
    /// the day before each, at least.
    async fn earlier(&self, reposts: &[Arc<Repost>]) -> Result<Vec<Arc<Repost>>, ReadError> {
        let ids = || reposts.iter().map(|repost| EntryId::from(repost.id));
        let Some((oldest, newest)) = ids().min().zip(ids().max()) else {
            return Ok(Vec::new());
        };
        let window = (oldest.day_before(), newest.0);
        let posts: BTreeSet<PostId> = reposts.iter().map(|repost| repost.post).collect();
        let posts: Vec<PostId> = posts.into_iter().collect();
        let (listed, only) = match self.listed(&posts, window).await {
            Some((listed, pulled)) => {
                let pulled = self.reading.followed(self.reader, pulled).await?;
                (listed, Some(pulled.into_iter().collect::<Vec<_>>()))
            }
            None => (Vec::new(), None),
        };
        let mut earlier = self.reading.reposts(&listed).await?;
        if only.as_ref().is_none_or(|only| !only.is_empty()) {
            let (pool, only) = (self.reading.pool, only.as_deref());
            let found = reposts::by_followed(pool, self.reader, only, &posts, window).await?;
            earlier.extend(found.into_iter().map(Arc::new));
        }
        Ok(earlier)
    }

    /// What may be reposts of `posts` in the reader's list, and those who are not in
    /// lists; none where it does not reach back so far.
    async fn listed(
        &self,
        posts: &[PostId],
        (from, to): Window,
    ) -> Option<(Vec<RepostId>, &BTreeSet<AccountId>)> {
        let (lists, pulled) = self.lists?;
        let below = Step {
            way: Way::Down,
            key: EntryId(to),
            count: TIMELINE_ENTRIES_MAX,
        };
        let slice = lists.read(self.reader, below).await;
        let Slice { ids, floor } = slice.ok()??;
        if floor.is_some_and(|floor| floor.0 > from) {
            return None;
        }
        let ids = ids.iter().take_while(|id| id.0 >= from);
        let may_be = |repost: &RepostId| posts.iter().any(|post| repost.may_be_of(*post));
        let listed = ids.filter_map(|id| id.repost()).filter(may_be);
        Some((listed.collect(), pulled))
    }
}
