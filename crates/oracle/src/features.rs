//! The registry of features: a line each. A feature's file has its events, what they
//! add up to, the states and rows that must be kept of it, and what the API must
//! answer. It is written from what the feature promises, never from the product's fold.

use uuid::Uuid;

use crate::{
    Unreachable,
    counts::Counts,
    database::Database,
    entries::{Aggregate, Event},
    findings::Findings,
    looks::{About, Viewer},
    message_pack::Value,
    reader::Reader,
    sealed::Keys,
};

mod edges;

use edges::Edges;

macro_rules! features {
    ($($feature:ident: $state:ty),+ $(,)?) => {
        $(pub mod $feature;)+

        const COUNT: usize = [$(stringify!($feature)),+].len();

        /// What the log adds up to, by feature.
        #[derive(Debug, Default)]
        pub struct World {
            $(pub $feature: $state),+
        }

        impl World {
            pub fn features(&self) -> [&dyn Feature; COUNT] {
                [$(&self.$feature),+]
            }

            pub fn features_mut(&mut self) -> [&mut dyn Feature; COUNT] {
                [$(&mut self.$feature),+]
            }
        }
    };
}

features! {
    accounts: accounts::Accounts,
    handles: handles::Handles,
    posts: posts::Posts,
    likes: Edges<likes::Like>,
    follows: follows::Follows,
    operations: operations::Operations,
    blocks: Edges<blocks::Block>,
    mutes: Edges<mutes::Mute>,
    bookmarks: bookmarks::Bookmarks,
    bookmark_folders: bookmark_folders::BookmarkFolders,
    reposts: reposts::Reposts,
    relationships: relationships::Relationships,
    timelines: timelines::Timelines,
}

/// The code of an aggregate's kind in the log, and its name in findings.
pub type Kind = (u8, &'static str);

/// All that the oracle wants to know of one feature.
pub trait Feature: Sync {
    /// Of its aggregates; none where it has no events.
    fn kind(&self) -> Option<Kind> {
        None
    }

    /// Adds up an event of one of its aggregates.
    fn take(&mut self, event: &Event, _: &Keys) -> Result<(), String> {
        Err(unknown(event))
    }

    /// Whether the event shows that its actor was active on that day.
    fn is_activity(&self, _: &Event) -> bool {
        true
    }

    /// What the events promise among each other, beyond each of them alone.
    fn check(&self, _: &World, _: &mut Findings) {}

    /// The fields that the stored state of `aggregate` must have.
    fn state(&self, _: Aggregate) -> Vec<Value> {
        Vec::new()
    }

    /// The same fields of the state that is stored.
    fn stored_state(&self, state: &Value) -> Vec<Value> {
        vec![state.clone()]
    }

    /// Compares its tables.
    fn compare(&self, _: &mut Database, _: &mut Findings) -> Result<(), Unreachable> {
        Ok(())
    }

    /// Adds its counters of accounts and posts.
    fn count(&self, _: &World, _: &mut Counts) {}

    /// A flag among those that a viewer is shown with a post, and whether it is set.
    fn flag(&self, _viewer: Uuid, _post: Uuid) -> Option<(&'static str, bool)> {
        None
    }

    /// Its flags of the relationship of `own` to `other`.
    fn relationship(&self, _own: Uuid, _other: Uuid) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// Accounts that it keeps apart or waiting: each of a pair looks at the other.
    fn pairs(&self) -> Vec<(Uuid, Uuid)> {
        Vec::new()
    }

    /// Compares what the API answers to `viewer`.
    fn ask(&self, _: &mut Reader<'_>, _: &Viewer, _: &About) -> Result<(), Unreachable> {
        Ok(())
    }
}

/// What is wrong with an event that a feature does not have.
fn unknown(event: &Event) -> String {
    format!("nobody knows the event {}", event.name)
}
