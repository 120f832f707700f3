//! What must hold after every trial, judged from the log, the checkpoints and
//! the clients' book. Whether the read models are what the log says is the
//! oracle's question.

use std::collections::{BTreeMap, HashMap};

use eventlog::{IdempotencyKey, Log, check_contiguous};
use kernel::{AccountId, Partition, Position, Recorded, Uuid};

use crate::{
    load::{Command, Outcome},
    product::Usage,
    state::Checkpoints,
};

/// A debug build's process after a few seconds; 512 for argon2's 19 MiB a hash
/// and the pools.
const MEMORY_MEGABYTES_MAX: u64 = 512;
/// 16 to PostgreSQL, 74 to Redis at most, the clients' and the runtime's.
const DESCRIPTORS_MAX: u64 = 256;
/// tokio's blocking pool lends up to 512 threads; nothing here needs many.
const THREADS_MAX: u64 = 64;
const LISTED_MAX: usize = 8;

/// The log against the book: every acknowledged command is there exactly once,
/// and nothing is that nobody sent.
pub fn log(events: &[Vec<Recorded>], commands: &[Command]) -> Vec<String> {
    let mut found = Vec::new();
    for (partition, events) in (0..).zip(events) {
        let mut at = Log::beginning(Partition(partition));
        for event in events {
            if let Err(gap) = check_contiguous(at, event) {
                found.push(format!("a hole: {gap}"));
            }
            at = event.position;
        }
    }
    let heads: BTreeMap<Partition, Position> = events
        .iter()
        .filter_map(|events| events.last())
        .map(|event| (event.position.partition, event.position))
        .collect();
    let mut by_key: HashMap<u128, Vec<&Recorded>> = HashMap::new();
    for event in events.iter().flatten() {
        if let Some((hash, _)) = event.envelope.receipt {
            by_key.entry(hash).or_default().push(event);
        }
    }
    for command in commands {
        let effect = by_key.remove(&hash(command)).unwrap_or_default();
        let request = &command.request;
        let what = format!("{} {} {:?}", request.method, request.path, request.key);
        if let Some(complaint) = judge(command, &effect, &heads) {
            found.push(format!("{what}: {complaint}"));
        }
    }
    for events in by_key.values() {
        found.push(format!("nobody sent what is at {}", events[0].position));
    }
    found.truncate(LISTED_MAX);
    found
}

fn judge(
    command: &Command,
    effect: &[&Recorded],
    heads: &BTreeMap<Partition, Position>,
) -> Option<String> {
    let mut correlations: Vec<Uuid> = effect.iter().map(|e| e.envelope.correlation).collect();
    correlations.dedup();
    if correlations.len() > 1 {
        let at: Vec<_> = effect.iter().map(|e| e.position.to_string()).collect();
        return Some(format!("done {} times, at {at:?}", correlations.len()));
    }
    let Some(outcome) = &command.outcome else {
        return None;
    };
    if outcome.status >= 300 {
        return (!effect.is_empty()).then(|| format!("refused ({}) and done", outcome.status));
    }
    let Some(position) = outcome
        .position
        .as_ref()
        .and_then(|p| p.parse::<Position>().ok())
    else {
        return Some(format!("acknowledged without a position: {outcome:?}"));
    };
    match effect.last() {
        Some(last) if last.position != position => Some(format!(
            "acknowledged at {position}, stands at {}",
            last.position
        )),
        Some(last) if makes(outcome) && outcome.id != Some(last.envelope.aggregate.id) => {
            Some(format!(
                "{:?} was acknowledged and {} made",
                outcome.id, last.envelope.aggregate
            ))
        }
        Some(_) => None,
        None if makes(outcome) => Some(format!("acknowledged at {position} and lost")),
        None if heads
            .get(&position.partition)
            .is_none_or(|head| *head < position) =>
        {
            Some(format!("acknowledged at {position}, beyond the log's end"))
        }
        None => None,
    }
}

/// Only what makes something answers 201, and it always has an effect.
fn makes(outcome: &Outcome) -> bool {
    outcome.status == 201
}

fn hash(command: &Command) -> u128 {
    let request = &command.request;
    let scope = AccountId(command.account.unwrap_or(Uuid::nil()));
    let key = request.key.as_deref().unwrap_or_default();
    IdempotencyKey::given(scope, &request.method, &request.path, key, b"").hash
}

/// The timelines are never ahead of the rows, and those never ahead of the log.
/// `heads` were read after the checkpoints.
pub fn checkpoints(checkpoints: &Checkpoints, heads: &BTreeMap<u16, Position>) -> Vec<String> {
    let mut found = Vec::new();
    for (partition, at) in &checkpoints.social {
        if heads.get(partition).is_none_or(|head| at > head) && at.epoch > 0 {
            found.push(format!(
                "rows at {at} are ahead of the log ({:?})",
                heads.get(partition)
            ));
        }
    }
    for (partition, at) in &checkpoints.timelines {
        if checkpoints
            .social
            .get(partition)
            .is_none_or(|rows| at > rows)
            && at.epoch > 0
        {
            let rows = checkpoints.social.get(partition);
            found.push(format!(
                "timelines at {at} are ahead of the rows ({rows:?})"
            ));
        }
    }
    for stopped in &checkpoints.stopped {
        found.push(format!("stands still: {stopped}"));
    }
    found
}

pub fn usage(name: &str, usage: Usage) -> Vec<String> {
    let limits = [
        (
            "MiB of memory",
            usage.memory_megabytes,
            MEMORY_MEGABYTES_MAX,
        ),
        ("descriptors", usage.descriptors, DESCRIPTORS_MAX),
        ("threads", usage.threads, THREADS_MAX),
    ];
    let above = limits.into_iter().filter(|(_, now, max)| now > max);
    above
        .map(|(what, now, max)| format!("{name} has {now} {what}, above {max}"))
        .collect()
}
