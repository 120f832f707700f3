//! Timelines: home, local, and an account's own posts.

use std::sync::Arc;

use edge::{
    answers::Found,
    identity::{Authenticated, Viewer},
    paging::{Here, Limit},
    preconditions::MinPosition,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::timelines::{self, EntryId, Home, Local};

use crate::{
    accounts, freshness::View, pages, posts::PostPage, problem::Problem, services::Services,
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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        min_position: MinPosition,
        here: Here,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = format!("home:{}", me.account);
        let before = pages::post(&services.cursors, &scope, cursor.0.as_deref())?;
        let before = before.map(|id| EntryId(id.0));
        let freshness = &services.freshness;
        let wanted = freshness.wanted(Some(me.account), &min_position.0).await?;
        let folded = freshness.reach(View::SOCIAL, &wanted).await?;
        // Lists that lag are not waited for long: the database has what they
        // lack.
        let fanned_out = freshness.reach(View::TIMELINES, &wanted).await;
        let (observed, view, use_lists) = match fanned_out {
            Ok(observed) => (observed, View::TIMELINES, true),
            Err(_) => (folded, View::SOCIAL, false),
        };
        let lists = services
            .lists
            .of_generation(observed.generation(View::TIMELINES));
        let home = Home {
            reading: services.reading(&observed),
            lists: use_lists.then_some((&lists, &observed.pulled)),
            reader: me.account,
        };
        let posts = home.page(before, pages::asked(limit.0)).await?;
        Ok(pages::seen(
            &services.cursors,
            (&observed, view),
            &scope,
            &posts,
            limit.0,
            Viewer(Some(me)),
            &here,
        ))
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
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let before = pages::post(&services.cursors, "local", cursor.0.as_deref())?;
        let observed = (services.freshness)
            .wait(View::SOCIAL, viewer.account(), &min_position.0)
            .await?;
        let local = Local {
            reading: services.reading(&observed),
            viewer: viewer.account(),
        };
        let posts = local.page(before, pages::asked(limit.0)).await?;
        Ok(pages::seen(
            &services.cursors,
            (&observed, View::SOCIAL),
            "local",
            &posts,
            limit.0,
            viewer,
            &here,
        ))
    }

    /// An account's posts and replies, newest first
    ///
    /// Those that the reader may see, a page at a time.
    #[allow(clippy::too_many_arguments)]
    #[oai(
        path = "/accounts/:account_id/posts",
        method = "get",
        operation_id = "listAccountPosts"
    )]
    async fn of_account(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        account_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let author = AccountId(account_id.0);
        let scope = format!("posts:{author}");
        let before = pages::post(&services.cursors, &scope, cursor.0.as_deref())?;
        let observed = (services.freshness)
            .wait(View::SOCIAL, viewer.account(), &min_position.0)
            .await?;
        accounts::find(&services, viewer, author).await?;
        let asked = pages::asked(limit.0);
        let (pool, looks) = (services.pool(), viewer.account());
        let rows = timelines::of_account(pool, looks, author, before, asked).await?;
        Ok(pages::posts(
            &services.cursors,
            &observed,
            &scope,
            rows,
            limit.0,
            viewer,
            &here,
        ))
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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        min_position: MinPosition,
        here: Here,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = format!("posts:{}", me.account);
        let before = pages::post(&services.cursors, &scope, cursor.0.as_deref())?;
        let reader = Some(me.account);
        let observed = (services.freshness)
            .wait(View::SOCIAL, reader, &min_position.0)
            .await?;
        let asked = pages::asked(limit.0);
        let rows =
            timelines::of_account(services.pool(), reader, me.account, before, asked).await?;
        let viewer = Viewer(Some(me));
        Ok(pages::posts(
            &services.cursors,
            &observed,
            &scope,
            rows,
            limit.0,
            viewer,
            &here,
        ))
    }
}
