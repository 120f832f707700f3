//! Follows the read model of one partition with its timelines. It refuses to
//! be ahead of it: what is pushed can be read.

use domain::Event;
use eventlog::Gap;
use kernel::{Partition, Position, Recorded, crash};
use readmodel::{ReadError, checkpoints, timelines::FanOut};

use crate::{
    engine::{Parts, WorkError},
    reading,
};

/// The projection's name.
pub const TIMELINES: &str = "timelines";
/// Events whose posts are on their way together.
pub(crate) const BATCH_EVENTS_MAX: usize = 500;

pub(crate) async fn checkpoint(parts: &Parts, partition: Partition) -> Result<Position, WorkError> {
    Ok(checkpoints::load(parts.pool(), TIMELINES, partition).await?)
}

/// Fans `events` out, which come after `from` and were folded, and returns the
/// new checkpoint. What comes before an event that cannot be read goes out.
pub(crate) async fn fan_out(
    parts: &Parts,
    from: Position,
    events: &[Recorded],
) -> Result<Position, WorkError> {
    let mut events = events;
    loop {
        match fan_out_all(parts, from, events).await {
            Err(error) if error.stops() && events.len() > 1 => {
                events = &events[..events.len() / 2];
            }
            fanned => return fanned,
        }
    }
}

/// At most a batch of what comes after `at` and was folded. There is at least
/// one event, or the log has lost what was folded.
pub(crate) async fn read_folded(
    parts: &Parts,
    at: Position,
    folded: Position,
) -> Result<Vec<Recorded>, WorkError> {
    let mut events = reading::read(&parts.log, at, BATCH_EVENTS_MAX).await?;
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

async fn fan_out_all(
    parts: &Parts,
    from: Position,
    events: &[Recorded],
) -> Result<Position, WorkError> {
    let mut to = from;
    let mut fan_out = FanOut::default();
    for recorded in events {
        eventlog::check_contiguous(to, recorded)?;
        to = recorded.position;
        let envelope = &recorded.envelope;
        if FanOut::wants(&envelope.event_type) {
            let event = Event::decode(envelope).map_err(|source| WorkError::Unreadable {
                position: recorded.position,
                source,
            })?;
            fan_out.take(envelope.aggregate, &event);
        }
    }
    if to == from {
        return Ok(from);
    }
    // One connection from the check to the checkpoint: if the database crashes
    // meanwhile, and forgets rows that readers were looked up in, all of this
    // is done again.
    let mut transaction = readmodel::begin(parts.pool()).await?;
    checkpoints::check_folded(&mut transaction, to).await?;
    fan_out
        .run(&mut transaction, &parts.lists, parts.push_followers_max)
        .await?;
    crash::point("fan_out.pushed");
    checkpoints::advance(&mut transaction, TIMELINES, from, to).await?;
    transaction.commit().await.map_err(ReadError::from)?;
    Ok(to)
}
