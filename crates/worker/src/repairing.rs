//! Folds events anew that were parked, or those of one aggregate whose rows are
//! not what they should be. Whoever folds the partition waits meanwhile, so that
//! order is kept. It refuses to repair by hand: rows come from the log alone.

mod again;

use kernel::{AggregateId, Position, Recorded};
use readmodel::{
    Generation, Projection, ReadError, checkpoints,
    dead_letters::{self, DeadLetter, Skip},
    generations,
};

use crate::{
    context::WorkerContext,
    error::WorkError,
    folding, reading,
    rebuilding::{RebuildError, live},
};
use again::Again;

const SCAN_EVENTS: usize = 5_000;
/// Events of one aggregate that are folded in one transaction.
const AGGREGATE_EVENTS_MAX: usize = 100_000;

/// What a retry did to one aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    pub folded: usize,
    /// Why the next one still cannot be.
    pub failed: Option<String>,
}

/// Tries the letters of an aggregate in order, until one cannot be folded.
pub async fn retry(
    context: &WorkerContext,
    generation: Generation,
    aggregate: AggregateId,
) -> Result<Retried, WorkError> {
    let mut retried = Retried::default();
    loop {
        let mut connection = context.pool().acquire().await.map_err(ReadError::from)?;
        let letters = dead_letters::of_aggregate(&mut connection, generation, aggregate).await?;
        drop(connection);
        let Some(first) = letters.first() else { break };
        match retry_one(context, first).await {
            Ok(Tried::Folded) => retried.folded += 1,
            // Somebody else was quicker, or it is left out.
            Ok(Tried::Gone) => {}
            Err(error) if error.parks() => {
                let reason = error.to_string();
                dead_letters::note(context.pool(), generation, first.position, &reason).await?;
                retried.failed = Some(reason);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if retried.folded > 0 {
        // What processes keep of these rows was not told of it.
        generations::begin_new_life(context.pool()).await?;
    }
    Ok(retried)
}

enum Tried {
    Folded,
    Gone,
}

async fn retry_one(context: &WorkerContext, letter: &DeadLetter) -> Result<Tried, WorkError> {
    let (generation, position) = (letter.generation, letter.position);
    let recorded = read_at(context, position).await?;
    let skipped = dead_letters::skipped(context.pool(), generation.projection).await?;
    let left_out = skipped.contains(&position);
    let mut again = Again::new(context, generation, letter.aggregate);
    if !left_out {
        again.take(vec![recorded]).await?;
        again
            .look_up(near(context, generation, position).await?)
            .await?;
    }

    let mut transaction = readmodel::begin(context.pool()).await?;
    let standing = checkpoints::lock(&mut transaction, generation, position.partition).await?;
    let waiting = dead_letters::of_aggregate(&mut transaction, generation, letter.aggregate);
    let first = waiting.await?.into_iter().next();
    if first.map(|first| first.position) != Some(position) {
        return Ok(Tried::Gone);
    }
    if !left_out {
        again.write(&mut transaction, standing).await?;
    }
    let partition = position.partition;
    dead_letters::remove(&mut transaction, generation, partition, &[position]).await?;
    transaction.commit().await.map_err(ReadError::from)?;
    Ok(match left_out {
        true => Tried::Gone,
        false => Tried::Folded,
    })
}

/// Leaves an event out for good, in every generation, and tries those that wait
/// behind it. None where it does not wait any more.
pub async fn skip(
    context: &WorkerContext,
    letter: &DeadLetter,
    skip: &Skip,
) -> Result<Option<Retried>, WorkError> {
    let (pool, position) = (context.pool(), letter.position);
    let mut transaction = readmodel::begin(pool).await?;
    checkpoints::lock(&mut transaction, letter.generation, position.partition).await?;
    let (generation, partition) = (letter.generation, position.partition);
    let here = [position];
    let removed = dead_letters::remove(&mut transaction, generation, partition, &here).await?;
    if removed == 0 {
        return Ok(None);
    }
    dead_letters::skip(&mut transaction, skip).await?;
    transaction.commit().await.map_err(ReadError::from)?;
    let mut retried = retry(context, letter.generation, letter.aggregate).await?;
    for other in dead_letters::all_at(pool, skip.projection, position).await? {
        let behind = retry(context, other.generation, other.aggregate).await?;
        retried.failed = retried.failed.or(behind.failed);
    }
    Ok(Some(retried))
}

/// The event at a position.
pub async fn read_at(context: &WorkerContext, position: Position) -> Result<Recorded, WorkError> {
    let before = Position {
        seq: position.seq.saturating_sub(1),
        ..position
    };
    let found = reading::read(context, before, 1).await?.pop();
    match found {
        Some(recorded) if recorded.position == position => Ok(recorded),
        found => {
            let found = found.map_or(before, |recorded| recorded.position);
            Err(eventlog::Gap::Missing {
                after: before,
                found,
            }
            .into())
        }
    }
}

async fn scan(
    context: &WorkerContext,
    from: Position,
    until: Position,
    mut each: impl FnMut(Recorded),
) -> Result<(), WorkError> {
    let mut at = from;
    while at < until {
        let events = reading::read(context, at, SCAN_EVENTS).await?;
        at = folding::contiguous(at, &events)?;
        if events.is_empty() {
            let (after, found) = (at, until);
            return Err(eventlog::Gap::Missing { after, found }.into());
        }
        let upto = |recorded: &Recorded| recorded.position <= until;
        events.into_iter().filter(upto).for_each(&mut each);
    }
    Ok(())
}

/// Where a generation is now: what comes before is read before anybody has to wait.
async fn near(
    context: &WorkerContext,
    generation: Generation,
    here: Position,
) -> Result<Position, ReadError> {
    let standing = checkpoints::load(context.pool(), generation, here.partition).await?;
    Ok(standing.at)
}

/// Takes the live rows of one aggregate back and folds its events again, in one
/// step. Returns how many there were.
pub async fn replay_aggregate(
    context: &WorkerContext,
    projection: Projection,
    aggregate: AggregateId,
) -> Result<usize, RebuildError> {
    let generation = live(&context.plan().await?, projection)?;
    let tables = context.tables(projection)?;
    let beginning = eventlog::Log::beginning(context.log.partition_of(&aggregate));
    let mut events = Vec::new();
    let mut collect = |recorded: Recorded| {
        if recorded.envelope.aggregate == aggregate {
            events.push(recorded);
        }
    };
    let near = near(context, generation, beginning).await?;
    scan(context, beginning, near, &mut collect).await?;
    let mut again = Again::new(context, generation, aggregate);
    again.look_up(near).await?;
    let skipped = dead_letters::skipped(context.pool(), projection).await?;

    let mut transaction = readmodel::begin(context.pool()).await?;
    let partition = beginning.partition;
    let standing = checkpoints::lock(&mut transaction, generation, partition).await?;
    scan(context, near, standing.at, &mut collect).await?;
    if events.len() > AGGREGATE_EVENTS_MAX {
        return Err(RebuildError::TooLong(events.len()));
    }
    let positions: Vec<_> = events.iter().map(|recorded| recorded.position).collect();
    events.retain(|recorded| !skipped.contains(&recorded.position));
    let count = events.len();
    again.take(events).await?;
    let schema = generation.schema(standing.live);
    let forgotten = tables.forget(&schema, &mut transaction, aggregate);
    forgotten.await?;
    again.write(&mut transaction, standing).await?;
    dead_letters::remove(&mut transaction, generation, partition, &positions).await?;
    transaction.commit().await.map_err(ReadError::from)?;
    generations::begin_new_life(context.pool()).await?;
    Ok(count)
}
