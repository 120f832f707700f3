//! A table of trials by fault.

use std::{collections::BTreeMap, fmt::Write};

use crate::record::Record;

#[derive(Default)]
struct Row {
    trials: u64,
    skipped: u64,
    fired: u64,
    violated: u64,
    acknowledged: u64,
    unknown: u64,
    ready_seconds_max: f64,
    settled_seconds_max: f64,
    seconds: f64,
}

impl Row {
    fn add(&mut self, record: &Record) {
        self.trials += 1;
        self.skipped += u64::from(record.skipped.is_some());
        self.fired += u64::from(record.fired);
        self.violated += u64::from(!record.violations.is_empty());
        self.acknowledged += record.acknowledged;
        self.unknown += record.unknown;
        self.ready_seconds_max = self.ready_seconds_max.max(record.ready_seconds);
        self.settled_seconds_max = self.settled_seconds_max.max(record.settled_seconds);
        self.seconds += record.seconds;
    }

    fn line(&self, name: &str) -> String {
        let mean = self.seconds / self.trials.max(1) as f64;
        format!(
            "{name:32} {:>6} {:>7} {:>5} {:>8} {:>12} {:>8} {:>7.2} {:>9.2} {:>7.1}\n",
            self.trials,
            self.skipped,
            self.fired,
            self.violated,
            self.acknowledged,
            self.unknown,
            self.ready_seconds_max,
            self.settled_seconds_max,
            mean
        )
    }
}

pub fn table(records: &[Record]) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let mut all = Row::default();
    for record in records {
        rows.entry(&record.fault).or_default().add(record);
        all.add(record);
    }
    let mut text = format!(
        "{:32} {:>6} {:>7} {:>5} {:>8} {:>12} {:>8} {:>7} {:>9} {:>7}\n",
        "fault",
        "trials",
        "skipped",
        "fired",
        "violated",
        "acknowledged",
        "unknown",
        "ready s",
        "settled s",
        "mean s"
    );
    for (name, row) in &rows {
        text.push_str(&row.line(name));
    }
    text.push_str(&all.line("all"));
    let last = records
        .iter()
        .rposition(|record| !record.violations.is_empty());
    let clean = records.len() - last.map_or(0, |last| last + 1);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "the last {clean} in a row had no violation");
    for record in records
        .iter()
        .filter(|record| !record.violations.is_empty())
    {
        let first = record.violations.first().map_or("", String::as_str);
        let _ = writeln!(text, "trial {} ({}): {first}", record.number, record.fault);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_counted_by_fault_and_since_the_last_violation() {
        let record = |number, violation: Option<&str>| Record {
            number,
            fault: "kill log".into(),
            fired: true,
            violations: violation.map(str::to_owned).into_iter().collect(),
            ..Record::default()
        };
        let text = table(&[record(0, None), record(1, Some("lost")), record(2, None)]);
        assert!(text.contains("the last 1 in a row"), "{text}");
        assert!(text.contains("trial 1 (kill log): lost"), "{text}");
    }
}
