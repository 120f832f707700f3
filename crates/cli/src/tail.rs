//! `headwater tail`: the log as JSON lines, one CloudEvent 1.0 each. Personal
//! fields are null unless asked for.

use std::{io::Write, time::Duration};

use anyhow::Context;
use archive::Whole;
use base64::Engine as _;
use clap::Args;
use domain::Event;
use eventlog::{EPOCH_STARTED, History, Log};
use kernel::{Position, Positions, Recorded, Sealer, Timestamp};
use serde_json::{Value, json};
use vault::KeySealer;

use crate::{node, settings::Settings, stop};

const BATCH_EVENTS: usize = 1_000;
const PATIENCE_MILLISECONDS: u64 = 500;

#[derive(Args)]
pub struct Tail {
    /// Where to begin: start, end, a position (3:1-42, or several with commas;
    /// other partitions from their start), or @TIME (@2026-01-31T12:00:00Z)
    #[arg(short, long, default_value = "end")]
    offset: String,
    /// Only events of this type, such as PostCreated; may be repeated
    #[arg(short = 't', long = "type")]
    types: Vec<String>,
    /// End after so many events
    #[arg(short = 'n', long)]
    number: Option<u64>,
    /// End at the head of the log instead of waiting for more
    #[arg(short, long)]
    end: bool,
    /// Show personal fields
    #[arg(long)]
    personal: bool,
}

pub async fn run(tail: Tail, settings: &Settings) -> anyhow::Result<()> {
    let log = node::look_at_log(settings).await?;
    let sealer = match tail.personal {
        true => Some(KeySealer::new(node::connect_database(settings).await?)),
        false => None,
    };
    let mut stopped = stop::on_signal()?;
    let mut at = beginnings(&log, &tail.offset).await?;
    let heads: Option<Positions> = match tail.end {
        true => Some(log.heads().await?.into_iter().collect()),
        false => None,
    };
    let history = node::open_archive(settings)?.map(|archive| Whole::new(log.clone(), archive));
    let mut behind = true;
    let mut left = tail.number.unwrap_or(u64::MAX);
    let patience = Duration::from_millis(PATIENCE_MILLISECONDS);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while left > 0 && !*stopped.borrow() {
        if let Some(heads) = &heads {
            let read: Positions = at.iter().copied().collect();
            if read.reach(heads) {
                break;
            }
        }
        let earlier = match &history {
            Some(history) if behind => archived(&log, history, &at).await?,
            _ => None,
        };
        behind = earlier.is_some();
        let events = match earlier {
            Some(events) => events,
            None => tokio::select! {
                events = log.tail(&at, BATCH_EVENTS, patience) => events?,
                _ = stopped.wait_for(|stop| *stop) => break,
            },
        };
        for recorded in events {
            let position = recorded.position;
            let held = at.iter().find(|p| p.partition == position.partition);
            if history.is_some()
                && held.is_some_and(|held| eventlog::check_contiguous(*held, &recorded).is_err())
            {
                // It was trimmed while this was written.
                behind = true;
                break;
            }
            let beyond = heads
                .as_ref()
                .and_then(|heads| heads.get(position.partition));
            if left == 0 || beyond.is_some_and(|head| position > head) {
                continue;
            }
            let wanted =
                tail.types.is_empty() || tail.types.contains(&recorded.envelope.event_type);
            if wanted {
                let line = cloud_event(recorded, sealer.as_ref()).await?;
                writeln!(out, "{line}")?;
                left -= 1;
            }
            if let Some(held) = at.iter_mut().find(|p| p.partition == position.partition) {
                *held = position;
            }
        }
        out.flush()?;
    }
    let reached: Positions = at.into_iter().collect();
    eprintln!("go on with: headwater tail -o {reached}");
    Ok(())
}

