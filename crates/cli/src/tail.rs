//! `headwater tail`: the log as JSON lines, one CloudEvent 1.0 each. Personal
//! fields are null unless asked for.

use std::{
    io::{StdoutLock, Write},
    time::Duration,
};

use anyhow::Context;
use base64::Engine as _;
use clap::{Args, builder::PossibleValuesParser};
use domain::Event;
use eventlog::{EPOCH_STARTED, History, Log, LogError};
use kernel::{Envelope, Position, Positions, Recorded, SealedIn, Sealer, Timestamp, Uuid};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use vault::KeySealer;

use crate::{node, settings::Settings, stop};

const BATCH_EVENTS: usize = 1_000;
const PATIENCE_MILLISECONDS: u64 = 500;
/// How long it waits for a log that does not answer.
const OUTAGE_SECONDS_MAX: u64 = 600;
/// The same where it ends at the head: nobody wants to wait for that long.
const OUTAGE_OF_END_SECONDS_MAX: u64 = 30;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater tail -o start -e | jq -r .type | sort | uniq -c
  headwater tail -t PostCreated -t PostEdited

What was trimmed from the log is read from its archive (ARCHIVE_URL). However it
ends, it says on standard error where to go on. A log that does not answer is waited
for: 10 minutes, or 30 s with --end.")]
pub struct Tail {
    /// Where to begin: start, end, a position (3:1-42, or several with commas;
    /// other partitions from their start), or @TIME (@2026-01-31T12:00:00Z)
    #[arg(short, long, default_value = "end")]
    offset: String,
    /// Only events of this type, such as PostCreated; may be repeated
    #[arg(
        short = 't',
        long = "type",
        value_parser = PossibleValuesParser::new(Event::types().chain([EPOCH_STARTED])),
        hide_possible_values = true
    )]
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
    let history = node::history(&log, node::open_archive(settings)?);
    let sealer = match tail.personal {
        true => {
            let database = node::connect_database(settings).await?;
            Some(KeySealer::new(database, node::master_keys(settings)))
        }
        false => None,
    };
    let stopped = stop::on_signal()?;
    let at = positions(&log, &history, &tail.offset).await?;
    check(&history, &at, &tail.offset).await?;
    let heads = match tail.end {
        true => Some(log.heads().await?.into_iter().collect()),
        false => None,
    };
    let mut reading = Reading {
        types: tail.types,
        left: tail.number.unwrap_or(u64::MAX),
        history,
        sealer,
        stopped,
        heads,
        written: at.iter().copied().collect(),
        at,
        out: std::io::BufWriter::new(std::io::stdout().lock()),
    };
    let ended = reading.run().await;
    eprintln!("go on with: headwater tail -o {}", reading.written);
    // What is not written yet is read again.
    let (_, _) = reading.out.into_parts();
    ended
}

struct Reading {
    types: Vec<String>,
    left: u64,
    history: History,
    sealer: Option<KeySealer>,
    stopped: watch::Receiver<bool>,
    /// Where it ends.
    heads: Option<Positions>,
    /// Read up to here.
    at: Vec<Position>,
    /// And written.
    written: Positions,
    out: std::io::BufWriter<StdoutLock<'static>>,
}

