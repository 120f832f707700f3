//! Spans: what was done, for how long, in which trace (W3C Trace Context). It
//! refuses to send them anywhere: whoever runs the process says where they go.

use std::{borrow::Cow, time::SystemTime};

use uuid::Uuid;

/// A span of a trace that somebody records: what follows names it as its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    pub trace: Uuid,
    pub span: u64,
}

impl SpanContext {
    pub const BYTES: usize = 24;

    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (trace, span) = bytes.split_at_mut(16);
        trace.copy_from_slice(self.trace.as_bytes());
        span.copy_from_slice(&self.span.to_be_bytes());
        bytes
    }

    /// None where these are not its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, span) = bytes.split_first_chunk()?;
        Some(Self {
            trace: Uuid::from_bytes(*trace),
            span: u64::from_be_bytes(span.try_into().ok()?),
        })
    }

    /// As the header of that name has it.
    pub fn traceparent(&self, sampled: bool) -> String {
        let (trace, span) = (self.trace.simple(), self.span);
        format!("00-{trace}-{span:016x}-{:02x}", u8::from(sampled))
    }
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub context: SpanContext,
    pub parent: Option<u64>,
    pub kind: SpanKind,
    pub name: Cow<'static, str>,
    pub started: SystemTime,
    pub ended: SystemTime,
    /// Named as OpenTelemetry's semantic conventions name them. Never a person's
    /// data, a query, a header or an address.
    pub attributes: Vec<(&'static str, SpanValue)>,
    pub failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server,
    /// Appends to the log.
    Producer,
    /// Does something with what the log has.
    Consumer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    Text(Cow<'static, str>),
    Number(i64),
}

impl From<&'static str> for SpanValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for SpanValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Where spans go.
pub trait Spans: Send + Sync {
    /// Whether a trace that begins here is recorded.
    fn samples(&self, trace: Uuid) -> bool;

    /// Takes a span at once, whatever becomes of it.
    fn record(&self, span: Span);
}
