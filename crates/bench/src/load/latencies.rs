//! Latencies in bounded memory: buckets whose width is under 1 % of their
//! value, from a microsecond to hours.

use std::time::Duration;

/// Buckets in each doubling.
const SUB_BITS: u32 = 7;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
const DOUBLINGS: usize = 32;

#[derive(Clone)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; SUB_BUCKETS * DOUBLINGS],
            count: 0,
        }
    }
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(microseconds).min(self.buckets.len() - 1);
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (own, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += others;
        }
        self.count += other.count;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency that this share of all is not above.
    pub fn milliseconds_at(&self, share: f64) -> f64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.map_or(0.0, |bucket| middle_of(bucket) / 1_000.0)
    }
}

/// Below `SUB_BUCKETS` a bucket is a microsecond; above, the highest bits.
fn bucket_of(microseconds: u64) -> usize {
    if microseconds < SUB_BUCKETS as u64 {
        return microseconds as usize;
    }
    let doubling = microseconds.ilog2() - SUB_BITS;
    let sub = (microseconds >> doubling) as usize - SUB_BUCKETS;
    (doubling as usize + 1) * SUB_BUCKETS + sub
}

fn middle_of(bucket: usize) -> f64 {
    if bucket < SUB_BUCKETS {
        return bucket as f64;
    }
    let doubling = bucket / SUB_BUCKETS - 1;
    let lowest = ((SUB_BUCKETS + bucket % SUB_BUCKETS) as u64) << doubling;
    lowest as f64 + (1_u64 << doubling) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_found_within_a_hundredth() {
        let mut latencies = Latencies::default();
        for microseconds in 1..=100_000 {
            latencies.record(Duration::from_micros(microseconds));
        }
        for (share, milliseconds) in [(0.5, 50.0), (0.99, 99.0), (0.001, 0.1), (1.0, 100.0)] {
            let found: f64 = latencies.milliseconds_at(share);
            let off = (found - milliseconds).abs() / milliseconds;
            assert!(off < 0.01, "{share}: {found} ms");
        }
        assert_eq!(Latencies::default().milliseconds_at(0.5), 0.0);
    }
}
