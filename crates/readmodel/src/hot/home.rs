//! Which entries home shows. It refuses to find them: the timelines do.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use domain::posts::PostId;
use kernel::AccountId;

use super::{Reading, Seen, Shared, Shown};
use crate::{
    ReadError,
    reposts::Repost,
    timelines::EntryId,
    touches::Touch,
    visibility::{Place, Viewer},
};

/// A post, and the repost that it comes by.
pub(crate) type Entry = (PostId, Option<Arc<Repost>>);

impl<T: Shown> Reading<'_, T> {
    /// Those of `entries` that the reader's home shows, in that order. `earlier`: at least
    /// those reposts by whom the reader follows that are of these posts and of the day
    /// before each repost. `touches`: what that depends on, beside the posts that are shown.
    pub(crate) async fn home(
        &self,
        reader: AccountId,
        entries: Vec<Entry>,
        earlier: &[Arc<Repost>],
        touches: &mut Vec<Touch>,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        let ids: BTreeSet<PostId> = entries.iter().map(|(post, _)| *post).collect();
        let posts = self.shared(&ids.into_iter().collect::<Vec<_>>()).await?;
        let posts: HashMap<PostId, _> = posts.into_iter().map(|post| (post.id, post)).collect();
        let reposts = || entries.iter().filter_map(|(_, repost)| repost.as_ref());
        let of_reposts = reposts().filter_map(|repost| posts.get(&repost.post));
        touches.extend(of_reposts.map(|post| Touch::Author(post.author)));
        let authors = posts.values().map(|post| post.author);
        let by = reposts().chain(earlier).map(|repost| repost.by.id);
        let accounts: BTreeSet<AccountId> = authors.chain(by).collect();
        let viewer = self.viewer(Some(reader), &accounts, true).await?;
        let shown = entries.into_iter().filter_map(|(post, repost)| {
            let post = posts.get(&post)?;
            let is_shown = match &repost {
                None => viewer.sees(post.author, post.audience, Place::Home),
                Some(repost) => {
                    is_brought(&viewer, repost)
                        && viewer.sees(post.author, post.audience, Place::Reposted)
                        && !repeats(&viewer, post, repost, earlier)
                }
            };
            is_shown.then(|| (post.clone(), repost))
        });
        let shown = shown.collect();
        self.marked_all(Some(reader), shown).await
    }
}

/// Whether the repost comes into the viewer's home, where the viewer may see its post.
fn is_brought(viewer: &Viewer, repost: &Repost) -> bool {
    viewer.is_brought_by(repost.by.id, repost.deactivated)
}

/// Whether the post stands in the viewer's home within the day before `repost`, as itself
/// or by another repost, which may be kept back by yet another.
fn repeats<T>(viewer: &Viewer, post: &Shared<T>, repost: &Repost, earlier: &[Arc<Repost>]) -> bool {
    let day = EntryId::from(repost.id).day_before()..repost.id.0;
    let is_itself = day.contains(&post.id.0);
    let is_by_another = |other: &Arc<Repost>| {
        other.post == post.id && day.contains(&other.id.0) && is_brought(viewer, other)
    };
    is_itself && viewer.sees(post.author, post.audience, Place::Home)
        || earlier.iter().any(is_by_another)
}
