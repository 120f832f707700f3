//! Other processes, through `/proc`. Where there is no `/proc`, no process is
//! ever taken for ours, so none is signalled.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::Error;

const FORMER_SECONDS_MAX: u64 = 15;
const KILLED_SECONDS_MAX: u64 = 5;
const POLL: Duration = Duration::from_millis(10);

/// Ends the servers that a killed process of ours left in this directory (their
/// supervisors are ending them already, if those live).
///
/// They are found by what they are and where they work, not by a pid file: the
/// pid in a file may be somebody else's by now, and a copied folder's pid file
/// names the original's server.
pub(crate) async fn end_former(
    server: &'static str,
    names: &[&str],
    stop: Signal,
    directory: &Path,
) -> Result<(), Error> {
    let former = running_in(directory, names);
    if former.is_empty() {
        return Ok(());
    }
    tracing::info!(server, pids = ?former, "waiting for a former server to end");
    for pid in roots(&former) {
        signal(pid, stop);
    }
    if until_gone(&former, Duration::from_secs(FORMER_SECONDS_MAX)).await {
        return Ok(());
    }
    let rest = running_in(directory, names);
    for pid in &rest {
        signal(*pid, Signal::KILL);
    }
    until_gone(&rest, Duration::from_secs(KILLED_SECONDS_MAX)).await;
    match running_in(directory, names).first() {
        None => Ok(()),
        Some(pid) => Err(Error::FormerServer {
            server,
            pid: *pid,
            directory: directory.to_owned(),
        }),
    }
}

/// Living processes with one of these program names that work in this directory.
pub(crate) fn running_in(directory: &Path, names: &[&str]) -> Vec<u32> {
    let Ok(directory) = directory.canonicalize() else {
        return Vec::new();
    };
    let works_here = |pid: &u32| {
        std::fs::read_link(proc(*pid, "cwd")).is_ok_and(|cwd| cwd == directory)
            && program_name(*pid).is_some_and(|name| names.contains(&name.as_str()))
            && is_alive(*pid)
    };
    all().filter(works_here).collect()
}

pub(crate) fn children(parent: u32) -> Vec<u32> {
    all()
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// A zombie is not alive: it holds nothing, and where the first process of a
/// container does not reap, it stays for ever.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Whether anything, alive or zombie, has this pid.
pub(crate) fn exists(pid: u32) -> bool {
    proc(pid, "").exists()
}

/// Sends a signal to a process that the caller knows to be ours. That it is gone
/// already is fine.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!(?pid, ?signal, %error, "a process cannot be signalled");
    }
}

pub(crate) async fn until_gone(pids: &[u32], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while pids.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// Those whose parents are not among them: of PostgreSQL, the postmaster.
fn roots(pids: &[u32]) -> Vec<u32> {
    let known: HashSet<u32> = pids.iter().copied().collect();
    let is_root = |pid: &u32| parent_of(*pid).is_none_or(|parent| !known.contains(&parent));
    pids.iter().copied().filter(is_root).collect()
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `redis-server` of `/usr/bin/redis-server *:0`, `postgres` of `postgres: writer`.
fn program_name(pid: u32) -> Option<String> {
    let line = std::fs::read(proc(pid, "cmdline")).ok()?;
    let first = line.split(|byte| matches!(byte, 0 | b' ')).next()?;
    let path = Path::new(std::ffi::OsStr::from_bytes(first));
    let name = path.file_name()?.to_str()?;
    Some(name.trim_end_matches(':').to_owned())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

/// State and parent. The name before them is in brackets and may hold anything.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(proc(pid, "stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((state, parent))
}

fn proc(pid: u32, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}
