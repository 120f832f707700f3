//! Folds one partition into the tables: a batch, a transaction, a checkpoint.
//! An event that cannot be folded is parked, and those after it of the same
//! aggregate; all others flow. It refuses to go on over a gap, or over an entry
//! that does not tell whose event it is.

use std::{collections::BTreeSet, sync::Arc};

use domain::Event;
use kernel::{AggregateId, Partition, Position, Recorded, Uuid, crash};
use readmodel::{
    Generation, Happened, ReadError, TableProjection,
    checkpoints::{self, Standing},
    dead_letters, origin,
    projections::TableFold,
};

use crate::{
    engine::{Parts, WorkError},
    parking, reading,
};

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
    pub generation: Generation,
    projection: Arc<dyn TableProjection>,
    fold: Box<dyn TableFold>,
    /// Events that operators left out.
    skipped: BTreeSet<Position>,
}

impl Folding {
    /// Where the partition's rows are.
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
        let projection = parts.tables(generation.projection)?.clone();
        let folding = Self {
            generation,
            fold: projection.fold(),
            projection,
            skipped: skipped.into_iter().filter(here).collect(),
        };
        Ok((folding, standing))
    }

    /// Folds `events`, which come after `from`, and returns how it stands then;
    /// none where there was nothing. What comes before an event that cannot be
    /// folded is folded, however the log was cut: fewer events are tried until
    /// it is alone.
    pub async fn fold(
        &mut self,
        parts: &Parts,
        from: Position,
        events: &[Recorded],
    ) -> Result<Option<Folded>, WorkError> {
        let mut events = events;
        loop {
            match self.fold_all(parts, from, events).await {
                Err(error) if error.stops() && events.len() > 1 => {
                    events = &events[..events.len() / 2];
                }
                Err(error) if error.parks() => {
                    let parked = parking::park(parts, self.generation, from, events, &error);
                    return parked.await.map(Some);
                }
                folded => return folded,
            }
        }
    }

    async fn fold_all(
        &mut self,
        parts: &Parts,
        from: Position,
        events: &[Recorded],
    ) -> Result<Option<Folded>, WorkError> {
        let to = contiguous(from, events)?;
        if to == from {
            return Ok(None);
        }
        let mut batch = events
            .iter()
            .filter(|recorded| recorded.envelope.event_type != eventlog::EPOCH_STARTED)
            .filter(|recorded| self.projection.wants(&recorded.envelope.event_type))
            .filter(|recorded| !self.skipped.contains(&recorded.position))
            .map(decode)
            .collect::<Result<Vec<_>, _>>()?;
        open(parts, &mut batch).await?;
        let mut waiting = BTreeSet::new();

        let mut transaction = readmodel::begin(parts.pool()).await?;
        let standing =
            checkpoints::advance(&mut transaction, self.generation, from, to, mark(events));
        let standing = standing.await?;
        if standing.parked {
            parking::park_what_waits(&mut transaction, self.generation, events).await?;
            let parked = parking::parked(&mut transaction, self.generation, from.partition).await?;
            batch.retain(|happened| !parked.contains(&happened.aggregate));
            waiting = parked;
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

/// Opens the personal fields of a batch.
pub(crate) async fn open(parts: &Parts, batch: &mut [Happened]) -> Result<(), WorkError> {
    let personal: Vec<_> = batch
        .iter_mut()
        .flat_map(|happened| happened.event.personal())
        .collect();
    if !personal.is_empty() {
        parts.sealer.open(personal).await?;
    }
    Ok(())
}

pub(crate) fn decode(recorded: &Recorded) -> Result<Happened, WorkError> {
    let event = Event::decode(&recorded.envelope).map_err(|source| WorkError::Unreadable {
        position: recorded.position,
        source,
    })?;
    Ok(Happened {
        position: recorded.position,
        aggregate: recorded.envelope.aggregate,
        version: recorded.envelope.version,
        recorded_at: recorded.envelope.recorded_at,
        actor: recorded.envelope.actor,
        event,
    })
}
