//! Timelines: home, local, and an account's own posts.

use std::{fmt::Display, sync::Arc};

use domain::posts::PostId;
use edge::{
    answers::Found,
    identity::{Authenticated, Viewer},
    paging::Limit,
    preconditions::IfNoneMatch,
};
use kernel::AccountId;
use poem_openapi::{
    Enum, OpenApi,
    param::{Path, Query},
};
use readmodel::{
    hot::Seen,
    paging::Part,
    posts::PostRow,
    timelines::{self, Authored, EntryId, Home, Local},
};

use crate::{
    accounts,
    freshness::{Moment, View},
    handlers::Read,
    named::Named,
    newer::Newer,
    pages::Page,
    posts::PostPage,
    problem::{Code, Problem},
    shown::ShownPost,
    tags::Tag,
};

/// Which of an account's posts are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum Only {
    /// What is no reply.
    Posts,
    Replies,
}

impl Only {
    fn is_of_replies(self) -> bool {
        self == Self::Replies
    }
}

/// A part of home or local, of what is kept in process.
type Entries = Part<Seen<ShownPost>, EntryId>;

pub struct TimelinesApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Timelines")]
impl TimelinesApi {
    /// My home timeline
    ///
    /// My posts and those of whom I follow and do not mute, replies too, newest
    /// first, and what these repost: such an item has a `repost`. A repost is left out
    /// where the same post stands here within the 24 hours before it, as itself or by
    /// another repost. It has no end but the first post. What came since a page was read is
    /// before it, at its `prev_cursor`; how much that is, `/v1/timelines/home/count` tells.
    #[oai(
        path = "/timelines/home",
        method = "get",
        operation_id = "getHomeTimeline"
    )]
    async fn home(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let (scope, observed) = (home_scope(&read), observe_home(&read));
        let page = read.page_of(scope, limit.0, cursor.0, known, observed);
        let page = page.await?;
        let part = home(&read, &page).await?;
        Ok(page.seen(&part))
    }

    /// How much is new in my home timeline
    ///
    /// Of what a page that was read before has before it: what its `prev_cursor` leads to.
    #[oai(
        path = "/timelines/home/count",
        method = "get",
        operation_id = "countHomeTimeline"
    )]
    async fn count_home(
        &self,
        read: Read<Authenticated>,
        /// The `prev_cursor` of a page of the same timeline.
        newer_than: Query<String>,
    ) -> Result<Found<Newer>, Problem> {
        let (scope, observed) = (home_scope(&read), observe_home(&read));
        let page = read.newer(scope, &newer_than.0, observed).await?;
        let part = home(&read, &page).await?;
        Ok(page.newer_seen(&part))
    }

    /// Everything public, newest first
    ///
    /// What everybody publishes for all to see, a page at a time; not of whom I mute,
    /// block or am blocked by. What came since is before it, as in my home timeline.
    #[oai(
        path = "/timelines/local",
        method = "get",
        operation_id = "getLocalTimeline"
    )]
    async fn local(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let page = read.page(LOCAL_SCOPE.into(), limit.0, cursor.0, known);
        let page = page.await?;
        Ok(page.seen(&local(&read, &page).await?))
    }

    /// How much is new of everything public
    ///
    /// Of what a page that was read before has before it: what its `prev_cursor` leads to.
    #[oai(
        path = "/timelines/local/count",
        method = "get",
        operation_id = "countLocalTimeline"
    )]
    async fn count_local(
        &self,
        read: Read<Viewer>,
        /// The `prev_cursor` of a page of the same timeline.
        newer_than: Query<String>,
    ) -> Result<Found<Newer>, Problem> {
        let (scope, observed) = (LOCAL_SCOPE.into(), observe_social(&read));
        let page = read.newer(scope, &newer_than.0, observed).await?;
        Ok(page.newer_seen(&local(&read, &page).await?))
    }

    /// An account's posts and replies, newest first
    ///
    /// Those that the reader may see, a page at a time. A private account's list is for its
    /// followers. What came since is before it, as in my home timeline.
    #[oai(
        path = "/accounts/:account_id/posts",
        method = "get",
        operation_id = "listAccountPosts"
    )]
    async fn of_account(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        account_id: Path<Named>,
        /// Leaves out the others.
        only: Query<Option<Only>>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = posts_scope(&account_id.0, only.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        let author = read.named(&account_id.0).await?;
        page.posts(posts_of(&read, author, only.0, &page).await?)
            .await
    }

    /// How many of an account's posts and replies are new
    ///
    /// Of what a page that was read before has before it: what its `prev_cursor` leads to.
    #[oai(
        path = "/accounts/:account_id/posts/count",
        method = "get",
        operation_id = "countAccountPosts"
    )]
    async fn count_of_account(
        &self,
        read: Read<Viewer>,
        account_id: Path<Named>,
        /// As the page had it.
        only: Query<Option<Only>>,
        /// The `prev_cursor` of a page of the same posts.
        newer_than: Query<String>,
    ) -> Result<Found<Newer>, Problem> {
        let scope = posts_scope(&account_id.0, only.0);
        let observed = observe_social(&read);
        let page = read.newer(scope, &newer_than.0, observed).await?;
        let author = read.named(&account_id.0).await?;
        Ok(page.newer_posts(&posts_of(&read, author, only.0, &page).await?))
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
        known: IfNoneMatch,
        /// Leaves out the others.
        only: Query<Option<Only>>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = posts_scope(read.who.account, only.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        page.posts(own_posts(&read, only.0, &page).await?).await
    }

    /// How many of my posts and replies are new
    ///
    /// Of what a page that was read before has before it, as another device of mine may
    /// have published: what its `prev_cursor` leads to.
    #[oai(
        path = "/accounts/me/posts/count",
        method = "get",
        operation_id = "countMyPosts"
    )]
    async fn count_mine(
        &self,
        read: Read<Authenticated>,
        /// As the page had it.
        only: Query<Option<Only>>,
        /// The `prev_cursor` of a page of the same posts.
        newer_than: Query<String>,
    ) -> Result<Found<Newer>, Problem> {
        let scope = posts_scope(read.who.account, only.0);
        let observed = observe_social(&read);
        let page = read.newer(scope, &newer_than.0, observed).await?;
        Ok(page.newer_posts(&own_posts(&read, only.0, &page).await?))
    }
}

