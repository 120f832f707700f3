//! Folds one partition into the read model: a batch, a transaction, a
//! checkpoint. It refuses to go on over a gap or an event that it cannot read.

use domain::Event;
use kernel::{Partition, Position, Recorded, crash};
use readmodel::{Happened, ReadError, Social, checkpoints};

use crate::{
    engine::{Parts, WorkError},
    reading,
};

/// Events folded in one transaction.
pub const BATCH_EVENTS_MAX: usize = 4_000;

/// Where the partition's read model is.
pub(crate) async fn checkpoint(parts: &Parts, partition: Partition) -> Result<Position, WorkError> {
    let at = checkpoints::load(parts.pool(), Social::NAME, partition).await?;
    reading::check_reaches(&parts.log, at).await?;
    Ok(at)
}

/// Folds `events`, which come after `from`, and returns the new checkpoint.
/// What comes before an event that cannot be folded is folded, however the log
/// was cut: fewer events are tried until it is at the head of a batch.
pub(crate) async fn fold(
    parts: &Parts,
    from: Position,
    events: &[Recorded],
) -> Result<Position, WorkError> {
    let mut events = events;
    loop {
        match fold_all(parts, from, events).await {
            Err(error) if error.stops() && events.len() > 1 => {
                events = &events[..events.len() / 2];
            }
            folded => return folded,
        }
    }
}

async fn fold_all(
    parts: &Parts,
    from: Position,
    events: &[Recorded],
) -> Result<Position, WorkError> {
    let mut to = from;
    for recorded in events {
        eventlog::check_contiguous(to, recorded)?;
        to = recorded.position;
    }
    if to == from {
        return Ok(from);
    }
    let mut batch = events
        .iter()
        .filter(|recorded| recorded.envelope.event_type != eventlog::EPOCH_STARTED)
        .map(decode)
        .collect::<Result<Vec<_>, _>>()?;
    let personal: Vec<_> = batch
        .iter_mut()
        .flat_map(|happened| happened.event.personal())
        .collect();
    if !personal.is_empty() {
        parts.sealer.open(personal).await?;
    }

    let mut transaction = readmodel::begin(parts.pool()).await?;
    checkpoints::advance(&mut transaction, Social::NAME, from, to).await?;
    parts.social.write(&mut transaction, &batch).await?;
    crash::point("fold.rows");
    transaction.commit().await.map_err(ReadError::from)?;
    crash::point("fold.committed");
    Ok(to)
}

fn decode(recorded: &Recorded) -> Result<Happened, WorkError> {
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
