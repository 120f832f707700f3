//! Where a folder's PostgreSQL data lies: in the folder, unless PostgreSQL's
//! user cannot enter it (a folder under /root). Then it lies in the system's
//! state directory, under the folder's id, with a note of the folder's path: so
//! that a moved folder keeps its data and a copied one gets its own.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::record::Record;
use crate::{Error, cluster, processes, record};

const STATE: &str = "/var/lib/headwater";
const NOTE: &str = "folder";
const POSTGRES: &str = "postgres";
pub(crate) const HOME: &str = ".headwater";

pub(crate) struct Place {
    pub directory: PathBuf,
    pub account: Account,
}

/// Chooses the place, and writes the choice into the record when it is outside.
pub(crate) fn choose(
    folder: &Path,
    record: &mut Record,
    say: &dyn Fn(&str),
) -> Result<Place, Error> {
    let home = folder.join(HOME);
    let inside = home.join(POSTGRES);
    let recorded = record.postgres_directory.clone();
    let present = recorded.as_ref().unwrap_or(&inside);
    let account = match Account::owner_of(&cluster::data(present)) {
        Some(owner) => owner,
        None => Account::for_postgres()?,
    };
    open_to(&account, &home)?;

    let directory = match recorded {
        Some(outside) => adopt(folder, outside, record, say)?,
        None if account == Account::Oneself || account.can_enter(&home) => inside,
        None => move_out(folder, &inside, &account, record, say)?,
    };
    Ok(Place { directory, account })
}

/// Lets the user pass through our folder to its own, and nobody list it.
fn open_to(account: &Account, home: &Path) -> Result<(), Error> {
    let mode = match account {
        Account::Oneself => 0o700,
        Account::Other { .. } => 0o711,
    };
    std::fs::set_permissions(home, PermissionsExt::from_mode(mode))
        .map_err(Error::file("set the mode of", home))
}

fn move_out(
    folder: &Path,
    inside: &Path,
    account: &Account,
    record: &mut Record,
    say: &dyn Fn(&str),
) -> Result<PathBuf, Error> {
    let outside = make_outside(folder, record)?;
    say(&format!(
        "PostgreSQL refuses to run as root, and the user `{}` cannot enter {}: \
         the database is kept in {}.",
        account.name(),
        folder.display(),
        outside.display()
    ));
    if cluster::is_made(&cluster::data(inside)) {
        cluster::copy(inside, &outside)?;
        std::fs::remove_dir_all(inside).map_err(Error::file("delete", inside))?;
    }
    Ok(outside)
}

/// The recorded place, if it is this folder's, or was this folder's before the
/// folder moved. A copied folder gets a copy of the data too.
fn adopt(
    folder: &Path,
    outside: PathBuf,
    record: &mut Record,
    say: &dyn Fn(&str),
) -> Result<PathBuf, Error> {
    if !cluster::is_made(&cluster::data(&outside)) {
        say(&format!(
            "The database of this folder was in {}, and is not there any more: a new one is made.",
            outside.display()
        ));
        return make_outside(folder, record);
    }
    let Some(original) = original(folder, &outside, &record.id) else {
        write_note(folder, &outside)?;
        return Ok(outside);
    };
    let data = cluster::data(&outside);
    if !processes::running_in(&data, &["postgres", "postmaster"]).is_empty() {
        return Err(Error::OriginalRunning { original });
    }
    say(&format!(
        "This folder is a copy of {}: its database is copied too.",
        original.display()
    ));
    record.id = Record::new_id()?;
    let own = make_outside(folder, record)?;
    cluster::copy(&outside, &own)?;
    Ok(own)
}

/// The other folder that has this place, if there is one.
fn original(folder: &Path, outside: &Path, id: &str) -> Option<PathBuf> {
    let noted = std::fs::read(note(outside)?).ok()?;
    let original = PathBuf::from(OsString::from_vec(noted));
    if original == folder {
        return None;
    }
    let record = Record::read(&original.join(HOME)).ok()??;
    (record.id == id).then_some(original)
}

fn make_outside(folder: &Path, record: &mut Record) -> Result<PathBuf, Error> {
    let state = Path::new(STATE);
    let own = state.join(&record.id);
    let outside = own.join(POSTGRES);
    std::fs::create_dir_all(&outside).map_err(Error::file("make the folder", &outside))?;
    for passage in [state, &own] {
        std::fs::set_permissions(passage, PermissionsExt::from_mode(0o711))
            .map_err(Error::file("set the mode of", passage))?;
    }
    write_note(folder, &outside)?;
    record.postgres_directory = Some(outside.clone());
    Ok(outside)
}

fn write_note(folder: &Path, outside: &Path) -> Result<(), Error> {
    match note(outside) {
        Some(note) => record::write_private(&note, folder.as_os_str().as_bytes()),
        None => Ok(()),
    }
}

fn note(outside: &Path) -> Option<PathBuf> {
    Some(outside.parent()?.join(NOTE))
}
