//! The whole log, read entry by entry. It refuses to interpret what an event
//! says beyond the envelope.

use std::{collections::BTreeMap, fmt};

use uuid::Uuid;

use crate::{
    Unreachable, findings::Findings, message_pack::Value, redis::Redis, redis::Reply,
    world::kind_name,
};

const ENTRIES_AT_ONCE: &str = "5000";
const FIELDS_MAX: usize = 11;
const TRACE_BYTES: usize = 24;
/// The MAC of the envelope, behind it.
const MAC_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub partition: u16,
    pub epoch: u64,
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.partition, self.epoch, self.seq)
    }
}

impl Position {
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, entry) = text.split_once(':')?;
        Self::of_entry(partition.parse().ok()?, entry)
    }

    /// `epoch-seq`
    pub fn of_entry(partition: u16, entry: &str) -> Option<Self> {
        let (epoch, seq) = entry.split_once('-')?;
        Some(Self {
            partition,
            epoch: epoch.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aggregate {
    pub kind: u8,
    pub id: Uuid,
    pub member: Option<Uuid>,
}

impl Aggregate {
    /// Both ends of an edge.
    pub fn edge(&self) -> Result<(Uuid, Uuid), String> {
        let far = self.member.ok_or("an edge without a far end")?;
        Ok((self.id, far))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", kind_name(self.kind), self.id)?;
        self.member
            .map_or(Ok(()), |member| write!(f, " -> {member}"))
    }
}

/// The partition of whatever has this id: its last two bytes, modulo.
pub fn home_partition(id: Uuid, partitions: u16) -> u16 {
    let bytes = id.as_bytes();
    u16::from_be_bytes([bytes[14], bytes[15]]) % partitions
}

#[derive(Clone, Debug)]
pub struct Event {
    pub position: Position,
    pub name: String,
    pub event_version: u64,
    pub aggregate: Aggregate,
    pub version: u64,
    pub recorded_at: i64,
    pub actor: Uuid,
    /// The request that it came of.
    pub correlation: Uuid,
    /// Hash of the idempotency key in its scope, and the body's fingerprint.
    pub receipt: Option<(u128, u64)>,
    pub data: Value,
}

pub struct Entries {
    pub partitions: u16,
    /// In the order of their positions, every partition for itself.
    pub events: Vec<Vec<Event>>,
    /// Where every partition ends, whether it can be read there or not.
    pub heads: BTreeMap<u16, Position>,
}

impl Entries {
    pub fn all(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().flatten()
    }
}

pub fn key(prefix: &str, partition: u16, rest: &str) -> String {
    format!("{prefix}:{{p{partition:02}}}:{rest}")
}

pub fn read(
    redis: &mut Redis,
    prefix: &str,
    findings: &mut Findings,
) -> Result<Entries, Unreachable> {
    let partitions = partitions(redis, prefix, findings)?;
    let (mut all, mut heads) = (Vec::new(), BTreeMap::new());
    for partition in 0..partitions {
        let mut events = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let key = key(prefix, partition, "events");
            let count = ENTRIES_AT_ONCE.as_bytes();
            let (key, start) = (key.as_bytes(), from.as_bytes());
            let page = redis.ask(&[b"XRANGE", key, start, b"+", b"COUNT", count])?;
            let page = page.list();
            if page.is_empty() {
                break;
            }
            for entry in page {
                let mut parts = entry.list().into_iter();
                let id = parts.next().and_then(Reply::text).unwrap_or_default();
                let bytes = parts.next().map(Reply::list).unwrap_or_default().pop();
                let bytes = bytes.and_then(Reply::bytes).unwrap_or_default();
                let position = Position::of_entry(partition, &id)
                    .ok_or_else(|| Unreachable(format!("{id} is no entry id")))?;
                match event(position, &bytes) {
                    Ok(event) => events.push(event),
                    Err(why) => findings.violation(format!("the entry at {position}: {why}")),
                }
                heads.insert(partition, position);
                from = format!("({id}");
            }
        }
        all.push(events);
    }
    Ok(Entries {
        partitions,
        events: all,
        heads,
    })
}

/// How many there are, which every partition must say alike.
fn partitions(
    redis: &mut Redis,
    prefix: &str,
    findings: &mut Findings,
) -> Result<u16, Unreachable> {
    let mut said = |partition: u16| -> Result<Option<u16>, Unreachable> {
        let key = key(prefix, partition, "meta");
        let said = redis.ask(&[b"HGET", key.as_bytes(), b"partitions"])?;
        Ok(said.text().and_then(|text| text.parse().ok()))
    };
    let first = said(0)?;
    let first = first.ok_or_else(|| Unreachable(format!("there is no log under {prefix}")))?;
    for partition in 1..first {
        let other = said(partition)?;
        findings.same(
            format_args!("partitions, as partition {partition} says"),
            &Some(first),
            &other,
        );
    }
    Ok(first)
}

fn event(position: Position, bytes: &[u8]) -> Result<Event, String> {
    let (envelope, _) = (bytes.split_last_chunk::<MAC_BYTES>()).ok_or("it has no MAC")?;
    let envelope = Value::read(envelope)?;
    let fields = envelope.list().unwrap_or_default();
    let at = |index: usize| fields.get(index).unwrap_or(&Value::Nil);
    let wrong = |what: &str| format!("its {what} cannot be read");
    let receipt = match at(8) {
        Value::Nil => None,
        pair => Some(receipt(pair).ok_or_else(|| wrong("receipt"))?),
    };
    let aggregate = aggregate(at(2)).ok_or_else(|| wrong("aggregate"))?;
    // Nil: whoever the aggregate is named after.
    let actor = match at(5) {
        Value::Nil => Some(aggregate.id),
        id => id.uuid(),
    };
    let data = at(9).bytes().ok_or_else(|| wrong("data"))?;
    // A trace and a span, where the request's trace is recorded.
    let traced = fields.get(10).is_none_or(|trace| {
        let bytes = trace.bytes();
        bytes.is_some_and(|bytes| bytes.len() == TRACE_BYTES)
    });
    if !traced || fields.len() > FIELDS_MAX {
        return Err(wrong("trace"));
    }
    Ok(Event {
        position,
        name: at(0).text().ok_or_else(|| wrong("name"))?.to_owned(),
        event_version: at(1).unsigned().ok_or_else(|| wrong("event version"))?,
        aggregate,
        version: at(3).unsigned().ok_or_else(|| wrong("version"))?,
        recorded_at: at(4).signed().ok_or_else(|| wrong("time"))?,
        actor: actor.ok_or_else(|| wrong("actor"))?,
        correlation: at(6).uuid().ok_or_else(|| wrong("correlation"))?,
        receipt,
        data: Value::read(data).map_err(|why| format!("its data: {why}"))?,
    })
}

fn aggregate(value: &Value) -> Option<Aggregate> {
    let [kind, id, member] = value.list()? else {
        return None;
    };
    Some(Aggregate {
        kind: kind.unsigned()?.try_into().ok()?,
        id: id.uuid()?,
        member: member.uuid(),
    })
}

fn receipt(value: &Value) -> Option<(u128, u64)> {
    let [hash, fingerprint] = value.list()? else {
        return None;
    };
    Some((hash.uuid()?.as_u128(), fingerprint.unsigned()?))
}

/// Where every partition ends now.
pub fn read_heads(
    redis: &mut Redis,
    prefix: &str,
    partitions: u16,
) -> Result<BTreeMap<u16, Position>, Unreachable> {
    let mut heads = BTreeMap::new();
    for partition in 0..partitions {
        let key = key(prefix, partition, "events");
        let last = redis.ask(&[b"XREVRANGE", key.as_bytes(), b"+", b"-", b"COUNT", b"1"])?;
        let last = last.list().into_iter().next().map(Reply::list);
        let id = last.and_then(|entry| entry.into_iter().next()?.text());
        if let Some(head) = id.and_then(|id| Position::of_entry(partition, &id)) {
            heads.insert(partition, head);
        }
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with these bytes behind its ten fields, and a MAC.
    fn entry(fields: u8, more: &[u8]) -> Result<Event, String> {
        let id = [&[0xc4, 16][..], &[7; 16]].concat();
        let aggregate = [&[0x93, 1][..], &id, &[0xc0]].concat();
        let first = [&[0x90 + fields, 0xa5][..], b"Liked", &[1]].concat();
        let then = [&[1, 0, 0xc0][..], &id, &[0xc0, 0xc0, 0xc4, 1, 0xc0]].concat();
        let at = Position {
            partition: 0,
            epoch: 1,
            seq: 1,
        };
        let mac = vec![7; MAC_BYTES];
        event(at, &[first, aggregate, then, more.to_vec(), mac].concat())
    }

    #[test]
    fn an_entry_may_end_with_a_trace_and_with_nothing_else() {
        let trace = [&[0xc4, 24][..], &[7; 24]].concat();
        assert_eq!(entry(10, &[]).map(|event| event.name), Ok("Liked".into()));
        assert_eq!(
            entry(11, &trace).map(|event| event.name),
            Ok("Liked".into())
        );
        let twice = [trace.as_slice(), &trace].concat();
        for (fields, more) in [(11, &[0xc0][..]), (11, &trace[..1]), (12, &twice)] {
            assert!(entry(fields, more).is_err(), "{more:?}");
        }
        assert!(entry(11, &[&[0xc4, 23][..], &[7; 23]].concat()).is_err());
    }
}
