//! Follows the live tables of one partition with a generation of timelines. It
//! refuses to be ahead of them: what is pushed can be read.

use std::{collections::BTreeSet, sync::Arc};

use eventlog::Gap;
use kernel::{Partition, Position, Recorded, crash};
use readmodel::{
    Generation, Projection, ReadError,
    checkpoints::{self, Standing},
    dead_letters, origin,
    timelines::{FanOut, Lists},
};

use crate::{
    batch::{Batch, Events},
    context::WorkerContext,
    error::WorkError,
    folding::{self, Folded},
    front::Front,
    parking, reading,
};

/// Events whose posts are on their way together.
const TURN_EVENTS_MAX: usize = 500;

/// One partition of a generation of `timelines`.
#[derive(Clone)]
pub(crate) struct Fanning {
    pub generation: Generation,
    lists: Lists,
    skipped: BTreeSet<Position>,
}

impl Fanning {
    pub async fn begin(
        context: &WorkerContext,
        generation: Generation,
        partition: Partition,
    ) -> Result<(Self, Standing), WorkError> {
        origin::claim(context.pool(), context.log.id()).await?;
        let standing = checkpoints::load(context.pool(), generation, partition).await?;
        reading::check_reaches(&context.log, standing).await?;
        let skipped = dead_letters::skipped(context.pool(), generation.projection).await?;
        let here = |position: &Position| position.partition == partition;
        let fanning = Self {
            generation,
            lists: context.lists.of_generation(generation.number),
            skipped: skipped.into_iter().filter(here).collect(),
        };
        Ok((fanning, standing))
    }

    /// Fans `events` out, which come after `from` and were folded, and returns how
    /// it stands then; none where there was nothing. What comes before an event that
    /// cannot be read goes out; the event itself is parked.
    pub async fn fan_out(
        &self,
        context: &WorkerContext,
        from: Position,
        events: Events<'_>,
    ) -> Result<Option<Folded>, WorkError> {
        let mut events = events;
        loop {
            match self.fan_out_all(context, from, events).await {
                Err(error) if error.stops() && events.len() > 1 => {
                    events = events.up_to(events.len() / 2);
                }
                Err(error) if error.parks() => {
                    let to = folding::contiguous(from, events.recorded())?;
                    let recorded = events.recorded();
                    let parked =
                        parking::park(context, self.generation, from, to, recorded, &error);
                    return parked.await.map(Some);
                }
                fanned => return fanned,
            }
        }
    }

    /// Fans out all that comes after `from` up to `aim`, which was folded.
    pub async fn fan_out_to(
        &self,
        context: &WorkerContext,
        from: Position,
        aim: Position,
    ) -> Result<(), WorkError> {
        let (mut at, mut front) = (from, Front::at(from));
        while at < aim {
            if front.after(at).is_none() {
                front = read_folded(context, at, aim).await?;
            }
            let Some(events) = front.after(at).map(turn) else {
                continue;
            };
            if let Some(fanned) = self.fan_out(context, at, events).await? {
                at = fanned.standing.at;
            }
        }
        Ok(())
    }

    async fn fan_out_all(
        &self,
        context: &WorkerContext,
        from: Position,
        events: Events<'_>,
    ) -> Result<Option<Folded>, WorkError> {
        let to = folding::contiguous(from, events.recorded())?;
        if to == from {
            return Ok(None);
        }
        // One connection from the check to the checkpoint: if the database crashes
        // meanwhile, and forgets rows that readers were looked up in, all of this
        // is done again.
        let mut transaction = readmodel::begin(context.pool()).await?;
        checkpoints::check_folded(&mut transaction, Projection::FOLLOWED, to).await?;
        // An event that waits may go out early: a read leaves out what is not
        // there, and puts in what the retry will push again.
        let mut fan_out = FanOut::default();
        let wanted =
            |recorded: &Recorded| asks(recorded) && !self.skipped.contains(&recorded.position);
        for happened in events.decoded(wanted)? {
            fan_out.take(happened.aggregate, &happened.event);
        }
        fan_out
            .run(&mut transaction, &self.lists, context.push_followers_max)
            .await?;
        crash::point("fan_out.pushed");
        let mark = folding::mark(events.recorded());
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
    context: &WorkerContext,
    at: Position,
    folded: Position,
) -> Result<Front, WorkError> {
    let events = reading::read(context, at, folding::BATCH_EVENTS_MAX).await?;
    let front = Front::new(folded, Arc::new(Batch::decode(at, events)));
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
/// timelines, and some that do.
pub(crate) fn turn(events: Events<'_>) -> Events<'_> {
    let asks = |(_, event): &(usize, &Recorded)| asks(event);
    let recorded = events.recorded().iter().enumerate();
    let last = recorded.filter(asks).nth(TURN_EVENTS_MAX - 1);
    last.map_or(events, |(last, _)| events.up_to(last + 1))
}

/// Whether an event asks anything of the timelines.
pub(crate) fn asks(recorded: &Recorded) -> bool {
    FanOut::wants(recorded.envelope.aggregate.kind)
}
