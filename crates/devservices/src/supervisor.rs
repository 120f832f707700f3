//! A server's process, kept no longer than ours.
//!
//! Each server runs under a small `/bin/sh` (`supervisor.sh`) in a process group
//! of its own, so that the terminal's Ctrl-C does not reach it. The shell holds
//! the reading end of a pipe that we hold the writing end of; when that closes,
//! we are gone, and the shell ends the server. Rust opens pipes close-on-exec,
//! so no other child of ours keeps it open. `PR_SET_PDEATHSIG` would not do: it
//! fires when the starting *thread* ends.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::account::Account;
use crate::install::last_lines;
use crate::{Error, processes};

/// How long a server may take from its start to its first answer.
pub const START_SECONDS_MAX: u64 = 60;
/// How long a server may take to end by itself before it is killed.
pub const STOP_SECONDS_MAX: u64 = 30;

const POLL: Duration = Duration::from_millis(10);
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LOG_END_BYTES_MAX: u64 = 16 * 1024;
const LOG_END_LINES_MAX: usize = 10;

/// What to run and how to end it.
pub(crate) struct Launch {
    /// For messages.
    pub server: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// The server's working directory.
    pub directory: PathBuf,
    /// Takes what the server writes to its standard outputs.
    pub log: PathBuf,
    pub account: Account,
    /// Ends the server when we stop it.
    pub stop: Signal,
    /// Ends the server when we are gone; a name that `kill` knows.
    pub orphaned: &'static str,
    /// Deleted by the supervisor when we are gone.
    pub trash: Option<PathBuf>,
}

/// A running server. Dropping it ends the server, soon after.
pub(crate) struct Supervised {
    server: &'static str,
    stop: Signal,
    pid: u32,
    log: PathBuf,
    /// Where this run's part of the log begins.
    log_start: u64,
    shell: Option<Child>,
    pipe: Option<ChildStdin>,
}

impl Supervised {
    pub fn start(launch: &Launch) -> Result<Supervised, Error> {
        let (log, log_start) = open_log(launch)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script(), "headwater-supervisor"])
            .arg(launch.orphaned)
            .arg(launch.trash.as_deref().unwrap_or("".as_ref()))
            .arg(&launch.program)
            .args(&launch.arguments)
            .current_dir(&launch.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0);
        launch.account.prepare(&mut command);
        let mut shell = command
            .spawn()
            .map_err(Error::system("start /bin/sh as a server's supervisor"))?;

        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(Error::system("read a server's pid"))?;
        }
        let mut supervised = Supervised {
            server: launch.server,
            stop: launch.stop,
            pid: 0,
            log: launch.log.clone(),
            log_start,
            pipe: shell.stdin.take(),
            shell: Some(shell),
        };
        match line.trim().parse() {
            Ok(pid) => supervised.pid = pid,
            Err(_) => return Err(supervised.not_started("its supervisor gave no pid")),
        }
        Ok(supervised)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn has_ended(&mut self) -> bool {
        match self.shell.as_mut() {
            // An error means that somebody else has waited for it.
            Some(shell) => !matches!(shell.try_wait(), Ok(None)),
            None => true,
        }
    }

    /// Asks `ready` until it says yes.
    pub async fn until_ready(&mut self, ready: impl AsyncFn() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            if self.has_ended() {
                return Err(self.not_started("it ended at once"));
            }
            if tokio::time::timeout_at(deadline.into(), ready()).await == Ok(true) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let reason = format!("it gave no answer in {START_SECONDS_MAX} seconds");
                return Err(self.not_started(&reason));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets the server end by itself.
    pub async fn stop(mut self) -> Result<(), Error> {
        if !self.has_ended() {
            processes::signal(self.pid, self.stop);
        }
        self.ended_or_killed().await
    }

    /// Ends the server the way our own death would: its directory goes with it,
    /// if it is a throw-away one.
    pub async fn abandon(mut self) -> Result<(), Error> {
        self.pipe = None;
        self.ended_or_killed().await
    }

    /// Ends the server and its children at once, as a crash would.
    pub async fn kill(mut self) -> Result<(), Error> {
        if self.has_ended() {
            return Ok(());
        }
        // Stopped, it cannot have more children while we look for them.
        processes::signal(self.pid, Signal::STOP);
        let mut pids = processes::children(self.pid);
        pids.push(self.pid);
        for pid in &pids {
            processes::signal(*pid, Signal::KILL);
        }
        self.until_ended(Duration::from_secs(STOP_SECONDS_MAX))
            .await;
        processes::until_gone(&pids, Duration::from_secs(STOP_SECONDS_MAX)).await;
        Ok(())
    }

    async fn ended_or_killed(mut self) -> Result<(), Error> {
        if self
            .until_ended(Duration::from_secs(STOP_SECONDS_MAX))
            .await
        {
            return Ok(());
        }
        tracing::warn!(
            server = self.server,
            pid = self.pid,
            seconds = STOP_SECONDS_MAX,
            "a server did not end by itself and is killed"
        );
        self.kill().await
    }

    async fn until_ended(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.has_ended() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    fn not_started(&self, reason: &str) -> Error {
        Error::NotStarted {
            server: self.server,
            reason: reason.to_owned(),
            log: self.log.clone(),
            log_end: self.log_end().unwrap_or_default(),
        }
    }

    fn log_end(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        let from = self.log_start.max(length.saturating_sub(LOG_END_BYTES_MAX));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_END_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(last_lines(
            &String::from_utf8_lossy(&bytes),
            LOG_END_LINES_MAX,
        ))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.pipe = None;
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        if matches!(shell.try_wait(), Ok(None)) {
            // Without a wait it would stay as a zombie for as long as we live.
            let reaper = std::thread::Builder::new().name("devservices-reaper".to_owned());
            let _ = reaper.spawn(move || shell.wait());
        }
    }
}

/// Without its comments, which `ps` would show.
fn script() -> String {
    let lines = include_str!("supervisor.sh").lines();
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    code.collect::<Vec<_>>().join("\n")
}

fn open_log(launch: &Launch) -> Result<(File, u64), Error> {
    let open = |truncate: bool| {
        OpenOptions::new()
            .create(true)
            .append(!truncate)
            .write(true)
            .truncate(truncate)
            .mode(0o600)
            .open(&launch.log)
            .map_err(Error::file("open the log", &launch.log))
    };
    let mut file = open(false)?;
    let mut length = file.metadata().map_or(0, |data| data.len());
    if length > LOG_BYTES_MAX {
        open(true)?;
        file = open(false)?;
        length = 0;
    }
    Ok((file, length))
}

/// For a throw-away server that is dropped: while it runs, its supervisor deletes
/// the directory; else nobody but us does.
pub(crate) fn discard(running: &mut Option<Supervised>, trash: &std::path::Path) {
    let runs = running.as_mut().is_some_and(|server| !server.has_ended());
    if !runs && let Err(error) = std::fs::remove_dir_all(trash) {
        tracing::debug!(directory = %trash.display(), %error, "a temporary folder stays");
    }
}
