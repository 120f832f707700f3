//! Sends spans to an OpenTelemetry collector (OTLP over HTTP), where the settings
//! name one. It refuses to slow or fail anything: spans wait in a bounded queue for
//! a thread of their own, and what cannot be delivered is dropped.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use kernel::{Span, SpanKind, SpanValue, Spans, Uuid};
use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{self, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor},
};
use prost::Message;
use reqwest::{Client, Url, header::CONTENT_TYPE, redirect::Policy};
use tokio::runtime::Handle;

use crate::settings::Settings;

/// What waits to be sent; about 10 MB at most.
const QUEUED_SPANS_MAX: usize = 8_192;
const BATCH_SPANS_MAX: usize = 512;
const GATHER_MILLISECONDS: u64 = 1_000;
const SEND_SECONDS_MAX: u64 = 5;
/// What is not sent so long after the end of all work is lost.
const FLUSH_SECONDS_MAX: u64 = 5;
/// Bits of a trace's id that are random, by W3C Trace Context level 2.
const RANDOM_BITS: u32 = 56;

/// Of a process that serves or works; empty where spans go nowhere.
pub struct Exporter(Option<Arc<Recorder>>);

impl Exporter {
    /// Within a runtime, which sends.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        let Some(url) = settings.spans_url.clone() else {
            return Ok(Self(None));
        };
        let client = Client::builder()
            .timeout(Duration::from_secs(SEND_SECONDS_MAX))
            .redirect(Policy::none())
            .no_proxy();
        let resource = [
            ("service.name", env!("CARGO_PKG_NAME").to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", Uuid::now_v7().to_string()),
        ];
        let resource = resource.map(|(name, value)| KeyValue::new(name, value));
        let resource = Resource::builder_empty().with_attributes(resource).build();
        let collector = Collector {
            client: client.build().context("spans cannot be sent")?,
            url,
            resource: (&resource).into(),
            runtime: Handle::current(),
            away: Arc::default(),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUED_SPANS_MAX)
            .with_max_export_batch_size(BATCH_SPANS_MAX)
            .with_scheduled_delay(Duration::from_millis(GATHER_MILLISECONDS));
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"));
        Ok(Self(Some(Arc::new(Recorder {
            processor: BatchSpanProcessor::new(collector, config.build()),
            scope: scope.build(),
            from: from(settings.spans_share),
        }))))
    }

    pub fn spans(&self) -> Option<Arc<dyn Spans>> {
        let recorder = self.0.clone()?;
        Some(recorder)
    }

    /// Sends what waits, as far as the collector takes it in time.
    pub async fn end(self) {
        let Some(recorder) = self.0 else { return };
        let flush = Duration::from_secs(FLUSH_SECONDS_MAX);
        let ended = move || recorder.processor.shutdown_with_timeout(flush);
        // It waits for a thread, which waits for the runtime.
        match tokio::task::spawn_blocking(ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans are lost"),
            Err(error) => tracing::warn!(%error, "the last spans are lost"),
        }
    }
}

struct Recorder {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    /// Traces are recorded whose random bits are at least this number, so that of
    /// two processes the one that records less records a part of what the other
    /// does.
    from: u64,
}

impl Spans for Recorder {
    fn samples(&self, trace: Uuid) -> bool {
        let (_, low) = trace.as_u64_pair();
        low & ((1 << RANDOM_BITS) - 1) >= self.from
    }

    fn record(&self, span: Span) {
        self.processor.on_end(data(span, &self.scope));
    }
}

fn data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let attributes = span.attributes.into_iter().map(|(name, value)| {
        let value = match value {
            SpanValue::Text(text) => Value::String(text.into()),
            SpanValue::Number(number) => Value::I64(number),
        };
        KeyValue::new(name, value)
    });
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(span.context.trace.into_bytes()),
            SpanId::from_bytes(span.context.span.to_be_bytes()),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::from_bytes(span.parent.unwrap_or_default().to_be_bytes()),
        parent_span_is_remote: span.parent.is_some() && span.kind != SpanKind::Producer,
        span_kind: match span.kind {
            SpanKind::Server => trace::SpanKind::Server,
            SpanKind::Producer => trace::SpanKind::Producer,
            SpanKind::Consumer => trace::SpanKind::Consumer,
        },
        name: span.name,
        start_time: span.started,
        end_time: span.ended,
        attributes: attributes.collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: match span.failed {
            true => Status::error(""),
            false => Status::Unset,
        },
        instrumentation_scope: scope.clone(),
    }
}

/// Where spans are sent.
#[derive(Debug)]
struct Collector {
    client: Client,
    url: Url,
    resource: ResourceAttributesWithSchema,
    runtime: Handle,
    /// Whether the last batch was not taken, which is said once.
    away: Arc<AtomicBool>,
}

impl SpanExporter for Collector {
    /// Called on a thread without a runtime. A batch that was not taken is no error
    /// to the caller, who would say so for each.
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let post = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(request.encode_to_vec());
        let sent = self.runtime.spawn(async move {
            let answer = post.send().await?;
            answer.error_for_status().map(drop)
        });
        let away = self.away.clone();
        async move {
            let failed = match sent.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(root(&error)),
                Err(error) => Some(error.to_string()),
            };
            match (away.swap(failed.is_some(), Ordering::Relaxed), failed) {
                (false, Some(error)) => tracing::warn!(
                    error,
                    "the collector takes no spans: they are lost until it does"
                ),
                (true, None) => tracing::info!("the collector takes spans again"),
                (true, Some(_)) | (false, None) => {}
            }
            Ok(())
        }
    }
}

/// The least random bits of a trace that is recorded, for a share of all.
fn from(share: f64) -> u64 {
    ((1.0 - share) * (1_u64 << RANDOM_BITS) as f64) as u64
}

/// What is behind an error.
fn root(error: &reqwest::Error) -> String {
    let mut source = error.source();
    while let Some(next) = source.and_then(|source| source.source()) {
        source = Some(next);
    }
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_traces_are_recorded_as_was_asked_for() {
        let random = |n: u64| n << (RANDOM_BITS - 10);
        let recorded = |share| (0..1_024).filter(|n| random(*n) >= from(share)).count();
        assert_eq!([0.0, 0.25, 1.0].map(recorded), [0, 256, 1_024]);
    }
}
