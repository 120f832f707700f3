//! Follows the live tables of one partition with a generation of timelines. It
//! refuses to be ahead of them: what is pushed can be read.

use std::collections::BTreeSet;

use domain::Event;
use eventlog::Gap;
use kernel::{Partition, Position, Recorded, crash};
use readmodel::{
    Generation, ReadError,
    checkpoints::{self, Standing},
    dead_letters,
    timelines::{FanOut, Lists},
};

use crate::{
    engine::{Parts, WorkError},
    folding::{self, Folded},
    parking, reading,
};

/// Events whose posts are on their way together.
pub(crate) const BATCH_EVENTS_MAX: usize = 500;

/// One partition of a generation of `timelines`.
#[derive(Clone)]
pub(crate) struct Fanning {
    pub generation: Generation,
    lists: Lists,
    skipped: BTreeSet<Position>,
}

impl Fanning {
    pub async fn begin(
        parts: &Parts,
        generation: Generation,
        partition: Partition,
    ) -> Result<(Self, Standing), WorkError> {
        let standing = checkpoints::load(parts.pool(), generation, partition).await?;
        reading::check_reaches(&parts.log, standing).await?;
        let skipped = dead_letters::skipped(parts.pool(), generation.projection).await?;
        let here = |position: &Position| position.partition == partition;
        let fanning = Self {
            generation,
            lists: parts.lists.of_generation(generation.number),
            skipped: skipped.into_iter().filter(here).collect(),
        };
        Ok((fanning, standing))
    }

    /// Fans `events` out, which come after `from` and were folded, and returns how
    /// it stands then; none where there was nothing. What comes before an event that cannot be read goes
    /// out; the event itself is parked.
    pub async fn fan_out(
        &self,
        parts: &Parts,
        from: Position,
        events: &[Recorded],
    ) -> Result<Option<Folded>, WorkError> {
        let mut events = events;
        loop {
            match self.fan_out_all(parts, from, events).await {
                Err(error) if error.stops() && events.len() > 1 => {
                    events = &events[..events.len() / 2];
                }
                Err(error) if error.parks() => {
                    let parked = parking::park(parts, self.generation, from, events, &error);
                    return parked.await.map(Some);
                }
                fanned => return fanned,
            }
        }
    }

    async fn fan_out_all(
        &self,
        parts: &Parts,
        from: Position,
        events: &[Recorded],
    ) -> Result<Option<Folded>, WorkError> {
        let to = folding::contiguous(from, events)?;
        if to == from {
            return Ok(None);
        }
        // One connection from the check to the checkpoint: if the database crashes
        // meanwhile, and forgets rows that readers were looked up in, all of this
        // is done again.
        let mut transaction = readmodel::begin(parts.pool()).await?;
        checkpoints::check_folded(&mut transaction, to).await?;
        // An event that waits may go out early: a read leaves out what is not
        // there, and puts in what the retry will push again.
        let mut fan_out = FanOut::default();
        for recorded in events {
            take(&mut fan_out, recorded, &self.skipped)?;
        }
        fan_out
            .run(&mut transaction, &self.lists, parts.push_followers_max)
            .await?;
        crash::point("fan_out.pushed");
        let mark = folding::mark(events);
        let standing = checkpoints::advance(&mut transaction, self.generation, from, to, mark);
        let standing = standing.await?;
        transaction.commit().await.map_err(ReadError::from)?;
        // What waits goes out too.
        let waiting = BTreeSet::new();
        Ok(Some(Folded { standing, waiting }))
    }
}

/// At most a batch of what comes after `at` and was folded. There is at least
/// one event, or the log has lost what was folded.
pub(crate) async fn read_folded(
    parts: &Parts,
    at: Position,
    folded: Position,
) -> Result<Vec<Recorded>, WorkError> {
    let mut events = reading::read(parts, at, BATCH_EVENTS_MAX).await?;
    events.retain(|event| event.position <= folded);
    if events.is_empty() {
        let gap = Gap::Missing {
            after: at,
            found: folded,
        };
        return Err(gap.into());
    }
    Ok(events)
}

/// Adds what an event asks of the timelines.
pub(crate) fn take(
    fan_out: &mut FanOut,
    recorded: &Recorded,
    skipped: &BTreeSet<Position>,
) -> Result<(), WorkError> {
    let envelope = &recorded.envelope;
    if !FanOut::wants(&envelope.event_type) || skipped.contains(&recorded.position) {
        return Ok(());
    }
    let event = Event::decode(envelope).map_err(|source| WorkError::Unreadable {
        position: recorded.position,
        source,
    })?;
    fan_out.take(envelope.aggregate, &event);
    Ok(())
}
