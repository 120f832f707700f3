//! What posts look like on the wire. It refuses to ask anybody.

use domain::{
    posts::PostId,
    text::{self, What},
};
use edge::{
    identity::Viewer,
    instant::{self, Instant},
};
use kernel::Uuid;
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use readmodel::{
    PostCounts,
    hot::Parent,
    marks::Marks,
    posts::{self, PostRow, RevisionRow},
    reposts,
};
use serde_json::Value;

use crate::{
    examples::{ACCOUNT_ID, CURSOR},
    shown::ShownPost,
};

/// Who may see a post, besides its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum PostVisibility {
    Public,
    Followers,
}

/// Something to say.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct NewPost {
    /// Something to see. Characters are code points. Kept as it is sent, but for ends of
    /// lines, which are `\n`; tabs are its only other control characters, what turns the
    /// direction (UAX #9) is turned back in the same line, and a letter has at most 10
    /// marks.
    #[oai(validator(min_length = 1, max_length = 5000))]
    pub(super) text: String,
    /// `public` where it is left out.
    pub(super) visibility: Option<PostVisibility>,
    /// A BCP 47 tag.
    #[oai(validator(min_length = 2, max_length = 35))]
    pub(super) language: Option<String>,
    /// A free JSON object of at most 4 KiB, 4 levels deep.
    pub(super) metadata: Option<Value>,
    /// The post or reply that this answers.
    pub(super) reply_to_id: Option<Uuid>,
}

impl Example for NewPost {
    fn example() -> Self {
        Self {
            text: "Hello #world".into(),
            visibility: Some(PostVisibility::Public),
            language: Some("en".into()),
            metadata: Some(serde_json::json!({"category": "greetings"})),
            reply_to_id: None,
        }
    }
}

/// What a post says from now on; fields that are left out stay, null clears.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct PostEdit {
    /// Something to see. Characters are code points. Kept as it is sent, but for ends of
    /// lines, which are `\n`; tabs are its only other control characters, what turns the
    /// direction (UAX #9) is turned back in the same line, and a letter has at most 10
    /// marks.
    #[oai(validator(min_length = 1, max_length = 5000))]
    pub(super) text: String,
    /// A BCP 47 tag.
    #[oai(nullable, validator(min_length = 2, max_length = 35))]
    pub(super) language: MaybeUndefined<String>,
    /// A free JSON object of at most 4 KiB, 4 levels deep.
    #[oai(nullable)]
    pub(super) metadata: MaybeUndefined<Value>,
}

impl Example for PostEdit {
    fn example() -> Self {
        Self {
            text: "Hello, #world!".into(),
            language: MaybeUndefined::Undefined,
            metadata: MaybeUndefined::Undefined,
        }
    }
}

/// Whose account it is.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Author {
    pub(super) id: Uuid,
    pub(super) handle: String,
    pub(super) display_name: Option<String>,
}

impl From<posts::Author> for Author {
    fn from(author: posts::Author) -> Self {
        Self {
            id: author.id.0,
            handle: author.handle,
            display_name: author.display_name,
        }
    }
}

impl From<&posts::Author> for Author {
    fn from(author: &posts::Author) -> Self {
        author.clone().into()
    }
}

