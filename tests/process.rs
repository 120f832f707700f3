//! Runs the `headwater` program on servers of a test.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use testkit::Servers;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_headwater");
pub const SECRET: &str = "a token secret of tests, which is long enough";

/// Settings of the servers and nothing else from this process's environment.
pub fn environment(servers: &Servers) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", servers.database.clone()),
        ("REDIS_LOG_URL", servers.redis_log.clone()),
        ("REDIS_VIEWS_URL", servers.redis_views.clone()),
        ("KEY_PREFIX", servers.prefix.clone()),
        ("TOKEN_SECRET", SECRET.into()),
        ("CURSOR_SECRET", SECRET.into()),
        ("LISTEN_ADDRESS", "127.0.0.1:0".into()),
        // A test does in a second what people do in hours.
        ("LIMIT_ANONYMOUS", "off".into()),
        ("LIMIT_ACCOUNT", "off".into()),
        ("LIMIT_REGISTRATION", "off".into()),
    ]
}

/// `headwater` with a clean environment, in `folder`.
pub fn command(arguments: &[&str], environment: &[(&str, String)], folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_clear();
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
    Output {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process that goes on; killed when dropped.
pub struct Running {
    pub child: Child,
    /// Where its API listens; empty where it has none.
    pub api: String,
    /// What it has said on standard error.
    pub said: Arc<Mutex<String>>,
}

impl Running {
    /// Starts and waits for a line that contains `ready`.
    pub async fn start(
        arguments: &[&str],
        environment: &[(&str, String)],
        folder: &Path,
        ready: &str,
    ) -> Self {
        let mut command = tokio::process::Command::from(command(arguments, environment, folder));
        command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut api, mut all) = (String::new(), String::new());
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = tokio::time::timeout(left, lines.next_line()).await;
            let Ok(Ok(Some(line))) = line else {
                panic!("{arguments:?} did not say {ready:?}:\n{all}");
            };
            if let Some(at) = line.find("http://").filter(|_| line.starts_with("API")) {
                api = line[at..].trim_end_matches("/v1").to_owned();
            }
            all.push_str(&line);
            all.push('\n');
            if line.contains(ready) {
                break;
            }
        }
        // Somebody must read on, or the process blocks on a full pipe.
        let said = Arc::new(Mutex::new(all));
        let goes_on = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *goes_on.lock() += &line;
                *goes_on.lock() += "\n";
            }
        });
        Self { child, api, said }
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
