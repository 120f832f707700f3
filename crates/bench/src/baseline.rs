//! The accepted run, in `baseline.json` beside this crate's sources: ratios to
//! ceilings where there are any, since absolute figures do not travel.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::Context;

use crate::line::Line;

pub struct Baseline(BTreeMap<String, f64>);

impl Baseline {
    pub fn read() -> anyhow::Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read; run with --accept", path.display()))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// Figures that were not measured keep what was accepted before.
    pub fn accept(lines: &[Line]) -> anyhow::Result<()> {
        let mut accepted = Self::read().map(|baseline| baseline.0).unwrap_or_default();
        for line in lines {
            if let Some(value) = line.comparable() {
                accepted.insert(line.key.clone(), format!("{value:.4}").parse()?);
            }
        }
        let text = serde_json::to_string_pretty(&accepted)? + "\n";
        fs::write(path(), text).context("baseline.json cannot be written")
    }

    /// By which share the line is above the accepted run.
    pub fn change(&self, line: &Line) -> Option<f64> {
        let before = self.0.get(&line.key).filter(|before| **before != 0.0)?;
        Some(line.comparable()? / before - 1.0)
    }
}

/// Runs happen in the repository; a program that was moved has none.
fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}
