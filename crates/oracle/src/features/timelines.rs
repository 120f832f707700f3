//! Home and local: no events of their own, but which posts of others a reader comes
//! across.

use uuid::Uuid;

use super::{Feature, World, posts::Post};
use crate::{
    Unreachable,
    looks::{About, Viewer},
    reader::{BATCH_IDS_MAX, Reader},
};

#[derive(Debug, Default)]
pub struct Timelines;

impl World {
    /// Home: what `reader` sees of oneself and of whom one follows now and
    /// does not mute, the newest id first.
    pub fn home(&self, reader: Uuid) -> Vec<Uuid> {
        let wanted = |post: &Post| {
            self.sees(Some(reader), post)
                && !self.mutes(Some(reader), post.author)
                && (post.author == reader || self.follows.rows.holds(reader, post.author))
        };
        let posts = self.posts.all.iter().rev();
        posts
            .filter(|(_, post)| wanted(post))
            .map(|(id, _)| *id)
            .collect()
    }
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
                    true => reader.post_pages("/v1/timelines/home", &world.home(own), viewer),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
