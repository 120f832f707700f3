//! What became of the lines: how many were accepted, were there already, or
//! were refused, and why. A table on a terminal, JSON lines into a pipe.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::json;

use super::activity::Operation;
use crate::table;

/// Different reasons shown; the rest are counted.
const REASONS_MAX: usize = 20;

/// What ended it.
pub enum End {
    /// All is read.
    Whole,
    /// A file ends early; which one, where and why.
    Cut(String),
    Stopped,
    /// A server stayed away.
    Failed(String),
}

impl End {
    fn name(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Cut(_) => "cut",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
        }
    }
}

/// Where a line is.
#[derive(Clone, Copy, Default)]
pub struct Place {
    /// Which one of the files; none before the first line.
    pub file: Option<usize>,
    /// In that file, from 1.
    pub line: u64,
    /// In all files together.
    pub all: u64,
}

#[derive(Default)]
pub struct Summary(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    by_kind: [[u64; 3]; Operation::NAMES.len()],
    unreadable: u64,
    elsewhere: bool,
    /// How often, and the first line.
    reasons: BTreeMap<String, (u64, Place)>,
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

    pub fn refused(&self, kind: usize, place: Place, reason: &str) {
        let mut counts = self.counts();
        counts.by_kind[kind][REFUSED] += 1;
        let what = format!("{}: {reason}", Operation::NAMES[kind]);
        count(&mut counts.reasons, what, place);
    }

    /// Likewise, of a line that another file or another import might explain.
    pub fn elsewhere(&self, kind: usize, place: Place, reason: &str) {
        self.refused(kind, place, reason);
        self.counts().elsewhere = true;
    }

    /// How many there are by now, where no line could be read.
    pub fn unreadable(&self, place: Place, reason: &str) -> Option<u64> {
        let mut counts = self.counts();
        counts.unreadable += 1;
        let what = format!("unreadable: {reason}");
        count(&mut counts.reasons, what, place);
        let nothing = counts.by_kind.iter().flatten().all(|count| *count == 0);
        nothing.then_some(counts.unreadable)
    }

    pub fn speaks_of_others(&self) -> bool {
        self.counts().elsewhere
    }

    /// Whether a line could be read.
    pub fn found_anything(&self) -> bool {
        let counts = self.counts();
        counts.by_kind.iter().flatten().any(|count| *count > 0)
    }

    pub fn all_in(&self) -> bool {
        self.counts().reasons.is_empty()
    }

    pub fn print(
        &self,
        end: &End,
        files: &[String],
        at: Place,
        seconds: f64,
        source: &str,
    ) -> std::io::Result<()> {
        let counts = self.counts();
        let out = std::io::stdout();
        let rate = at.all as f64 / seconds.max(f64::EPSILON);
        let told = match out.is_terminal() {
            true => counts.show(&mut out.lock(), files, at.all, seconds, rate),
            false => counts.tell(&mut out.lock(), files, &|refused| {
                json!({
                    "end": end.name(),
                    "lines": at.all,
                    "unreadable": counts.unreadable,
                    "refused": refused,
                    "seconds": seconds,
                    "per_second": rate,
                    "source": source,
                })
            }),
        };
        match told {
            // Nobody reads it; what it did is told by the exit status.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            told => told,
        }
    }
}

impl Counts {
    fn tell(
        &self,
        out: &mut impl Write,
        files: &[String],
        all: &dyn Fn(u64) -> serde_json::Value,
    ) -> std::io::Result<()> {
        for (name, row) in Operation::NAMES.iter().zip(&self.by_kind) {
            let [accepted, there_already, refused] = row;
            let line = json!({
                "op": name,
                "accepted": accepted,
                "there_already": there_already,
                "refused": refused,
            });
            writeln!(out, "{line}")?;
        }
        for (reason, (times, place)) in &self.reasons {
            let file = place.file.and_then(|file| files.get(file));
            let line = json!({
                "reason": reason,
                "times": times,
                "file": file,
                "line": place.line,
            });
            writeln!(out, "{line}")?;
        }
        let refused = self.by_kind.iter().map(|row| row[REFUSED]).sum();
        writeln!(out, "{}", all(refused))
    }

    fn show(
        &self,
        out: &mut impl Write,
        files: &[String],
        lines: u64,
        seconds: f64,
        rate: f64,
    ) -> std::io::Result<()> {
        let rows = Operation::NAMES.iter().zip(&self.by_kind);
        let rows = rows.map(|(name, row)| {
            let counts = row.iter().map(table::number);
            [table::text(*name)].into_iter().chain(counts).collect()
        });
        let headers = ["LINE", "ACCEPTED", "THERE ALREADY", "REFUSED"];
        table::write(out, &headers, &rows.collect::<Vec<_>>(), table::colours())?;
        for (reason, (times, place)) in &self.reasons {
            let file = place.file.and_then(|file| files.get(file));
            let of = match file {
                Some(file) if files.len() > 1 => format!(" of {file}"),
                _ => String::new(),
            };
            writeln!(out, "{times} x {reason} (first at line {}{of})", place.line)?;
        }
        writeln!(out, "{lines} lines in {seconds:.1} s, {rate:.0} a second")
    }
}

/// Keeps a bounded number of reasons, so that a bad file does not fill the memory.
fn count(reasons: &mut BTreeMap<String, (u64, Place)>, what: String, place: Place) {
    let key = match reasons.contains_key(&what) || reasons.len() < REASONS_MAX {
        true => what,
        false => "other reasons".to_owned(),
    };
    let (times, first) = reasons.entry(key).or_insert((0, place));
    *times += 1;
    if place.all < first.all {
        *first = place;
    }
}
