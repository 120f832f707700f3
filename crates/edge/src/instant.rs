//! A point in time as answers show it: RFC 3339 in UTC, always with three digits of a second.

use std::borrow::Cow;

use kernel::Timestamp;
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;
use time::OffsetDateTime;

/// Milliseconds since 1970 inside, text outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(Timestamp);

/// 2024-10-04, for examples of the contract.
pub const EXAMPLE: Instant = Instant(Timestamp(20_000 * 24 * 60 * 60 * 1_000));

impl From<Timestamp> for Instant {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<OffsetDateTime> for Instant {
    /// Without what is below a millisecond.
    fn from(at: OffsetDateTime) -> Self {
        Self(at.into())
    }
}

impl Type for Instant {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

/// Objects want it; no request has a time yet.
impl ParseFromJSON for Instant {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let text = value.as_ref().and_then(Value::as_str);
        let at = text.and_then(Timestamp::parse).map(Self);
        at.ok_or_else(|| ParseError::custom("Use RFC 3339, such as 2026-01-31T12:00:00.000Z."))
    }
}

impl ToJSON for Instant {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_of_a_second() {
        let shown = |milliseconds| Instant(Timestamp(milliseconds)).to_json();
        assert_eq!(shown(0), Some("1970-01-01T00:00:00.000Z".into()));
        assert_eq!(shown(1_500), Some("1970-01-01T00:00:01.500Z".into()));
        let of_microseconds =
            Instant::from(OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(1_234_567));
        assert_eq!(
            of_microseconds.to_json(),
            Some("1970-01-01T00:00:01.234Z".into())
        );
    }
}
