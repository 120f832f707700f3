//! What was found: violations, the first hundred with their words, and how much
//! was looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Display},
};

const VIOLATIONS_KEPT_MAX: usize = 100;
/// A value is shown up to so many characters.
const SHOWN_CHARACTERS_MAX: usize = 400;

#[derive(Debug, Default)]
pub struct Findings {
    pub violations: Vec<String>,
    pub counts: BTreeMap<String, u64>,
}

impl Findings {
    pub fn violation(&mut self, text: impl Into<String>) {
        *self.counts.entry("violations".into()).or_default() += 1;
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            self.violations.push(text.into());
        }
    }

    pub fn count(&mut self, what: &str, number: usize) {
        *self.counts.entry(what.to_owned()).or_default() += number as u64;
    }

    pub fn same<T: PartialEq + Debug>(&mut self, what: impl Display, expected: &T, found: &T) {
        if expected != found {
            let (expected, found) = (shown(expected), shown(found));
            self.violation(format!("{what}: expected {expected}, found {found}"));
        }
    }

    /// Every row of either.
    pub fn same_rows<K: Ord + Debug, V: PartialEq + Debug>(
        &mut self,
        table: &str,
        expected: &BTreeMap<K, V>,
        found: &BTreeMap<K, V>,
    ) {
        self.count(table, found.len());
        let keys: BTreeSet<&K> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            self.same(
                format_args!("{table} {key:?}"),
                &expected.get(key),
                &found.get(key),
            );
        }
    }

    pub fn add(&mut self, other: Findings) {
        let kept = other.violations.len() as u64;
        for violation in other.violations {
            self.violation(violation);
        }
        for (what, number) in other.counts {
            // Those that were kept are counted above.
            let number = if what == "violations" {
                number - kept
            } else {
                number
            };
            *self.counts.entry(what).or_default() += number;
        }
    }
}

pub fn shown(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
