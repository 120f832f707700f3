//! The system user that PostgreSQL runs as: oneself, or, for root, whom it
//! refuses, an unprivileged one.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

const ENVIRONMENT_KEPT: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    Oneself,
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    pub fn for_postgres() -> Result<Account, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Account::Oneself);
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| find(&users, |user| user.name == name))
            .ok_or(Error::NoUnprivilegedUser)
    }

    /// For root, the user that existing data belongs to, if it is not root's.
    pub fn owner_of(data: &Path) -> Option<Account> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let owner = data.metadata().ok()?.uid();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        find(&users, |user| user.uid == owner && owner != 0)
    }

    pub fn name(&self) -> &str {
        match self {
            Account::Oneself => "oneself",
            Account::Other { name, .. } => name,
        }
    }

    pub fn uid(&self) -> u32 {
        match self {
            Account::Oneself => rustix::process::geteuid().as_raw(),
            Account::Other { uid, .. } => *uid,
        }
    }

    /// Makes the command run as this user, in a clean environment: `PGPORT` and
    /// its like would change what the programs do. Root's other groups go too:
    /// std drops them when it changes the user.
    pub fn prepare(&self, command: &mut Command) {
        command.env_clear();
        for name in ENVIRONMENT_KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Account::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Whether this user can enter the directory, by trying: modes do not tell
    /// all (access lists, mounts, the folders above).
    pub fn can_enter(&self, directory: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.prepare(&mut command);
        command.status().is_ok_and(|status| status.success())
    }

    /// Makes the directory if it is not there, for this user alone.
    pub fn own_directory(&self, directory: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(directory).map_err(Error::file("make the folder", directory))?;
        self.own(directory)?;
        let mode = PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(directory, mode).map_err(Error::file("set the mode of", directory))
    }

    pub fn own(&self, path: &Path) -> Result<(), Error> {
        match self {
            Account::Oneself => Ok(()),
            Account::Other { uid, gid, .. } => {
                std::os::unix::fs::lchown(path, Some(*uid), Some(*gid))
                    .map_err(Error::file("change the owner of", path))
            }
        }
    }

    /// A new folder in the system's temporary one, for this user alone.
    pub fn temporary_directory(&self, name: &str) -> Result<PathBuf, Error> {
        let parent = self.temporary_parent()?;
        let directory = tempfile::Builder::new()
            .prefix(&format!("headwater-{name}-"))
            .permissions(PermissionsExt::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(Error::file("make a temporary folder in", &parent))?;
        self.own(directory.path())?;
        Ok(directory.keep())
    }

    pub fn temporary_parent(&self) -> Result<PathBuf, Error> {
        let candidates = [
            std::env::temp_dir(),
            PathBuf::from("/tmp"),
            PathBuf::from("/var/tmp"),
        ];
        candidates
            .into_iter()
            .find(|parent| *self == Account::Oneself || self.can_enter(parent))
            .ok_or_else(|| Error::NoTemporaryFolder {
                user: self.name().to_owned(),
            })
    }
}

struct User<'a> {
    name: &'a str,
    uid: u32,
}

fn find(users: &str, wanted: impl Fn(&User) -> bool) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        wanted(&User { name, uid }).then(|| Account::Other {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_its_group() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:admin,,,:/var/lib:/bin/sh\n";
        assert_eq!(
            find(users, |user| user.name == "postgres"),
            Some(Account::Other {
                name: "postgres".to_owned(),
                uid: 101,
                gid: 104,
            })
        );
        assert_eq!(find(users, |user| user.uid == 7), None);
    }
}
