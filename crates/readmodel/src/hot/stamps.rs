//! When was a key last touched? A fixed number of buckets says so for any
//! number of keys; keys that share a bucket are touched together, which costs
//! a read and is never wrong.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

const BUCKETS: usize = 1 << 16;

/// Where a key's touches are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(u32);

/// A moment among the touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

pub(super) struct Stamps<K> {
    hasher: RandomState,
    latest: AtomicU64,
    all: AtomicU64,
    buckets: Box<[AtomicU64]>,
    keys: PhantomData<fn(&K)>,
}

impl<K: Hash> Stamps<K> {
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            latest: AtomicU64::new(0),
            all: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            keys: PhantomData,
        }
    }

    /// To be taken before what is stamped with it is read.
    pub fn now(&self) -> Stamp {
        Stamp(self.latest.load(Ordering::SeqCst))
    }

    pub fn touch(&self, key: &K) {
        let stamp = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        let Bucket(index) = self.bucket(key);
        self.buckets[index as usize].fetch_max(stamp, Ordering::SeqCst);
    }

    pub fn touch_all(&self) {
        let stamp = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        self.all.fetch_max(stamp, Ordering::SeqCst);
    }

    /// Whether nothing touched `key` after `read`.
    pub fn count(&self, read: Stamp, key: &K) -> bool {
        self.all_count(read, &[self.bucket(key)])
    }

    /// The same of many, whose buckets are known.
    pub fn all_count(&self, read: Stamp, buckets: &[Bucket]) -> bool {
        let touched = |bucket: &Bucket| self.buckets[bucket.0 as usize].load(Ordering::SeqCst);
        read.0 >= self.all.load(Ordering::SeqCst)
            && buckets.iter().all(|bucket| read.0 >= touched(bucket))
    }

    pub fn bucket(&self, key: &K) -> Bucket {
        Bucket((self.hasher.hash_one(key) % BUCKETS as u64) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_touch_does_not_count() {
        let stamps = Stamps::new();
        let before = stamps.now();
        assert!(stamps.count(before, &1));
        stamps.touch(&1);
        assert!(!stamps.count(before, &1));
        let after = stamps.now();
        assert!(stamps.count(after, &1));
        stamps.touch_all();
        assert!(!stamps.count(after, &1) && !stamps.count(after, &2));
        assert!(stamps.count(stamps.now(), &2));
    }
}
