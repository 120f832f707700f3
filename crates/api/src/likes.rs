//! Likes: liking, unliking, who liked.

use domain::{
    edges::{Connect, Disconnect},
    likes::{LikeError, Likes},
    posts::PostId,
};
use kernel::Uuid;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::likes;

use crate::{
    accounts::AccountPage,
    answers::{Changed, Found},
    handlers::{Read, Write},
    identity::{Authenticated, Viewer},
    paging::Limit,
    posts::{self, MarkedPost, PostPage},
    preconditions::IfNoneMatch,
    problem::Problem,
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
        write: Write,
        post_id: Path<Uuid>,
    ) -> Result<Changed<MarkedPost>, Problem> {
        let post = PostId(post_id.0);
        let author = write.services.author(post).await?;
        let command = Connect::<Likes>::new(write.account(), post).by_likely(author);
        posts::mark(&write, &command, post).await
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
        write: Write,
        post_id: Path<Uuid>,
    ) -> Result<Changed<MarkedPost>, Problem> {
        let post = PostId(post_id.0);
        let command = Disconnect::<Likes>::new(write.account(), post);
        posts::mark(&write, &command, post).await
    }

    /// What I liked, the last first
    ///
    /// A page at a time; what is gone, or not for me any more, is left out.
    #[oai(
        path = "/accounts/me/likes",
        method = "get",
        operation_id = "listMyLikes"
    )]
    async fn mine(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let me = read.who.account;
        let scope = format!("liked:{me}");
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        let part = likes::list(read.pool(), me, page.start, page.limit).await?;
        let mut posts = posts::available(&read, &page.observed, &part.rows).await?;
        Ok(page.answer(part, |ids, ends| PostPage {
            items: ids.iter().filter_map(|id| posts.remove(id)).collect(),
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        }))
    }

    /// Who liked a post, the last first
    ///
    /// A page at a time; the cursors neither repeat nor lose one.
    #[oai(
        path = "/posts/:post_id/likes",
        method = "get",
        operation_id = "listLikers"
    )]
    async fn likers(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let scope = format!("likes:{}", post_id.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        page.observed.refuse_parked(post_id.0)?;
        let post = posts::find(&read, PostId(post_id.0)).await?.id;
        let (pool, account) = (read.pool(), read.who.account());
        let part = likes::likers(pool, account, post, page.start, page.limit).await?;
        Ok(page.accounts(part))
    }
}

impl From<LikeError> for Problem {
    fn from(error: LikeError) -> Self {
        match error {
            LikeError::PostNotFound => Self::no_post(),
        }
    }
}
