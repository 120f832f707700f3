//! Folds one partition into the tables of one generation: a batch, a transaction, a
//! checkpoint. An event that cannot be folded is parked, and those after it of the same
//! aggregate; all others flow. Nothing goes on over a gap, or over an entry that does not
//! tell whose event it is.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use kernel::{AggregateId, Partition, Position, Recorded, Uuid, crash};
use readmodel::{
    Generation, ReadError, TableProjection,
    checkpoints::{self, Standing},
    dead_letters, origin,
    projections::TableFold,
};

use crate::{batch::Events, context::WorkerContext, error::WorkError, parking, reading};

/// Events folded in one transaction.
pub const BATCH_EVENTS_MAX: usize = 4_000;

/// How it stands after a batch.
pub(crate) struct Folded {
    pub standing: Standing,
    /// Whose events wait, where there are any.
    pub waiting: BTreeSet<AggregateId>,
}

/// One partition of a generation that has tables.
pub(crate) struct Folding {
    generation: Generation,
    projection: Arc<dyn TableProjection>,
    fold: Box<dyn TableFold>,
    pub standing: Standing,
    /// Up to here, beyond the checkpoint, are only events that the projection does not
    /// want.
    looked: Position,
    /// Of the event there.
    mark: Option<Uuid>,
    /// Events that operators left out.
    skipped: BTreeSet<Position>,
}

impl Folding {
    /// Where the partition's rows are.
    pub async fn begin(
        context: &WorkerContext,
        generation: Generation,
        partition: Partition,
    ) -> Result<Self, WorkError> {
        origin::claim(context.pool(), context.log.id()).await?;
        let projection = context.tables(generation.projection)?.clone();
        let standing = checkpoints::load(context.pool(), generation, partition).await?;
        reading::check_reaches(&context.log, standing).await?;
        let skipped = dead_letters::skipped(context.pool(), generation.projection).await?;
        let here = |position: &Position| position.partition == partition;
        Ok(Self {
            generation,
            fold: projection.fold(),
            projection,
            standing,
            looked: standing.at,
            mark: standing.mark,
            skipped: skipped.into_iter().filter(here).collect(),
        })
    }

    /// What comes after it is read next.
    pub fn at(&self) -> Position {
        self.looked
    }

    /// Whether the checkpoint is behind what was looked at.
    pub fn rests(&self) -> bool {
        self.looked != self.standing.at
    }

    /// Whether any of `events` has to be folded.
    pub fn wants_any(&self, events: Events<'_>) -> bool {
        events
            .recorded()
            .iter()
            .any(|recorded| self.wants(recorded))
    }

    /// Passes over `events`, none of which is wanted. The checkpoint stays: a later batch
    /// takes it along.
    pub fn look(&mut self, events: Events<'_>) -> Result<(), WorkError> {
        self.looked = contiguous(self.looked, events.recorded())?;
        self.mark = mark(events.recorded()).or(self.mark);
        Ok(())
    }

    fn wants(&self, recorded: &Recorded) -> bool {
        self.projection.wants(&recorded.envelope.event_type)
    }

    /// Folds `events`, which come after `at`, and returns how it stands then; none
    /// where there was nothing. What comes before an event that cannot be
    /// folded is folded, however the log was cut: fewer events are tried until
    /// it is alone.
    pub async fn fold(
        &mut self,
        context: &WorkerContext,
        events: Events<'_>,
    ) -> Result<Option<Folded>, WorkError> {
        let mut events = events;
        let folded = loop {
            match self.fold_all(context, events).await {
                Err(error) if error.stops() && events.len() > 1 => {
                    events = events.up_to(events.len() / 2);
                }
                Err(error) if error.parks() => {
                    let (from, recorded) = (self.standing.at, events.recorded());
                    let to = contiguous(self.looked, recorded)?;
                    let generation = self.generation;
                    let parked = parking::park(context, generation, from, to, recorded, &error);
                    break Some(parked.await?);
                }
                folded => break folded?,
            }
        };
        if let Some(folded) = &folded {
            self.standing = folded.standing;
            (self.looked, self.mark) = (self.standing.at, self.standing.mark);
        }
        Ok(folded)
    }

    async fn fold_all(
        &mut self,
        context: &WorkerContext,
        events: Events<'_>,
    ) -> Result<Option<Folded>, WorkError> {
        let (from, recorded) = (self.standing.at, events.recorded());
        let to = contiguous(self.looked, recorded)?;
        if to == from {
            return Ok(None);
        }
        let left_out: BTreeSet<_> = recorded
            .iter()
            .filter(|recorded| !self.wants(recorded) || self.skipped.contains(&recorded.position))
            .map(|recorded| recorded.position)
            .collect();
        events.check(|recorded| !left_out.contains(&recorded.position))?;
        let mark = mark(recorded).or(self.mark);
        let mut waiting = BTreeSet::new();

        let mut transaction = readmodel::begin(context.pool()).await?;
        let standing = checkpoints::advance(&mut transaction, self.generation, from, to, mark);
        let standing = standing.await?;
        if standing.parked {
            waiting = parking::parked(&mut transaction, self.generation, from.partition).await?;
            let wanted = recorded.iter().filter(|recorded| self.wants(recorded));
            parking::park_what_waits(&mut transaction, self.generation, &waiting, wanted).await?;
        }
        let mut batch = Cow::Borrowed(events.happened());
        if !left_out.is_empty() || !waiting.is_empty() {
            batch.to_mut().retain(|happened| {
                !left_out.contains(&happened.position) && !waiting.contains(&happened.aggregate)
            });
        }
        let schema = self.generation.schema(standing.live);
        let written = self.fold.write(&schema, &mut transaction, &batch);
        written.await?;
        crash::point("fold.rows");
        transaction.commit().await.map_err(ReadError::from)?;
        crash::point("fold.committed");
        self.fold.committed();
        Ok(Some(Folded { standing, waiting }))
    }
}

/// Where events end that follow `from` without a gap.
pub(crate) fn contiguous(from: Position, events: &[Recorded]) -> Result<Position, WorkError> {
    let mut to = from;
    for recorded in events {
        eventlog::check_contiguous(to, recorded)?;
        to = recorded.position;
    }
    Ok(to)
}

/// Of the event that `events` end with.
pub(crate) fn mark(events: &[Recorded]) -> Option<Uuid> {
    events.last().map(|recorded| recorded.envelope.mark())
}
