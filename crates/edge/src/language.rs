//! The language of what people read of a refusal, by `Accept-Language` (RFC 9110,
//! 12.5.4). A [`Text`] has a field for each language and is made by [`text!`], so that a
//! translation that is missing does not compile.

use std::{borrow::Cow, fmt};

use poem::http::{HeaderMap, HeaderValue, header::ACCEPT_LANGUAGE};

/// What is looked at of a header.
const RANGES_MAX: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    German,
}

impl Language {
    pub const ALL: &'static [Self] = &[Self::English, Self::German];

    /// As `Content-Language` names it.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    pub(crate) const fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.tag())
    }

    /// The one that is wanted most of those there are; English where none is.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_LANGUAGE);
        let texts: Vec<_> = values.iter().filter_map(|v| v.to_str().ok()).collect();
        let ranges = texts.iter().flat_map(|text| text.split(','));
        let ranges: Vec<_> = ranges.filter_map(range).take(RANGES_MAX).collect();
        let weighed = Self::ALL.iter().filter_map(|language| {
            let (place, weight) = language.weight(&ranges)?;
            (weight > 0).then_some((*language, place, weight))
        });
        // Of two that are wanted as much, the one that is named first.
        let best = weighed.min_by_key(|(_, place, weight)| (std::cmp::Reverse(*weight), *place));
        best.map_or(Self::default(), |(language, ..)| language)
    }

    /// What the ranges give it, and the place of the one that does: a range with its name
    /// (`de`, `de-AT`) counts before `*`.
    fn weight(self, ranges: &[(&str, u16)]) -> Option<(usize, u16)> {
        let places = || ranges.iter().enumerate();
        let own = places().filter(|(_, (name, _))| {
            let primary = name.split('-').next().unwrap_or_default();
            primary.eq_ignore_ascii_case(self.tag())
        });
        let own = own.max_by_key(|(place, (_, weight))| (*weight, std::cmp::Reverse(*place)));
        let any = || places().find(|(_, (name, _))| *name == "*");
        own.or_else(any)
            .map(|(place, (_, weight))| (place, *weight))
    }
}

/// A language range and its weight in thousandths; none where it cannot be read.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1_000;
    for part in parts {
        let (key, value) = part.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            let quality: f32 = value.trim().parse().ok()?;
            weight = (0.0..=1.0)
                .contains(&quality)
                .then_some((quality * 1_000.0) as u16)?;
        }
    }
    Some((name, weight))
}

/// A sentence in every language; `{0}`, `{1}` … stand for values. Made by [`text!`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    en: &'static str,
    de: &'static str,
}

/// A [`Text`]: the same sentence in English and in German. One that lacks a language, or
/// has other values in one, does not compile.
#[macro_export]
macro_rules! text {
    ($en:expr, $de:expr $(,)?) => {
        const { $crate::language::Text::new($en, $de) }
    };
}

impl Text {
    /// For `text!`.
    pub const fn new(en: &'static str, de: &'static str) -> Self {
        assert!(!en.is_empty() && !de.is_empty(), "a language is missing");
        assert!(values(en) == values(de), "one language has other values");
        Self { en, de }
    }

    pub const fn of(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::German => self.de,
        }
    }

    /// With the values that its `{0}`, `{1}` … stand for.
    pub fn with<const N: usize>(self, values: [Value; N]) -> Told {
        Told {
            text: self,
            values: values.into(),
        }
    }
}

/// Which of `{0}` to `{9}` it has, as bits.
const fn values(text: &str) -> u16 {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (0, 0);
    while at + 2 < bytes.len() {
        if bytes[at] == b'{' && bytes[at + 2] == b'}' && bytes[at + 1].is_ascii_digit() {
            found |= 1 << (bytes[at + 1] - b'0');
        }
        at += 1;
    }
    found
}

/// A value in a sentence: the same in all languages, or a word of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Same(String),
    Word(Text),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Same(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Same(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Same(number.to_string())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Word(text)
    }
}

/// A sentence with its values, in no language yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    text: Text,
    values: Vec<Value>,
}

impl From<Text> for Told {
    fn from(text: Text) -> Self {
        text.with([])
    }
}

impl Told {
    pub fn in_language(&self, language: Language) -> Cow<'static, str> {
        let template = self.text.of(language);
        if self.values.is_empty() {
            return template.into();
        }
        let mut parts = template.split('{');
        let mut told = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let value = part.split_once('}').and_then(|(number, rest)| {
                let value = self.values.get(number.parse::<usize>().ok()?)?;
                Some((value, rest))
            });
            match value {
                Some((Value::Same(text), rest)) => told.extend([text.as_str(), rest]),
                Some((Value::Word(word), rest)) => told.extend([word.of(language), rest]),
                None => told.extend(["{", part]),
            }
        }
        told.into()
    }
}

/// In English, as logs have it.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_language(Language::English))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(lines: &[&'static str]) -> Language {
        let lines = lines.iter().map(|line| HeaderValue::from_static(line));
        Language::of(&lines.map(|line| (ACCEPT_LANGUAGE, line)).collect())
    }

    #[test]
    fn the_language_that_is_wanted_most_is_taken() {
        for lines in [
            &["de"][..],
            &["de-AT"],
            &["DE-ch, en;q=0.9"],
            &["en;q=0.5, de;q=0.8"],
            &["fr, de;q=0.1"],
            &["fr", "de"],
            &["en;q=0, *;q=0.1"],
            &["de, en"],
            &["en;q=0.3, *;q=0.7"],
            &["de;q=0, de-AT;q=0.4"],
            &[" de ; q = 1.000 "],
        ] {
            assert_eq!(wanted(lines), Language::German, "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["*"],
            &["fr"],
            &["en, de"],
            &["en-GB, de;q=0.9"],
            &["de;q=0"],
            &["de;q=0.0, fr"],
            &["den, deu"],
            &["de;q=x"],
            &["de;q=7"],
            &["de;q=0.2, *"],
        ] {
            assert_eq!(wanted(lines), Language::English, "{lines:?}");
        }
    }

    #[test]
    fn values_stand_where_each_language_wants_them() {
        let text = text!("{0} of {1}, {2}.", "Von {1} {0}: {2}.");
        let told = text.with(["1".into(), 2.into(), text!("yes", "ja").into()]);
        assert_eq!(told.in_language(Language::English), "1 of 2, yes.");
        assert_eq!(told.in_language(Language::German), "Von 2 1: ja.");
        // What a client sent is no template.
        let told = text!("Not {0}.", "Nicht {0}.").with(["{0} {1} {".into()]);
        assert_eq!(told.to_string(), "Not {0} {1} {.");
        assert_eq!(
            text!("{ {x}", "{ {x}").with([7.into()]).to_string(),
            "{ {x}"
        );
    }
}
