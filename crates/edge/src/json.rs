//! JSON whose objects name nothing twice: readers differ in which of two fields
//! counts (RFC 8259, 4), so that one may check the first and another obey the last.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::problem::FIELD_ERRORS_MAX;

/// The value, and JSON pointers (RFC 6901) to what is named twice in it.
pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut reading = Reading::default();
    let value = Part(&mut reading).deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, reading.twice))
}

#[derive(Default)]
struct Reading {
    /// To what is being read.
    path: Vec<Step>,
    twice: Vec<String>,
}

enum Step {
    Item(usize),
    Field(String),
}

impl Reading {
    fn note(&mut self) {
        if self.twice.len() >= FIELD_ERRORS_MAX {
            return;
        }
        let steps = self.path.iter().map(|step| match step {
            Step::Item(index) => format!("/{index}"),
            Step::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        });
        self.twice.push(steps.collect());
    }
}

struct Part<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        loop {
            self.0.path.push(Step::Item(all.len()));
            let Some(item) = items.next_element_seed(Part(&mut *self.0))? else {
                self.0.path.pop();
                return Ok(all.into());
            };
            self.0.path.pop();
            all.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let known = all.contains_key(&name);
            self.0.path.push(Step::Field(name));
            if known {
                self.0.note();
            }
            let value = fields.next_value_seed(Part(&mut *self.0))?;
            if let Some(Step::Field(name)) = self.0.path.pop() {
                all.insert(name, value);
            }
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_found_wherever_it_is() -> serde_json::Result<()> {
        let twice = |text: &str| parse(text.as_bytes()).map(|(_, twice)| twice);
        assert!(twice(r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}"#)?.is_empty());
        assert_eq!(twice(r#"{"a": 1, "\u0061": 2}"#)?, ["/a"]);
        assert_eq!(
            twice(r#"{"x": [0, {"a/b": 1, "~": 1, "a/b": null, "~": {"c": 1, "c": 2}}]}"#)?,
            ["/x/1/a~1b", "/x/1/~0", "/x/1/~0/c"]
        );
        let many = format!("{{{}\"a\": 1}}", "\"a\": 1,".repeat(100));
        assert_eq!(twice(&many)?.len(), FIELD_ERRORS_MAX);
        Ok(())
    }

    #[test]
    fn everything_else_is_read_as_ever() -> serde_json::Result<()> {
        for text in [
            r#"{"a": [1, -2, 3.5, 1e300, 18446744073709551615, true, null, "\ud83d\ude00"], "b": {}}"#,
            " 7 ",
            r#""text""#,
        ] {
            let usual: Value = serde_json::from_str(text)?;
            assert_eq!(parse(text.as_bytes())?.0, usual);
        }
        for bad in [
            "",
            "{",
            "{} {}",
            "[1,]",
            "{\"a\" 1}",
            "1e999",
            "\"\\ud800\"",
        ] {
            let usual = serde_json::from_str::<Value>(bad).is_err();
            assert!(usual && parse(bad.as_bytes()).is_err(), "{bad}");
        }
        Ok(())
    }
}