const LOCAL_SCOPE: &str = "local";

fn home_scope(read: &Read<Authenticated>) -> String {
    format!("home:{}", read.who.account)
}

fn posts_scope(author: impl Display, only: Option<Only>) -> String {
    match only {
        None => format!("posts:{author}"),
        Some(only) => format!("posts:{author}:{only:?}"),
    }
}

async fn home(
    read: &Read<Authenticated>,
    page: &Page<'_, EntryId>,
) -> Result<Arc<Entries>, Problem> {
    let (services, observed) = (&read.services, &page.observed);
    let generation = observed.generation(View::TIMELINES);
    let lists = services.lists.of_generation(generation);
    let use_lists = page.view == View::TIMELINES;
    let home = Home {
        reading: services.reading(observed),
        lists: use_lists.then_some((&lists, &observed.pulled)),
        reader: read.who.account,
    };
    Ok(home.page(page.start, page.limit).await?)
}

async fn local(read: &Read<Viewer>, page: &Page<'_, EntryId>) -> Result<Entries, Problem> {
    let local = Local {
        reading: read.services.reading(&page.observed),
        viewer: read.who.account(),
    };
    Ok(local.page(page.start, page.limit).await?)
}

async fn posts_of(
    read: &Read<Viewer>,
    author: AccountId,
    only: Option<Only>,
    page: &Page<'_, PostId>,
) -> Result<Part<PostRow, PostId>, Problem> {
    let account = accounts::find(read, author).await?;
    let (pool, viewer) = (read.pool(), read.who.account());
    let is_close = accounts::is_close(read, author).await?;
    if account.private && !is_close {
        return Err(Code::AccountPrivate.into());
    }
    let of = Authored {
        author,
        is_close,
        replies: only.map(Only::is_of_replies),
    };
    Ok(timelines::of_account(pool, viewer, of, page.start, page.limit).await?)
}

async fn own_posts(
    read: &Read<Authenticated>,
    only: Option<Only>,
    page: &Page<'_, PostId>,
) -> Result<Part<PostRow, PostId>, Problem> {
    let (pool, me) = (read.pool(), read.who.account);
    let of = Authored {
        author: me,
        is_close: true,
        replies: only.map(Only::is_of_replies),
    };
    let part = timelines::of_account(pool, Some(me), of, page.start, page.limit);
    Ok(part.await?)
}

async fn observe_social<W: Copy + Into<Viewer>>(read: &Read<W>) -> Result<(Moment, View), Problem> {
    Ok((read.observe().await?, View::SOCIAL))
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