pub async fn beginnings(log: &Log, offset: &str) -> anyhow::Result<Vec<Position>> {
    let beginning = || log.partitions().map(Log::beginning);
    if offset == "start" {
        return Ok(beginning().collect());
    }
    if offset == "end" {
        return Ok(log.heads().await?);
    }
    if let Some(time) = time(offset)? {
        let mut at = Vec::new();
        for partition in log.partitions() {
            at.push(log.position_at(partition, time).await?);
        }
        return Ok(at);
    }
    let positions: Positions = offset.parse().with_context(|| {
        format!("{offset} is no offset; write start, end, 3:1-42 or @2026-01-31T12:00:00Z")
    })?;
    let known: Vec<_> = log.partitions().collect();
    if let Some(position) = positions.iter().find(|p| !known.contains(&p.partition)) {
        anyhow::bail!(
            "the log has partitions 0 to {}, not {}",
            known.len() - 1,
            position.partition
        );
    }
    let given = |p: Position| positions.get(p.partition).unwrap_or(p);
    Ok(beginning().map(given).collect())
}

/// The time in `@TIME`; none where it is no such offset.
pub fn time(offset: &str) -> anyhow::Result<Option<Timestamp>> {
    let Some(time) = offset.strip_prefix('@') else {
        return Ok(None);
    };
    let wrong = || format!("{time} is no time; write it as 2026-01-31T12:00:00Z");
    Timestamp::parse(time).with_context(wrong).map(Some)
}

/// Some of what comes after `at` and the log has no more; none where it has all.
async fn archived(
    log: &Log,
    history: &dyn History,
    at: &[Position],
) -> anyhow::Result<Option<Vec<Recorded>>> {
    let firsts: Vec<_> = log.firsts().await?.into_iter().flatten().collect();
    for position in at {
        let first = firsts.iter().find(|p| p.partition == position.partition);
        if first.is_some_and(|first| first > position) {
            let events = history.read(*position, BATCH_EVENTS).await?;
            // The log may have trimmed nothing but the beginning.
            if events.first().map(|event| event.position).as_ref() < first {
                return Ok(Some(events));
            }
        }
    }
    Ok(None)
}

/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>; what
/// the specification has no name for stands in extension attributes, of which
/// `traceparent` is that of distributed tracing.
pub async fn cloud_event(recorded: Recorded, sealer: Option<&KeySealer>) -> anyhow::Result<Value> {
    let Recorded { position, envelope } = recorded;
    let mut unreadable = None;
    let data = match envelope.event_type.as_str() {
        EPOCH_STARTED => {
            json!({ "previous_end": kernel::decode::<Option<Position>>(&envelope.data)? })
        }
        _ => match Event::decode(&envelope) {
            Ok(mut event) => {
                if let Some(sealer) = sealer {
                    sealer.open(event.personal()).await?;
                }
                serde_json::to_value(event)?
            }
            // Of a newer release, or damaged: as it is stored, and others go on.
            Err(error) => {
                unreadable = Some(error.to_string());
                Value::Null
            }
        },
    };
    let aggregate = envelope.aggregate;
    let kind = domain::kinds::name(aggregate.kind);
    let subject = match aggregate.member {
        Some(member) => format!("{kind}/{}/{member}", aggregate.id),
        None => format!("{kind}/{}", aggregate.id),
    };
    let mut event = json!({
        "specversion": "1.0",
        "id": position,
        "source": "/headwater/log",
        "type": envelope.event_type,
        "subject": subject,
        "time": envelope.recorded_at.to_string(),
        "datacontenttype": "application/json",
        "actor": envelope.actor,
        "aggregateversion": envelope.version,
        "eventversion": envelope.event_version,
        "correlationid": envelope.correlation,
        "causationid": envelope.causation,
        "data": data,
    });
    if let (Some(trace), Some(fields)) = (envelope.trace, event.as_object_mut()) {
        fields.insert("traceparent".into(), trace.traceparent(true).into());
    }
    if let (Some(reason), Some(fields)) = (unreadable, event.as_object_mut()) {
        fields.remove("data");
        let stored = base64::engine::general_purpose::STANDARD.encode(&envelope.data);
        fields.insert("data_base64".into(), stored.into());
        fields.insert("datacontenttype".into(), "application/msgpack".into());
        fields.insert("unreadable".into(), reason.into());
    }
    Ok(event)
}
