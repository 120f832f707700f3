//! What the client takes, by its `Accept` headers (RFC 9110, 12.5.1). Everything of the
//! contract is JSON, and so is every refusal of it.

use poem::http::{HeaderMap, header::ACCEPT};

/// What matches, the closest last.
const RANGES: [&str; 3] = ["*/*", "application/*", "application/json"];

/// Whether JSON will do; it does where nothing is said.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    let mut closest = None;
    let mut said = false;
    for value in headers.get_all(ACCEPT) {
        let text = value.to_str().unwrap_or_default();
        for range in text.split(',').filter(|range| !range.trim().is_empty()) {
            said = true;
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let known = RANGES
                .iter()
                .position(|known| known.eq_ignore_ascii_case(name));
            let refused = parts.any(|part| matches!(part.split_once('='), Some(("q" | "Q", weight)) if weight.parse() == Ok(0.0)));
            if let Some(known) = known {
                closest = closest.max(Some((known, !refused)));
            }
        }
    }
    !said || closest.is_some_and(|(_, taken)| taken)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn takes(said: &[&'static str]) -> bool {
        let values = said.iter().map(|text| HeaderValue::from_static(text));
        takes_json(&values.map(|value| (ACCEPT, value)).collect())
    }

    #[test]
    fn json_is_taken_unless_something_else_is_asked_for() {
        for taken in [
            &[][..],
            &[""],
            &["*/*"],
            &["Application/JSON"],
            &["application/json;charset=utf-8;q=0.1"],
            &["text/html, application/*;q=0.8"],
            &["text/html", "*/*;q=0.001"],
            &["*/*;q=0, application/json"],
        ] {
            assert!(takes(taken), "{taken:?}");
        }
        for other in [
            &["text/csv"][..],
            &["application/xml, text/*"],
            &["application/json;q=0"],
            &["application/json;q=0.000, */*"],
            &["application/jsonx"],
        ] {
            assert!(!takes(other), "{other:?}");
        }
    }
}
