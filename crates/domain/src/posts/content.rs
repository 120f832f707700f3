//! What a post may say. It refuses to store anything.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::text::{Unfit, is_blank, lines};

/// In Unicode scalar values, as they are kept.
pub const TEXT_CHARACTERS_MAX: usize = 5_000;
pub const METADATA_BYTES_MAX: usize = 4_096;
pub const METADATA_DEPTH_MAX: usize = 4;
/// The longest tag that RFC 5646 asks everybody to take.
pub const LANGUAGE_CHARACTERS_MAX: usize = 35;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPost {
    #[error("a text {0}")]
    Text(Unfit),
    #[error("a language is a BCP 47 tag such as en or pt-BR")]
    Language,
    #[error("metadata {0}")]
    Metadata(UnfitMetadata),
}

/// What is wrong with metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitMetadata {
    #[error("is a JSON object")]
    NoObject,
    #[error("has at most {METADATA_BYTES_MAX} bytes as JSON")]
    TooLarge,
    #[error("is at most {METADATA_DEPTH_MAX} levels deep")]
    TooDeep,
    /// PostgreSQL keeps no NUL in texts.
    #[error("has no NUL")]
    Nul,
}

/// What an edit does to a field that a post may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    Keep,
    Clear,
    Set(T),
}

impl<T> Change<T> {
    /// As events have it: none where it stays, empty where it was cleared.
    pub(super) fn event_text(&self, text: impl FnOnce(&T) -> String) -> Option<String> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(String::new()),
            Self::Set(value) => Some(text(value)),
        }
    }
}

/// 1 to 5,000 Unicode scalar values with something to see. Kept as they were written, but
/// for ends of lines, which are `\n`: not composed (NFC), which would write some names
/// with other ideographs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = InvalidPost;

    fn from_str(text: &str) -> Result<Self, InvalidPost> {
        if is_blank(text) {
            return Err(InvalidPost::Text(Unfit::Blank));
        }
        let text = lines(text).ok_or(InvalidPost::Text(Unfit::Characters))?;
        match text.chars().count() <= TEXT_CHARACTERS_MAX {
            true => Ok(Self(text)),
            false => Err(InvalidPost::Text(Unfit::TooLong(TEXT_CHARACTERS_MAX))),
        }
    }
}

/// A BCP 47 language tag, by its shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Language(String);

impl Language {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Language {
    type Err = InvalidPost;

