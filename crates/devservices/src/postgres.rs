//! One PostgreSQL server. Runs it; `cluster.rs` makes its data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::account::Account;
use crate::cluster::{self, DATABASE};
use crate::ports::{self, PORT_TRIES_MAX};
use crate::supervisor::{self, Launch, Supervised};
use crate::{Error, Programs, processes};

const NAME: &str = "PostgreSQL";
const PROGRAM_NAMES: [&str; 2] = ["postgres", "postmaster"];
const LOG: &str = "postgres.log";
/// In `postmaster.pid`, counted from 0.
const STATUS_LINE: usize = 7;

const COMMON: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    // A socket's path is limited to 107 bytes; nobody needs one.
    "unix_socket_directories=",
    "logging_collector=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "jit=off",
];
const PERSISTENT: [&str; 4] = [
    "shared_buffers=256MB",
    "max_connections=200",
    "max_wal_size=2GB",
    "checkpoint_timeout=15min",
];
/// `synchronous_commit` stays on: it costs a write, not an fsync, and without it
/// a killed server forgets what it has acknowledged, which crash tests would
/// blame on us.
const THROWAWAY: [&str; 7] = [
    "shared_buffers=64MB",
    "max_connections=300",
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=512MB",
];

pub(crate) struct PostgresOptions {
    pub programs: Programs,
    pub account: Account,
    /// Holds the data directory and the log; only the account may enter it.
    pub directory: PathBuf,
    /// None: everybody on this machine is trusted.
    pub password: Option<String>,
    /// Taken if it is free.
    pub port: Option<u16>,
    pub throwaway: bool,
}

/// A PostgreSQL server. Dropping it ends the server soon after;
/// [`PostgresServer::stop`] waits for its end.
pub struct PostgresServer {
    options: PostgresOptions,
    port: u16,
    pid: u32,
    url: String,
    running: Option<Supervised>,
}

impl PostgresServer {
    /// A server in a temporary folder, deleted with it. Made for speed: it loses
    /// data when the machine crashes, though not when only it is killed.
    pub async fn throwaway(programs: &Programs) -> Result<PostgresServer, Error> {
        let account = Account::for_postgres()?;
        let directory = account.temporary_directory("postgres")?;
        let server = PostgresServer::new(PostgresOptions {
            programs: programs.clone(),
            account,
            directory,
            password: None,
            port: None,
            throwaway: true,
        });
        let options = &server.options;
        cluster::copy_template(programs, &options.account, &options.directory).await?;
        server.start().await
    }

    /// A server on data that stays, that `cluster::ensure` has made and that
    /// [`PostgresServer::end_former`] has freed.
    pub(crate) async fn persistent(options: PostgresOptions) -> Result<PostgresServer, Error> {
        PostgresServer::new(options).start().await
    }

    /// Frees the data in this directory from a server that a killed process left.
    pub(crate) async fn end_former(directory: &Path) -> Result<(), Error> {
        let data = cluster::data(directory);
        processes::end_former(NAME, &PROGRAM_NAMES, Signal::INT, &data).await?;
        forget_foreign_postmaster(&data)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the postmaster that runs, or ran last.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its data directory and its log are.
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// Ends the postmaster and its backends as a crash would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        match self.running.take() {
            Some(running) => running.kill().await,
            None => Ok(()),
        }
    }

    /// Starts it on the same port with the same data, after a stop if it runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    /// PostgreSQL's fast shutdown. The data stays, for a
    /// [`PostgresServer::restart`].
    pub async fn stop(&mut self) -> Result<(), Error> {
        match self.running.take() {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }

    /// The last stop: a throw-away server's data goes with it.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        match self.running.take() {
            Some(running) if self.options.throwaway => running.abandon().await,
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }

    fn new(options: PostgresOptions) -> PostgresServer {
        PostgresServer {
            options,
            port: 0,
            pid: 0,
            url: String::new(),
            running: None,
        }
    }

    async fn start(mut self) -> Result<PostgresServer, Error> {
        let mut tries = 1;
        loop {
            let preferred = self.options.port.filter(|_| tries == 1);
            self.port = ports::choose(preferred)?;
            match self.launch().await {
                Err(error) if error.is_port_taken() && tries < PORT_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let address = format!("127.0.0.1:{}/{DATABASE}", self.port);
        self.url = match &self.options.password {
            Some(password) => format!("postgres://{DATABASE}:{password}@{address}"),
            None => format!("postgres://{DATABASE}@{address}"),
        };
        Ok(self)
    }

    async fn launch(&mut self) -> Result<(), Error> {
        let options = &self.options;
        let data = cluster::data(&options.directory);
        let mut running = Supervised::start(&Launch {
            server: NAME,
            program: options.programs.postgres(),
            arguments: self.arguments(&data),
            directory: options.directory.clone(),
            log: options.directory.join(LOG),
            account: options.account.clone(),
            stop: Signal::INT,
            orphaned: if options.throwaway { "QUIT" } else { "INT" },
            trash: options.throwaway.then(|| options.directory.clone()),
        })?;
        let (pid, port) = (running.pid(), self.port);
        running
            .until_ready(async || answers(&data, pid, port).await)
            .await?;
        self.pid = pid;
        self.running = Some(running);
        Ok(())
    }

    fn arguments(&self, data: &Path) -> Vec<OsString> {
        let port = format!("port={}", self.port);
        let own: &[&str] = match self.options.throwaway {
            true => &THROWAWAY,
            false => &PERSISTENT,
        };
        let settings = COMMON.iter().chain(own).copied().chain([port.as_str()]);
        let settings = settings.flat_map(|setting| ["-c".into(), setting.into()]);
        [OsString::from("-D"), data.into()]
            .into_iter()
            .chain(settings)
            .collect()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.options.throwaway {
            supervisor::discard(&mut self.running, &self.options.directory);
        }
    }
}

/// Whether this very postmaster says that it is ready, and lets one connect.
async fn answers(data: &Path, pid: u32, port: u16) -> bool {
    let Ok(text) = std::fs::read_to_string(pid_file(data)) else {
        return false;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pid = pid.to_string();
    let ready = lines.first() == Some(&pid.as_str()) && lines.get(STATUS_LINE) == Some(&"ready");
    ready && TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// PostgreSQL takes any process with the pid in `postmaster.pid` for a postmaster
/// of these data and refuses to start: also one that got the number later, one
/// that serves the folder these data were copied from, or a zombie. Our caller
/// has seen that no postmaster works here. One that is dead PostgreSQL handles.
fn forget_foreign_postmaster(data: &Path) -> Result<(), Error> {
    let path = pid_file(data);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    if pid.is_some_and(processes::exists) {
        std::fs::remove_file(&path).map_err(Error::file("delete", &path))?;
    }
    Ok(())
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}
