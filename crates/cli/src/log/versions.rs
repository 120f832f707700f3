//! Whether each aggregate's versions follow each other in a whole history. A MAC cannot
//! tell that one of our own events stands in the log twice, or was cut out: this can.

use std::collections::HashMap;

use kernel::{AggregateId, Recorded};

/// The last version of every aggregate of a partition.
#[derive(Default)]
pub struct Versions(HashMap<AggregateId, u64>);

impl Versions {
    /// Takes the next event of the partition; the first entry of an epoch is of no
    /// aggregate, and not for here.
    pub fn check(&mut self, recorded: &Recorded) -> anyhow::Result<()> {
        let (at, envelope) = (recorded.position, &recorded.envelope);
        let last = self.0.entry(envelope.aggregate).or_default();
        anyhow::ensure!(
            envelope.version == *last + 1,
            "the event at {at} is version {} of its aggregate, after version {last}: it stands \
             there twice, or others are gone",
            envelope.version
        );
        *last = envelope.version;
        Ok(())
    }
}
