//! The client's own memory of what was acknowledged: a line is on the disk
//! before its acknowledgement counts. One thread writes, so that lines that
//! come together share a flush.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    path::Path,
};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

const WAITING_MAX: usize = 1_024;

/// One acknowledgement.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub key: &'a str,
    pub account: Option<kernel::Uuid>,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub position: Option<&'a str>,
}

/// The key and the position of an acknowledgement.
pub type Acknowledged = (String, String);

/// Leaves out of a journal what was lost with a log; the whole is kept beside it.
/// Nothing is written to it any more.
pub fn leave_out(path: &Path, lost: &HashSet<Acknowledged>) -> anyhow::Result<()> {
    let text = fs::read_to_string(path)?;
    fs::rename(path, path.with_extension("whole.jsonl"))?;
    let mut kept = String::new();
    for line in text.lines() {
        let fields: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        if !lost.contains(&(field("key"), field("position"))) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(fs::write(path, kept)?)
}

#[derive(Clone)]
pub struct Journal(mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>);

impl Journal {
    pub fn start(path: &Path) -> std::io::Result<Self> {
        let mut file = File::create(path)?;
        let (journal, mut lines) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(WAITING_MAX);
        std::thread::spawn(move || -> std::io::Result<()> {
            let mut waiting = Vec::new();
            while lines.blocking_recv_many(&mut waiting, WAITING_MAX) > 0 {
                for (line, _) in &waiting {
                    file.write_all(line)?;
                }
                file.sync_data()?;
                for (_, written) in waiting.drain(..) {
                    // Whoever waited may have been given up.
                    let _ = written.send(());
                }
            }
            Ok(())
        });
        Ok(Self(journal))
    }

    /// Returns when the line is on the disk.
    pub async fn write(&self, line: &Line<'_>) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let (written, done) = oneshot::channel();
        let gone = || anyhow::anyhow!("the journal cannot be written");
        self.0.send((bytes, written)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())
    }
}
