//! JSON whose numbers are equal where their values are: a database writes
//! `1e2` as `100`.

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Json(pub Value);

impl Json {
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Where `found` lacks or contradicts what `expected` says: a path and both
/// values. What is null in `expected` must be null or missing; fields that it
/// does not name may be anything. Times, which are numbers of milliseconds in
/// `expected`, may be RFC 3339 texts.
pub fn difference(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().find_map(|(name, expected)| {
                let found = found.get(name).unwrap_or(&Value::Null);
                let inner = match name.ends_with("_at") {
                    true => difference(expected, &milliseconds(found)),
                    false => difference(expected, found),
                };
                inner.map(|inner| format!("/{name}{inner}"))
            })
        }
        (expected, found) if same(expected, found) => None,
        (expected, found) => Some(format!(": expected {expected}, found {found}")),
    }
}

fn milliseconds(value: &Value) -> Value {
    let format = &time::format_description::well_known::Rfc3339;
    let text = value.as_str().unwrap_or_default();
    match time::OffsetDateTime::parse(text, format) {
        Ok(at) => Value::from((at.unix_timestamp_nanos() / 1_000_000) as i64),
        Err(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(Json(json!({"a": [1e2]})), Json(json!({"a": [100]})));
        assert_ne!(Json(json!({"a": 1})), Json(json!({"a": 1, "b": 2})));
    }

    #[test]
    fn a_difference_says_where() {
        let expected = json!({"a": {"b": null, "c": 1, "written_at": 1_000}});
        let at = "1970-01-01T00:00:01Z";
        let found = json!({"a": {"c": 1, "written_at": at, "new": true}});
        assert_eq!(difference(&expected, &found), None);
        let found = json!({"a": {"b": 1, "c": 1, "written_at": at}});
        let told = difference(&expected, &found);
        assert_eq!(told.as_deref(), Some("/a/b: expected null, found 1"));
    }
}