impl Reading {
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut away: Option<Instant> = None;
        while self.left > 0 && !*self.stopped.borrow() && !self.is_at_the_end() {
            let mut stopped = self.stopped.clone();
            let read = tokio::select! {
                read = self.read() => read,
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            match read {
                Ok(events) => {
                    if away.take().is_some() {
                        eprintln!("it answers again");
                    }
                    self.write(events).await?;
                }
                Err(error @ (LogError::Unavailable(_) | LogError::Archive(_))) => {
                    let limit = Duration::from_secs(self.outage_seconds_max());
                    if away.is_none() {
                        eprintln!("{error}; waits for it, {} s at most", limit.as_secs());
                    }
                    if away.get_or_insert_with(Instant::now).elapsed() > limit {
                        return Err(error.into());
                    }
                    let mut stopped = self.stopped.clone();
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(PATIENCE_MILLISECONDS)) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What comes next; none where nothing came for a moment.
    async fn read(&self) -> Result<Vec<Recorded>, LogError> {
        let patience = Duration::from_millis(PATIENCE_MILLISECONDS);
        let events = self.history.tail(&self.at, BATCH_EVENTS, patience).await?;
        if events.is_empty() {
            // A log that has lost what was read says nothing by itself.
            self.history.check_reaches(&self.at).await?;
            if let Some(heads) = &self.heads {
                let heads: Vec<_> = heads.iter().copied().collect();
                self.history.check_reaches(&heads).await?;
            }
        }
        Ok(events)
    }

    async fn write(&mut self, events: Vec<Recorded>) -> anyhow::Result<()> {
        for recorded in events {
            let position = recorded.position;
            let heads = self.heads.as_ref();
            let head = heads.and_then(|heads| heads.get(position.partition));
            if self.left == 0 || head.is_some_and(|head| position > head) {
                continue;
            }
            if self.types.is_empty() || self.types.contains(&recorded.envelope.event_type) {
                let line = cloud_event(recorded, self.sealer.as_ref()).await?;
                writeln!(self.out, "{line}")?;
                self.left -= 1;
            }
            let mut held = self.at.iter_mut();
            if let Some(held) = held.find(|held| held.partition == position.partition) {
                *held = position;
            }
        }
        self.out.flush()?;
        self.written = self.at.iter().copied().collect();
        Ok(())
    }

    fn is_at_the_end(&self) -> bool {
        let read: Positions = self.at.iter().copied().collect();
        self.heads.as_ref().is_some_and(|heads| read.reach(heads))
    }

    fn outage_seconds_max(&self) -> u64 {
        match self.heads {
            Some(_) => OUTAGE_OF_END_SECONDS_MAX,
            None => OUTAGE_SECONDS_MAX,
        }
    }
}

/// Whether the log can be read on from each position of an offset.
pub async fn check(history: &History, at: &[Position], offset: &str) -> anyhow::Result<()> {
    let checked = history.check(at).await;
    checked.with_context(|| format!("the log cannot be read from {offset}"))
}

pub async fn positions(
    log: &Log,
    history: &History,
    offset: &str,
) -> anyhow::Result<Vec<Position>> {
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
            at.push(history.position_at(partition, time).await?);
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
fn time(offset: &str) -> anyhow::Result<Option<Timestamp>> {
    let Some(time) = offset.strip_prefix('@') else {
        return Ok(None);
    };
    let wrong = || format!("{time} is no time; write it as 2026-01-31T12:00:00Z");
    Timestamp::parse(time).with_context(wrong).map(Some)
}

/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>; what
/// the specification has no name for stands in extension attributes, of which
/// `traceparent` is that of distributed tracing.
pub async fn cloud_event(recorded: Recorded, sealer: Option<&KeySealer>) -> anyhow::Result<Value> {
    let Recorded {
        position, envelope, ..
    } = recorded;
    let mut unreadable = None;
    let data = match envelope.event_type.as_str() {
        EPOCH_STARTED => {
            json!({ "previous_end": kernel::decode::<Option<Position>>(&envelope.data)? })
        }
        _ => match Event::decode(&envelope) {
            Ok(mut event) => {
                if let Some(sealer) = sealer {
                    let sealed_in = SealedIn {
                        account: envelope.actor,
                        event_type: event.event_type().0,
                        aggregate: envelope.aggregate,
                        version: envelope.version,
                    };
                    let fields = sealed_in.fields(event.personal());
                    sealer.open(fields.collect()).await?;
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
    let mut event = json!({
        "specversion": "1.0",
        "id": position,
        "source": "/headwater/log",
        "type": envelope.event_type,
        "time": envelope.recorded_at.to_string(),
        "datacontenttype": "application/json",
        "aggregateversion": envelope.version,
        "eventversion": envelope.event_version,
        "causationid": envelope.causation,
        "data": data,
    });
    if let Some(fields) = event.as_object_mut() {
        fields.extend(ids(&envelope));
    }
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

/// Whose event it is: the log's own have no ids.
fn ids(envelope: &Envelope) -> Vec<(String, Value)> {
    let aggregate = envelope.aggregate;
    let kind = domain::kinds::name(aggregate.kind);
    let subject = match aggregate.member {
        Some(member) => format!("{kind}/{}/{member}", aggregate.id),
        None => format!("{kind}/{}", aggregate.id),
    };
    let some = |id: Uuid, value: Value| (!id.is_nil()).then_some(value);
    let ids = [
        ("subject", some(aggregate.id, subject.into())),
        ("actor", some(envelope.actor.0, json!(envelope.actor))),
        (
            "correlationid",
            some(envelope.correlation, json!(envelope.correlation)),
        ),
    ];
    let there = ids.into_iter();
    let there = there.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect()
}
