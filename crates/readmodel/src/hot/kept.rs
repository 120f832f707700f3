//! Entries of caches: a value, from when it is, and what it weighs.

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use quick_cache::{Weighter, sync::Cache};

use super::stamps::Stamp;

/// An entry is read again after this time even if nothing touched it.
const ENTRY_SECONDS_MAX: u64 = 60;
/// What an entry costs beside its value, about.
const ENTRY_BYTES: u64 = 160;

/// The memory that a value refers to, about.
pub(super) trait Bytes {
    fn bytes(&self) -> usize;
}

/// A value, and from when it is.
pub(super) struct Kept<V> {
    pub read: Stamp,
    at: Instant,
    pub value: V,
}

impl<V> Kept<V> {
    /// `read`: taken before the value was asked for.
    pub fn new(read: Stamp, value: V) -> Self {
        let at = Instant::now();
        Self { read, at, value }
    }

    pub fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < Duration::from_secs(ENTRY_SECONDS_MAX)
    }
}

/// Weighs entries by their memory.
#[derive(Clone)]
pub(super) struct ByBytes;

impl<K, V: Bytes> Weighter<K, Arc<Kept<V>>> for ByBytes {
    fn weight(&self, _: &K, kept: &Arc<Kept<V>>) -> u64 {
        ENTRY_BYTES + kept.value.bytes() as u64
    }
}

/// One that holds about so much memory.
pub(super) fn cache<K: Eq + Hash, V: Bytes>(bytes_max: u64) -> Cache<K, Arc<Kept<V>>, ByBytes> {
    let entries = (bytes_max / (4 * ENTRY_BYTES)) as usize;
    Cache::with_weighter(entries, bytes_max, ByBytes)
}
