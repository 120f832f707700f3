//! Whether the log keeps its own promises: gapless positions, one partition and
//! gapless versions for each aggregate, each idempotency key once; and whether
//! the states, last positions and receipts beside it say the same.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    Unreachable,
    entries::{Aggregate, Entries, Event, Position, home_partition, key},
    features::World,
    findings::Findings,
    message_pack::Value,
    redis::{Redis, Reply},
};

/// How long a given key gives its receipt; after it, it may be used again.
const RECEIPT_MILLISECONDS: i64 = 24 * 60 * 60 * 1_000;
/// Receipts that are about to expire are not asked for.
const ABOUT_TO_EXPIRE_MILLISECONDS: i64 = 10 * 60 * 1_000;

pub fn order(entries: &Entries, findings: &mut Findings) {
    findings.count("events", entries.all().count());
    for (partition, events) in (0..).zip(&entries.events) {
        positions(partition, events, findings);
    }
    let mut versions: BTreeMap<Aggregate, (u16, u64)> = BTreeMap::new();
    for event in entries.all().filter(|event| event.name != "EpochStarted") {
        let (aggregate, position) = (event.aggregate, event.position);
        let home = home_partition(aggregate.id, entries.partitions);
        let known = versions.entry(aggregate).or_insert((position.partition, 0));
        let what = format_args!("the partition of {aggregate} at {position}");
        findings.same(what, &home, &position.partition);
        let what = format_args!("the version of {aggregate} at {position}");
        findings.same(what, &(known.1 + 1), &event.version);
        known.1 = event.version;
    }
    findings.count("aggregates", versions.len());
    keys_once(entries, findings);
}

fn positions(partition: u16, events: &[Event], findings: &mut Findings) {
    let mut last: Option<Position> = None;
    for event in events {
        let found = event.position;
        let starts = event.name == "EpochStarted" && found.seq == 0;
        let follows = match last {
            None => starts && event.data == Value::Nil,
            Some(last) if starts => {
                found.epoch > last.epoch && event.data.text() == Some(&last.to_string())
            }
            Some(last) => found.epoch == last.epoch && found.seq == last.seq + 1,
        };
        if !follows {
            let before = last.map_or("the beginning".into(), |last| last.to_string());
            findings.violation(format!(
                "partition {partition} has a gap: {found} ({}) follows {before}",
                event.name
            ));
        }
        last = Some(found);
    }
    if last.is_none() {
        findings.violation(format!("partition {partition} has not even a first entry"));
    }
}

fn keys_once(entries: &Entries, findings: &mut Findings) {
    let mut used: BTreeMap<u128, &Event> = BTreeMap::new();
    for event in entries.all() {
        let Some((hash, _)) = event.receipt else {
            continue;
        };
        let Some(first) = used.insert(hash, event) else {
            continue;
        };
        // What one command does to an aggregate stands side by side.
        let next = Position {
            seq: first.position.seq + 1,
            ..first.position
        };
        let same_command = event.position == next
            && (event.correlation, event.aggregate) == (first.correlation, first.aggregate);
        if !same_command && event.recorded_at - first.recorded_at < RECEIPT_MILLISECONDS {
            let (first, second) = (first.position, event.position);
            findings.violation(format!(
                "one idempotency key had two effects: {first} and {second}"
            ));
        }
    }
    findings.count("idempotency keys", used.len());
}

/// States, last positions and receipts.
pub fn beside(
    redis: &mut Redis,
    prefix: &str,
    entries: &Entries,
    world: &World,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    for partition in 0..entries.partitions {
        states(redis, prefix, partition, entries, world, findings)?;
        last_positions(redis, prefix, partition, entries, findings)?;
        receipts(redis, prefix, partition, entries, findings)?;
    }
    Ok(())
}

fn states(
    redis: &mut Redis,
    prefix: &str,
    partition: u16,
    entries: &Entries,
    world: &World,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let family = key(prefix, partition, "s1:");
    let keys = redis.keys(&family)?;
    let hashes = keys
        .iter()
        .map(|key| vec![b"HGETALL".to_vec(), key.clone()]);
    let hashes = redis.ask_all(&hashes.collect::<Vec<_>>())?;
    let mut found = BTreeMap::new();
    for (key, hash) in keys.iter().zip(hashes) {
        let id = Uuid::from_slice(&key[family.len()..]).unwrap_or_default();
        let mut parts = hash.list().into_iter().filter_map(Reply::bytes);
        while let (Some(field), Some(state)) = (parts.next(), parts.next()) {
            let (kind, member) = field.split_first().unwrap_or((&0, &[]));
            let member = Uuid::from_slice(member).ok();
            let kind = *kind;
            let aggregate = Aggregate { kind, id, member };
            found.insert(aggregate, said(kind, &state, world));
        }
    }
    let mut expected = BTreeMap::new();
    for event in entries
        .events
        .get(usize::from(partition))
        .into_iter()
        .flatten()
    {
        if event.name != "EpochStarted" {
            let feature = world.feature(event.aggregate.kind);
            let wanted = feature.map(|feature| feature.state(event.aggregate));
            let wanted = (event.version, wanted.unwrap_or_default());
            expected.insert(event.aggregate, Ok(wanted));
        }
    }
    findings.same_rows("states", &expected, &found);
    Ok(())
}

