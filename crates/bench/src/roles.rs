//! The product as it is run: the binary's roles as processes of their own, with
//! their settings in the environment. It refuses to link any of it.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use devservices::Urls;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::wait::{self, until};

pub const TOKEN_SECRET: &str = "the benchmark signs its tokens with this, for all to see";
const VAULT_SECRET: &str = "the benchmark wraps its keys with this one for all to see";
pub const LOG_SECRET: &str = "the benchmark signs its log with this one, for all to see";
pub const CURSOR_SECRET: &str = "the benchmark signs its cursors with this, for all to see";
pub const KEY_PREFIX: &str = "hw";
const START_SECONDS_MAX: u64 = 30;
const END_SECONDS_MAX: u64 = 30;

/// How to start a build's roles on one set of servers.
#[derive(Clone)]
pub struct Launcher {
    pub binary: PathBuf,
    pub folder: PathBuf,
    pub urls: Urls,
}

/// A running process. Dropping it kills it.
pub struct Role {
    child: Child,
    log: PathBuf,
}

impl Launcher {
    /// Runs a subcommand to its end; what it says is shown only if it fails.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.command(arguments).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "headwater {}: {said}",
            arguments.join(" ")
        );
        Ok(())
    }

    pub async fn serve(&self) -> anyhow::Result<(Role, SocketAddr)> {
        let mut role = self.start("serve", &[])?;
        let address = role.until_said("http://").await?;
        let address = address.split('/').next().unwrap_or_default().parse()?;
        Ok((role, address))
    }

    /// `settings` beside the usual ones.
    pub async fn work(&self, settings: &[(&str, &str)]) -> anyhow::Result<Role> {
        let mut role = self.start("work", settings)?;
        role.until_said("works on the log").await?;
        Ok(role)
    }

    fn start(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Role> {
        let log = self.folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = self.command(&[name]);
        command.stdout(Stdio::null()).stderr(file);
        command.envs(settings.iter().copied());
        let child = command.spawn().context("headwater cannot be started")?;
        Ok(Role { child, log })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .env("DATABASE_URL", &self.urls.database)
            .env("REDIS_LOG_URL", &self.urls.redis_log)
            .env("REDIS_VIEWS_URL", &self.urls.redis_views)
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("CURSOR_SECRET", CURSOR_SECRET)
            .env("LOG_SECRET", LOG_SECRET)
            .env("VAULT_SECRET", VAULT_SECRET)
            .env("KEY_PREFIX", KEY_PREFIX)
            // Counted as everywhere, and never enough of.
            .env("LIMIT_ANONYMOUS", "60000000/60")
            .env("LIMIT_ACCOUNT", "60000000/60")
            .env("LIMIT_ACCOUNT_BYTES", "1000000000/1000")
            .env("LIMIT_SIGN_IN", "off")
            .env("LIMIT_REGISTRATION", "off")
            .env("LIMIT_PASSWORD_HASHES", "off")
            .env("LISTEN_ADDRESS", "127.0.0.1:0");
        command
    }
}

impl Role {
    pub fn process(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Lets it end what is under way.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = Pid::from_raw(self.process() as i32) {
            kill_process(pid, Signal::TERM)?;
        }
        let patience = Duration::from_secs(END_SECONDS_MAX);
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(ended) => ended.map(drop).context("a process did not end well"),
            Err(_) => {
                let end = last_line(&self.log);
                self.child.kill().await?;
                bail!("a process did not stop within {END_SECONDS_MAX} s; it said last: {end}")
            }
        }
    }

    /// The rest of the first line after `word`.
    async fn until_said(&mut self, word: &str) -> anyhow::Result<String> {
        let log = self.log.clone();
        let child = &mut self.child;
        let said = until("a process starts", START_SECONDS_MAX, async || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let found = text
                .split_once(word)
                .and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((rest, _)) = found {
                return Ok(Some(rest.to_owned()));
            }
            if let Some(status) = child.try_wait()? {
                bail!("a process ended at once, {status}: {text}");
            }
            Ok(wait::NOT_YET)
        });
        said.await
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}
