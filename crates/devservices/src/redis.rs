//! One Redis server. Speaks just enough of its protocol to know that it answers.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::account::Account;
use crate::ports::{self, PORT_TRIES_MAX};
use crate::supervisor::{self, Launch, Supervised};
use crate::{Error, Programs, processes, record};

const NAME: &str = "Redis";
const PROGRAM_NAMES: [&str; 2] = ["redis-server", "valkey-server"];
const CONFIG: &str = "redis.conf";
const LOG: &str = "redis.log";
const VIEWS_MEGABYTES: u32 = 512;
const PROBE_BYTES_MAX: u64 = 64 * 1024;
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisRole {
    /// Keeps facts: what it has answered is on the disk.
    Log,
    /// Keeps what can be built again, in bounded memory and on no disk.
    Views,
}

#[derive(Clone)]
pub struct RedisOptions {
    pub program: PathBuf,
    pub role: RedisRole,
    /// Made if it is not there; holds the configuration, the log and the data.
    pub directory: PathBuf,
    /// Letters and digits only: it goes into the URL as it is.
    pub password: Option<String>,
    /// Taken if it is free.
    pub port: Option<u16>,
    /// The memory of a views server.
    pub memory_megabytes: u32,
    /// Further lines of configuration, which win over the role's.
    pub lines: Vec<String>,
    throwaway: bool,
}

impl RedisOptions {
    pub fn new(programs: &Programs, role: RedisRole, directory: PathBuf) -> RedisOptions {
        RedisOptions {
            program: programs.redis_server.clone(),
            role,
            directory,
            password: None,
            port: None,
            memory_megabytes: VIEWS_MEGABYTES,
            lines: Vec::new(),
            throwaway: false,
        }
    }

    /// A server in a temporary folder of its own, deleted with it.
    pub fn throwaway(programs: &Programs, role: RedisRole) -> Result<RedisOptions, Error> {
        let directory = Account::Oneself.temporary_directory("redis")?;
        let mut options = RedisOptions::new(programs, role, directory);
        options.throwaway = true;
        Ok(options)
    }

    /// Adds a line of configuration, such as `appendfsync everysec`.
    pub fn line(mut self, line: &str) -> RedisOptions {
        self.lines.push(line.to_owned());
        self
    }

    pub fn random_password(mut self) -> Result<RedisOptions, Error> {
        self.password = Some(record::random_hex(record::PASSWORD_BYTES)?);
        Ok(self)
    }

    fn config(&self, port: u16) -> Result<String, Error> {
        let mut text = format!(
            "# Written at every start: edits are lost.\n\
             bind 127.0.0.1\nprotected-mode yes\nport {port}\ndaemonize no\n\
             set-proc-title no\nlogfile {LOG}\npidfile redis.pid\nsave \"\"\n"
        );
        text.push_str(match self.role {
            RedisRole::Log => {
                "appendonly yes\nappendfsync always\nno-appendfsync-on-rewrite no\n\
                 aof-load-truncated yes\nauto-aof-rewrite-percentage 100\n\
                 maxmemory-policy noeviction\nhash-max-listpack-entries 512\n"
            }
            RedisRole::Views => "appendonly no\nmaxmemory-policy volatile-lru\n",
        });
        // Writing to a String cannot fail.
        if self.role == RedisRole::Views {
            let _ = writeln!(text, "maxmemory {}mb", self.memory_megabytes);
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "requirepass \"{password}\"");
        }
        if self
            .lines
            .iter()
            .any(|line| line.starts_with("cluster-enabled"))
        {
            // By default it is the port plus 10000, which may be above 65535.
            let _ = writeln!(text, "cluster-port {}", ports::choose(None)?);
        }
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        Ok(text)
    }
}

/// A Redis server. Dropping it ends the server soon after; [`RedisServer::stop`]
/// waits for its end.
pub struct RedisServer {
    options: RedisOptions,
    port: u16,
    pid: u32,
    url: String,
    running: Option<Supervised>,
}

impl RedisServer {
    pub async fn start(options: RedisOptions) -> Result<RedisServer, Error> {
        let mut server = RedisServer {
            options,
            port: 0,
            pid: 0,
            url: String::new(),
            running: None,
        };
        let directory = &server.options.directory;
        Account::Oneself.own_directory(directory)?;
        processes::end_former(NAME, &PROGRAM_NAMES, Signal::TERM, directory).await?;

        let mut tries = 1;
        loop {
            let preferred = server.options.port.filter(|_| tries == 1);
            server.port = ports::choose(preferred)?;
            match server.launch().await {
                Err(error) if error.is_port_taken() && tries < PORT_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        server.url = match &server.options.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", server.port),
            None => format!("redis://127.0.0.1:{}/", server.port),
        };
        Ok(server)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the server that runs, or ran last.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// Further lines of configuration, in place of those it had, from the next
    /// start on.
    pub fn set_lines(&mut self, lines: Vec<String>) {
        self.options.lines = lines;
    }

    /// Ends the server as a crash would.
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

    /// Lets the server save and end. Its data stays, for a [`RedisServer::restart`].
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

    async fn launch(&mut self) -> Result<(), Error> {
        let options = &self.options;
        let config = options.directory.join(CONFIG);
        record::write_private(&config, options.config(self.port)?.as_bytes())?;
        let mut running = Supervised::start(&Launch {
            server: NAME,
            program: options.program.clone(),
            arguments: vec![config_argument(&options.directory)],
            directory: options.directory.clone(),
            log: options.directory.join(LOG),
            account: Account::Oneself,
            stop: Signal::TERM,
            orphaned: "TERM",
            trash: options.throwaway.then(|| options.directory.clone()),
        })?;
        let pid = running.pid();
        let (port, password) = (self.port, options.password.as_deref());
        running
            .until_ready(async || answers(port, password, pid).await.unwrap_or(false))
            .await?;
        self.pid = pid;
        self.running = Some(running);
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.options.throwaway {
            supervisor::discard(&mut self.running, &self.options.directory);
        }
    }
}

/// Redis takes a path with one of these for a pattern, and where no file fits it starts
/// with its own defaults: on every address, without a password.
const PATTERN_BYTES: &[u8] = b"*?[";

/// How the server is given its configuration: relative to its folder, or as a pattern
/// that the file's path alone fits.
fn config_argument(directory: &Path) -> OsString {
    let path = directory.as_os_str().as_bytes();
    if !path.iter().any(|byte| PATTERN_BYTES.contains(byte)) {
        return CONFIG.into();
    }
    let path = directory.join(CONFIG);
    let mut pattern = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if PATTERN_BYTES.contains(byte) || matches!(byte, b'\\' | b']') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    OsString::from_vec(pattern)
}

/// Whether the server on this port takes commands and is the one with this pid:
/// where another took the port first, it is the other that answers.
async fn answers(port: u16, password: Option<&str>, pid: u32) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    if let Some(password) = password {
        stream
            .write_all(format!("AUTH {password}\r\n").as_bytes())
            .await?;
    }
    // While it loads its data, PING is refused and INFO is not.
    stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n").await?;
    let mut bytes = Vec::new();
    let mut limited = stream.take(PROBE_BYTES_MAX);
    // QUIT makes the server close, which is the end that we read to.
    let _ = tokio::time::timeout(PROBE_TIMEOUT, limited.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes);
    let ours = format!("process_id:{pid}");
    Ok(text.lines().any(|line| line == "+PONG") && text.lines().any(|line| line == ours))
}
