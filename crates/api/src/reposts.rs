//! Reposts: bringing a post to one's followers, taking that back, who did.

use domain::{
    edges::{Connect, Disconnect},
    posts::PostId,
    reposts::{RepostError, RepostId, Reposts},
};
use kernel::Uuid;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::reposts;

use crate::{
    accounts::AccountPage,
    answers::{Changed, Found},
    handlers::{Read, Write},
    identity::Viewer,
    paging::Limit,
    posts::{self, MarkedPost},
    preconditions::IfNoneMatch,
    problem::{Code, Problem},
    services::new_id,
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
        write: Write,
        post_id: Path<Uuid>,
    ) -> Result<Changed<MarkedPost>, Problem> {
        let post = PostId(post_id.0);
        let author = write.services.author(post).await?;
        let repost = RepostId::of(new_id(write.account())?, post);
        let command = Connect::<Reposts>::new(write.account(), post);
        let command = command.by_likely(author).with(repost);
        posts::mark(&write, &command, post).await
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
        write: Write,
        post_id: Path<Uuid>,
    ) -> Result<Changed<MarkedPost>, Problem> {
        let post = PostId(post_id.0);
        let command = Disconnect::<Reposts>::new(write.account(), post);
        posts::mark(&write, &command, post).await
    }

    /// Who reposted a post, the last first
    ///
    /// A page at a time; the cursors neither repeat nor lose one.
    #[oai(
        path = "/posts/:post_id/reposts",
        method = "get",
        operation_id = "listReposters"
    )]
    async fn reposters(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let scope = format!("reposts:{}", post_id.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        page.observed.refuse_parked(post_id.0)?;
        let post = posts::find(&read, PostId(post_id.0)).await?.id;
        let (pool, account) = (read.pool(), read.who.account());
        let part = reposts::reposters(pool, account, post, page.start, page.limit).await?;
        Ok(page.accounts(part))
    }
}

impl From<RepostError> for Problem {
    fn from(error: RepostError) -> Self {
        match error {
            RepostError::PostNotFound => Self::no_post(),
            RepostError::NotRepostable => Code::NotRepostable.into(),
        }
    }
}
