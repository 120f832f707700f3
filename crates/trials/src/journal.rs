//! The client's own memory of what was acknowledged: a line is on the disk
//! before its acknowledgement counts. One thread writes, so that lines that
//! come together share a flush.

use std::{fs::File, io::Write, path::Path};

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
