//! What answers are compared with: the world, with what has to be counted once. How an
//! account and a post are shown is in the files of these features.

use uuid::Uuid;

use crate::{
    counts::Counts,
    features::{World, posts::Post},
};

pub struct Shown<'a> {
    pub world: &'a World,
    pub counts: Counts,
}

impl<'a> Shown<'a> {
    pub fn new(world: &'a World) -> Self {
        let counts = Counts::of(world);
        Self { world, counts }
    }

    /// What `viewer` sees of all posts that `wanted` names, oldest id first.
    pub fn seen(&self, viewer: Option<Uuid>, wanted: impl Fn(&Uuid, &Post) -> bool) -> Vec<Uuid> {
        let posts = self.world.posts.all.iter();
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

    /// The same, whether they are shown or not.
    pub fn all_edges(mut edges: Vec<(i64, Uuid)>) -> Vec<Uuid> {
        edges.sort_unstable_by(|a, b| b.cmp(a));
        edges.into_iter().map(|(_, id)| id).collect()
    }
}
