//! How posts are shown, by their ids, by their authors, with what is above and below
//! them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Posts, Revision};
use crate::{
    Unreachable,
    looks::{About, Viewer},
    reader::{Reader, joined},
    shown::Shown,
};

const ANCESTORS_MAX: usize = 100;
/// Of a page, which has the latest.
const REVISIONS_MAX: usize = 100;
/// What a thread has below a reply, at most: the nearest.
const SUBTREE_MAX: usize = 500;

pub fn ask(
    posts: &Posts,
    reader: &mut Reader<'_>,
    viewer: &Viewer,
    about: &About,
) -> Result<(), Unreachable> {
    match about {
        About::Posts(ids) => several(reader, viewer, ids),
        About::ByAuthor(author) => by_author(reader, viewer, *author),
        About::Post(id) => one(posts, reader, viewer, *id),
        _ => Ok(()),
    }
}

fn several(reader: &mut Reader<'_>, viewer: &Viewer, ids: &[Uuid]) -> Result<(), Unreachable> {
    let world = reader.shown.world;
    let path = format!("/v1/posts?ids={}", joined(ids));
    let items = reader.items(&path, viewer)?;
    let seen = ids.iter().copied();
    let seen: Vec<Uuid> = seen
        .filter(|id| world.sees_post(viewer.id(), *id))
        .collect();
    reader.same_posts(&path, &seen, &items, viewer);
    Ok(())
}

fn by_author(reader: &mut Reader<'_>, viewer: &Viewer, author: Uuid) -> Result<(), Unreachable> {
    let path = format!("/v1/accounts/{author}/posts");
    let world = reader.shown.world;
    let is_private = world.account(author).is_some_and(|author| author.private);
    if !world.finds(viewer.id(), author) {
        return reader.status(&path, 404, viewer);
    }
    if is_private && !world.is_near(viewer.id(), author) {
        return reader.status(&path, 403, viewer);
    }
    let mut expected = (reader.shown).seen(viewer.id(), |_, post| post.author == author);
    expected.reverse();
    reader.post_pages(&path, &expected, viewer)?;
    match viewer.id() == Some(author) {
        true => reader.post_pages("/v1/accounts/me/posts", &expected, viewer),
        false => Ok(()),
    }
}

fn one(
    posts: &Posts,
    reader: &mut Reader<'_>,
    viewer: &Viewer,
    id: Uuid,
) -> Result<(), Unreachable> {
    let world = reader.shown.world;
    let path = format!("/v1/posts/{id}");
    if !world.sees_post(viewer.id(), id) {
        for rest in ["", "/thread", "/replies", "/revisions"] {
            reader.status(&format!("{path}{rest}"), 404, viewer)?;
        }
        return Ok(());
    }
    let body = reader.body(&path, viewer)?;
    let expected = reader.shown.post(id, viewer.id());
    reader.same_item(&path, &expected, &body);

    let replies = reader.shown.seen(viewer.id(), |_, post| {
        post.parent == Some(id) && !world.mutes(viewer.id(), post.author)
    });
    reader.post_pages(&format!("{path}/replies"), &replies, viewer)?;
    revisions(posts, reader, viewer, id)?;
    thread(reader, viewer, id)
}

fn revisions(
    posts: &Posts,
    reader: &mut Reader<'_>,
    viewer: &Viewer,
    id: Uuid,
) -> Result<(), Unreachable> {
    let path = format!("/v1/posts/{id}/revisions?limit={REVISIONS_MAX}");
    let items = reader.items(&path, viewer)?;
    let revisions = posts.revisions.range((id, 0)..=(id, u64::MAX)).rev();
    let expected = revisions.map(|((_, version), one)| revision(*version, one));
    let expected: Vec<Value> = expected.take(REVISIONS_MAX).collect();
    reader.findings.same(&path, &expected.len(), &items.len());
    for (expected, found) in expected.iter().zip(&items) {
        reader.same_item(&path, expected, found);
    }
    Ok(())
}

