//! What a folder remembers between starts: passwords, ports, and where its
//! PostgreSQL data is. One file, `servers.json`, that only its owner may read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

pub(crate) const PASSWORD_BYTES: usize = 16;
const ID_BYTES: usize = 8;

#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    /// Names the folder's data outside the folder, wherever the folder moves.
    pub id: String,
    pub log: Access,
    pub views: Access,
    pub database: Access,
    /// None: `postgres` beside this file.
    pub postgres_directory: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Access {
    pub password: String,
    /// The one of the last start.
    pub port: Option<u16>,
}

impl Record {
    pub fn new() -> Result<Record, Error> {
        Ok(Record {
            id: Record::new_id()?,
            log: Access::new()?,
            views: Access::new()?,
            database: Access::new()?,
            postgres_directory: None,
        })
    }

    pub fn new_id() -> Result<String, Error> {
        random_hex(ID_BYTES)
    }

    pub fn read(home: &Path) -> Result<Option<Record>, Error> {
        let path = path(home);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| Error::Record { path, source })
    }

    pub fn write(&self, home: &Path) -> Result<(), Error> {
        let path = path(home);
        let text = serde_json::to_vec_pretty(self).map_err(|source| Error::Record {
            path: path.clone(),
            source,
        })?;
        write_private(&path, &text)
    }
}

impl Access {
    fn new() -> Result<Access, Error> {
        Ok(Access {
            password: random_hex(PASSWORD_BYTES)?,
            port: None,
        })
    }
}

pub(crate) fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|error| Error::System {
        action: "give random numbers",
        source: std::io::Error::other(error),
    })?;
    Ok(hex::encode(buffer))
}

/// Writes a file that only its owner may read: all of it or nothing.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(Error::file("make", &new))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::file("write", &new))?;
    std::fs::rename(&new, path).map_err(Error::file("write", path))
}

fn path(home: &Path) -> PathBuf {
    home.join("servers.json")
}
