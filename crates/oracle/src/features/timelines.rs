//! Home and local: no events of their own, but which posts and reposts of others a reader
//! comes across.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Feature, World, posts::Post};
use crate::{
    Unreachable,
    looks::{About, Viewer},
    reader::{BATCH_IDS_MAX, Reader},
};

#[derive(Debug, Default)]
pub struct Timelines;

/// A post that was shown within this time before a repost of it keeps the repost back.
const DAY_MILLISECONDS: u128 = 24 * 60 * 60 * 1_000;

/// What may stand in a home: a post as itself, or by a repost. The ids of both begin with
/// their time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub id: Uuid,
    pub post: Uuid,
    /// Whose it is, and so who is pulled where it is not pushed.
    pub by: Uuid,
}

impl Entry {
    pub fn is_repost(&self) -> bool {
        self.id != self.post
    }

    fn milliseconds(&self) -> u128 {
        self.id.as_u128() >> 80
    }

    fn keeps_back(&self, later: &Self) -> bool {
        self.post == later.post
            && self.id < later.id
            && later.milliseconds() - self.milliseconds() <= DAY_MILLISECONDS
    }
}

impl World {
    /// What `reader` sees of the posts of oneself and of whom one follows now and does not
    /// mute, and of what these repost, the newest id first.
    pub fn candidates(&self, reader: Uuid) -> Vec<Entry> {
        let comes_across =
            |post: &Post| self.sees(Some(reader), post) && !self.mutes(Some(reader), post.author);
        let is_wanted = |by: Uuid| {
            self.follows.rows.holds(reader, by)
                && !self.mutes(Some(reader), by)
                && !self.blocks(Some(reader), Some(by))
                && self.finds(Some(reader), by)
        };
        let posts = self.posts.all.iter().filter(|(_, post)| {
            comes_across(post) && (post.author == reader || is_wanted(post.author))
        });
        let posts = posts.map(|(id, post)| Entry {
            id: *id,
            post: *id,
            by: post.author,
        });
        let reposts = self.reposts.all.iter().filter(|(_, repost)| {
            is_wanted(repost.by) && self.post(repost.post).is_some_and(comes_across)
        });
        let reposts = reposts.map(|(id, repost)| Entry {
            id: *id,
            post: repost.post,
            by: repost.by,
        });
        let mut all: Vec<Entry> = posts.chain(reposts).collect();
        all.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
        all
    }

    /// Home: all of that but reposts of what stands there within the day before, as
    /// itself or by another repost, whether that one is kept back or not.
    pub fn home(&self, reader: Uuid) -> Vec<Entry> {
        let all = self.candidates(reader);
        let is_shown =
            |entry: &&Entry| !entry.is_repost() || !all.iter().any(|other| other.keeps_back(entry));
        all.iter().filter(is_shown).copied().collect()
    }
}

/// Page by page to its end: the posts in that order, each with the repost it comes by.
fn home(reader: &mut Reader<'_>, viewer: &Viewer, own: Uuid) -> Result<(), Unreachable> {
    let world = reader.shown.world;
    let expected = world.home(own);
    let posts: Vec<Uuid> = expected.iter().map(|entry| entry.post).collect();
    let path = "/v1/timelines/home";
    let pages = reader.pages(path, &posts, viewer)?;
    let items = pages.iter().filter_map(|page| page["items"].as_array());
    let items: Vec<Value> = items.flatten().cloned().collect();
    reader.same_posts(path, &posts, &items, viewer);
    for (entry, found) in expected.iter().zip(&items) {
        let repost = world.reposts.all.get(&entry.id).map(|repost| {
            let by = world.account(repost.by);
            json!({
                "id": entry.id,
                "account": {
                    "id": repost.by,
                    "handle": by.map(|by| by.handle.as_str()),
                    "display_name": by.and_then(|by| by.display_name.as_deref()),
                },
                "created_at": repost.created_at,
            })
        });
        reader.same_item(path, &json!({ "repost": repost }), found);
    }
    Ok(())
}

impl Feature for Timelines {
    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        let world = reader.shown.world;
        match *about {
            About::Local => {
                let mut expected = reader.shown.seen(viewer.id(), |_, post| {
                    let author = world.account(post.author);
                    !post.followers_only
                        && author.is_some_and(|author| !author.private)
                        && !world.mutes(viewer.id(), post.author)
                });
                expected.reverse();
                reader.post_pages_of(BATCH_IDS_MAX, "/v1/timelines/local", &expected, viewer)
            }
            About::Home(own) => {
                reader.findings.count("homes", 1);
                match world.finds(Some(own), own) {
                    true => home(reader, viewer, own),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
