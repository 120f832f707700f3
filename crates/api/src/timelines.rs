//! Timelines: home, local, and an account's own posts.

use edge::{
    answers::Found,
    identity::{Authenticated, Viewer},
    paging::Limit,
};
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::timelines::{self, Home, Local};

use crate::{
    accounts,
    freshness::{Moment, View},
    handlers::Read,
    named::Named,
    posts::PostPage,
    problem::{Code, Problem},
    tags::Tag,
};

pub struct TimelinesApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Timelines")]
impl TimelinesApi {
    /// My home timeline
    ///
    /// My posts and those of whom I follow and do not mute, replies too, newest
    /// first, and what these repost: such an item has a `repost`. A repost is left out
    /// where the same post stands here within the 24 hours before it, as itself or by
    /// another repost. It has no end but the first post.
    #[oai(
        path = "/timelines/home",
        method = "get",
        operation_id = "getHomeTimeline"
    )]
    async fn home(
        &self,
        read: Read<Authenticated>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let (services, reader) = (&read.services, read.who.account);
        let (scope, cursor) = (format!("home:{reader}"), cursor.0.as_deref());
        let page = read.page_of(scope, limit.0, cursor, observe_home(&read));
        let page = page.await?;
        let observed = &page.observed;
        let lists = services
            .lists
            .of_generation(observed.generation(View::TIMELINES));
        let use_lists = page.view == View::TIMELINES;
        let home = Home {
            reading: services.reading(observed),
            lists: use_lists.then_some((&lists, &observed.pulled)),
            reader,
        };
        let part = home.page(page.last, page.limit).await?;
        Ok(page.seen(&part))
    }

    /// Everything public, newest first
    ///
    /// What everybody publishes for all to see, a page at a time; not of whom I mute,
    /// block or am blocked by.
    #[oai(
        path = "/timelines/local",
        method = "get",
        operation_id = "getLocalTimeline"
    )]
    async fn local(
        &self,
        read: Read<Viewer>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let page = read.page("local".into(), limit.0, cursor.0.as_deref());
        let page = page.await?;
        let local = Local {
            reading: read.services.reading(&page.observed),
            viewer: read.who.account(),
        };
        let part = local.page(page.last, page.limit).await?;
        Ok(page.seen(&part))
    }

    /// An account's posts and replies, newest first
    ///
    /// Those that the reader may see, a page at a time. A private account's list is for its
    /// followers.
    #[oai(
        path = "/accounts/:account_id/posts",
        method = "get",
        operation_id = "listAccountPosts"
    )]
    async fn of_account(
        &self,
        read: Read<Viewer>,
        account_id: Path<Named>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = format!("posts:{}", account_id.0);
        let page = read.page(scope, limit.0, cursor.0.as_deref()).await?;
        let author = read.named(&account_id.0).await?;
        let account = accounts::find(&read, author).await?;
        let (pool, viewer) = (read.pool(), read.who.account());
        let is_close = accounts::is_close(&read, author).await?;
        if account.private && !is_close {
            return Err(Code::AccountPrivate.into());
        }
        let of = (author, is_close);
        let part = timelines::of_account(pool, viewer, of, page.last, page.limit).await?;
        page.posts(part).await
    }

    /// My posts and replies, newest first
    ///
    /// Those for followers too.
    #[oai(
        path = "/accounts/me/posts",
        method = "get",
        operation_id = "listMyPosts"
    )]
    async fn mine(
        &self,
        read: Read<Authenticated>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let me = read.who.account;
        let scope = format!("posts:{me}");
        let page = read.page(scope, limit.0, cursor.0.as_deref()).await?;
        let (pool, last, limit) = (read.pool(), page.last, page.limit);
        let part = timelines::of_account(pool, Some(me), (me, true), last, limit).await?;
        page.posts(part).await
    }
}

/// Waits for both views that home is made of. Lists that lag are not waited for long:
/// the database has what they lack.
async fn observe_home(read: &Read<Authenticated>) -> Result<(Moment, View), Problem> {
    let (freshness, asked_for) = (&read.services.freshness, &read.min_position.0);
    let wanted = freshness.wanted(Some(read.who.account), asked_for).await?;
    let folded = freshness.reach(View::SOCIAL, &wanted).await?;
    match freshness.reach(View::TIMELINES, &wanted).await {
        Ok(observed) => Ok((observed, View::TIMELINES)),
        Err(_) => Ok((folded, View::SOCIAL)),
    }
}
