//! The three servers of a folder, or of a test. Knows how they belong together;
//! `redis.rs` and `postgres.rs` know each of them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::place::{self, HOME};
use crate::postgres::PostgresOptions;
use crate::record::{Access, Record};
use crate::{Error, PostgresServer, Programs, RedisOptions, RedisRole, RedisServer, cluster};

const LOCK: &str = "lock";
const LOCK_BYTES_MAX: u64 = 32;
/// Who only looks whether it is held holds it for a moment.
const LOCK_MILLISECONDS_MAX: u64 = 500;
const LOCK_POLL_MILLISECONDS: u64 = 10;
/// PostgreSQL takes paths of 1,023 bytes, below this folder.
const FOLDER_BYTES_MAX: usize = 900;
/// PostgreSQL begins with about 60, and the log with none.
const ROOM_MEGABYTES_MIN: u64 = 128;
const MEGABYTE: u64 = 1024 * 1024;

/// The addresses of a running stack. They hold passwords.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    pub database: String,
    pub redis_log: String,
    pub redis_views: String,
}

/// A log Redis, a views Redis and a PostgreSQL. Dropping it ends them soon after;
/// [`Stack::stop`] waits for their end.
pub struct Stack {
    log: RedisServer,
    views: RedisServer,
    postgres: PostgresServer,
    urls: Urls,
    /// Held for as long as the servers run.
    _lock: Option<File>,
}

impl Stack {
    /// Starts, or starts again with all data kept, the servers of
    /// `folder/.headwater`. Only one process at a time has a folder's servers.
    pub async fn start(
        folder: &Path,
        programs: &Programs,
        say: &dyn Fn(&str),
    ) -> Result<Stack, Error> {
        let folder = folder
            .canonicalize()
            .map_err(Error::file("find the folder", folder))?;
        Stack::check_folder(&folder)?;
        let home = make_home(&folder)?;
        let lock = take_lock(&folder, &home).await?;

        let recorded = Record::read(&home)?;
        let password_lost = recorded.is_none();
        let mut record = match recorded {
            Some(record) => record,
            None => Record::new()?,
        };
        let place = place::choose(&folder, &mut record, say)?;
        let has_data = cluster::is_made(&cluster::data(&place.directory));
        if !has_data {
            check_room(&home)?;
            say("Making a new database.");
        }

        let database = async {
            let password = &record.database.password;
            PostgresServer::end_former(&place.directory).await?;
            cluster::ensure(programs, &place.account, &place.directory, password).await?;
            if has_data && password_lost {
                cluster::set_password(programs, &place.account, &place.directory, password).await?;
            }
            PostgresServer::persistent(PostgresOptions {
                programs: programs.clone(),
                account: place.account.clone(),
                directory: place.directory.clone(),
                password: Some(password.clone()),
                port: record.database.port,
                throwaway: false,
            })
            .await
        };
        let redis = |role, name, access: &Access| {
            let mut options = RedisOptions::new(programs, role, home.join(name));
            options.password = Some(access.password.clone());
            options.port = access.port;
            RedisServer::start(options)
        };
        if !password_lost || !has_data {
            // Before any data: a password that is not written down is lost.
            record.write(&home)?;
        }
        let (log, views, postgres) = tokio::try_join!(
            redis(RedisRole::Log, "redis-log", &record.log),
            redis(RedisRole::Views, "redis-views", &record.views),
            database,
        )?;

        record.log.port = Some(log.port());
        record.views.port = Some(views.port());
        record.database.port = Some(postgres.port());
        record.write(&home)?;
        Ok(Stack::of(log, views, postgres, Some(lock)))
    }

