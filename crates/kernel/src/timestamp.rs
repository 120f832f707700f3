//! When a thing was recorded: UTC in whole milliseconds. Never a position.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

/// RFC 3339 in UTC with three digits of a second, always: times of one width sort as text.
const FORMAT: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// RFC 3339 has the years 0 to 9999; what is outside becomes 1970.
    pub fn to_offset_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .filter(|at| at.year() >= 0)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// From RFC 3339 text such as `2026-01-31T12:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::from)
    }
}

impl From<OffsetDateTime> for Timestamp {
    /// Without what is below a millisecond.
    fn from(at: OffsetDateTime) -> Self {
        Self(at.unix_timestamp() * 1_000 + i64::from(at.millisecond()))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, such as `2026-01-31T12:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self
            .to_offset_date_time()
            .format(FORMAT)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z.
    const SHOWN: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

    #[test]
    fn a_time_before_year_0_is_shown_as_something_instead_of_a_panic() {
        let before = Timestamp::parse("0000-01-01T00:00:00+23:59");
        assert!(before.is_some_and(|at| at.0 < *SHOWN.start()));
        let shown = before.map(|at| at.to_string());
        assert_eq!(shown.as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn a_time_before_1970_is_cut_to_the_millisecond_before_it() {
        let at = Timestamp::parse("1969-12-31T23:59:59.9995Z");
        assert_eq!(at, Some(Timestamp(-1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_time_reads_back_as_it_is_shown(at in SHOWN) {
            prop_assert_eq!(Timestamp::parse(&Timestamp(at).to_string()), Some(Timestamp(at)));
        }

        #[test]
        fn any_number_is_shown_in_24_characters(at in any::<i64>()) {
            let shown = Timestamp(at).to_string();
            prop_assert!(shown.ends_with('Z') && shown.len() == 24, "{shown}");
        }
    }
}
