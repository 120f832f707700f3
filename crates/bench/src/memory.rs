//! The resident memory of a process, as Linux tells it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::task::JoinHandle;

const LOOK_MILLISECONDS: u64 = 50;

pub fn resident_kibibytes(process: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| path)?.parse()?)
}

/// Looks again and again, and keeps the most.
pub struct Peak {
    most: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Peak {
    pub fn watch(process: u32) -> Self {
        let (most, ends) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let task = tokio::spawn({
            let (most, ends) = (most.clone(), ends.clone());
            async move {
                while !ends.load(Ordering::Relaxed) {
                    let now = resident_kibibytes(process).unwrap_or(0);
                    most.fetch_max(now, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
                }
            }
        });
        Self { most, ends, task }
    }

    pub async fn end(self) -> anyhow::Result<u64> {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await?;
        Ok(self.most.load(Ordering::Relaxed))
    }
}
