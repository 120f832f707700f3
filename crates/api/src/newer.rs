//! How much is newer than what a reader has. It has a path of its own beside its list: so
//! each path has one shape of answer, and a client knows without a request which query a
//! cursor is of.

use poem_openapi::{Object, types::Example};

/// Counted, at most: as much as the longest page has.
pub const NEWER_MAX: u32 = edge::paging::LIMIT_MAX as u32;

/// How many items of a list a reader has not seen yet.
#[derive(Object)]
#[oai(example)]
pub struct Newer {
    /// At most 100. Fewer where very much is hidden from the reader, and there is `more`.
    pub count: u32,
    /// There may be more than that.
    pub more: bool,
}

impl Example for Newer {
    fn example() -> Self {
        Self {
            count: 12,
            more: false,
        }
    }
}