macro_rules! viewer_state {
    ($($(#[$doc:meta])* $mark:ident $bit:literal $table:literal,)+) => {
        /// What the one who looks has done with it.
        #[derive(Object)]
        pub struct ViewerState {
            $($(#[$doc])* $mark: bool,)+
        }

        impl From<Marks> for ViewerState {
            fn from(marks: Marks) -> Self {
                let mut places = 0..;
                let mut next = || places.next().is_some_and(|place| marks.has(place));
                Self { $($mark: next()),+ }
            }
        }
    };
}

readmodel::for_each_mark!(viewer_state);

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident $variant:ident $name:ident,)+) => {
        /// How many did something with it.
        #[derive(Object)]
        pub struct Counts {
            $($(#[$doc])* $name: i64,)+
        }

        impl From<PostCounts> for Counts {
            fn from(counts: PostCounts) -> Self {
                Self { $($name: counts.$field),+ }
            }
        }
    };
}

readmodel::for_each_post_counter!(counts);

/// Why a post is in a home timeline whose reader does not follow its author, or again.
#[derive(Object)]
pub struct Repost {
    pub(super) id: Uuid,
    /// Who reposted it.
    pub(super) account: Author,
    pub(super) created_at: Instant,
}

impl From<reposts::Repost> for Repost {
    fn from(repost: reposts::Repost) -> Self {
        Self {
            id: repost.id.0,
            account: repost.by.into(),
            created_at: repost.created_at.into(),
        }
    }
}

/// Whether the post that is replied to can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum ParentState {
    Shown,
    /// It is there, and not for the one who looks.
    Hidden,
    /// It was deleted.
    Gone,
}

/// The post that a reply answers.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ReplyTo {
    pub(super) state: ParentState,
    /// Who wrote it; missing where it is not shown.
    pub(super) author: Option<Author>,
}

impl From<&Parent<ShownPost>> for ReplyTo {
    fn from(parent: &Parent<ShownPost>) -> Self {
        let state = match parent {
            Parent::Shown(post) => return Self::shown(post.shown.author()),
            Parent::Hidden(_) => ParentState::Hidden,
            Parent::Gone => ParentState::Gone,
        };
        let author = None;
        Self { state, author }
    }
}

impl ReplyTo {
    pub(crate) fn shown(author: &posts::Author) -> Self {
        Self {
            state: ParentState::Shown,
            author: Some(author.into()),
        }
    }
}

/// What is in a text beside text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum EntityKind {
    Hashtag,
    Mention,
}

/// The place of a hashtag or mention in the text, `#` or `@` included: from `start` to
/// before `end`, in code points, and in UTF-16 code units as JavaScript, Java and Swift's
/// `NSString` count.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Entity {
    kind: EntityKind,
    start: u32,
    end: u32,
    utf16_start: u32,
    utf16_end: u32,
    /// Of a hashtag, as it is folded.
    hashtag: Option<String>,
    /// Of a mention.
    account_id: Option<Uuid>,
    /// Of a mention, as the account has it.
    handle: Option<String>,
}

impl Entity {
    /// Of a text with these mentions: accounts and their handles.
    fn all(text: &str, mentions: &[(Uuid, Option<String>)]) -> Vec<Self> {
        let (mut at, mut start, mut utf16_start) = (0, 0, 0);
        let mut entities = Vec::new();
        for found in text::entities(text) {
            let before = text.get(at..found.bytes.start).unwrap_or_default();
            let inside = text.get(found.bytes.clone()).unwrap_or_default();
            start += scalars(before);
            utf16_start += units(before);
            let (end, utf16_end) = (start + scalars(inside), utf16_start + units(inside));
            let (kind, hashtag, of) = match found.what {
                What::Hashtag(tag) => (EntityKind::Hashtag, Some(tag), None),
                What::Mention(handle) => {
                    let is_it = |(_, named): &&(Uuid, Option<String>)| {
                        named.as_deref() == Some(handle.as_str())
                    };
                    (EntityKind::Mention, None, mentions.iter().find(is_it))
                }
            };
            if kind == EntityKind::Hashtag || of.is_some() {
                entities.push(Self {
                    kind,
                    start,
                    end,
                    utf16_start,
                    utf16_end,
                    hashtag,
                    account_id: of.map(|(id, _)| *id),
                    handle: of.and_then(|(_, handle)| handle.clone()),
                });
            }
            (at, start, utf16_start) = (found.bytes.end, end, utf16_end);
        }
        entities
    }
}

fn scalars(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

fn units(text: &str) -> u32 {
    u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX)
}

