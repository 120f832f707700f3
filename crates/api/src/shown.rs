//! Posts as they are sent, written once for everybody: an answer is put
//! together from such texts and what the one who looks has done. It refuses to
//! hold anything that depends on who looks.

use std::borrow::Cow;

use poem_openapi::types::ToJSON;
use readmodel::{
    hot::{Parent, Seen, Shown},
    marks,
    posts::{Author, PostRow},
    reposts,
};

use crate::{
    freshness::Observed,
    header_text::HeaderText,
    identity::Viewer,
    posts::{Post, ReplyTo, Repost},
    preconditions::{Digest, Pieces, representation_digest},
};

/// A post without its last bracket, and what its tag is made of.
pub(crate) struct ShownPost {
    open: Box<[u8]>,
    version: u64,
    digest: Digest,
    author: Author,
    /// What its replies say of it, where it can be seen.
    as_parent: Box<[u8]>,
}

impl ShownPost {
    pub fn author(&self) -> &Author {
        &self.author
    }
}

impl From<PostRow> for ShownPost {
    fn from(row: PostRow) -> Self {
        let (version, author) = (row.version, row.author.clone());
        let post = Post::of(row, Viewer(None)).to_json();
        let mut open = serde_json::to_vec(&post).unwrap_or_default();
        open.pop();
        Self {
            version,
            digest: representation_digest(&open),
            open: open.into(),
            as_parent: written_reply_to(ReplyTo::shown(&author)).into(),
            author,
        }
    }
}

impl Shown for ShownPost {
    fn bytes(&self) -> usize {
        let name = self.author.display_name.as_ref().map_or(0, String::len);
        self.open.len() + self.as_parent.len() + self.author.handle.len() + name
    }
}

/// What stands behind a post, about: a comma or a bracket, and for each mark its name and
/// whether the reader made it.
const OTHER_BYTES: usize = 16 + 20 * marks::NAMES.len();

/// The post as `viewer` sees it.
pub(crate) fn written(seen: &Seen<ShownPost>, viewer: Viewer) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(seen.post.shown.open.len() + OTHER_BYTES);
    write(seen, viewer, &mut bytes);
    bytes
}

fn write(seen: &Seen<ShownPost>, viewer: Viewer, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&seen.post.shown.open);
    if viewer.account().is_some() {
        bytes.extend_from_slice(br#","viewer":{"#);
        for (place, name) in marks::NAMES.iter().enumerate() {
            let comma: &[u8] = if place > 0 { b"," } else { b"" };
            let value: &[u8] = if seen.marks.has(place) {
                b"true"
            } else {
                b"false"
            };
            for part in [comma, b"\"", name.as_bytes(), b"\":", value] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.push(b'}');
    }
    if let Some(parent) = &seen.parent {
        bytes.extend_from_slice(br#","reply_to":"#);
        bytes.extend_from_slice(&written_parent(parent));
    }
    if let Some(repost) = &seen.repost {
        write_repost(repost, bytes);
    }
    bytes.push(b'}');
}

fn written_parent(parent: &Parent<ShownPost>) -> Cow<'_, [u8]> {
    match parent {
        Parent::Shown(post) => Cow::Borrowed(&post.shown.as_parent),
        Parent::Hidden(_) | Parent::Gone => Cow::Owned(written_reply_to(parent.into())),
    }
}

fn written_reply_to(reply_to: ReplyTo) -> Vec<u8> {
    serde_json::to_vec(&reply_to.to_json()).unwrap_or_default()
}

fn write_repost(repost: &reposts::Repost, bytes: &mut Vec<u8>) {
    let repost = Repost::from(repost.clone()).to_json();
    let repost = serde_json::to_vec(&repost).unwrap_or_default();
    bytes.extend_from_slice(br#","repost":"#);
    bytes.extend_from_slice(&repost);
}

/// A `MarkedPost`.
pub(crate) fn write_marked(seen: Option<&Seen<ShownPost>>, viewer: Viewer) -> Vec<u8> {
    let mut bytes = b"{".to_vec();
    if let Some(seen) = seen {
        bytes.extend_from_slice(br#""post":"#);
        write(seen, viewer, &mut bytes);
    }
    bytes.push(b'}');
    bytes
}

/// What `written` would be, for one who knows it by its tag.
pub(crate) fn etag(seen: &Seen<ShownPost>, viewer: Viewer) -> HeaderText<48> {
    let ShownPost {
        version, digest, ..
    } = &seen.post.shown;
    let text = HeaderText::new("\"").number(*version).text("-");
    let parent = seen.parent.as_ref();
    let parent = parent.map_or(0, |parent| representation_digest(&written_parent(parent)).0);
    let text = text.hexadecimal(digest.0 ^ parent);
    let text = match viewer.account() {
        None => text,
        Some(_) => text.text("-").number(seen.marks.bits().into()),
    };
    text.text("\"")
}

/// Those of the posts that do not wait for an operator.
pub(crate) fn unparked<'a>(
    posts: &'a [Seen<ShownPost>],
    observed: &Observed,
) -> impl Iterator<Item = &'a Seen<ShownPost>> {
    let posts = posts.iter();
    posts.filter(|seen| !observed.is_parked(seen.post.id.0))
}

/// `{"items":[…]` of the posts, left open for what follows, without those that
/// wait for an operator; and the digest of the list, made from the digests of the posts,
/// which are much shorter than the posts.
pub(crate) fn write_items(
    posts: &[Seen<ShownPost>],
    observed: &Observed,
    viewer: Viewer,
) -> (Vec<u8>, Pieces) {
    let posts_bytes = posts
        .iter()
        .map(|seen| seen.post.shown.open.len() + OTHER_BYTES);
    let mut bytes = Vec::with_capacity(posts_bytes.sum::<usize>() + 8 * OTHER_BYTES);
    bytes.extend_from_slice(br#"{"items":["#);
    let mut pieces = Pieces::default();
    for (index, seen) in unparked(posts, observed).enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        let shown = &seen.post.shown;
        let behind = bytes.len() + shown.open.len();
        write(seen, viewer, &mut bytes);
        pieces.add(&shown.digest.0.to_be_bytes());
        pieces.add(bytes.get(behind..).unwrap_or_default());
    }
    bytes.push(b']');
    (bytes, pieces)
}
