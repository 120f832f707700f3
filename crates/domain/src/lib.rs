#![doc = include_str!("../README.md")]

pub mod accounts;
pub mod blocks;
mod event;
pub mod follows;
pub mod handles;
pub mod likes;
#[cfg(any(test, feature = "strategies"))]
mod memory;
pub mod mutes;
pub mod operations;
pub mod posts;
#[cfg(any(test, feature = "strategies"))]
pub mod strategies;
pub mod text;

#[cfg(test)]
use strategies as any;

use kernel::Kind;

pub use event::{Event, MixedEvents, PersonalFields, State};

/// The registry of aggregates: a stored code and a shown name each. Codes are
/// never used again.
pub mod kinds {
    use super::Kind;

    pub const ACCOUNT: Kind = Kind(1);
    pub const HANDLE: Kind = Kind(2);
    pub const POST: Kind = Kind(3);
    pub const LIKE: Kind = Kind(4);
    pub const FOLLOW: Kind = Kind(5);
    pub const OPERATION: Kind = Kind(6);
    pub const BLOCK: Kind = Kind(7);
    pub const MUTE: Kind = Kind(8);
    pub const ALL: [Kind; 8] = [ACCOUNT, HANDLE, POST, LIKE, FOLLOW, OPERATION, BLOCK, MUTE];

    pub fn name(kind: Kind) -> &'static str {
        match kind {
            ACCOUNT => "account",
            HANDLE => "handle",
            POST => "post",
            LIKE => "like",
            FOLLOW => "follow",
            OPERATION => "operation",
            BLOCK => "block",
            MUTE => "mute",
            _ => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_keeps_its_code_and_its_name() {
        let names: Vec<_> = (0..=9).map(|code| kinds::name(Kind(code))).collect();
        let known = [
            "account",
            "handle",
            "post",
            "like",
            "follow",
            "operation",
            "block",
            "mute",
        ];
        assert_eq!(names[1..=8], known);
        assert_eq!([names[0], names[9]], ["unknown"; 2]);
    }
}
