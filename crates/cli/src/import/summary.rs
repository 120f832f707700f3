//! What became of the lines: how many were accepted, were there already, or
//! were refused, and why.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::activity::Operation;

/// Different reasons shown; the rest are counted.
const REASONS_MAX: usize = 20;

#[derive(Default)]
pub struct Summary(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    by_kind: [[u64; 3]; Operation::NAMES.len()],
    /// How often, and the first line.
    reasons: BTreeMap<String, (u64, u64)>,
    failure: Option<String>,
}

const ACCEPTED: usize = 0;
const THERE_ALREADY: usize = 1;
const REFUSED: usize = 2;

impl Summary {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn accepted(&self, kind: usize, appended: bool) {
        let outcome = if appended { ACCEPTED } else { THERE_ALREADY };
        self.counts().by_kind[kind][outcome] += 1;
    }

    pub fn refused(&self, kind: usize, line: u64, reason: String) {
        let mut counts = self.counts();
        counts.by_kind[kind][REFUSED] += 1;
        let what = format!("{}: {reason}", Operation::NAMES[kind]);
        count(&mut counts.reasons, what, line);
    }

    pub fn unreadable(&self, line: u64, reason: &str) {
        let what = format!("unreadable: {reason}");
        count(&mut self.counts().reasons, what, line);
    }

    pub fn fail(&self, reason: String) {
        self.counts().failure.get_or_insert(reason);
    }

    pub fn failure(&self) -> Option<String> {
        self.counts().failure.clone()
    }

    pub fn print(&self, lines: u64, seconds: f64) -> std::io::Result<()> {
        let counts = self.counts();
        let mut out = std::io::stdout().lock();
        let header = ["accepted", "there already", "refused"];
        writeln!(
            out,
            "{:10} {:>10} {:>14} {:>10}",
            "", header[0], header[1], header[2]
        )?;
        for (name, row) in Operation::NAMES.iter().zip(&counts.by_kind) {
            writeln!(
                out,
                "{name:10} {:>10} {:>14} {:>10}",
                row[0], row[1], row[2]
            )?;
        }
        for (reason, (times, line)) in counts.reasons.iter().take(REASONS_MAX) {
            writeln!(out, "{times} x {reason} (first at line {line})")?;
        }
        if counts.reasons.len() > REASONS_MAX {
            writeln!(
                out,
                "and {} more reasons",
                counts.reasons.len() - REASONS_MAX
            )?;
        }
        let rate = lines as f64 / seconds.max(f64::EPSILON);
        writeln!(out, "{lines} lines in {seconds:.1} s, {rate:.0} a second")
    }
}

/// Keeps at most one more reason than is shown, so that a bad file does not
/// fill the memory.
fn count(reasons: &mut BTreeMap<String, (u64, u64)>, what: String, line: u64) {
    let key = match reasons.contains_key(&what) || reasons.len() <= REASONS_MAX {
        true => what,
        false => "other reasons".to_owned(),
    };
    reasons.entry(key).or_insert((0, line)).0 += 1;
}
