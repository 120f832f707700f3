//! Who sees whom and what: the rules that several features make together.

use uuid::Uuid;

use crate::features::{World, accounts::Account, posts::Post};

impl World {
    pub fn account(&self, id: Uuid) -> Option<&Account> {
        self.accounts.all.get(&id)
    }

    pub fn post(&self, id: Uuid) -> Option<&Post> {
        self.posts.all.get(&id)
    }

    pub fn blocks(&self, blocker: Option<Uuid>, blocked: Option<Uuid>) -> bool {
        let edge = blocker.zip(blocked);
        edge.is_some_and(|(from, to)| self.blocks.rows.holds(from, to))
    }

    pub fn mutes(&self, muter: Option<Uuid>, muted: Uuid) -> bool {
        muter.is_some_and(|muter| self.mutes.rows.holds(muter, muted))
    }

    /// Whether `viewer` finds an account: not one that blocks them, nor one that
    /// has left.
    pub fn finds(&self, viewer: Option<Uuid>, id: Uuid) -> bool {
        let there = self.account(id);
        there.is_some_and(|account| !account.deactivated) && !self.blocks(Some(id), viewer)
    }

    pub fn is_deactivated(&self, id: Uuid) -> bool {
        self.account(id).is_some_and(|account| account.deactivated)
    }

    /// Whether what is for followers of `id` is for `viewer`.
    pub fn is_near(&self, viewer: Option<Uuid>, id: Uuid) -> bool {
        viewer.is_some_and(|viewer| viewer == id || self.follows.rows.holds(viewer, id))
    }

    /// Whether `viewer` may see a post; nobody is signed in where it is none.
    pub fn sees(&self, viewer: Option<Uuid>, post: &Post) -> bool {
        let Some(author) = self.account(post.author) else {
            return false;
        };
        let for_all = !post.followers_only && !author.private;
        let by = Some(post.author);
        post.deleted_at.is_none()
            && !author.deactivated
            && !self.blocks(viewer, by)
            && !self.blocks(by, viewer)
            && (for_all || self.is_near(viewer, post.author))
    }

    /// Whether there is such a post and `viewer` may see it.
    pub fn sees_post(&self, viewer: Option<Uuid>, id: Uuid) -> bool {
        self.post(id).is_some_and(|post| self.sees(viewer, post))
    }
}