/// A post as the one who looks sees it.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Post {
    pub(super) id: Uuid,
    pub(super) author: Author,
    /// Missing where the author's personal data was erased.
    pub(super) text: Option<String>,
    pub(super) language: Option<String>,
    pub(super) visibility: PostVisibility,
    pub(super) metadata: Option<Value>,
    /// Of the text, without the mark: the first 30 that are different as they are folded
    /// (NFKC and case folding, so that `#STRASSE` is `strasse` as `#Straße` is).
    pub(super) hashtags: Vec<String>,
    /// Accounts that were mentioned: those of the first 20 different handles in the text
    /// that were there.
    pub(super) mention_ids: Vec<Uuid>,
    /// The places of hashtags and mentions in the text, in order; the first 100.
    pub(super) entities: Vec<Entity>,
    pub(super) reply_to_id: Option<Uuid>,
    /// Of a reply.
    pub(super) reply_to: Option<ReplyTo>,
    /// The post that the thread began with.
    pub(super) root_id: Option<Uuid>,
    pub(super) created_at: Instant,
    pub(super) edited_at: Option<Instant>,
    /// For `If-Match`.
    pub(super) version: u64,
    #[oai(flatten)]
    pub(super) counts: Counts,
    /// Missing where nobody is signed in.
    pub(super) viewer: Option<ViewerState>,
    /// In the home timeline alone, where a repost brings it.
    pub(super) repost: Option<Repost>,
}

impl Example for Post {
    fn example() -> Self {
        Self {
            id: Uuid::from_u128(0x0198_b5a2_9c4e_7f00_8123_4567_89ab_7b8a),
            author: Author {
                id: ACCOUNT_ID,
                handle: "ada".into(),
                display_name: Some("Ada".into()),
            },
            text: Some("Hello #world".into()),
            language: Some("en".into()),
            visibility: PostVisibility::Public,
            metadata: None,
            hashtags: vec!["world".into()],
            mention_ids: Vec::new(),
            entities: Entity::all("Hello #world", &[]),
            reply_to_id: None,
            reply_to: None,
            root_id: None,
            created_at: instant::EXAMPLE,
            edited_at: None,
            version: 1,
            counts: PostCounts {
                likes: 2,
                ..PostCounts::default()
            }
            .into(),
            viewer: Some(Marks::example().into()),
            repost: None,
        }
    }
}

impl Post {
    pub(crate) fn of(row: PostRow, viewer: Viewer) -> Self {
        Self {
            id: row.id.0,
            author: row.author.into(),
            entities: (row.text.as_deref())
                .map(|text| Entity::all(text, &row.mentions))
                .unwrap_or_default(),
            text: row.text,
            language: row.language,
            visibility: match row.followers_only {
                true => PostVisibility::Followers,
                false => PostVisibility::Public,
            },
            metadata: row.metadata,
            hashtags: row.hashtags,
            mention_ids: row.mentions.into_iter().map(|(id, _)| id).collect(),
            reply_to_id: row.parent_id.map(|id| id.0),
            reply_to: None,
            root_id: row.root_id.map(|id| id.0),
            created_at: row.created_at.into(),
            edited_at: row.edited_at.map(Instant::from),
            version: row.version,
            counts: row.counts.into(),
            viewer: viewer.0.map(|_| row.marks.into()),
            repost: None,
        }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn parent(&self) -> Option<PostId> {
        self.reply_to_id.map(PostId)
    }

    pub(super) fn is_parent_shown(&self) -> bool {
        let state = self.reply_to.as_ref().map(|parent| parent.state);
        state.is_none_or(|state| state == ParentState::Shown)
    }

    #[must_use]
    pub(crate) fn with_parent(mut self, parent: Option<&Parent<ShownPost>>) -> Self {
        self.reply_to = parent.map(ReplyTo::from);
        self
    }
}

/// A post after one did something with it, or took that back.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct MarkedPost {
    /// As its GET shows it; missing where it is gone, or not for me any more.
    pub(super) post: Option<Post>,
}