    /// Whether servers can work in a folder of this name: PostgreSQL makes no data
    /// below one with a line end, addresses are text, and paths have limits.
    pub fn check_folder(folder: &Path) -> Result<(), Error> {
        let why = match folder.to_str() {
            None => "its path is not UTF-8".to_owned(),
            Some(path) if path.chars().any(char::is_control) => {
                "its path has a line end or another control character".to_owned()
            }
            Some(path) if path.len() > FOLDER_BYTES_MAX => {
                format!("its path is longer than {FOLDER_BYTES_MAX} bytes")
            }
            Some(_) => return Ok(()),
        };
        let folder = folder.to_owned();
        Err(Error::Folder { folder, why })
    }

    /// Throw-away servers in temporary folders, deleted when they end. PostgreSQL
    /// is made for speed; the log keeps its promises.
    pub async fn throwaway(programs: &Programs) -> Result<Stack, Error> {
        let log = RedisOptions::throwaway(programs, RedisRole::Log)?;
        let views = RedisOptions::throwaway(programs, RedisRole::Views)?;
        let (log, views, postgres) = tokio::try_join!(
            RedisServer::start(log),
            RedisServer::start(views),
            PostgresServer::throwaway(programs),
        )?;
        Ok(Stack::of(log, views, postgres, None))
    }

    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    pub fn log(&mut self) -> &mut RedisServer {
        &mut self.log
    }

    pub fn views(&mut self) -> &mut RedisServer {
        &mut self.views
    }

    pub fn postgres(&mut self) -> &mut PostgresServer {
        &mut self.postgres
    }

    /// Lets all servers save and end; one that takes longer than
    /// [`STOP_SECONDS_MAX`](crate::STOP_SECONDS_MAX) is killed.
    pub async fn stop(self) -> Result<(), Error> {
        let (log, views, postgres) =
            tokio::join!(self.log.end(), self.views.end(), self.postgres.end());
        log.and(views).and(postgres)
    }

    fn of(
        log: RedisServer,
        views: RedisServer,
        postgres: PostgresServer,
        lock: Option<File>,
    ) -> Stack {
        let urls = Urls {
            database: postgres.url().to_owned(),
            redis_log: log.url().to_owned(),
            redis_views: views.url().to_owned(),
        };
        Stack {
            log,
            views,
            postgres,
            urls,
            _lock: lock,
        }
    }
}

fn make_home(folder: &Path) -> Result<std::path::PathBuf, Error> {
    let home = folder.join(HOME);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)
        .map_err(Error::file("make the folder", &home))?;
    let ignore = home.join(".gitignore");
    std::fs::write(&ignore, "*\n").map_err(Error::file("write", &ignore))?;
    Ok(home)
}

/// The process that has the servers of `folder`, if one has.
pub fn holder(folder: &Path) -> Option<u32> {
    let mut file = File::open(folder.join(HOME).join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => noted(&mut file),
        // Free, until a moment later.
        _ => None,
    }
}

fn noted(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    let _ = lock.take(LOCK_BYTES_MAX).read_to_string(&mut text);
    text.trim().parse().ok()
}

fn check_room(home: &Path) -> Result<(), Error> {
    let disk = rustix::fs::statvfs(home)
        .map_err(|error| Error::file("look at the disk of", home)(error.into()))?;
    let megabytes = disk.f_bavail.saturating_mul(disk.f_frsize) / MEGABYTE;
    match megabytes < ROOM_MEGABYTES_MIN {
        false => Ok(()),
        true => Err(Error::NoRoom {
            folder: home.to_owned(),
            megabytes,
            wanted_megabytes: ROOM_MEGABYTES_MIN,
        }),
    }
}

/// The lock goes with the process, however that ends. Its file names the process,
/// for the message only.
async fn take_lock(folder: &Path, home: &Path) -> Result<File, Error> {
    let path = home.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    let deadline = Instant::now() + Duration::from_millis(LOCK_MILLISECONDS_MAX);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(LOCK_POLL_MILLISECONDS)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::AlreadyRunning {
                    folder: folder.to_owned(),
                    pid: noted(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
        }
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(Error::file("write", &path))?;
    Ok(file)
}
