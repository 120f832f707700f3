//! Prints lines as they come, within 100 columns; or as JSON objects.

use crate::{
    baseline::Baseline,
    line::{Line, Unit},
};

/// How lines are shown.
pub struct Table {
    json: bool,
    /// Changes are shown against this.
    baseline: Option<Baseline>,
}

impl Table {
    pub fn new(json: bool, baseline: Option<Baseline>) -> Self {
        Self { json, baseline }
    }

    pub fn print_header(&self) {
        if !self.json {
            println!(
                "{:37} {:>11} {:>7} {:>7} {:>8} {:>5}  target",
                "figure", "value", "p50 ms", "p99 ms", "ceiling", "ratio"
            );
        }
    }

    pub fn print(&self, line: &Line) {
        let change = self.baseline.as_ref().and_then(|b| b.change(line));
        if self.json {
            let mut object = line.json();
            object["change"] = change.into();
            println!("{object}");
            return;
        }
        let ceiling = line.ceiling.map(|(_, value)| short(value));
        let ratio = line.ratio().map(|ratio| format!("{ratio:.2}"));
        let targets: Vec<_> = line
            .targets
            .iter()
            .map(|target| format!("{} {}", target.text, if target.met { '✓' } else { '✗' }))
            .collect();
        let row = format!(
            "{:37} {:>11} {:>7} {:>7} {:>8} {:>5}  {}",
            line.name,
            value(line),
            milliseconds(line.p50_milliseconds),
            milliseconds(line.p99_milliseconds),
            ceiling.unwrap_or_default(),
            ratio.unwrap_or_default(),
            targets.join(" "),
        );
        println!("{}", row.trim_end());
        if let Some(change) = change {
            println!("    since the accepted run: {:+.0} %", change * 100.0);
        }
        for note in &line.notes {
            println!("    {note}");
        }
    }
}

fn value(line: &Line) -> String {
    let value = line.value;
    match line.unit {
        Unit::PerSecond => format!("{} /s", grouped(value)),
        Unit::Milliseconds => format!("{value:.2} ms"),
        Unit::Bytes => format!("{value:.1} B"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
        Unit::Times => format!("{value:.2} x"),
    }
}

fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1_000.0),
        value => format!("{value:.0}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(7.0), "7");
        assert_eq!(grouped(123_456.4), "123,456");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
