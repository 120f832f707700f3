//! What the answers of an operation say of its end: `Deprecation` (RFC 9745), `Sunset`
//! (RFC 8594) and where to read what to use instead. From one table ([`Rules::endings`]),
//! which the contract shows too.

use std::time::{Duration, SystemTime};

use poem::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{InvalidHeaderValue, LINK},
};

use crate::contract_rules::{Ending, Rules};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// The headers of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Deprecation {
    deprecation: HeaderValue,
    sunset: Option<HeaderValue>,
    link: HeaderValue,
}

impl Deprecation {
    /// None where the operation goes on.
    pub fn of(rules: &Rules, operation: &str) -> Option<Self> {
        let ending = rules.endings.iter().find(|one| one.operation == operation);
        Self::new(ending?).ok()
    }

    fn new(ending: &Ending) -> Result<Self, InvalidHeaderValue> {
        let sunset = ending.sunset_at.map(|at| http_date(at).parse());
        Ok(Self {
            deprecation: format!("@{}", ending.deprecated_at).parse()?,
            sunset: sunset.transpose()?,
            link: format!("<{}>; rel=\"deprecation\"; type=\"text/html\"", ending.page).parse()?,
        })
    }

    pub fn dress(&self, headers: &mut HeaderMap) {
        headers.insert(DEPRECATION, self.deprecation.clone());
        if let Some(sunset) = &self.sunset {
            headers.insert(SUNSET, sunset.clone());
        }
        // Beside a link to another page.
        headers.append(LINK, self.link.clone());
    }
}

/// Such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn http_date(at: i64) -> String {
    let since = Duration::from_secs(u64::try_from(at).unwrap_or_default());
    let at = time::OffsetDateTime::from(SystemTime::UNIX_EPOCH + since);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        weekday.get(..3).unwrap_or_default(),
        at.day(),
        month.get(..3).unwrap_or_default(),
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
