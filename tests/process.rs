//! Runs the `headwater` program on servers of a test.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use testkit::{
    Servers,
    secrets::{self, TOKEN_SECRET},
};
use tokio::process::Child;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_headwater");

/// Settings of the servers and nothing else from this process's environment.
pub fn environment(servers: &Servers) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", servers.database.clone()),
        ("REDIS_LOG_URL", servers.redis_log.clone()),
        ("REDIS_VIEWS_URL", servers.redis_views.clone()),
        ("KEY_PREFIX", servers.prefix.clone()),
        ("TOKEN_SECRET", TOKEN_SECRET.into()),
        ("CURSOR_SECRET", TOKEN_SECRET.into()),
        ("LOG_SECRET", secrets::LOG_SECRET.into()),
        ("VAULT_SECRET", secrets::VAULT_SECRET.into()),
        ("LISTEN_ADDRESS", "127.0.0.1:0".into()),
        // A test does in a second what people do in hours.
        ("LIMIT_ANONYMOUS", "off".into()),
        ("LIMIT_ACCOUNT", "off".into()),
        ("LIMIT_ACCOUNT_BYTES", "off".into()),
        ("LIMIT_REGISTRATION", "off".into()),
        ("LIMIT_PASSWORD_HASHES", "off".into()),
    ]
}

/// `headwater` with a clean environment, in `folder`.
pub fn command(arguments: &[&str], environment: &[(&str, String)], folder: &Path) -> Command {
    let mut command = as_program(PROGRAM, environment, folder);
    command.args(arguments);
    command
}

/// Any program, in what `headwater` runs in.
pub fn as_program(program: &str, environment: &[(&str, String)], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    command
}

pub struct Output {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Runs to the end.
pub async fn run(arguments: &[&str], environment: &[(&str, String)], folder: &Path) -> Output {
    let mut command = tokio::process::Command::from(command(arguments, environment, folder));
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    hear(arguments, environment, &output.stderr);
    let out = String::from_utf8(output.stdout).unwrap();
    secrets::printed(&out);
    Output {
        status: output.status.code().unwrap_or(-1),
        out,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What `headwater` said and archived must hold no secret.
pub fn hear(arguments: &[&str], environment: &[(&str, String)], said: &[u8]) {
    secrets::heard(&format!("{arguments:?}"), said);
    let mut archives = environment
        .iter()
        .filter(|(name, _)| *name == "ARCHIVE_URL");
    let folder = archives.find_map(|(_, url)| url.strip_prefix("file://"));
    if let Some(folder) = folder {
        secrets::heard_of_archive(Path::new(folder));
    }
}

/// A process that goes on; killed when dropped.
pub struct Running {
    pub child: Child,
    /// Where its API listens; empty where it has none.
    pub api: String,
    /// Where its metrics are; empty where they are nowhere.
    pub metrics: String,
    /// What it says, at its most talkative.
    said: File,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Running {
    /// Starts and waits for a line that contains `ready`.
    pub async fn start(
        arguments: &[&str],
        environment: &[(&str, String)],
        folder: &Path,
        ready: &str,
    ) -> Self {
        let command = command(arguments, environment, folder);
        Self::spawn(command, arguments, environment, ready).await
    }

    /// Likewise, after what a shell does first.
    pub async fn start_after(
        shell: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
        folder: &Path,
        ready: &str,
    ) -> Self {
        let script = format!("{shell}\nexec \"$0\" \"$@\"");
        let mut command = as_program("/bin/sh", environment, folder);
        command.args(["-c", &script, PROGRAM]).args(arguments);
        Self::spawn(command, arguments, environment, ready).await
    }

    async fn spawn(
        mut command: Command,
        arguments: &[&str],
        environment: &[(&str, String)],
        ready: &str,
    ) -> Self {
        if !environment.iter().any(|(name, _)| *name == "TRACE_FILTER") {
            command.env("TRACE_FILTER", "trace");
        }
        let said = tempfile::tempfile().unwrap();
        command
            .stdin(Stdio::null())
            .stderr(said.try_clone().unwrap());
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn();
        let owned = |text: &str| text.to_owned();
        let mut running = Self {
            child: child.unwrap(),
            api: String::new(),
            metrics: String::new(),
            said,
            arguments: arguments.iter().copied().map(owned).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (owned(name), value.clone()))
                .collect(),
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let ended = running.child.try_wait().unwrap().is_some();
            let said = running.said();
            if said.contains(ready) {
                running.api = address(&said, "API").trim_end_matches("/v1").to_owned();
                running.metrics = address(&said, "metrics");
                return running;
            }
            let late = ended || Instant::now() > deadline;
            assert!(!late, "{arguments:?} did not say {ready:?}:\n{said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it said until now.
    pub fn said(&self) -> String {
        let mut bytes = vec![0; self.said.metadata().unwrap().len() as usize];
        // The child's place in the file stays where it is.
        let read = self.said.read_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    pub async fn serve(servers: &Servers, folder: &Path) -> Self {
        Self::start(&["serve"], &environment(servers), folder, "documentation").await
    }

    pub async fn work(servers: &Servers, folder: &Path) -> Self {
        Self::start(&["work"], &environment(servers), folder, "works on the log").await
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let signal = format!("-{name}");
        let status = Command::new("kill").args([&signal, &pid]).status();
        assert!(status.unwrap().success());
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) -> i32 {
        self.signal("TERM");
        self.stop_after_signal().await
    }

    pub async fn stop_after_signal(mut self) -> i32 {
        let end = tokio::time::timeout(Duration::from_secs(60), self.child.wait());
        let status = end.await.expect("it should stop when asked").unwrap();
        status.code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.start_kill();
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        let environment = self.environment.iter();
        let environment: Vec<_> = environment
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        hear(&arguments, &environment, self.said().as_bytes());
    }
}

/// The address in the line that begins with `what`; empty where there is none.
fn address(said: &str, what: &str) -> String {
    let line = said.lines().find(|line| line.starts_with(what));
    let line = line.unwrap_or_default();
    let at = line.find("http://").unwrap_or(line.len());
    line[at..].to_owned()
}
