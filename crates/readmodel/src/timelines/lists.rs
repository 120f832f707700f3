//! Home timelines in Redis. What a timeline looks like, and how it is filled
//! while posts keep arriving, is told in `headwater.lua`. It refuses to be
//! needed: every caller can do without.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kernel::{AccountId, Uuid};
use servers::Redis;

use super::{EntryId, views::Views};
use crate::{
    ReadError,
    paging::{ListKey, Step, Way},
};

const FUNCTIONS: &str = include_str!("headwater.lua");
/// Ids that a timeline keeps in Redis; below, a page comes from the database.
pub const TIMELINE_ENTRIES_MAX: u32 = 800;
/// How long a timeline outlives its last read.
pub const TIMELINE_SECONDS_DEFAULT: u64 = 3 * 24 * 60 * 60;
/// How long a mark outlives whoever made it and died.
const MARK_MILLISECONDS: u64 = 10_000;
const MARK_BYTES: usize = 17;
const ID_BYTES: usize = 16;
/// The generation of timelines that were never rebuilt.
const FIRST: i32 = 1;
/// Keys that one step of a scan looks at, about.
const SCAN_KEYS: usize = 1_000;

#[derive(Clone)]
pub struct TimelineSettings {
    /// The views server.
    pub views: Redis,
    /// Before every key.
    pub prefix: String,
    pub timeline_seconds: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Lists {
    views: Views,
    /// Whether this process has loaded the functions.
    loaded: Arc<AtomicBool>,
    prefix: Arc<str>,
    /// Of the keys: each generation has its own.
    generation: i32,
    lifetime_milliseconds: u64,
}

/// A part of a timeline.
pub(super) struct Slice {
    /// In the order of the step.
    pub ids: Vec<EntryId>,
    /// Nothing is missing from the list down to here; `None`: nothing at all.
    pub floor: Option<EntryId>,
}

impl Lists {
    /// Connects when first used, so that nothing waits for a views server that
    /// is away.
    pub fn new(settings: &TimelineSettings) -> Result<Self, ReadError> {
        Ok(Self {
            views: Views::new(&settings.views)?,
            loaded: Arc::default(),
            prefix: settings.prefix.as_str().into(),
            generation: FIRST,
            lifetime_milliseconds: settings.timeline_seconds * 1_000,
        })
    }

    /// The lists of a generation.
    #[must_use]
    pub fn of_generation(&self, number: i32) -> Self {
        Self {
            generation: number,
            ..self.clone()
        }
    }

    /// Whether the views server answers.
    pub async fn answers(&self) -> bool {
        let ping = redis::cmd("PING");
        self.views.query::<()>(&ping).await.is_ok()
    }

    /// List: one account's home. The fan-out and readers write; it expires when
    /// nobody reads it.
    fn key(&self, reader: AccountId) -> Vec<u8> {
        let mut key = self.family();
        key.extend_from_slice(reader.0.as_bytes());
        key
    }

    /// What all keys of the generation begin with.
    fn family(&self) -> Vec<u8> {
        match self.generation {
            FIRST => format!("{}:home:", self.prefix),
            number => format!("{}:home.{number}:", self.prefix),
        }
        .into_bytes()
    }

    /// Some of the readers who have a list, and where to go on; from the
    /// beginning with 0, at the end with none. One that is there all the time
    /// comes at least once.
    pub async fn scan(&self, cursor: u64) -> Result<(Vec<AccountId>, Option<u64>), ReadError> {
        let family = self.family();
        // What means something in a pattern is taken for itself.
        let mut pattern = Vec::new();
        for byte in &family {
            if b"*?[]\\^-".contains(byte) {
                pattern.push(b'\\');
            }
            pattern.push(*byte);
        }
        pattern.push(b'*');
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern);
        command.arg("COUNT").arg(SCAN_KEYS);
        let (next, keys): (u64, Vec<Vec<u8>>) = self.call(command).await?;
        let reader = |key: &Vec<u8>| Uuid::from_slice(key.get(family.len()..)?).ok();
        let readers = keys.iter().filter_map(reader).map(AccountId).collect();
        Ok((readers, (next != 0).then_some(next)))
    }

    /// Puts `entries` into those of the readers' timelines that exist; returns how
    /// many were not there already, over all of them.
    pub(super) async fn insert(
        &self,
        entries: &BTreeSet<EntryId>,
        readers: &[AccountId],
    ) -> Result<u64, ReadError> {
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_insert").arg(readers.len());
        for reader in readers {
            command.arg(self.key(*reader));
        }
        command.arg(TIMELINE_ENTRIES_MAX);
        for entry in entries {
            command.arg(entry.0.as_bytes());
        }
        self.call(command).await
    }

