//! How other subcommands find the `up` of their folder: a note that it leaves
//! under `.headwater/`, readable by its user only.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use devservices::{Urls, holder};
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use crate::settings::{
    ARCHIVE_URL, CORS_ORIGINS, CURSOR_SECRET, DATABASE_URL, LOG_SECRET, MAIL_URL, REDIS_LOG_URL,
    REDIS_VIEWS_URL, TOKEN_SECRET, VAULT_SECRET,
};

const FOLDER: &str = ".headwater";
const NOTE: &str = "up.json";
const ARCHIVE: &str = "archive";
const MAIL: &str = "mail";
const SECRETS: &str = "secrets.json";
const SECRET_BYTES: usize = 32;
const NOTE_BYTES_MAX: u64 = 64 * 1_024;

/// What a running `up` is reached by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Running {
    pub process: u32,
    pub api: String,
    pub urls: Urls,
    /// Where what the log need not keep goes.
    #[serde(default)]
    pub archive: String,
    /// Where letters go.
    #[serde(default)]
    pub mail: String,
    pub secrets: Secrets,
}

/// Made once for a folder, so that tokens, cursors and the log outlive a restart.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    pub token: String,
    pub cursor: String,
    /// Without it the folder's log cannot be read.
    pub log: String,
    /// Without it no personal text can be.
    pub vault: String,
}

impl Running {
    pub fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            DATABASE_URL => self.urls.database.clone(),
            REDIS_LOG_URL => self.urls.redis_log.clone(),
            REDIS_VIEWS_URL => self.urls.redis_views.clone(),
            ARCHIVE_URL => self.archive.clone(),
            MAIL_URL => self.mail.clone(),
            TOKEN_SECRET => self.secrets.token.clone(),
            CURSOR_SECRET => self.secrets.cursor.clone(),
            LOG_SECRET => self.secrets.log.clone(),
            VAULT_SECRET => self.secrets.vault.clone(),
            // Front-ends under development are served from here, on any port.
            CORS_ORIGINS => edge::cors::LOOPBACK.to_owned(),
            _ => return None,
        })
    }

    /// The `up` that runs in `folder` or in a folder around it. One that cannot be
    /// used is named, and passed over.
    pub fn find(folder: &Path) -> Option<Self> {
        folder
            .ancestors()
            .find_map(|folder| match Self::read(folder) {
                Ok(running) => running,
                Err(why) => {
                    eprintln!("headwater: {why:#}");
                    None
                }
            })
    }

    /// A killed `up` leaves its note behind, and its number may be another
    /// process's by now: the lock, which goes with the process, says who runs.
    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = note(folder);
        let not_readable = || format!("{} cannot be read", path.display());
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(error).with_context(|| {
                    let path = path.display();
                    format!("{path} is another user's: run this as who runs `headwater up` there")
                });
            }
            // Nothing is there, or something that is no note.
            Err(_) => return Ok(None),
        };
        if holder(folder).is_none() {
            return Ok(None);
        }
        let owner = file.metadata().with_context(not_readable)?.uid();
        // Who may write the note says where passwords and secrets go.
        anyhow::ensure!(
            owner == rustix::process::geteuid().as_raw(),
            "{} is another user's (number {owner}): run this as that user",
            path.display()
        );
        let mut text = String::new();
        let mut file = file.take(NOTE_BYTES_MAX);
        file.read_to_string(&mut text).with_context(not_readable)?;
        let running: Self = serde_json::from_str(&text).with_context(|| {
            let path = path.display();
            format!("{path} is damaged: stop the `headwater up` of that folder, and start it again")
        })?;
        Ok((holder(folder) == Some(running.process)).then_some(running))
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        write_private(&note(folder), &serde_json::to_vec_pretty(self)?)
    }

    pub fn remove(folder: &Path) {
        // Without the note nobody looks for us: nothing to do where it is gone.
        let _ = fs::remove_file(note(folder));
    }
}

impl Secrets {
    pub fn load_or_make(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FOLDER).join(SECRETS);
        if let Ok(text) = fs::read_to_string(&path) {
            let broken = || {
                format!(
                    "{} is damaged: put it back from a copy, since the log cannot be read \
                     without it",
                    path.display()
                )
            };
            return serde_json::from_str(&text).with_context(broken);
        }
        let secrets = Self {
            token: random_hex()?,
            cursor: random_hex()?,
            log: random_hex()?,
            vault: random_hex()?,
        };
        write_private(&path, &serde_json::to_vec_pretty(&secrets)?)?;
        Ok(secrets)
    }
}

/// From now on what this process writes, and what it starts, is for its user alone.
pub fn write_for_oneself() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The folders of what `up` keeps beside its servers, for its user alone; also
/// those that were there.
pub fn make_folders(folder: &Path) -> anyhow::Result<()> {
    for name in [ARCHIVE, MAIL] {
        let path = folder.join(FOLDER).join(name);
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&path);
        let alone = fs::Permissions::from_mode(0o700);
        made.and_then(|()| fs::set_permissions(&path, alone))
            .with_context(|| format!("{} cannot be made", path.display()))?;
    }
    Ok(())
}

pub fn archive_url(folder: &Path) -> String {
    kernel::file_url(&folder.join(FOLDER).join(ARCHIVE))
}

pub fn mail_url(folder: &Path) -> String {
    kernel::file_url(&folder.join(FOLDER).join(MAIL))
}

fn note(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(NOTE)
}

fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(hex::encode(bytes))
}

/// Whole or not at all, for its user only.
fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("{} cannot be written", fresh.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}
