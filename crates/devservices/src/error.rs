//! What can go wrong, in words that say what to do about it. Nothing here
//! carries a password: logs and command lines do not hold any.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{programs} cannot be found on this machine. {advice}")]
    Missing { programs: String, advice: String },

    #[error("`{command}` failed. Run it yourself to see why, then try again. It said:\n{output}")]
    Command { command: String, output: String },

    #[error(
        "Headwater is already running in {}{}. Stop it there (Ctrl-C), or use another folder",
        folder.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    AlreadyRunning { folder: PathBuf, pid: Option<u32> },

    #[error(
        "{server} did not start: {reason}. Its log, {}, ends with:\n{log_end}",
        log.display()
    )]
    NotStarted {
        server: &'static str,
        reason: String,
        log: PathBuf,
        log_end: String,
    },

    #[error(
        "a former {server} (process {pid}) still uses {} and does not end. End that process, then try again",
        directory.display()
    )]
    FormerServer {
        server: &'static str,
        pid: u32,
        directory: PathBuf,
    },

    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody`. \
         Add one (`useradd --system postgres`), or run as another user"
    )]
    NoUnprivilegedUser,

    #[error(
        "no temporary folder can be entered by the user `{user}`, which PostgreSQL runs as. \
         Point TMPDIR to one that everybody may enter, such as /tmp"
    )]
    NoTemporaryFolder { user: String },

    #[error(
        "this folder is a copy of {}, whose database is running, so it cannot be copied now. \
         Stop Headwater there, then try again",
        original.display()
    )]
    OriginalRunning { original: PathBuf },

    #[error(
        "{} cannot be read ({source}). Put it right, or delete it: new passwords and ports are made then",
        path.display()
    )]
    Record {
        path: PathBuf,
        source: serde_json::Error,
    },

    #[error(
        "{} cannot be used: {why}. Rename it, or use another folder",
        folder.display()
    )]
    Folder { folder: PathBuf, why: String },

    #[error(
        "the disk of {} has {megabytes} MiB left, and new servers need {wanted_megabytes}. \
         Free space, or use a folder on another disk",
        folder.display()
    )]
    NoRoom {
        folder: PathBuf,
        megabytes: u64,
        wanted_megabytes: u64,
    },

    #[error("cannot {action} {}: {source}{}", path.display(), mending(source))]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("the system refused: cannot {action}: {source}")]
    System {
        action: &'static str,
        source: io::Error,
    },
}

/// What mends a file that cannot be used.
fn mending(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ". It is read-only or another user's: run as its owner, or in a folder that you may \
             write to"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ". Free space, or use a folder on another disk"
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            ". Something else is in its place: move that away, or use another folder"
        }
        ErrorKind::InvalidFilename => ". Use a folder with a shorter path",
        _ => "",
    }
}

impl Error {
    /// For `map_err`: what was being done to which file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { action, source }
    }

    /// Another process took the port between our choosing and the server's binding.
    pub(crate) fn is_port_taken(&self) -> bool {
        // As glibc and as musl say it.
        let texts = ["Address already in use", "Address in use"];
        matches!(self, Error::NotStarted { log_end, .. }
            if texts.iter().any(|text| log_end.contains(text)))
    }
}
