//! The product's processes, as an operator runs them: one API, some workers,
//! each with a log file. It refuses to know why they are started or ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// How long a process may take to end in good order: it drains for 10 s.
const STOP_SECONDS_MAX: u64 = 12;
const LOG_LINES_SHOWN: usize = 5;

/// Where the product finds its servers, perhaps through proxies.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub database: String,
    pub log: String,
    pub views: String,
}

pub const TOKEN_SECRET: &str = "a token secret of trials, which is long enough";
pub const LOG_SECRET: &str = "a log secret of trials, which is as long as the others";
pub const VAULT_SECRET: &str = "a vault secret of trials that is as long as the others";
pub const CURSOR_SECRET: &str = "a cursor secret of trials, which is long enough";
pub const ISSUER: &str = "headwater";
pub const KEY_PREFIX: &str = "hw";
const DATABASE_CONNECTIONS: &str = "16";

/// How to start a process of one trial.
#[derive(Clone)]
pub struct Setting {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub addresses: Addresses,
    pub port: u16,
    pub push_followers_max: u32,
    /// Settings beside the usual ones.
    pub beside: Vec<(&'static str, String)>,
}

pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    log: PathBuf,
}

/// What a command that ends by itself has said.
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

/// How much of its machine a process holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub memory_megabytes: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Setting {
    /// `name` tells its log file; `subcommand` is one with its arguments, such as
    /// `serve`; `crash` arms a point.
    pub fn start(
        &self,
        name: &str,
        subcommand: &str,
        crash: Option<&str>,
    ) -> anyhow::Result<Process> {
        let log = self.folder.join(format!("{name}.log"));
        let output = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut command = self.command(subcommand);
        command.stdout(output.try_clone()?).stderr(output);
        if let Some(crash) = crash {
            command.env("HEADWATER_CRASH_AT", crash);
        }
        let child = command.spawn();
        let child =
            child.with_context(|| format!("{} cannot be started", self.program.display()))?;
        let pid = child.id().context("a process that ended at once")?;
        Ok(Process {
            name: name.to_owned(),
            child,
            pid,
            log,
        })
    }

    /// Runs a command to its end.
    pub async fn say(&self, subcommand: &str, patience: Duration) -> anyhow::Result<Said> {
        let ended = tokio::time::timeout(patience, self.command(subcommand).output()).await;
        let late = || format!("headwater {subcommand} did not end in {patience:?}");
        let output = ended.with_context(late)??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        })
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(subcommand.split(' '))
            .current_dir(&self.folder)
            .env("DATABASE_URL", &self.addresses.database)
            .env("REDIS_LOG_URL", &self.addresses.log)
            .env("REDIS_VIEWS_URL", &self.addresses.views)
            .env("LISTEN_ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("CURSOR_SECRET", CURSOR_SECRET)
            .env("LOG_SECRET", LOG_SECRET)
            .env("VAULT_SECRET", VAULT_SECRET)
            .env("TOKEN_ISSUER", ISSUER)
            .env("KEY_PREFIX", KEY_PREFIX)
            .env("LIMIT_ANONYMOUS", "off")
            .env("LIMIT_ACCOUNT", "off")
            .env("LIMIT_ACCOUNT_BYTES", "off")
            .env("LIMIT_SIGN_IN", "off")
            .env("LIMIT_REGISTRATION", "off")
            .env("LIMIT_PASSWORD_HASHES", "off")
            .env("DATABASE_CONNECTIONS", DATABASE_CONNECTIONS)
            .env("PUSH_FOLLOWERS_MAX", self.push_followers_max.to_string())
            .envs(self.beside.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

impl Process {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that has ended needs no signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Lets it end in good order, and says how it ended.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(STOP_SECONDS_MAX)).await
    }

    pub async fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        let late = || format!("{} did not end in {patience:?}", self.name);
        Ok(ended.with_context(late)??)
    }

    /// Whether it died at the point that it was armed with.
    pub fn crashed_at(&self, point: &str) -> bool {
        let line = format!("crash point {point}");
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().any(|l| l == line)
    }

    pub fn last_lines(&self) -> String {
        last_lines(&self.log)
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        let folder = Path::new("/proc").join(self.pid.to_string());
        let status = fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.unwrap_or_default()
        };
        Ok(Usage {
            memory_megabytes: field("VmHWM:") / 1_024,
            threads: field("Threads:"),
            descriptors: fs::read_dir(folder.join("fd"))?.count() as u64,
        })
    }
}

fn last_lines(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(LOG_LINES_SHOWN).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// The program, which cargo builds beside ours.
pub fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name("headwater");
    ensure!(
        path.exists(),
        "{} is not there; run `cargo build --package headwater` first",
        path.display()
    );
    Ok(path)
}
