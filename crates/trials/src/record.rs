//! One JSON line a trial, and where a run goes on. It refuses to judge.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a trial leaves behind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub seed: u64,
    pub number: u64,
    pub fault: String,
    pub plan: Value,
    pub fired: bool,
    /// What fired, or why not.
    pub note: String,
    /// Why it does not count, where it does not.
    pub skipped: Option<String>,
    /// Answered for good: done, or refused.
    pub acknowledged: u64,
    pub refused: u64,
    /// Commands without an answer for good, all of which were sent again.
    pub unknown: u64,
    /// Acknowledged commands that were sent again.
    pub repeated: u64,
    pub reads: u64,
    pub counts: BTreeMap<String, u64>,
    /// From the restart until the API said that it was ready.
    pub ready_seconds: f64,
    /// From then until the read models were at the head of the log.
    pub settled_seconds: f64,
    pub seconds: f64,
    pub violations: Vec<String>,
}

/// Every line of `path`; none where it is not there. A torn last line, which a
/// killed run leaves, is cut off.
pub fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let Ok(text) = fs::read_to_string(path) else {
        return Ok(Vec::new());
    };
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
    }
    text[..whole]
        .lines()
        .enumerate()
        .map(|(line, text)| {
            serde_json::from_str(text)
                .with_context(|| format!("{} line {} is no record", path.display(), line + 1))
        })
        .collect()
}

pub fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    file.write_all(&line)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rest_reads_back() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("trials.jsonl");
        let record = Record {
            number: 7,
            fault: "kill log".into(),
            ..Record::default()
        };
        append(&path, &record)?;
        fs::OpenOptions::new()
            .append(true)
            .open(&path)?
            .write_all(b"{\"seed\":")?;
        for _ in 0..2 {
            let records = read(&path)?;
            assert_eq!((records.len(), records[0].number), (1, 7));
        }
        append(&path, &record)?;
        assert_eq!(read(&path)?.len(), 2);
        Ok(())
    }
}
