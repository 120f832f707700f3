//! Folders of bookmarks: an account makes, names and deletes them. Deleting one does
//! nothing to what is in it: a bookmark in a deleted folder is in none. Not here: the
//! bookmarks (see `bookmarks`).

use std::str::FromStr;

use kernel::{
    AccountId, AggregateId, Command, Decider, ExpectedVersion, Facts, Kind, NamedPersonal,
    Personal, Read, Versioned, typed_id,
};
use serde::{Deserialize, Serialize};

use crate::{
    PersonalFields,
    event::events,
    kinds,
    text::{Unfit, is_blank, line},
};

typed_id!(
    /// A folder of bookmarks, of its owner's partition.
    FolderId
);

/// Folders of one account.
pub const FOLDERS_MAX: u32 = 100;
pub const FOLDER_NAME_CHARACTERS_MAX: usize = 50;

/// One line, trimmed, with something to see. Two folders may have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderName(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a folder's name {0}")]
pub struct InvalidFolderName(pub Unfit);

impl FromStr for FolderName {
    type Err = InvalidFolderName;

    fn from_str(text: &str) -> Result<Self, InvalidFolderName> {
        if is_blank(text) {
            return Err(InvalidFolderName(Unfit::Blank));
        }
        let name = line(text).ok_or(InvalidFolderName(Unfit::Characters))?;
        match name.chars().count() <= FOLDER_NAME_CHARACTERS_MAX {
            true => Ok(Self(name.to_owned())),
            false => Err(InvalidFolderName(Unfit::TooLong(
                FOLDER_NAME_CHARACTERS_MAX,
            ))),
        }
    }
}

/// The aggregate is the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FolderMade {
    pub owner: AccountId,
    pub name: Personal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FolderRenamed {
    pub name: Personal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FolderDeleted {}

events!(FolderEvent { FolderMade = 1, FolderRenamed = 1, FolderDeleted = 1 });

impl PersonalFields for FolderMade {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        vec![("name", &mut self.name)]
    }
}
impl PersonalFields for FolderRenamed {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        vec![("name", &mut self.name)]
    }
}
impl PersonalFields for FolderDeleted {}

/// The aggregate.
pub struct BookmarkFolders;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderState {
    pub owner: Option<AccountId>,
    pub deleted: bool,
}

impl FolderState {
    fn is_of(self, account: AccountId) -> bool {
        self.owner == Some(account) && !self.deleted
    }
}

impl BookmarkFolders {
    pub fn id(folder: FolderId) -> AggregateId {
        AggregateId::single(kinds::FOLDER, folder.0)
    }

    pub fn read(folder: FolderId) -> Read {
        Read::of::<Self>(Self::id(folder))
    }

    /// Whether `account` has such a folder.
    pub fn is_of(facts: &Facts, folder: FolderId, account: AccountId) -> bool {
        facts.of::<Self>(Self::id(folder)).state.is_of(account)
    }
}

impl Decider for BookmarkFolders {
    const KIND: Kind = kinds::FOLDER;
    const SHAPE: u8 = 1;
    type State = FolderState;
    type Event = FolderEvent;

    fn evolve(state: FolderState, event: &FolderEvent) -> FolderState {
        match event {
            FolderEvent::FolderMade(made) => FolderState {
                owner: Some(made.owner),
                deleted: false,
            },
            FolderEvent::FolderRenamed(_) => state,
            FolderEvent::FolderDeleted(_) => FolderState {
                deleted: true,
                ..state
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FolderError {
    /// Also where it is somebody else's, or was deleted.
    #[error("there is no such folder")]
    FolderNotFound,
    #[error("an account has at most {FOLDERS_MAX} folders")]
    TooManyFolders,
    #[error("another folder has this id")]
    FolderExists,
    #[error("the folder is at version {0} by now")]
    VersionMismatch(u64),
}

#[derive(Clone, Debug)]
pub struct MakeFolder {
    pub folder: FolderId,
    pub owner: AccountId,
    pub name: FolderName,
    /// How many folders the owner has. No aggregate knows, so the read model counts them:
    /// those that are not folded yet, made a moment ago, are not among them.
    pub others: u32,
}

impl Command for MakeFolder {
    type Decider = BookmarkFolders;
    type Error = FolderError;

    fn aggregate(&self) -> AggregateId {
        BookmarkFolders::id(self.folder)
    }

    fn decide(
        &self,
        current: &Versioned<FolderState>,
        _: &Facts,
    ) -> Result<Vec<FolderEvent>, FolderError> {
        match current.state.owner {
            Some(owner) if owner == self.owner => return Ok(Vec::new()),
            Some(_) => return Err(FolderError::FolderExists),
            None if self.others >= FOLDERS_MAX => return Err(FolderError::TooManyFolders),
            None => {}
        }
        let (owner, name) = (self.owner, Personal::plain(&self.name.0));
        Ok(vec![FolderMade { owner, name }.into()])
    }
}

#[derive(Clone, Debug)]
pub struct RenameFolder {
    pub folder: FolderId,
    pub actor: AccountId,
    pub name: FolderName,
    pub expected_version: ExpectedVersion,
}

impl Command for RenameFolder {
    type Decider = BookmarkFolders;
    type Error = FolderError;

    fn aggregate(&self) -> AggregateId {
        BookmarkFolders::id(self.folder)
    }

    fn decide(
        &self,
        current: &Versioned<FolderState>,
        _: &Facts,
    ) -> Result<Vec<FolderEvent>, FolderError> {
        require_own(current, self.actor, &self.expected_version)?;
        let name = Personal::plain(&self.name.0);
        Ok(vec![FolderRenamed { name }.into()])
    }
}

/// Deleting what is deleted already does nothing more.
#[derive(Clone, Debug)]
pub struct DeleteFolder {
    pub folder: FolderId,
    pub actor: AccountId,
    pub expected_version: ExpectedVersion,
}

impl Command for DeleteFolder {
    type Decider = BookmarkFolders;
    type Error = FolderError;

    fn aggregate(&self) -> AggregateId {
        BookmarkFolders::id(self.folder)
    }

    fn decide(
        &self,
        current: &Versioned<FolderState>,
        _: &Facts,
    ) -> Result<Vec<FolderEvent>, FolderError> {
        if current.state.deleted && current.state.owner == Some(self.actor) {
            return Ok(Vec::new());
        }
        require_own(current, self.actor, &self.expected_version)?;
        Ok(vec![FolderDeleted {}.into()])
    }
}

fn require_own(
    current: &Versioned<FolderState>,
    actor: AccountId,
    expected: &ExpectedVersion,
) -> Result<(), FolderError> {
    if !current.state.is_of(actor) {
        return Err(FolderError::FolderNotFound);
    }
    match expected.admits(current.version) {
        true => Ok(()),
        false => Err(FolderError::VersionMismatch(current.version)),
    }
}

#[cfg(test)]
mod properties;
