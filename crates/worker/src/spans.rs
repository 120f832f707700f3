//! Tells the traces of requests what became of their events. Only the engine's
//! loops have a `Telling`: what rebuilds, replays or repairs works with a `WorkerContext`,
//! and so can tell nothing a second time. It refuses to tell old stories.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kernel::{Recorded, Span, SpanContext, SpanKind, SpanValue, Spans};
use readmodel::Generation;

use crate::folding::Folded;

/// Nobody looks at the trace of an older event: its projection is far behind, or
/// begins anew.
const TOLD_SECONDS_MAX: u64 = 60 * 60;

#[derive(Clone, Default)]
pub(crate) struct Telling(Option<Arc<dyn Spans>>);

impl Telling {
    pub fn new(spans: Option<Arc<dyn Spans>>) -> Self {
        Self(spans)
    }

    /// Tells of `events` as far as they were folded in one batch. What is kept
    /// beside the live generation is no part of anybody's trace.
    pub fn tell(
        &self,
        operation: &'static str,
        generation: Generation,
        started: SystemTime,
        events: &[Recorded],
        folded: &Folded,
    ) {
        let Some(spans) = self.0.as_deref().filter(|_| folded.standing.live) else {
            return;
        };
        let ended = SystemTime::now();
        let oldest = ended - Duration::from_secs(TOLD_SECONDS_MAX);
        let oldest = oldest.duration_since(UNIX_EPOCH).unwrap_or_default();
        let done = events.partition_point(|event| event.position <= folded.standing.at);
        for event in &events[..done] {
            let Some(append) = event.envelope.trace else {
                continue;
            };
            if i128::from(event.envelope.recorded_at.0) < oldest.as_millis() as i128 {
                continue;
            }
            spans.record(Span {
                context: SpanContext {
                    trace: append.trace,
                    span: id(append, generation, event),
                },
                parent: Some(append.span),
                kind: SpanKind::Consumer,
                name: format!("{operation} {}", generation.projection.name()).into(),
                started,
                ended,
                attributes: attributes(operation, generation, event, done),
                failed: folded.waiting.contains(&event.envelope.aggregate),
            });
        }
    }
}

fn attributes(
    operation: &'static str,
    generation: Generation,
    event: &Recorded,
    together: usize,
) -> Vec<(&'static str, SpanValue)> {
    let (position, event_type) = (event.position, event.envelope.event_type.clone());
    let partition = position.partition.0.to_string();
    vec![
        ("messaging.system", "headwater".into()),
        ("messaging.destination.name", "log".into()),
        ("messaging.destination.partition.id", partition.into()),
        ("messaging.operation.type", "process".into()),
        ("messaging.operation.name", operation.into()),
        ("messaging.batch.message_count", (together as i64).into()),
        ("headwater.projection", generation.projection.name().into()),
        ("headwater.position", position.to_string().into()),
        ("headwater.event_type", event_type.into()),
    ]
}

/// The same however often the event is folded: a database that crashed has it
/// folded again.
fn id(append: SpanContext, generation: Generation, event: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    append.to_bytes().hash(&mut hasher);
    generation.projection.name().hash(&mut hasher);
    event.position.to_string().hash(&mut hasher);
    hasher.finish().max(1)
}
