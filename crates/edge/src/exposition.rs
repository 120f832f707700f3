//! Metrics as text, in Prometheus' text format 0.0.4.

use std::{collections::BTreeMap, fmt::Write};

/// Label values are names of ours, which need no escaping.
#[derive(Default)]
pub struct Exposition(String, &'static str);

impl Exposition {
    pub fn family(&mut self, name: &'static str, help: &str) {
        self.family_of("gauge", name, help);
    }

    pub fn family_of(&mut self, kind: &str, name: &'static str, help: &str) {
        self.1 = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_of("", labels, value);
    }

    /// Of a family that has several sorts of samples.
    pub fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let name = self.1;
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        self.write(format_args!("{name}{suffix}{labels} {value}\n"));
    }

    pub fn text(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes all that is written.
        let _ = self.0.write_fmt(text);
    }
}
