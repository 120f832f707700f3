//! Puts small segments together, so that a partition has few of them however
//! often it is sealed.

use std::{ops::Range, sync::Arc};

use kernel::{Partition, Position, Recorded};

use crate::{Archive, ArchiveError, SEGMENT_EVENTS_MAX, Segment};

/// Segments of about the same size from which on they are put together. An event
/// is written again once for each power of it that a full segment holds: tiers,
/// as in a log-structured merge tree.
const TIER_SEGMENTS: usize = 8;
/// How often a segment is looked for again that was put into another meanwhile.
const READ_TRIES: u32 = 3;

impl Archive {
    /// Puts the newest segments together where there are many small ones. The
    /// manifest names the whole in place of its parts; those are deleted once the
    /// manifest after that is written. Returns how many segments it wrote.
    pub async fn merge(&self, partition: Partition) -> Result<u64, ArchiveError> {
        let mut merged = 0;
        loop {
            let manifest = self.known(partition).await?;
            let Some(parts) = mergeable(&manifest.segments) else {
                return Ok(merged);
            };
            let mut events = Vec::new();
            for segment in &manifest.segments[parts.clone()] {
                events.extend(self.events(segment).await?.iter().cloned());
            }
            let whole = self.write_segment(events).await?;
            self.write_manifest(manifest.merged(parts, whole)).await?;
            merged += 1;
        }
    }

    /// The segment that has what comes after `after`, with its events; none at
    /// the archive's end.
    pub async fn segment_after(
        &self,
        after: Position,
    ) -> Result<Option<(Segment, Arc<Vec<Recorded>>)>, ArchiveError> {
        for _ in 1..READ_TRIES {
            match self.look_after(after).await {
                // It was put into another one since the manifest was read.
                Err(ArchiveError::Store(object_store::Error::NotFound { .. })) => {
                    self.forget_one(after.partition);
                }
                looked => return looked,
            }
        }
        self.look_after(after).await
    }

    async fn look_after(
        &self,
        after: Position,
    ) -> Result<Option<(Segment, Arc<Vec<Recorded>>)>, ArchiveError> {
        let manifest = self.manifest_beyond(after).await?;
        let Some(segment) = manifest.after(after) else {
            return Ok(None);
        };
        let events = self.events(segment).await?;
        Ok(Some((segment.clone(), events)))
    }
}

/// Which segments are put together next.
fn mergeable(segments: &[Segment]) -> Option<Range<usize>> {
    let newest = segments.last()?;
    let alike = |segment: &&Segment| {
        segment.first.epoch == newest.first.epoch && tier(segment) <= tier(newest)
    };
    let count = segments.iter().rev().take_while(alike).count();
    if count < TIER_SEGMENTS {
        return None;
    }
    // Those at the beginning may be nearly full.
    let fits = |from: &usize| {
        let mut events = 0;
        let fit = segments[*from..].iter().take_while(|segment| {
            events += segment.events;
            events <= SEGMENT_EVENTS_MAX as u64
        });
        (*from, fit.count())
    };
    let from = segments.len() - count..segments.len();
    let (from, fit) = from.map(|from| fits(&from)).find(|(_, fit)| *fit > 1)?;
    Some(from..from + fit)
}

fn tier(segment: &Segment) -> u32 {
    segment.events.max(1).ilog(TIER_SEGMENTS as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(epoch: u64, from: u64, events: u64) -> Segment {
        let at = |seq| Position {
            partition: Partition(0),
            epoch,
            seq,
        };
        Segment {
            file: String::new(),
            first: at(from),
            last: at(from + events - 1),
            events,
            bytes: 0,
            sha256: String::new(),
            recorded: (0, 0),
        }
    }

    #[test]
    fn however_often_it_is_sealed_segments_stay_few_and_events_are_written_seldom() {
        for each in [1, 7, 250, 2_500, 20_000, 49_999] {
            let mut segments: Vec<Segment> = Vec::new();
            let (mut sealed, mut written) = (0, 0);
            while sealed < 2_000_000 {
                segments.push(segment(1, sealed, each));
                sealed += each;
                while let Some(parts) = mergeable(&segments) {
                    let events = segments[parts.clone()].iter().map(|one| one.events).sum();
                    assert!(events <= SEGMENT_EVENTS_MAX as u64);
                    written += events;
                    let whole = segment(1, segments[parts.start].first.seq, events);
                    segments.splice(parts, [whole]);
                }
                if sealed > 100_000 * each && each < 250 {
                    break;
                }
            }
            let follow = segments
                .windows(2)
                .all(|two| two[0].last.seq + 1 == two[1].first.seq);
            assert!(follow, "of {each}");
            let full = (sealed / (SEGMENT_EVENTS_MAX as u64 / 2)) as usize;
            assert!(
                segments.len() <= full + 6 * 8,
                "{} of {each}",
                segments.len()
            );
            assert!(written <= 6 * sealed, "{written} of {sealed}");
        }
    }

    #[test]
    fn segments_of_two_epochs_stay_apart() {
        let mut segments: Vec<Segment> = (0..7).map(|at| segment(1, at, 1)).collect();
        segments.extend((0..7).map(|at| segment(2, at, 1)));
        assert_eq!(mergeable(&segments), None);
        segments.push(segment(2, 7, 1));
        assert_eq!(mergeable(&segments), Some(7..15));
    }
}
