//! Follows the live tables of one partition with a generation of timelines. It
//! refuses to be ahead of them: what is pushed can be read.

use std::collections::BTreeSet;

use domain::Event;
use eventlog::Gap;
use kernel::{Partition, Position, Recorded, crash};
use readmodel::{
    Generation, Projection, ReadError,
    checkpoints::{self, Standing},
    dead_letters, origin,
    timelines::{FanOut, Lists},
};

use crate::{
    engine::{Parts, WorkError},
    folding::{self, Folded},
    front::Front,
    parking, reading,
};

/// Events whose posts are on their way together.
const BATCH_EVENTS_MAX: usize = 500;

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
        origin::claim(parts.pool(), parts.log.id()).await?;
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

    /// Fans out all that comes after `from` up to `aim`, which was folded.
    pub async fn fan_out_to(
        &self,
        parts: &Parts,
        from: Position,
        aim: Position,
    ) -> Result<(), WorkError> {
        let (mut at, mut hand) = (from, Front::at(from));
        while at < aim {
            if hand.after(at).is_none() {
                hand = read_folded(parts, at, aim).await?;
            }
            let events = batch(hand.after(at).unwrap_or_default());
            if let Some(fanned) = self.fan_out(parts, at, events).await? {
                at = fanned.standing.at;
            }
        }
        Ok(())
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
        checkpoints::check_folded(&mut transaction, Projection::FOLLOWED, to).await?;
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

/// What comes after `at` and was folded, as much as a fold takes at once. There is
/// at least one event, or the log has lost what was folded.
pub(crate) async fn read_folded(
    parts: &Parts,
    at: Position,
    folded: Position,
) -> Result<Front, WorkError> {
    let events = reading::read(parts, at, folding::BATCH_EVENTS_MAX).await?;
    let front = Front::new(at, folded, events);
    if front.after(at).is_none() {
        let gap = Gap::Missing {
            after: at,
            found: folded,
        };
        return Err(gap.into());
    }
    Ok(front)
}

/// Those of `events` that go out together: any number that ask nothing of the
/// timelines, and a batch that does.
pub(crate) fn batch(events: &[Recorded]) -> &[Recorded] {
    let asks = |(_, event): &(usize, &Recorded)| asks(event);
    let last = events
        .iter()
        .enumerate()
        .filter(asks)
        .nth(BATCH_EVENTS_MAX - 1);
    last.map_or(events, |(last, _)| &events[..=last])
}

/// Whether an event asks anything of the timelines.
pub(crate) fn asks(recorded: &Recorded) -> bool {
    FanOut::wants(&recorded.envelope.event_type)
}

/// Adds what an event asks of the timelines.
pub(crate) fn take(
    fan_out: &mut FanOut,
    recorded: &Recorded,
    skipped: &BTreeSet<Position>,
) -> Result<(), WorkError> {
    let envelope = &recorded.envelope;
    if !asks(recorded) || skipped.contains(&recorded.position) {
        return Ok(());
    }
    let event = Event::decode(envelope).map_err(|source| WorkError::Unreadable {
        position: recorded.position,
        source,
    })?;
    fan_out.take(envelope.aggregate, &event);
    Ok(())
}
