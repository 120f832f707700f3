//! Any commands in any order: a folder is its maker's alone, until it is deleted, and is
//! made where there is room.

use kernel::{AccountId, ExpectedVersion};
use proptest::{collection::vec, option, prelude::*};

use super::{
    BookmarkFolders, DeleteFolder, FOLDERS_MAX, FolderError, FolderId, FolderName, MakeFolder,
    RenameFolder,
};
use crate::{any, memory::Memory};

#[derive(Clone, Debug)]
enum Step {
    Make(u32),
    Rename(FolderName, Option<u64>),
    Delete(Option<u64>),
}

fn step() -> impl Strategy<Value = (AccountId, FolderId, Step)> {
    let expected = || option::weighted(0.4, 1..4_u64);
    let name = any::odd_text(8).prop_filter_map("a name", |text| text.parse().ok());
    let step = prop_oneof![
        2 => (FOLDERS_MAX - 2..FOLDERS_MAX + 2).prop_map(Step::Make),
        2 => (name, expected()).prop_map(|(name, expected)| Step::Rename(name, expected)),
        1 => expected().prop_map(Step::Delete),
    ];
    (any::account(), any::folder(), step)
}

fn expected(version: Option<u64>) -> ExpectedVersion {
    version.map_or(ExpectedVersion::Any, ExpectedVersion::from)
}

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn a_folder_is_its_makers_until_it_is_deleted(steps in vec(step(), 1..60)) {
        let mut memory = Memory::default();
        for (actor, folder, step) in steps {
            let id = BookmarkFolders::id(folder);
            let before = memory.current::<BookmarkFolders>(id)?;
            let own = before.state.owner == Some(actor) && !before.state.deleted;
            let admits = |version: Option<u64>| version.is_none_or(|one| one == before.version);
            let may = |version: Option<u64>| match (own, admits(version)) {
                (false, _) => Err(FolderError::FolderNotFound),
                (true, false) => Err(FolderError::VersionMismatch(before.version)),
                (true, true) => Ok(1),
            };
            let (decided, wanted) = match step {
                Step::Make(others) => {
                    let name: FolderName = "to read".parse()?;
                    let wanted = match before.state.owner {
                        Some(owner) if owner == actor => Ok(0),
                        Some(_) => Err(FolderError::FolderExists),
                        None if others < FOLDERS_MAX => Ok(1),
                        None => Err(FolderError::TooManyFolders),
                    };
                    let command = MakeFolder { folder, owner: actor, name, others };
                    (memory.execute(&command)?, wanted)
                }
                Step::Rename(name, version) => {
                    let expected_version = expected(version);
                    let command = RenameFolder { folder, actor, name, expected_version };
                    (memory.execute(&command)?, may(version))
                }
                Step::Delete(version) => {
                    let is_gone = before.state.deleted && before.state.owner == Some(actor);
                    let wanted = if is_gone { Ok(0) } else { may(version) };
                    let expected_version = expected(version);
                    let command = DeleteFolder { folder, actor, expected_version };
                    (memory.execute(&command)?, wanted)
                }
            };
            prop_assert_eq!(decided.map(|events| events.len()), wanted);
        }
    }

    #[test]
    fn a_name_is_one_short_line_with_something_to_see(text in any::odd_text(60)) {
        let Ok(name) = text.parse::<FolderName>() else {
            return Ok(());
        };
        let shown = name.0;
        prop_assert_eq!(shown.trim(), &shown);
        prop_assert!((1..=50).contains(&shown.chars().count()));
        let unseen = ['\n', '\r', '\t', '\0', '\u{202e}', '\u{2066}'];
        prop_assert!(!shown.contains(unseen));
        prop_assert_eq!(shown.parse(), Ok(FolderName(shown.clone())));
    }
}

#[test]
fn names_of_nothing_and_long_ones_are_refused() {
    let long = "é".repeat(50);
    assert_eq!(long.parse::<FolderName>().map(|name| name.0), Ok(long));
    for bad in ["", "  ", "\u{200b}", "a\nb", "a\u{202e}b", &"é".repeat(51)] {
        assert!(bad.parse::<FolderName>().is_err(), "{bad:?}");
    }
}
