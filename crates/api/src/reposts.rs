//! Reposts: bringing a post to one's followers, taking that back, who did.

use std::sync::Arc;

use domain::{
    edges::{Connect, Disconnect},
    posts::PostId,
    reposts::{RepostError, RepostId, Reposts},
};
use kernel::Uuid;
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::reposts;

use crate::{
    accounts::AccountPage,
    answers::{Done, Found},
    identity::{Authenticated, Viewer},
    pages::EdgePage,
    paging::{Here, Limit},
    posts,
    preconditions::{Idempotency, MinPosition},
    problem::{Code, Problem},
    request::RequestId,
    services::{Services, new_id},
    tags::Tag,
};

pub struct RepostsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Reposts")]
impl RepostsApi {
    /// Repost a post
    ///
    /// It comes into the home timelines of my followers who may see it. What is not for
    /// everybody is reposted by its author alone. Reposting it again changes nothing.
    #[oai(
        path = "/posts/:post_id/repost",
        method = "put",
        operation_id = "repostPost"
    )]
    async fn repost(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        post_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let post = PostId(post_id.0);
        let author = services.author(post).await?;
        let repost = RepostId::of(new_id(me.account)?, post);
        let command = Connect::<Reposts>::new(me.account, post);
        let command = command.by_likely(author).with(repost);
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Take a repost back
    ///
    /// It is gone from home timelines. Where it is not reposted, nothing changes.
    #[oai(
        path = "/posts/:post_id/repost",
        method = "delete",
        operation_id = "unrepostPost"
    )]
    async fn unrepost(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        post_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = Disconnect::<Reposts>::new(me.account, PostId(post_id.0));
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Who reposted a post, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one.
    #[oai(
        path = "/posts/:post_id/reposts",
        method = "get",
        operation_id = "listReposters"
    )]
    #[allow(clippy::too_many_arguments)]
    async fn reposters(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let scope = format!("reposts:{}", post_id.0);
        let cursor = cursor.0.as_deref();
        let page = EdgePage::begin(&services, viewer, &min_position, scope, limit.0, cursor);
        let page = page.await?;
        page.observed.refuse_parked(post_id.0)?;
        let post = posts::find(&services, viewer, PostId(post_id.0)).await?.id;
        let (pool, account) = (services.pool(), viewer.account());
        let rows = reposts::reposters(pool, account, post, page.last, page.asked).await?;
        Ok(page.answer(&services, rows, &here))
    }
}

impl From<RepostError> for Problem {
    fn from(error: RepostError) -> Self {
        match error {
            RepostError::PostNotFound => Self::not_found("post"),
            RepostError::NotRepostable => Self::new(
                Code::NotRepostable,
                "The post is for followers of its author, who alone may repost it.",
            ),
        }
    }
}
