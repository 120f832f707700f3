//! Folds events anew that were parked, or those of one aggregate whose rows are
//! not what they should be. Whoever folds the partition waits meanwhile, so that
//! order is kept. It refuses to repair by hand: rows come from the log alone.

use domain::kinds;
use kernel::{AccountId, AggregateId, Position, Recorded, Timestamp};
use readmodel::{
    Generation, Projection, ReadError, checkpoints,
    dead_letters::{self, DeadLetter, Skip},
    generations,
    timelines::FanOut,
};

use crate::{
    engine::{Parts, WorkError},
    fanning, folding, reading,
    rebuilding::{RebuildError, live},
};

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
    parts: &Parts,
    generation: Generation,
    aggregate: AggregateId,
) -> Result<Retried, WorkError> {
    let mut retried = Retried::default();
    loop {
        let mut connection = parts.pool().acquire().await.map_err(ReadError::from)?;
        let letters = dead_letters::of_aggregate(&mut connection, generation, aggregate).await?;
        drop(connection);
        let Some(first) = letters.first() else { break };
        match retry_one(parts, first).await {
            Ok(()) => retried.folded += 1,
            Err(error) if error.parks() => {
                let reason = error.to_string();
                note(parts, first, &reason).await?;
                retried.failed = Some(reason);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if retried.folded > 0 {
        // What processes keep of these rows was not told of it.
        generations::begin_new_life(parts.pool()).await?;
    }
    Ok(retried)
}

async fn retry_one(parts: &Parts, letter: &DeadLetter) -> Result<(), WorkError> {
    let (generation, position) = (letter.generation, letter.position);
    let recorded = read_at(parts, position).await?;
    match generation.projection {
        Projection::Social => {
            let mut batch = vec![folding::decode(&recorded)?];
            folding::open(parts, &mut batch).await?;
            let mut transaction = readmodel::begin(parts.pool()).await?;
            let standing =
                checkpoints::lock(&mut transaction, generation, position.partition).await?;
            let social = folding::social(generation, standing);
            social.write(&mut transaction, &batch).await?;
            if letter.aggregate.kind == kinds::ACCOUNT {
                // Whatever they did meanwhile found no row to note it in.
                let account = AccountId(letter.aggregate.id);
                if let Some(at) = last_activity(parts, account, standing.at).await? {
                    social.touch(&mut transaction, account, at).await?;
                }
            }
            dead_letters::remove(&mut transaction, generation, position).await?;
            transaction.commit().await.map_err(ReadError::from)?;
        }
        Projection::Timelines => {
            let mut fan_out = FanOut::default();
            fanning::take(&mut fan_out, &recorded, &Default::default())?;
            let mut transaction = readmodel::begin(parts.pool()).await?;
            checkpoints::lock(&mut transaction, generation, position.partition).await?;
            let lists = parts.lists.of_generation(generation.number);
            fan_out
                .run(&mut transaction, &lists, parts.push_followers_max)
                .await?;
            dead_letters::remove(&mut transaction, generation, position).await?;
            transaction.commit().await.map_err(ReadError::from)?;
        }
    }
    Ok(())
}

/// Leaves an event out for good, and tries those that wait behind it.
pub async fn skip(parts: &Parts, letter: &DeadLetter, skip: &Skip) -> Result<Retried, WorkError> {
    let mut transaction = readmodel::begin(parts.pool()).await?;
    let partition = letter.position.partition;
    checkpoints::lock(&mut transaction, letter.generation, partition).await?;
    dead_letters::skip(&mut transaction, skip).await?;
    dead_letters::remove(&mut transaction, letter.generation, letter.position).await?;
    transaction.commit().await.map_err(ReadError::from)?;
    retry(parts, letter.generation, letter.aggregate).await
}

/// Why it failed this time.
async fn note(parts: &Parts, letter: &DeadLetter, reason: &str) -> Result<(), WorkError> {
    let mut transaction = readmodel::begin(parts.pool()).await?;
    let partition = letter.position.partition;
    checkpoints::lock(&mut transaction, letter.generation, partition).await?;
    let parked = dead_letters::Parked {
        position: letter.position,
        aggregate: letter.aggregate,
        event_type: &letter.event_type,
        reason: Some(reason),
    };
    dead_letters::park(&mut transaction, letter.generation, parked).await?;
    Ok(transaction.commit().await.map_err(ReadError::from)?)
}

/// The event at a position.
pub async fn read_at(parts: &Parts, position: Position) -> Result<Recorded, WorkError> {
    let before = Position {
        seq: position.seq.saturating_sub(1),
        ..position
    };
    let found = reading::read(parts, before, 1).await?.pop();
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

async fn last_activity(
    parts: &Parts,
    account: AccountId,
    until: Position,
) -> Result<Option<Timestamp>, WorkError> {
    let mut last = None;
    let beginning = eventlog::Log::beginning(until.partition);
    scan(parts, beginning, until, |recorded| {
        let envelope = &recorded.envelope;
        if envelope.actor == account && envelope.aggregate.kind != kinds::HANDLE {
            last = last.max(Some(envelope.recorded_at));
        }
    })
    .await?;
    Ok(last)
}

async fn scan(
    parts: &Parts,
    from: Position,
    until: Position,
    mut each: impl FnMut(Recorded),
) -> Result<(), WorkError> {
    let mut at = from;
    while at < until {
        let events = reading::read(parts, at, SCAN_EVENTS).await?;
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

/// Takes the live rows of one aggregate back and folds its events again, in one
/// step. Returns how many there were.
pub async fn replay_aggregate(
    parts: &Parts,
    aggregate: AggregateId,
) -> Result<usize, RebuildError> {
    let plan = generations::plan(parts.pool()).await?;
    let generation = live(&plan, Projection::Social)?;
    let partition = parts.log.partition_of(&aggregate);
    let mut events = Vec::new();
    let mut collect = |recorded: Recorded| {
        if recorded.envelope.aggregate == aggregate {
            events.push(recorded);
        }
    };
    // Most of it before anybody has to wait.
    let near = checkpoints::load(parts.pool(), generation, partition)
        .await?
        .at;
    scan(
        parts,
        eventlog::Log::beginning(partition),
        near,
        &mut collect,
    )
    .await?;
    let mut transaction = readmodel::begin(parts.pool()).await?;
    let standing = checkpoints::lock(&mut transaction, generation, partition).await?;
    scan(parts, near, standing.at, &mut collect).await?;
    if events.len() > AGGREGATE_EVENTS_MAX {
        return Err(RebuildError::TooLong(events.len()));
    }
    let skipped = dead_letters::skipped(parts.pool(), generation.projection).await?;
    events.retain(|recorded| !skipped.contains(&recorded.position));
    let mut batch = events
        .iter()
        .map(folding::decode)
        .collect::<Result<Vec<_>, _>>()?;
    folding::open(parts, &mut batch).await?;
    let social = folding::social(generation, standing);
    social.forget(&mut transaction, aggregate).await?;
    social.write(&mut transaction, &batch).await?;
    if aggregate.kind == kinds::ACCOUNT {
        let account = AccountId(aggregate.id);
        if let Some(at) = last_activity(parts, account, standing.at).await? {
            social.touch(&mut transaction, account, at).await?;
        }
    }
    for recorded in &events {
        dead_letters::remove(&mut transaction, generation, recorded.position).await?;
    }
    transaction.commit().await.map_err(ReadError::from)?;
    generations::begin_new_life(parts.pool()).await?;
    Ok(events.len())
}
