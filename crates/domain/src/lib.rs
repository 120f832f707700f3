#![doc = include_str!("../README.md")]

pub mod edges;
mod event;
#[cfg(any(test, feature = "strategies"))]
mod memory;
#[cfg(any(test, feature = "strategies"))]
pub mod strategies;
pub mod text;
pub mod withdrawals;

#[cfg(test)]
use strategies as any;

pub use event::{MixedEvents, PersonalFields};

// One line a feature: the stored code of its aggregates (never used again for
// others), its name, its module, and there its events and its aggregate. Events are
// looked for in this order: the frequent ones first.
event::registry! {
    4 LIKE "like" likes: Like(LikeEvent, Likes),
    5 FOLLOW "follow" follows: Follow(FollowEvent, Follows),
    3 POST "post" posts: Post(PostEvent, Posts),
    1 ACCOUNT "account" accounts: Account(AccountEvent, Accounts),
    2 HANDLE "handle" handles: Handle(HandleEvent, Handles),
    6 OPERATION "operation" operations: Operation(OperationEvent, Operations),
    7 BLOCK "block" blocks: Block(BlockEvent, Blocks),
    8 MUTE "mute" mutes: Mute(MuteEvent, Mutes),
    9 BOOKMARK "bookmark" bookmarks: Bookmark(BookmarkEvent, Bookmarks),
    10 FOLDER "folder" bookmark_folders: Folder(FolderEvent, BookmarkFolders),
    11 REPOST "repost" reposts: Repost(RepostEvent, Reposts),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_keeps_its_code_and_its_name() {
        let codes = 1..=kinds::ALL.len() as u8;
        let names: Vec<_> = codes.map(|code| kinds::name(kernel::Kind(code))).collect();
        let known = [
            "account",
            "handle",
            "post",
            "like",
            "follow",
            "operation",
            "block",
            "mute",
            "bookmark",
            "folder",
            "repost",
        ];
        assert_eq!(names, known);
        assert_eq!(kinds::name(kernel::Kind(0)), "unknown");
    }

    #[test]
    fn kinds_share_no_code_and_no_name() {
        let codes: BTreeSet<_> = kinds::ALL.iter().collect();
        let names: BTreeSet<_> = kinds::ALL.iter().map(|kind| kinds::name(*kind)).collect();
        assert_eq!(
            (codes.len(), names.len()),
            (kinds::ALL.len(), kinds::ALL.len())
        );
    }
}
