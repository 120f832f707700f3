//! Likes: liking, unliking, who liked.

use std::sync::Arc;

use domain::{
    edges::{Connect, Disconnect},
    likes::{LikeError, Likes},
    posts::PostId,
};
use kernel::Uuid;
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::likes;

use crate::{
    accounts::AccountPage,
    answers::{Done, Found},
    identity::{Authenticated, Viewer},
    pages::EdgePage,
    paging::{Here, Limit},
    posts,
    preconditions::{Idempotency, MinPosition},
    problem::Problem,
    request::RequestId,
    services::Services,
    tags::Tag,
};

pub struct LikesApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Likes")]
impl LikesApi {
    /// Like a post
    ///
    /// Liking it again changes nothing.
    #[oai(
        path = "/posts/:post_id/like",
        method = "put",
        operation_id = "likePost"
    )]
    async fn like(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        post_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let post = PostId(post_id.0);
        let author = services.author(post).await?;
        let command = Connect::<Likes>::new(me.account, post).by_likely(author);
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Take a like back
    ///
    /// Where it is not liked, nothing changes.
    #[oai(
        path = "/posts/:post_id/like",
        method = "delete",
        operation_id = "unlikePost"
    )]
    async fn unlike(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        post_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = Disconnect::<Likes>::new(me.account, PostId(post_id.0));
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Who liked a post, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one.
    #[oai(
        path = "/posts/:post_id/likes",
        method = "get",
        operation_id = "listLikers"
    )]
    #[allow(clippy::too_many_arguments)]
    async fn likers(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let scope = format!("likes:{}", post_id.0);
        let cursor = cursor.0.as_deref();
        let page = EdgePage::begin(&services, viewer, &min_position, scope, limit.0, cursor);
        let page = page.await?;
        page.observed.refuse_parked(post_id.0)?;
        let post = posts::find(&services, viewer, PostId(post_id.0)).await?.id;
        let (pool, account) = (services.pool(), viewer.account());
        let rows = likes::likers(pool, account, post, page.last, page.asked).await?;
        Ok(page.answer(&services, rows, &here))
    }
}

impl From<LikeError> for Problem {
    fn from(error: LikeError) -> Self {
        match error {
            LikeError::PostNotFound => Self::not_found("post"),
        }
    }
}