fn thread(reader: &mut Reader<'_>, viewer: &Viewer, id: Uuid) -> Result<(), Unreachable> {
    let world = reader.shown.world;
    let above = |id: &Uuid| world.post(*id).and_then(|post| post.parent);
    let ancestors = std::iter::successors(above(&id), above).take(ANCESTORS_MAX);
    let ancestors = ancestors.filter(|id| world.sees_post(viewer.id(), *id));
    let mut ancestors: Vec<Uuid> = ancestors.collect();
    ancestors.reverse();
    let is_below = |other: &Uuid| std::iter::successors(above(other), above).any(|up| up == id);
    let below = reader.shown.seen(viewer.id(), |other, post| {
        is_below(other) && !world.mutes(viewer.id(), post.author)
    });
    let path = format!("/v1/posts/{id}/thread");
    let expected = reader.shown.post(id, viewer.id());
    let mut found = Vec::new();
    for page in reader.pages(&path, &below, viewer)? {
        let above = page["ancestors"].as_array().cloned().unwrap_or_default();
        reader.same_posts(&path, &ancestors, &above, viewer);
        reader.same_item(&path, &expected, &page["post"]);
        found.extend(page["descendants"].as_array().cloned().unwrap_or_default());
    }
    let is_root = above(&id).is_none();
    if is_root || below.len() <= SUBTREE_MAX {
        reader.same_posts(&path, &below, &found, viewer);
    }
    Ok(())
}

impl Shown<'_> {
    /// Null where there is no such post.
    pub fn post(&self, id: Uuid, viewer: Option<Uuid>) -> Value {
        let Some(post) = self.world.post(id) else {
            return Value::Null;
        };
        let shown = json!({
            "id": id,
            "author": self.author(post.author),
            "text": post.text,
            "language": post.language,
            "visibility": if post.followers_only { "followers" } else { "public" },
            "metadata": post.metadata.as_ref().map(|metadata| &metadata.0),
            "hashtags": post.hashtags,
            "mention_ids": post.mentions,
            "reply_to_id": post.parent,
            "reply_to": post.parent.map(|parent| self.reply_to(parent, viewer)),
            "root_id": post.root,
            "created_at": post.created_at,
            "edited_at": post.edited_at,
            "version": post.version,
            "viewer": viewer.map(|viewer| self.flags(viewer, id)),
        });
        self.counts.posts.shown_in(shown, Some(id))
    }

    fn author(&self, id: Uuid) -> Value {
        let author = self.world.account(id);
        json!({
            "id": id,
            "handle": author.map(|author| author.handle.as_str()),
            "display_name": author.and_then(|author| author.display_name.as_deref()),
        })
    }

    /// What a reply says of its parent.
    fn reply_to(&self, parent: Uuid, viewer: Option<Uuid>) -> Value {
        let post = self.world.post(parent);
        match post.filter(|post| post.deleted_at.is_none()) {
            None => json!({ "state": "gone", "author": null }),
            Some(_) if !self.world.sees_post(viewer, parent) => {
                json!({ "state": "hidden", "author": null })
            }
            Some(post) => json!({ "state": "shown", "author": self.author(post.author) }),
        }
    }

    /// What is between `viewer` and a post, as features say.
    fn flags(&self, viewer: Uuid, post: Uuid) -> Map<String, Value> {
        let features = self.world.features().into_iter();
        let flags = features.filter_map(|feature| feature.flag(viewer, post));
        flags
            .map(|(name, is_set)| (name.to_owned(), is_set.into()))
            .collect()
    }
}

fn revision(version: u64, revision: &Revision) -> Value {
    json!({
        "version": version,
        "text": revision.text,
        "language": revision.language,
        "metadata": revision.metadata.as_ref().map(|metadata| &metadata.0),
        "written_at": revision.written_at,
    })
}
