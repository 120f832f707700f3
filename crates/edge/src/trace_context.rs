//! Whose trace a request belongs to (W3C Trace Context, level 1 in, the
//! `traceresponse` of level 2 out), for what is told of the request and its appends. Where the client names none, the request's own id is the trace's. It
//! refuses what cannot be read, by beginning a new trace, as the specification
//! wants it.

use kernel::{SpanContext, Spans};
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::header_text::HeaderText;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
const VERSION_INVALID: u8 = 0xff;
const SAMPLED: u8 = 0x01;
const TRACEPARENT_CHARACTERS: usize = 55;

tokio::task_local! {
    /// Of the request that the task answers.
    static CURRENT: TraceContext;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: Uuid,
    /// What the client did when it asked.
    pub parent: Option<u64>,
    /// Of this request within the trace.
    span: u64,
    /// Whether the trace is recorded, here or by the client.
    pub sampled: bool,
}

impl TraceContext {
    /// `request`: its own id, whose last bits are random. Where the client names a
    /// trace, it says whether that is recorded, if it `is_known`: strangers could fill
    /// what records with theirs. Else `spans` says it.
    pub(crate) fn of(
        headers: &HeaderMap,
        request: Uuid,
        spans: Option<&dyn Spans>,
        is_known: impl FnOnce() -> bool,
    ) -> Self {
        let samples = || spans.is_some_and(|spans| spans.samples(request));
        let (_, span) = request.as_u64_pair();
        let mut given = headers.get_all(TRACEPARENT).iter();
        let (first, second) = (given.next(), given.next());
        let text = first.filter(|_| second.is_none());
        match text.and_then(|text| parse(text.to_str().ok()?)) {
            Some((parent, sampled)) => Self {
                trace: parent.trace,
                parent: Some(parent.span),
                span,
                sampled: sampled && (is_known() || samples()),
            },
            None => Self {
                trace: request,
                parent: None,
                span,
                sampled: samples(),
            },
        }
    }

    pub fn span(&self) -> SpanContext {
        SpanContext {
            trace: self.trace,
            span: self.span,
        }
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let flags = if self.sampled { "-01" } else { "-00" };
        // The same as `SpanContext::traceparent`.
        let text = HeaderText::<TRACEPARENT_CHARACTERS>::new("00-").simple(self.trace);
        text.text("-").hexadecimal(self.span).text(flags).value()
    }

    /// Lets what `answer` appends be part of this trace, where it is recorded.
    pub(crate) async fn around<F: Future>(self, answer: F) -> F::Output {
        match self.sampled {
            true => CURRENT.scope(self, answer).await,
            false => answer.await,
        }
    }

    /// Goes on though the client goes away, in the trace of the request.
    pub fn spawn<T, F>(answer: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        match Self::recorded() {
            Some(current) => tokio::spawn(current.around(answer)),
            None => tokio::spawn(answer),
        }
    }

    /// Of the request that this task answers, where its trace is recorded.
    pub fn recorded() -> Option<Self> {
        let current = CURRENT.try_with(|current| *current).ok();
        current.filter(|current| current.sampled)
    }
}

/// What a `traceparent` names, and whether it is recorded; later versions may say
/// more behind it.
fn parse(text: &str) -> Option<(SpanContext, bool)> {
    let mut parts = text.split('-');
    let mut hexadecimal = |length: usize| {
        let part = parts.next()?;
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (part.len() == length && part.bytes().all(lower)).then_some(part)
    };
    let version = u8::from_str_radix(hexadecimal(2)?, 16).ok()?;
    let trace = u128::from_str_radix(hexadecimal(32)?, 16).ok()?;
    let span = u64::from_str_radix(hexadecimal(16)?, 16).ok()?;
    let flags = u8::from_str_radix(hexadecimal(2)?, 16).ok()?;
    let whole = version > 0 || parts.next().is_none();
    let valid = version != VERSION_INVALID && trace != 0 && span != 0 && whole;
    let trace = Uuid::from_u128(trace);
    valid.then_some((SpanContext { trace, span }, flags & SAMPLED != 0))
}

#[cfg(test)]
mod tests {
    use kernel::Span;

    use super::*;

    fn of(text: &'static str, spans: Option<&dyn Spans>) -> String {
        of_whom(text, spans, true)
    }

    fn of_whom(text: &'static str, spans: Option<&dyn Spans>, is_known: bool) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(text));
        let request = Uuid::from_u128(0x11);
        let trace = TraceContext::of(&headers, request, spans, || is_known);
        let header = trace.header();
        let told = trace.span().traceparent(trace.sampled);
        assert_eq!(
            header.as_ref().map(HeaderValue::as_bytes),
            Some(told.as_bytes())
        );
        let header = header.map(|header| header.to_str().map(str::to_owned));
        header.and_then(Result::ok).unwrap_or_default()
    }

    /// Records every trace, or none.
    struct Sampling(bool);

    impl Spans for Sampling {
        fn samples(&self, _: Uuid) -> bool {
            self.0
        }

        fn record(&self, _: Span) {}
    }

    #[test]
    fn a_trace_goes_on_or_begins_with_the_request() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for flags in ["00", "01"] {
            let wanted = format!("00-{trace}-0000000000000011-{flags}");
            let given = match flags {
                "00" => of(
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                    None,
                ),
                _ => of(
                    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                    None,
                ),
            };
            assert_eq!(given, wanted);
        }
        let own = "00-00000000000000000000000000000011-0000000000000011-00";
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-00",
        ] {
            assert_eq!(of(bad, None), own, "{bad}");
        }
    }

    #[test]
    fn the_client_says_whether_its_trace_is_recorded_and_else_the_settings_do() {
        let own = "00-00000000000000000000000000000011-0000000000000011";
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        for recorded in [false, true] {
            let spans = Sampling(recorded);
            let flags = if recorded { "01" } else { "00" };
            assert_eq!(of("", Some(&spans)), format!("{own}-{flags}"));
            assert!(of(theirs, Some(&spans)).ends_with("-00"));
            // Strangers decide nothing.
            let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            let told = of_whom(theirs, Some(&spans), false);
            assert!(
                told.starts_with("00-4bf9") && told.ends_with(flags),
                "{told}"
            );
        }
    }
}