    fn from_str(text: &str) -> Result<Self, InvalidPost> {
        let mut parts = text.split('-');
        let primary = parts.next().unwrap_or_default();
        let letters = primary.bytes().all(|b| b.is_ascii_alphabetic());
        let subtag =
            |s: &str| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric());
        if text.len() > LANGUAGE_CHARACTERS_MAX
            || !(2..=3).contains(&primary.len())
            || !letters
            || !parts.all(subtag)
        {
            return Err(InvalidPost::Language);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A free JSON object: category, market, symbol …
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

impl TryFrom<Value> for Metadata {
    type Error = InvalidPost;

    fn try_from(value: Value) -> Result<Self, InvalidPost> {
        let wrong = |unfit| Err(InvalidPost::Metadata(unfit));
        match value {
            value if value.to_string().len() > METADATA_BYTES_MAX => wrong(UnfitMetadata::TooLarge),
            value if depth(&value) > METADATA_DEPTH_MAX => wrong(UnfitMetadata::TooDeep),
            value if holds_nul(&value) => wrong(UnfitMetadata::Nul),
            Value::Object(map) => Ok(Self(map)),
            _ => wrong(UnfitMetadata::NoObject),
        }
    }
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Object(map) => map.values().map(depth).max(),
        Value::Array(list) => list.iter().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(holds_nul),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::MARKS_MAX;
    use serde_json::json;

    #[test]
    fn a_text_is_bounded_in_characters_not_bytes() {
        assert!("é".repeat(TEXT_CHARACTERS_MAX).parse::<Text>().is_ok());
        for (bad, unfit) in [
            (
                &*"x".repeat(TEXT_CHARACTERS_MAX + 1),
                Unfit::TooLong(TEXT_CHARACTERS_MAX),
            ),
            ("", Unfit::Blank),
            (" \n", Unfit::Blank),
            ("a\0", Unfit::Characters),
        ] {
            assert_eq!(bad.parse::<Text>(), Err(InvalidPost::Text(unfit)));
        }
        let ends = "\r\n".repeat(TEXT_CHARACTERS_MAX - 1) + "x";
        let kept = ends.parse().map(|text: Text| text.as_str().len());
        assert_eq!(kept, Ok(TEXT_CHARACTERS_MAX));
    }

    #[test]
    fn a_text_has_something_to_see_and_controls_nothing() {
        for bad in [
            "\u{200b}",
            "\u{2800}\u{3164}\u{feff}\n",
            "\u{301}",
            "a\u{1b}[2J",
            "\u{202e}txet",
            &format!("a{}", "\u{489}".repeat(MARKS_MAX + 1)),
        ] {
            assert!(bad.parse::<Text>().is_err(), "{bad:?}");
        }
        for (good, kept) in [
            ("a\r\nb\rc\td", "a\nb\nc\td"),
            (
                "\u{2067}שלום\u{2069} e\u{301} 神\u{200b}",
                "\u{2067}שלום\u{2069} e\u{301} 神\u{200b}",
            ),
        ] {
            let text = good.parse::<Text>();
            assert_eq!(text.as_ref().map(Text::as_str), Ok(kept));
        }
    }

    #[test]
    fn a_language_has_the_shape_of_bcp_47() {
        for good in ["en", "pt-BR", "zh-Hant-TW"] {
            assert!(good.parse::<Language>().is_ok(), "{good}");
        }
        for bad in ["", "e", "english", "en-", "en_GB", "en-toolongsubtag"] {
            assert!(bad.parse::<Language>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_in_metadata_keeps_its_last_digit() -> Result<(), serde_json::Error> {
        let text = r#"{"price":1.1817701483448707e-287}"#;
        let metadata = Metadata::try_from(serde_json::from_str::<Value>(text)?);
        assert_eq!(metadata.map(|metadata| metadata.to_json()), Ok(text.into()));
        Ok(())
    }

    #[test]
    fn metadata_is_a_bounded_object() {
        for good in [
            json!({"a": {"b": {"c": {"d": 1}}}}),
            json!({"a": [[{"b": 1}], 1]}),
            json!({}),
        ] {
            assert!(Metadata::try_from(good).is_ok());
        }
        for bad in [
            json!([1]),
            json!({"a": {"b": {"c": {"d": {"e": 1}}}}}),
            json!({"a": [[[[1]]]]}),
            json!({"a": "x".repeat(METADATA_BYTES_MAX)}),
            json!({"a\0": 1}),
        ] {
            assert!(Metadata::try_from(bad).is_err());
        }
    }
}

#[cfg(test)]
mod properties {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{any, text::MARKS_MAX};

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::odd_text(6).prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec((any::odd_text(4), inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn a_text_is_kept_as_it_was_written_or_refused(text in any::odd_text(60)) {
            let blank = is_blank(&text);
            let parsed = text.parse::<Text>();
            prop_assert!(parsed.is_err() || !blank && !text.contains('\0'));
            let plain = !text.chars().any(|c| c.is_control() || ('\u{2028}'..'\u{2070}').contains(&c));
            if plain && let Ok(parsed) = parsed {
                prop_assert_eq!(parsed.as_str(), text);
            }
        }

        #[test]
        fn a_text_is_counted_in_scalar_values_whatever_its_bytes(
            character in prop::char::any().prop_filter("visible", |c| {
                let text = c.to_string();
                !is_blank(&text) && lines(&text.repeat(MARKS_MAX + 1)).is_some()
            }),
        ) {
            let text = |count| character.to_string().repeat(count);
            prop_assert!(text(TEXT_CHARACTERS_MAX).parse::<Text>().is_ok());
            prop_assert!(text(TEXT_CHARACTERS_MAX + 1).parse::<Text>().is_err());
        }

        #[test]
        fn a_language_that_is_taken_reads_back(text in "[a-zA-Z]{2,3}(-[a-zA-Z0-9]{1,8}){0,6}") {
            let language = text.parse::<Language>();
            prop_assert_eq!(language.is_ok(), text.len() <= LANGUAGE_CHARACTERS_MAX);
            if let Ok(language) = language {
                prop_assert_eq!(language.as_str(), text);
            }
        }

        #[test]
        fn what_is_no_language_is_refused(text in any::odd_text(12)) {
            if text.parse::<Language>().is_ok() {
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
                prop_assert!(text.len() >= 2);
            }
        }

        #[test]
        fn metadata_reads_back_as_it_was_given(value in json()) {
            let bytes = value.to_string().len();
            let Ok(metadata) = Metadata::try_from(value.clone()) else {
                return Ok(());
            };
            prop_assert!(bytes <= METADATA_BYTES_MAX);
            prop_assert!(!metadata.to_json().contains("\\u0000"));
            let read: Value = serde_json::from_str(&metadata.to_json())?;
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(Metadata::try_from(read), Ok(metadata));
        }
    }
}
