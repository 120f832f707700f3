//! Where the server programs are. Looks, but installs nothing (`install.rs` does).

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the server programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    pub redis_server: PathBuf,
    /// The folder with `initdb` and `postgres`.
    pub postgres_bin: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Redis,
    Postgres,
}

impl Programs {
    /// Looks in `$PATH`, then where packages put them: Debian keeps PostgreSQL
    /// out of `$PATH`, and `sbin` is often not in a user's.
    pub fn find() -> Result<Programs, Vec<Program>> {
        let redis_server = find_redis();
        let postgres_bin = find_postgres();
        match (redis_server, postgres_bin) {
            (Some(redis_server), Some(postgres_bin)) => Ok(Programs {
                redis_server,
                postgres_bin,
            }),
            (redis, postgres) => {
                let missing = [
                    redis.is_none().then_some(Program::Redis),
                    postgres.is_none().then_some(Program::Postgres),
                ];
                Err(missing.into_iter().flatten().collect())
            }
        }
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.postgres_bin.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.postgres_bin.join("postgres")
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Program::Redis => "Redis",
            Program::Postgres => "PostgreSQL",
        })
    }
}

/// A program of this name in `$PATH` or in the usual folders.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    folders()
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn find_redis() -> Option<PathBuf> {
    in_path("redis-server").or_else(|| in_path("valkey-server"))
}

fn find_postgres() -> Option<PathBuf> {
    folders()
        .find(|folder| has_postgres(folder))
        .map(|folder| behind_links(&folder).unwrap_or(folder))
        .or_else(|| newest_versioned("/usr/lib/postgresql", "", "bin"))
        .or_else(|| newest_versioned("/usr", "pgsql-", "bin"))
        .or_else(|| newest_versioned("/usr/libexec", "postgresql", ""))
        .or_else(|| newest_versioned("/opt/homebrew/opt", "postgresql@", "bin"))
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .collect();
    let usual = [
        "/usr/local/bin",
        "/usr/local/sbin",
        "/usr/bin",
        "/usr/sbin",
        "/opt/homebrew/bin",
    ];
    named
        .into_iter()
        .chain(usual.into_iter().map(PathBuf::from))
}

/// The highest N for which `parent/prefixN/suffix` holds PostgreSQL.
fn newest_versioned(parent: &str, prefix: &str, suffix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(parent).ok()?;
    let found = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let version: u32 = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
        let folder = match suffix {
            "" => entry.path(),
            suffix => entry.path().join(suffix),
        };
        has_postgres(&folder).then_some((version, folder))
    });
    found.max().map(|(_, folder)| folder)
}

/// Where the programs really are: some folders of `$PATH` hold links to a few.
fn behind_links(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("postgres").canonicalize().ok()?;
    let real = program.parent().filter(|real| has_postgres(real))?;
    Some(real.to_owned())
}

fn has_postgres(folder: &Path) -> bool {
    is_program(&folder.join("postgres")) && is_program(&folder.join("initdb"))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