impl Example for MarkedPost {
    fn example() -> Self {
        // Linters take the two ids of a post in one example for ids of schemas.
        Self { post: None }
    }
}

/// A page of posts.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct PostPage {
    pub items: Vec<Post>,
    /// Send it as `cursor` for the next page; missing on the last one. A page may have fewer
    /// items than `limit`, and none, and yet go on: where much is hidden from the reader.
    pub next_cursor: Option<String>,
    /// Send it as `cursor` for the page before this one, in the same order: on the first
    /// page, for what came since. A page without items that gives it back as it was sent
    /// says that nothing is there for now.
    pub prev_cursor: String,
}

impl Example for PostPage {
    fn example() -> Self {
        Self {
            items: vec![Post::example()],
            next_cursor: None,
            prev_cursor: CURSOR.into(),
        }
    }
}

/// Posts in the order that they were asked for.
#[derive(Object)]
#[oai(example)]
pub struct PostBatch {
    pub(super) items: Vec<Post>,
}

impl Example for PostBatch {
    fn example() -> Self {
        Self {
            items: vec![Post::example()],
        }
    }
}

/// A post of a thread that is not shown, and that others reply to.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Tombstone {
    pub(super) id: Uuid,
    pub(super) state: ParentState,
    /// What it replied to; missing where it was the root.
    pub(super) reply_to_id: Option<Uuid>,
}

/// A post in its thread.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct PostThread {
    /// What it replies to, from the root down; the nearest 100.
    pub(super) ancestors: Vec<Post>,
    pub(super) post: Post,
    /// All that is below it, nested replies too, oldest first.
    pub(super) descendants: Vec<Post>,
    /// Deleted or hidden posts between the others, so that every reply has its parent.
    pub(super) tombstones: Vec<Tombstone>,
    /// Send it as `cursor` for more descendants; missing where there are none.
    pub(super) next_cursor: Option<String>,
    /// Send it as `cursor` for the descendants before these. A page without descendants that
    /// gives it back as it was sent says that none is there for now.
    pub(super) prev_cursor: String,
}

impl Example for PostThread {
    fn example() -> Self {
        Self {
            ancestors: Vec::new(),
            post: Post::example(),
            descendants: Vec::new(),
            tombstones: Vec::new(),
            next_cursor: None,
            prev_cursor: CURSOR.into(),
        }
    }
}

/// What a post said before.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Revision {
    pub(super) version: u64,
    pub(super) text: Option<String>,
    pub(super) language: Option<String>,
    pub(super) metadata: Option<Value>,
    pub(super) written_at: Instant,
}

impl From<RevisionRow> for Revision {
    fn from(row: RevisionRow) -> Self {
        Self {
            version: row.version,
            text: row.text,
            language: row.language,
            metadata: row.metadata,
            written_at: row.written_at.into(),
        }
    }
}

/// Earlier versions, the latest first.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct RevisionPage {
    pub(super) items: Vec<Revision>,
    /// Send it as `cursor` for the next page; missing on the last one. A page may have fewer
    /// items than `limit`, and none, and yet go on: where much is hidden from the reader.
    pub(super) next_cursor: Option<String>,
    /// Send it as `cursor` for the page before this one, in the same order: on the first
    /// page, for what came since. A page without items that gives it back as it was sent
    /// says that nothing is there for now.
    pub(super) prev_cursor: String,
}

impl Example for RevisionPage {
    fn example() -> Self {
        let revision = Revision {
            version: 1,
            text: Some("Helo #world".into()),
            language: Some("en".into()),
            metadata: None,
            written_at: instant::EXAMPLE,
        };
        Self {
            items: vec![revision],
            next_cursor: None,
            prev_cursor: CURSOR.into(),
        }
    }
}
