//! Parks what cannot be folded, and what comes after it of the same aggregate.

use std::collections::BTreeSet;

use kernel::{AggregateId, Partition, Position, Recorded};
use readmodel::{
    Generation, ReadError, checkpoints,
    dead_letters::{self, Parked},
};
use sea_orm::sqlx::PgTransaction;

use crate::{
    context::WorkerContext,
    error::WorkError,
    folding::{Folded, mark},
};

/// Moves the checkpoint over events that wait from now on and end at `to`, in one
/// transaction.
pub(crate) async fn park(
    context: &WorkerContext,
    generation: Generation,
    from: Position,
    to: Position,
    events: &[Recorded],
    error: &WorkError,
) -> Result<Folded, WorkError> {
    let mut transaction = readmodel::begin(context.pool()).await?;
    let standing = checkpoints::advance(&mut transaction, generation, from, to, mark(events));
    let standing = standing.await?;
    let reason = error.to_string();
    for recorded in events {
        let letter = letter(recorded, Some(&reason));
        dead_letters::park(&mut transaction, generation, letter).await?;
    }
    transaction.commit().await.map_err(ReadError::from)?;
    tracing::error!(%generation, position = %to, reason, "parks an event");
    let waiting = events.iter().map(|event| event.envelope.aggregate);
    let waiting = waiting.collect();
    Ok(Folded { standing, waiting })
}

/// The aggregates whose events wait.
pub(crate) async fn parked(
    transaction: &mut PgTransaction<'_>,
    generation: Generation,
    partition: Partition,
) -> Result<BTreeSet<AggregateId>, WorkError> {
    Ok(dead_letters::aggregates(transaction, generation, partition).await?)
}

/// Parks those of `events` whose aggregate waits already.
pub(crate) async fn park_what_waits(
    transaction: &mut PgTransaction<'_>,
    generation: Generation,
    waiting: &BTreeSet<AggregateId>,
    events: impl Iterator<Item = &Recorded>,
) -> Result<(), WorkError> {
    for recorded in events.filter(|one| waiting.contains(&one.envelope.aggregate)) {
        dead_letters::park(transaction, generation, letter(recorded, None)).await?;
    }
    Ok(())
}

fn letter<'a>(recorded: &'a Recorded, reason: Option<&'a str>) -> Parked<'a> {
    Parked {
        position: recorded.position,
        aggregate: recorded.envelope.aggregate,
        event_type: &recorded.envelope.event_type,
        reason,
    }
}
