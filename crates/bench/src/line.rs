//! One line of the table: a figure, what it was held against, and whether that
//! was met. It refuses to print: `table.rs` does.

use serde_json::{Value, json};

use crate::load::Seen;

pub struct Line {
    /// Names the line in JSON and in the baseline.
    pub key: String,
    pub name: String,
    pub value: f64,
    pub unit: Unit,
    pub p50_milliseconds: Option<f64>,
    pub p99_milliseconds: Option<f64>,
    /// What an answer takes of a processor, in the process that gives it.
    pub processor_microseconds: Option<f64>,
    /// Its name and its value, in the same unit.
    pub ceiling: Option<(&'static str, f64)>,
    pub targets: Vec<Target>,
    /// What else must be known.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Milliseconds,
    Bytes,
    Mebibytes,
    /// A bare ratio.
    Times,
}

pub struct Target {
    pub text: String,
    pub met: bool,
}

impl Line {
    pub fn new(key: &str, name: &str, value: f64, unit: Unit) -> Self {
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            value,
            unit,
            p50_milliseconds: None,
            p99_milliseconds: None,
            processor_microseconds: None,
            ceiling: None,
            targets: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Latencies of `seen`, and what was refused.
    pub fn latencies(mut self, seen: &Seen) -> Self {
        self.p50_milliseconds = Some(seen.latencies.milliseconds_at(0.5));
        self.p99_milliseconds = Some(seen.latencies.milliseconds_at(0.99));
        self.complaints(seen)
    }

    pub fn processor(mut self, seen: &Seen) -> Self {
        self.processor_microseconds = Some(seen.microseconds_each());
        self
    }

    pub fn complaints(mut self, seen: &Seen) -> Self {
        self.notes.extend(seen.complaints());
        self
    }

    pub fn ceiling(mut self, name: &'static str, value: f64) -> Self {
        self.ceiling = Some((name, value));
        self
    }

    pub fn ratio(&self) -> Option<f64> {
        let (_, ceiling) = self.ceiling.filter(|(_, ceiling)| *ceiling > 0.0)?;
        Some(self.value / ceiling)
    }

    pub fn ratio_at_least(self, least: f64) -> Self {
        let met = self.ratio().is_some_and(|ratio| ratio >= least);
        self.target(format!("≥{least:.2}"), met)
    }

    pub fn at_least(self, least: f64, text: &str) -> Self {
        let met = self.value >= least;
        self.target(text.to_owned(), met)
    }

    pub fn at_most(self, most: f64, text: &str) -> Self {
        let met = self.value <= most;
        self.target(text.to_owned(), met)
    }

    pub fn p50_at_most(self, milliseconds: f64) -> Self {
        let met = self.p50_milliseconds.is_some_and(|p| p <= milliseconds);
        self.target(format!("p50≤{milliseconds}"), met)
    }

    pub fn p99_at_most(self, milliseconds: f64) -> Self {
        let met = self.p99_milliseconds.is_some_and(|p| p <= milliseconds);
        self.target(format!("p99≤{milliseconds}"), met)
    }

    pub fn target(mut self, text: String, met: bool) -> Self {
        self.targets.push(Target { text, met });
        self
    }

    pub fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// What can be held against another run: the ratio where there is one. A
    /// bare rate says more about the machine and the day.
    pub fn comparable(&self) -> Option<f64> {
        let bare = (self.unit != Unit::PerSecond).then_some(self.value);
        self.ratio().or(bare)
    }

    pub fn json(&self) -> Value {
        let targets: Vec<_> = self
            .targets
            .iter()
            .map(|target| json!({"target": target.text, "met": target.met}))
            .collect();
        json!({
            "figure": self.key,
            "name": self.name,
            "value": self.value,
            "unit": self.unit.name(),
            "p50_ms": self.p50_milliseconds,
            "p99_ms": self.p99_milliseconds,
            "processor_us": self.processor_microseconds,
            "ceiling": self.ceiling.map(|(name, _)| name),
            "ceiling_value": self.ceiling.map(|(_, value)| value),
            "ratio": self.ratio(),
            "targets": targets,
            "notes": self.notes,
        })
    }
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Milliseconds => "ms",
            Self::Bytes => "B",
            Self::Mebibytes => "MiB",
            Self::Times => "x",
        }
    }
}