/// The version and the fields of a stored state, in one form for all kinds.
fn said(kind: u8, bytes: &[u8], world: &World) -> Result<(u64, Vec<Value>), String> {
    let space = bytes.iter().position(|byte| *byte == b' ');
    let space = space.ok_or("a state without a version")?;
    let version = std::str::from_utf8(&bytes[..space]).unwrap_or_default();
    let version = version.parse().map_err(|_| "a state without a version")?;
    let state = Value::read(&bytes[space + 1..])?;
    let feature = world.feature(kind).ok_or("a state of an unknown kind")?;
    Ok((version, feature.stored_state(&state)))
}

/// Every account's last event in its own partition. Those elsewhere, which are
/// noted after the event, are its own events.
fn last_positions(
    redis: &mut Redis,
    prefix: &str,
    partition: u16,
    entries: &Entries,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let family = key(prefix, partition, "l:");
    let keys = redis.keys(&family)?;
    let gets = keys.iter().map(|key| vec![b"GET".to_vec(), key.clone()]);
    let values = redis.ask_all(&gets.collect::<Vec<_>>())?;
    let mut found = BTreeMap::new();
    for (key, value) in keys.iter().zip(values) {
        let account = Uuid::from_slice(&key[family.len()..]).unwrap_or_default();
        let value = value.text().unwrap_or_default();
        let mut parts = value.split(' ');
        let at = Position::of_entry(partition, parts.next().unwrap_or_default());
        // Whoever only ever acted elsewhere has none here.
        if at.is_some() || !value.starts_with(' ') {
            found.insert(account, at);
        }
        for elsewhere in parts {
            let at = Position::parse(elsewhere);
            let events = at.and_then(|at| entries.events.get(usize::from(at.partition)));
            let mut events = events.into_iter().flatten();
            let own = events.any(|event| Some(event.position) == at && event.actor == account);
            if !own {
                findings.violation(format!("{account} did nothing at {elsewhere}"));
            }
        }
    }
    let mut expected = BTreeMap::new();
    for event in entries
        .events
        .get(usize::from(partition))
        .into_iter()
        .flatten()
    {
        let at_home = home_partition(event.actor, entries.partitions) == partition;
        if event.name != "EpochStarted" && at_home {
            expected.insert(event.actor, Some(event.position));
        }
    }
    findings.same_rows("last positions", &expected, &found);
    Ok(())
}

/// What a receipt says happened did, and whatever has a key has its receipt.
fn receipts(
    redis: &mut Redis,
    prefix: &str,
    partition: u16,
    entries: &Entries,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let events = entries.events.get(usize::from(partition));
    let events = events.map_or(&[][..], Vec::as_slice);
    let by_position: BTreeMap<Position, &Event> =
        events.iter().map(|event| (event.position, event)).collect();
    let family = key(prefix, partition, "r:");
    let keys = redis.keys(&family)?;
    let gets = keys.iter().map(|key| vec![b"GET".to_vec(), key.clone()]);
    let values = redis.ask_all(&gets.collect::<Vec<_>>())?;
    let mut kept = BTreeMap::new();
    for (key, value) in keys.iter().zip(values) {
        let hash = Uuid::from_slice(&key[family.len()..]).unwrap_or_default();
        let hash = hash.as_u128();
        // It may have expired between the two questions.
        let Some(bytes) = value.bytes() else { continue };
        match receipt(partition, &bytes) {
            None => findings.violation(format!("the receipt {hash:032x} cannot be read")),
            Some(receipt) => {
                let event = receipt.last.and_then(|last| by_position.get(&last));
                if receipt.appended {
                    let what = format_args!("what the receipt {hash:032x} says was done");
                    let said = Some((receipt.aggregate, receipt.version));
                    let done = event.map(|event| (event.aggregate, event.version));
                    findings.same(what, &said, &done);
                }
                kept.insert(hash, receipt);
            }
        }
    }
    findings.count("receipts", kept.len());
    let now = clock(redis)?;
    for event in events {
        let Some((hash, fingerprint)) = event.receipt else {
            continue;
        };
        let age = now - event.recorded_at;
        if age > RECEIPT_MILLISECONDS - ABOUT_TO_EXPIRE_MILLISECONDS {
            continue;
        }
        let what = format_args!("the receipt of {} at {}", event.aggregate, event.position);
        let found = kept.get(&hash).map(|r| (r.fingerprint, r.appended));
        findings.same(what, &Some((fingerprint, true)), &found);
    }
    Ok(())
}

struct Receipt {
    fingerprint: u64,
    appended: bool,
    last: Option<Position>,
    aggregate: Aggregate,
    version: u64,
}

/// `fingerprint first last payload`
fn receipt(partition: u16, bytes: &[u8]) -> Option<Receipt> {
    let mut parts = bytes.splitn(4, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let fingerprint = text()?.parse().ok()?;
    let (first, last) = (text()?, text()?);
    let payload = Value::read(parts.next()?).ok()?;
    // Where nothing was done, a position elsewhere may follow.
    let [kind, id, member, version, ..] = payload.list()? else {
        return None;
    };
    Some(Receipt {
        fingerprint,
        appended: !first.is_empty(),
        last: Position::of_entry(partition, last),
        aggregate: Aggregate {
            kind: kind.unsigned()?.try_into().ok()?,
            id: id.uuid()?,
            member: member.uuid(),
        },
        version: version.unsigned()?,
    })
}

/// Milliseconds since 1970, as the server has it.
fn clock(redis: &mut Redis) -> Result<i64, Unreachable> {
    let time = redis.ask(&[b"TIME"])?.list().into_iter().next();
    let seconds = time
        .and_then(Reply::text)
        .and_then(|text| text.parse::<i64>().ok());
    let seconds = seconds.ok_or_else(|| Unreachable("the log server has no clock".into()))?;
    Ok(seconds * 1_000)
}
