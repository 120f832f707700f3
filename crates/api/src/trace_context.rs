//! Whose trace a request belongs to (W3C Trace Context, level 1 in, the
//! `traceresponse` of level 2 out). Where the client names none, the request's own
//! id is the trace's. It refuses what cannot be read, by beginning a new trace, as
//! the specification wants it.

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
const VERSION_INVALID: u8 = 0xff;
const SAMPLED: u8 = 0x01;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub trace: Uuid,
    /// Of this request within the trace.
    span: u64,
    /// Whether the client records its trace.
    sampled: bool,
}

impl TraceContext {
    /// `request`: its own id, whose last bits are random.
    pub(crate) fn of(headers: &HeaderMap, request: Uuid) -> Self {
        let (_, span) = request.as_u64_pair();
        let mut given = headers.get_all(TRACEPARENT).iter();
        let (first, second) = (given.next(), given.next());
        let text = first.filter(|_| second.is_none());
        let parent = text.and_then(|text| parse(text.to_str().ok()?));
        let (trace, sampled) = parent.unwrap_or((request, false));
        Self {
            trace,
            span,
            sampled,
        }
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let (trace, span) = (self.trace.simple(), self.span);
        let flags = u8::from(self.sampled) * SAMPLED;
        HeaderValue::try_from(format!("00-{trace}-{span:016x}-{flags:02x}")).ok()
    }
}

/// The trace of a `traceparent`, and whether it is recorded; later versions may
/// say more behind it.
fn parse(text: &str) -> Option<(Uuid, bool)> {
    let mut parts = text.split('-');
    let mut hexadecimal = |length: usize| {
        let part = parts.next()?;
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (part.len() == length && part.bytes().all(lower)).then_some(part)
    };
    let version = u8::from_str_radix(hexadecimal(2)?, 16).ok()?;
    let trace = u128::from_str_radix(hexadecimal(32)?, 16).ok()?;
    let parent = u64::from_str_radix(hexadecimal(16)?, 16).ok()?;
    let flags = u8::from_str_radix(hexadecimal(2)?, 16).ok()?;
    let whole = version > 0 || parts.next().is_none();
    let valid = version != VERSION_INVALID && trace != 0 && parent != 0 && whole;
    valid.then_some((Uuid::from_u128(trace), flags & SAMPLED != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(text));
        let request = Uuid::from_u128(0x11);
        let header = TraceContext::of(&headers, request).header();
        let header = header.map(|header| header.to_str().map(str::to_owned));
        header.and_then(Result::ok).unwrap_or_default()
    }

    #[test]
    fn a_trace_goes_on_or_begins_with_the_request() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for flags in ["00", "01"] {
            let wanted = format!("00-{trace}-0000000000000011-{flags}");
            let given = match flags {
                "00" => of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
                _ => of("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"),
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
            assert_eq!(of(bad), own, "{bad}");
        }
    }
}
