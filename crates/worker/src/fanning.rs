//! Follows the read model of one partition with its timelines. It refuses to
//! be ahead of it: what is pushed can be read.

use domain::Event;
use kernel::{Partition, Position, Recorded};
use readmodel::{ReadError, checkpoints, timelines::FanOut};

use crate::engine::{Parts, WorkError};

/// The projection's name.
pub const TIMELINES: &str = "timelines";
/// Events whose posts are on their way together.
pub(crate) const BATCH_EVENTS_MAX: usize = 500;

pub(crate) async fn checkpoint(parts: &Parts, partition: Partition) -> Result<Position, WorkError> {
    Ok(checkpoints::load(parts.pool(), TIMELINES, partition).await?)
}

/// Fans `events` out, which come after `from` and were folded, and returns the
/// new checkpoint.
pub(crate) async fn fan_out(
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
    fan_out
        .run(parts.pool(), &parts.lists, parts.push_followers_max)
        .await?;
    let mut transaction = parts.pool().begin().await.map_err(ReadError::from)?;
    checkpoints::advance(&mut transaction, TIMELINES, from, to).await?;
    transaction.commit().await.map_err(ReadError::from)?;
    Ok(to)
}
