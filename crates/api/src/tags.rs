//! The parts of the contract: features that belong together have one tag. What is asked
//! about the server itself has the edge's.

use poem_openapi::Tags;

#[derive(Tags)]
pub enum Tag {
    /// Registration and profiles.
    Accounts,
    /// Signing in and out.
    Sessions,
    /// Posts and replies.
    Posts,
    /// Likes.
    Likes,
    /// What one keeps to find it again, and nobody else is told.
    Bookmarks,
    /// Posts that others bring to their followers.
    Reposts,
    /// Who follows whom, and who asked to.
    Follows,
    /// Whom one wants to have nothing to do with, or not to come across.
    Blocks,
    /// What one gets to read.
    Timelines,
    /// What operators see.
    Operations,
}