    /// Lets timelines be filled anew at their next read.
    pub async fn drop(&self, readers: &[AccountId]) -> Result<(), ReadError> {
        let mut command = redis::cmd("UNLINK");
        for reader in readers {
            command.arg(self.key(*reader));
        }
        self.call(command).await
    }

    /// `None` where the timeline is filled already.
    pub(super) async fn begin(&self, reader: AccountId) -> Result<Option<Vec<u8>>, ReadError> {
        let mut mark = vec![0; MARK_BYTES];
        getrandom::fill(&mut mark)
            .map_err(|e| redis::RedisError::from(std::io::Error::other(e.to_string())))?;
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_begin").arg(1).arg(self.key(reader));
        command.arg(&mark).arg(MARK_MILLISECONDS);
        self.call(command).await
    }

    /// `ids` are the newest of the timeline, one more than it keeps where it
    /// goes on below.
    pub(super) async fn finish(
        &self,
        reader: AccountId,
        mark: &[u8],
        ids: &[EntryId],
    ) -> Result<bool, ReadError> {
        let all = ids.len() <= TIMELINE_ENTRIES_MAX as usize;
        let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.0.as_bytes()).collect();
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_finish").arg(1).arg(self.key(reader));
        command.arg(mark).arg(TIMELINE_ENTRIES_MAX);
        command.arg(self.lifetime_milliseconds).arg(u8::from(all));
        command.arg(bytes);
        self.call(command).await
    }

    /// `None` where the timeline is not there or is being filled.
    pub(super) async fn read(
        &self,
        reader: AccountId,
        step: Step<EntryId>,
    ) -> Result<Option<Slice>, ReadError> {
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_slice").arg(1).arg(self.key(reader));
        match (step.way, step.key) {
            (Way::Down, key) if key == EntryId::GREATEST => command.arg("newest").arg(""),
            (Way::Down, key) => command.arg("below").arg(key.0.as_bytes()),
            (Way::Up, key) => command.arg("above").arg(key.0.as_bytes()),
        };
        command.arg(step.count).arg(self.lifetime_milliseconds);
        let slice: Option<(Vec<u8>, Vec<u8>)> = self.call(command).await?;
        Ok(slice.map(|(floor, ids)| {
            let ids = ids.chunks_exact(ID_BYTES).filter_map(entry_id);
            Slice {
                ids: match step.way {
                    Way::Down => ids.collect(),
                    Way::Up => ids.rev().collect(),
                },
                floor: entry_id(&floor).filter(|floor| !floor.0.is_nil()),
            }
        }))
    }

    /// Loads the functions first, since the server may have those of another
    /// release, and again where it has lost them.
    async fn call<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> Result<T, ReadError> {
        if !self.loaded.load(Ordering::Relaxed) {
            self.load().await?;
        }
        let reply = self.views.query(&command).await;
        let missing = |e: &redis::RedisError| e.to_string().contains("Function not found");
        match reply {
            Err(error) if missing(&error) => {
                self.load().await?;
                Ok(self.views.query(&command).await?)
            }
            reply => Ok(reply?),
        }
    }

    async fn load(&self) -> Result<(), ReadError> {
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(FUNCTIONS);
        self.views.query::<()>(&load).await?;
        self.loaded.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn entry_id(bytes: &[u8]) -> Option<EntryId> {
    Uuid::from_slice(bytes).ok().map(EntryId)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use devservices::{Programs, RedisOptions, RedisRole, RedisServer};
    use proptest::{
        collection::{btree_set, vec},
        strategy::{Strategy, ValueTree},
        test_runner::TestRunner,
    };

    use super::*;

    const READER: AccountId = AccountId(Uuid::from_u128(7));
    const MAX: usize = TIMELINE_ENTRIES_MAX as usize;

    async fn lists() -> (RedisServer, Lists) {
        let programs = Programs::find().unwrap();
        let options = RedisOptions::throwaway(&programs, RedisRole::Views).unwrap();
        let server = RedisServer::start(options).await.unwrap();
        let settings = TimelineSettings {
            views: server.url().into(),
            prefix: "test".into(),
            timeline_seconds: 60,
        };
        (server, Lists::new(&settings).unwrap())
    }

    fn post(number: u128) -> EntryId {
        EntryId(Uuid::from_u128(number))
    }

    /// Newest first.
    fn posts(numbers: impl DoubleEndedIterator<Item = u128>) -> Vec<EntryId> {
        numbers.rev().map(post).collect()
    }

    async fn fill(lists: &Lists, ids: &[EntryId]) {
        let mark = lists.begin(READER).await.unwrap().unwrap();
        assert!(lists.finish(READER, &mark, ids).await.unwrap());
    }

    async fn insert(lists: &Lists, numbers: impl IntoIterator<Item = u128>) -> u64 {
        let posts = numbers.into_iter().map(post).collect();
        lists.insert(&posts, &[READER]).await.unwrap()
    }

    async fn all(lists: &Lists) -> (Vec<EntryId>, Option<EntryId>) {
        let slice = lists
            .read(READER, Step::newest(10_000))
            .await
            .unwrap()
            .unwrap();
        (slice.ids, slice.floor)
    }

    #[tokio::test]
    async fn what_is_inserted_while_a_timeline_is_filled_is_not_lost() {
        let (_server, lists) = lists().await;
        let mark = lists.begin(READER).await.unwrap().unwrap();
        for number in [30, 5, 17, 30, 40, 17] {
            insert(&lists, [number]).await;
        }
        assert!(lists.read(READER, Step::newest(9)).await.unwrap().is_none());
        let again = lists.begin(READER).await.unwrap();
        assert_eq!(again.as_ref(), Some(&mark), "who comes second shares it");
        let found = [30, 20, 10].map(post);
        assert!(lists.finish(READER, &mark, &found).await.unwrap());
        let united = [40, 30, 20, 17, 10, 5].map(post).to_vec();
        assert_eq!(all(&lists).await, (united.clone(), None));
        assert!(
            !lists.finish(READER, &mark, &[]).await.unwrap(),
            "only once"
        );
        assert_eq!(lists.begin(READER).await.unwrap(), None);
        assert_eq!(all(&lists).await, (united, None));
    }

    #[tokio::test]
    async fn a_fill_whose_timeline_was_dropped_writes_nothing() {
        let (_server, lists) = lists().await;
        let mark = lists.begin(READER).await.unwrap().unwrap();
        lists.drop(&[READER]).await.unwrap();
        assert!(!lists.finish(READER, &mark, &[post(1)]).await.unwrap());
        assert!(lists.read(READER, Step::newest(9)).await.unwrap().is_none());

        let newer = lists.begin(READER).await.unwrap().unwrap();
        assert_ne!(newer, mark);
        assert!(!lists.finish(READER, &mark, &[post(1)]).await.unwrap());
        assert!(lists.finish(READER, &newer, &[post(2)]).await.unwrap());
        assert_eq!(all(&lists).await, (vec![post(2)], None));
        lists.drop(&[READER]).await.unwrap();
        assert_eq!(insert(&lists, [3]).await, 0);
        assert!(lists.read(READER, Step::newest(9)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn inserts_are_idempotent_and_ordered() {
        let (_server, lists) = lists().await;
        fill(&lists, &[]).await;
        assert_eq!(all(&lists).await, (vec![], None));
        // Ids that differ in each quarter, and one with its highest bit.
        let mut ids: Vec<_> = (0..200_u128)
            .map(|n| post((n * 7_919 % 200) << (n % 4 * 32) | 1 << 127 | n))
            .collect();
        ids.extend((1..100).map(|n| post(n * 37 % 100)));
        for id in ids.iter().chain(&ids) {
            insert(&lists, [id.0.as_u128()]).await;
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        assert_eq!(all(&lists).await, (ids.clone(), None));
        let count = 20;
        for place in [0, 1, 15, 16, 17, 50, 150, ids.len() - 1] {
            let key = ids[place];
            let slice = async |way| {
                let slice = lists.read(READER, Step { way, key, count }).await;
                slice.unwrap().unwrap().ids
            };
            let end = (place + 21).min(ids.len());
            let below = slice(Way::Down).await;
            assert_eq!(below, ids[place + 1..end], "below the one at {place}");
            let mut above = slice(Way::Up).await;
            above.reverse();
            let from = place.saturating_sub(20);
            assert_eq!(above, ids[from..place], "above the one at {place}");
        }
        let (way, key) = (Way::Up, EntryId::LEAST);
        let slice = lists.read(READER, Step { way, key, count }).await;
        let mut oldest = slice.unwrap().unwrap().ids;
        oldest.reverse();
        assert_eq!(oldest, ids[ids.len() - 20..], "from the end");
    }

    #[tokio::test]
    async fn many_at_once_are_inserted_as_one_by_one() {
        let (_server, lists) = lists().await;
        let mut runner = TestRunner::deterministic();
        let inserts = vec(btree_set(0..3_000_u128, 1..60), 1..40);
        for there in [0, 1, 15, 16, 17, 300, MAX, MAX + 1] {
            let there: Vec<_> = (0..there as u128).map(|n| 1_000 + 2 * n).collect();
            for filled_last in [false, true] {
                let inserts = inserts.new_tree(&mut runner).unwrap().current();
                lists.drop(&[READER]).await.unwrap();
                let found = posts(there.iter().copied());
                let mark = lists.begin(READER).await.unwrap().unwrap();
                let mut model = Model::default();
                if !filled_last {
                    assert!(lists.finish(READER, &mark, &found).await.unwrap());
                    model.insert(there.iter().copied());
                    model.floor = (there.len() > MAX).then(|| model.cut());
                }
                for numbers in &inserts {
                    let posts = numbers.iter().copied().map(post).collect();
                    let nobody = AccountId(Uuid::nil());
                    let taken = lists.insert(&posts, &[nobody, READER]).await.unwrap();
                    assert_eq!(taken, model.insert(numbers.iter().copied()));
                    let entries = model.ids.len() + usize::from(model.floor.is_none());
                    if taken > 0 && !filled_last && entries > MAX {
                        model.floor = Some(model.cut());
                    }
                }
                if filled_last {
                    assert!(lists.finish(READER, &mark, &found).await.unwrap());
                    model.insert(there.iter().copied());
                    let floored = found.len() > MAX || model.ids.len() > MAX;
                    model.floor = floored.then(|| model.cut());
                }
                let kept = posts(model.ids.into_iter());
                assert_eq!(all(&lists).await, (kept, model.floor.map(post)));
                let mut lifetime = redis::cmd("PTTL");
                lifetime.arg(lists.key(READER));
                let left: i64 = lists.views.query(&lifetime).await.unwrap();
                assert!(left > 0, "it lives for {left} ms");
            }
        }
    }

    #[derive(Default)]
    struct Model {
        ids: BTreeSet<u128>,
        floor: Option<u128>,
    }

    impl Model {
        fn insert(&mut self, numbers: impl Iterator<Item = u128>) -> u64 {
            let floor = self.floor.unwrap_or_default();
            numbers
                .filter(|number| *number >= floor && self.ids.insert(*number))
                .count() as u64
        }

        /// Leaves the newest; returns the oldest of them.
        fn cut(&mut self) -> u128 {
            while self.ids.len() > MAX {
                self.ids.pop_first();
            }
            *self.ids.first().unwrap()
        }
    }

    #[tokio::test]
    async fn a_list_is_capped_and_knows_down_to_where_nothing_is_missing() {
        let (_server, lists) = lists().await;
        let first = 10_000;
        fill(&lists, &posts(first..first + MAX as u128)).await;
        let (ids, floor) = all(&lists).await;
        assert_eq!((ids.len(), floor), (MAX, None), "all there is");

        // The first post above drops the end: from now on there is a floor.
        assert_eq!(insert(&lists, [20_000]).await, 1);
        let (ids, floor) = all(&lists).await;
        assert_eq!((ids.len(), floor), (MAX, Some(post(first + 1))));
        assert_eq!(ids.last().copied(), floor);
        // What is below the floor is not the list's.
        assert_eq!(insert(&lists, [first]).await, 0);
        assert_eq!(all(&lists).await.0, ids);
        // In the middle it goes in, and the floor goes up.
        lists.drop(&[READER]).await.unwrap();
        fill(&lists, &posts((0..=MAX as u128).map(|n| first + n * 2))).await;
        assert_eq!(all(&lists).await.1, Some(post(first + 2)));
        assert_eq!(insert(&lists, [first + 101]).await, 1);
        let (ids, floor) = all(&lists).await;
        assert_eq!((ids.len(), floor), (MAX, Some(post(first + 4))));
        assert!(ids.is_sorted_by(|a, b| a > b) && ids.contains(&post(first + 101)));

        // What arrives during a fill makes a timeline longer than it keeps.
        lists.drop(&[READER]).await.unwrap();
        let mark = lists.begin(READER).await.unwrap().unwrap();
        insert(&lists, [30_000]).await;
        let found = posts(first..first + MAX as u128);
        assert!(lists.finish(READER, &mark, &found).await.unwrap());
        let (ids, floor) = all(&lists).await;
        assert_eq!((ids.len(), floor), (MAX, Some(post(first + 1))));
    }
}
