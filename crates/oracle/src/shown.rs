//! What an account or a post must look like in an answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    tables::{account_counters, post_counters},
    world::{Account, DAY_MILLISECONDS, Post, Revision, World},
};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The world, with what has to be counted once.
pub struct Shown<'a> {
    pub world: &'a World,
    account_counters: BTreeMap<Uuid, [i64; 3]>,
    post_counters: BTreeMap<Uuid, [i64; 2]>,
}

impl<'a> Shown<'a> {
    pub fn new(world: &'a World) -> Self {
        Self {
            world,
            account_counters: account_counters(world),
            post_counters: post_counters(world),
        }
    }

    /// Null where there is no such account that `viewer` finds. One that blocks them, and
    /// that they block, has a name and says nothing.
    pub fn account(&self, id: Uuid, viewer: Option<Uuid>) -> Value {
        let Some(account) = self.world.accounts.get(&id) else {
            return Value::Null;
        };
        let hidden = self.world.blocks(Some(id), viewer);
        let bare = Account {
            handle: account.handle.clone(),
            registered_at: account.registered_at,
            active_on: account.registered_at.div_euclid(DAY_MILLISECONDS),
            private: account.private,
            ..Account::default()
        };
        let account = if hidden { &bare } else { account };
        let counts = self.account_counters.get(&id).filter(|_| !hidden);
        let counts = counts.copied().unwrap_or_default();
        // A pinned post is shown while it is for all, or all followers.
        let pinned = account.pinned.filter(|post| {
            let post = self.world.posts.get(post);
            let there = post.is_some_and(|post| post.deleted_at.is_none() && !post.followers_only);
            there && (!account.private || self.world.is_near(viewer, id))
        });
        let active = time::OffsetDateTime::from_unix_timestamp(account.active_on * DAY_SECONDS);
        json!({
            "id": id,
            "handle": account.handle,
            "display_name": account.display_name,
            "bio": account.bio,
            "pinned_post_id": pinned,
            "private": account.private,
            "created_at": account.registered_at,
            "followers_count": counts[0],
            "following_count": counts[1],
            "posts_count": counts[2],
            "last_active_on": active.ok().map(|at| at.date().to_string()),
        })
    }

    /// Null where there is no such post.
    pub fn post(&self, id: Uuid, viewer: Option<Uuid>) -> Value {
        let Some(post) = self.world.posts.get(&id) else {
            return Value::Null;
        };
        let counts = self.post_counters.get(&id).copied().unwrap_or_default();
        let author = self.world.accounts.get(&post.author);
        let likes = |viewer| self.world.likes.contains_key(&(viewer, id));
        json!({
            "id": id,
            "author": {
                "id": post.author,
                "handle": author.map(|author| author.handle.as_str()),
                "display_name": author.and_then(|author| author.display_name.as_deref()),
            },
            "text": post.text,
            "language": post.language,
            "visibility": if post.followers_only { "followers" } else { "public" },
            "metadata": post.metadata.as_ref().map(|metadata| &metadata.0),
            "hashtags": post.hashtags,
            "mention_ids": post.mentions,
            "reply_to_id": post.parent,
            "root_id": post.root,
            "created_at": post.created_at,
            "edited_at": post.edited_at,
            "version": post.version,
            "likes_count": counts[0],
            "replies_count": counts[1],
            "viewer": viewer.map(|viewer| json!({"liked": likes(viewer)})),
        })
    }

    pub fn revision(version: u64, revision: &Revision) -> Value {
        json!({
            "version": version,
            "text": revision.text,
            "language": revision.language,
            "metadata": revision.metadata.as_ref().map(|metadata| &metadata.0),
            "written_at": revision.written_at,
        })
    }

    /// What `viewer` sees of all posts that `wanted` names, oldest id first.
    pub fn seen(&self, viewer: Option<Uuid>, wanted: impl Fn(&Uuid, &Post) -> bool) -> Vec<Uuid> {
        let posts = self.world.posts.iter();
        let seen = posts.filter(|(id, post)| self.world.sees(viewer, post) && wanted(id, post));
        seen.map(|(id, _)| *id).collect()
    }

    /// The accounts at the far end of edges that `viewer` is shown, the last made
    /// first.
    pub fn edges(&self, viewer: Option<Uuid>, edges: Vec<(i64, Uuid)>) -> Vec<Uuid> {
        let world = self.world;
        let shown = |id: Uuid| world.finds(viewer, id) && !world.blocks(viewer, Some(id));
        let all = Self::all_edges(edges);
        all.into_iter().filter(|id| shown(*id)).collect()
    }

    /// The same, whoever is there.
    pub fn all_edges(mut edges: Vec<(i64, Uuid)>) -> Vec<Uuid> {
        edges.sort_unstable_by(|a, b| b.cmp(a));
        edges.into_iter().map(|(_, id)| id).collect()
    }
}
