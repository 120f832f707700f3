//! Posts and replies: publishing, editing, deleting, and who may see one. It
//! refuses likes and counts: they are features of their own.

mod content;
mod decider;
#[cfg(test)]
mod properties;

use kernel::{AccountId, NamedPersonal, Personal, typed_id};
use serde::{Deserialize, Serialize};

pub use content::{
    Change, InvalidPost, LANGUAGE_CHARACTERS_MAX, Language, METADATA_BYTES_MAX, METADATA_DEPTH_MAX,
    Metadata, TEXT_CHARACTERS_MAX, Text, UnfitMetadata,
};
pub use decider::{DeletePost, EditPost, PostError, PostState, Posts, PublishPost};

use crate::{PersonalFields, event::events};

typed_id!(
    /// A post or a reply.
    PostId
);

/// Who may see a post, besides its author.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    #[default]
    Public,
    Followers,
}

/// The aggregate is the post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostCreated {
    pub author: AccountId,
    pub text: Personal,
    /// Folded hashtags with a space between; sealed, since they are words of
    /// the text.
    pub hashtags: Option<Personal>,
    /// A JSON object; sealed, since it may hold anything.
    pub metadata: Option<Personal>,
    pub language: Option<Language>,
    pub visibility: Visibility,
    pub mentions: Vec<AccountId>,
    pub reply: Option<Reply>,
}

/// Where a reply hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub parent: PostId,
    pub parent_author: AccountId,
    /// The post that the thread began with.
    pub root: PostId,
}

/// The whole content as it is after the edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostEdited {
    pub text: Personal,
    pub hashtags: Option<Personal>,
    /// None where it did not change; empty where it was cleared.
    pub metadata: Option<Personal>,
    /// A tag; none where it did not change, empty where it was cleared.
    pub language: Option<String>,
    pub mentions: Vec<AccountId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostDeleted {
    pub author: AccountId,
}

events!(PostEvent { PostCreated = 1, PostEdited = 1, PostDeleted = 1 });

impl PersonalFields for PostCreated {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        let hashtags = self.hashtags.iter_mut().map(|tags| ("hashtags", tags));
        let metadata = self.metadata.iter_mut().map(|json| ("metadata", json));
        std::iter::once(("text", &mut self.text))
            .chain(hashtags)
            .chain(metadata)
            .collect()
    }
}
impl PersonalFields for PostEdited {
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        let hashtags = self.hashtags.iter_mut().map(|tags| ("hashtags", tags));
        let metadata = self.metadata.iter_mut().map(|json| ("metadata", json));
        std::iter::once(("text", &mut self.text))
            .chain(hashtags)
            .chain(metadata)
            .collect()
    }
}
impl PersonalFields for PostDeleted {}
