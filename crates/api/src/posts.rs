//! Posts and replies: publishing, reading, editing, deleting, threads.

use std::sync::Arc;

use domain::posts::{
    DeletePost, EditPost, InvalidPost, Language, Metadata, PostError, PostId, PublishPost, Text,
    Visibility,
};
use kernel::Uuid;
use poem::web::Data;
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
    types::Example,
};
use readmodel::posts::{self, PostRow, RevisionRow};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    accounts::{Version, parse_ids},
    answers::{Changed, Created, Done, Found},
    body::Input,
    freshness::View,
    identity::{Authenticated, Viewer, now},
    pages,
    paging::{Here, Limit},
    preconditions::{Idempotency, IfMatch, IfNoneMatch, MinPosition},
    problem::{Code, Problem},
    request::RequestId,
    services::{Services, new_id},
    sessions::Session,
    shown,
    system::Tag,
};

/// Who may see a post, besides its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum PostVisibility {
    Public,
    Followers,
}

/// Something to say.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct NewPost {
    #[oai(validator(min_length = 1, max_length = 5000))]
    text: String,
    /// `public` where it is left out.
    visibility: Option<PostVisibility>,
    /// A BCP 47 tag.
    #[oai(validator(min_length = 2, max_length = 35))]
    language: Option<String>,
    /// A free JSON object of at most 4 KiB, 4 levels deep.
    metadata: Option<Value>,
    /// The post or reply that this answers.
    reply_to_id: Option<Uuid>,
}

impl Example for NewPost {
    fn example() -> Self {
        Self {
            text: "Hello #world".into(),
            visibility: Some(PostVisibility::Public),
            language: Some("en".into()),
            metadata: Some(serde_json::json!({"category": "greetings"})),
            reply_to_id: None,
        }
    }
}

/// What a post says from now on; fields that are left out stay.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct PostEdit {
    #[oai(validator(min_length = 1, max_length = 5000))]
    text: String,
    /// A BCP 47 tag.
    #[oai(validator(min_length = 2, max_length = 35))]
    language: Option<String>,
    /// A free JSON object of at most 4 KiB, 4 levels deep.
    metadata: Option<Value>,
}

impl Example for PostEdit {
    fn example() -> Self {
        Self {
            text: "Hello, #world!".into(),
            language: None,
            metadata: None,
        }
    }
}

/// Who wrote it.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Author {
    id: Uuid,
    handle: String,
    display_name: Option<String>,
}

/// What the one who looks has done with it.
#[derive(Object)]
pub struct ViewerState {
    liked: bool,
}

/// A post as the one who looks sees it.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Post {
    id: Uuid,
    author: Author,
    /// Missing where the author's personal data was erased.
    text: Option<String>,
    language: Option<String>,
    visibility: PostVisibility,
    metadata: Option<Value>,
    /// Folded, without the mark.
    hashtags: Vec<String>,
    /// Accounts that were mentioned.
    mention_ids: Vec<Uuid>,
    reply_to_id: Option<Uuid>,
    /// The post that the thread began with.
    root_id: Option<Uuid>,
    created_at: OffsetDateTime,
    edited_at: Option<OffsetDateTime>,
    /// For `If-Match`.
    version: u64,
    likes_count: i64,
    replies_count: i64,
    /// Missing where nobody is signed in.
    viewer: Option<ViewerState>,
}

impl Example for Post {
    fn example() -> Self {
        Self {
            id: Uuid::from_u128(0x0198_b5a2_9c4e_7f00_8123_4567_89ab_7b8a),
            author: Author {
                id: Session::example().account_id,
                handle: "ada".into(),
                display_name: Some("Ada".into()),
            },
            text: Some("Hello #world".into()),
            language: Some("en".into()),
            visibility: PostVisibility::Public,
            metadata: None,
            hashtags: vec!["world".into()],
            mention_ids: Vec::new(),
            reply_to_id: None,
            root_id: None,
            created_at: OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000),
            edited_at: None,
            version: 1,
            likes_count: 2,
            replies_count: 0,
            viewer: Some(ViewerState { liked: true }),
        }
    }
}

impl Post {
    pub(crate) fn of(row: PostRow, viewer: Viewer) -> Self {
        Self {
            id: row.id.0,
            author: Author {
                id: row.author.id.0,
                handle: row.author.handle,
                display_name: row.author.display_name,
            },
            text: row.text,
            language: row.language,
            visibility: match row.followers_only {
                true => PostVisibility::Followers,
                false => PostVisibility::Public,
            },
            metadata: row.metadata,
            hashtags: row.hashtags,
            mention_ids: row.mentions,
            reply_to_id: row.parent_id.map(|id| id.0),
            root_id: row.root_id.map(|id| id.0),
            created_at: row.created_at.to_offset_date_time(),
            edited_at: row.edited_at.map(|at| at.to_offset_date_time()),
            version: row.version,
            likes_count: row.likes,
            replies_count: row.replies,
            viewer: viewer.0.map(|_| ViewerState { liked: row.liked }),
        }
    }

    pub(crate) fn all(rows: Vec<PostRow>, viewer: Viewer) -> Vec<Self> {
        let post = |row| Self::of(row, viewer);
        rows.into_iter().map(post).collect()
    }
}

/// A page of posts.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct PostPage {
    pub items: Vec<Post>,
    /// Send it as `cursor` for the next page; missing on the last one.
    pub next_cursor: Option<String>,
}

impl Example for PostPage {
    fn example() -> Self {
        Self {
            items: vec![Post::example()],
            next_cursor: None,
        }
    }
}

/// Posts in the order that they were asked for.
#[derive(Object)]
#[oai(example)]
pub struct PostBatch {
    items: Vec<Post>,
}

impl Example for PostBatch {
    fn example() -> Self {
        Self {
            items: vec![Post::example()],
        }
    }
}

/// A post in its thread.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Thread {
    /// What it replies to, from the root down; the nearest 100.
    ancestors: Vec<Post>,
    post: Post,
    /// All that is below it, nested replies too, oldest first.
    descendants: Vec<Post>,
    /// Send it as `cursor` for more descendants; missing where there are none.
    next_cursor: Option<String>,
}

impl Example for Thread {
    fn example() -> Self {
        Self {
            ancestors: Vec::new(),
            post: Post::example(),
            descendants: Vec::new(),
            next_cursor: None,
        }
    }
}

/// What a post said before.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Revision {
    version: u64,
    text: Option<String>,
    language: Option<String>,
    metadata: Option<Value>,
    written_at: OffsetDateTime,
}

impl From<RevisionRow> for Revision {
    fn from(row: RevisionRow) -> Self {
        Self {
            version: row.version,
            text: row.text,
            language: row.language,
            metadata: row.metadata,
            written_at: row.written_at.to_offset_date_time(),
        }
    }
}

/// Earlier versions, the latest first.
#[derive(Object)]
#[oai(example)]
pub struct History {
    items: Vec<Revision>,
}

impl Example for History {
    fn example() -> Self {
        let revision = Revision {
            version: 1,
            text: Some("Helo #world".into()),
            language: Some("en".into()),
            metadata: None,
            written_at: OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000),
        };
        Self {
            items: vec![revision],
        }
    }
}

pub struct PostsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Posts")]
impl PostsApi {
    /// Publish a post or a reply
    #[oai(path = "/posts", method = "post", operation_id = "publishPost")]
    async fn publish(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        body: Input<NewPost>,
    ) -> Result<Created<Version>, Problem> {
        let body = body.0;
        let command = PublishPost {
            post: PostId(new_id(me.account, now())?),
            author: me.account,
            text: body.text.parse::<Text>()?,
            language: parse_language(body.language)?,
            metadata: body.metadata.map(Metadata::try_from).transpose()?,
            visibility: match body.visibility {
                Some(PostVisibility::Followers) => Visibility::Followers,
                Some(PostVisibility::Public) | None => Visibility::Public,
            },
            reply_to: body.reply_to_id.map(PostId),
        };
        let key = idempotency.of(me.account);
        let receipt = services
            .execute_once(&command, me.account, request_id.0, key)
            .await?;
        let id = receipt.aggregate.id;
        let version = Version {
            id,
            version: receipt.version,
        };
        Ok(Created::new(&format!("/v1/posts/{id}"), version)
            .at(receipt.position)
            .version(receipt.version))
    }

    /// Posts by their ids
    #[oai(path = "/posts", method = "get", operation_id = "listPosts")]
    async fn batch(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        /// 1 to 100 ids with commas between; those that may not be seen are left out.
        ids: Query<String>,
    ) -> Result<Found<PostBatch>, Problem> {
        let ids = parse_ids(&ids.0)?;
        let observed = (services.freshness)
            .wait(View::Social, viewer.account(), &min_position.0)
            .await?;
        let ids: Vec<_> = ids.into_iter().map(PostId).collect();
        let (pool, account) = (services.pool(), viewer.account());
        let posts = services
            .hot
            .posts(pool, account, &ids, observed.told)
            .await?;
        let mut bytes = shown::write_items(&posts, viewer);
        bytes.push(b'}');
        Ok(Found::written(bytes).as_of(observed.header(View::Social)))
    }

    /// A post
    #[oai(path = "/posts/:post_id", method = "get", operation_id = "getPost")]
    async fn get(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
    ) -> Result<Found<Post>, Problem> {
        let observed = (services.freshness)
            .wait(View::Social, viewer.account(), &min_position.0)
            .await?;
        observed.refuse_parked(post_id.0)?;
        let (pool, account, id) = (services.pool(), viewer.account(), PostId(post_id.0));
        let posts = services
            .hot
            .posts(pool, account, &[id], observed.told)
            .await?;
        let seen = posts.first().ok_or_else(|| Problem::not_found("post"))?;
        let tag = shown::etag(seen, viewer);
        let found = match known.has(&tag) {
            true => Found::known(),
            false => {
                let mut bytes = Vec::new();
                shown::write(seen, viewer, &mut bytes);
                Found::written(bytes)
            }
        };
        Ok(found.tag(&tag).as_of(observed.header(View::Social)))
    }

    /// Edit a post of mine
    ///
    /// What it said before is kept and shown under `/revisions`.
    #[oai(path = "/posts/:post_id", method = "patch", operation_id = "editPost")]
    #[allow(clippy::too_many_arguments)]
    async fn edit(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        if_match: IfMatch,
        idempotency: Idempotency,
        post_id: Path<Uuid>,
        body: Input<PostEdit>,
    ) -> Result<Changed<Version>, Problem> {
        let body = body.0;
        let command = EditPost {
            post: PostId(post_id.0),
            actor: me.account,
            text: body.text.parse::<Text>()?,
            language: parse_language(body.language)?,
            metadata: body.metadata.map(Metadata::try_from).transpose()?,
            expected_version: if_match.0,
        };
        let key = idempotency.of(me.account);
        let receipt = services
            .execute_once(&command, me.account, request_id.0, key)
            .await?;
        let version = Version {
            id: post_id.0,
            version: receipt.version,
        };
        Ok(Changed::new(version)
            .at(receipt.position)
            .version(receipt.version))
    }

    /// Delete a post of mine
    #[oai(
        path = "/posts/:post_id",
        method = "delete",
        operation_id = "deletePost"
    )]
    async fn delete(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        if_match: IfMatch,
        idempotency: Idempotency,
        post_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = DeletePost {
            post: PostId(post_id.0),
            actor: me.account,
            expected_version: if_match.0,
        };
        let key = idempotency.of(me.account);
        let receipt = services
            .execute_once(&command, me.account, request_id.0, key)
            .await?;
        Ok(Done::at(receipt.position))
    }

    /// What a post said before it was edited
    #[oai(
        path = "/posts/:post_id/revisions",
        method = "get",
        operation_id = "listPostRevisions"
    )]
    async fn revisions(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        post_id: Path<Uuid>,
    ) -> Result<Found<History>, Problem> {
        let observed = (services.freshness)
            .wait(View::Social, viewer.account(), &min_position.0)
            .await?;
        observed.refuse_parked(post_id.0)?;
        let post = find(&services, viewer, PostId(post_id.0)).await?.id;
        let rows = posts::revisions(services.pool(), post).await?;
        let items = rows.into_iter().map(Revision::from).collect();
        Ok(Found::new(History { items }).as_of(observed.header(View::Social)))
    }

    /// Replies to a post, oldest first
    #[allow(clippy::too_many_arguments)]
    #[oai(
        path = "/posts/:post_id/replies",
        method = "get",
        operation_id = "listReplies"
    )]
    async fn replies(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = format!("replies:{}", post_id.0);
        let after = pages::post(&services.cursors, &scope, cursor.0.as_deref())?;
        let observed = (services.freshness)
            .wait(View::Social, viewer.account(), &min_position.0)
            .await?;
        observed.refuse_parked(post_id.0)?;
        let post = find(&services, viewer, PostId(post_id.0)).await?.id;
        let asked = pages::asked(limit.0);
        let rows = posts::replies(services.pool(), viewer.account(), post, after, asked).await?;
        Ok(
            pages::posts(&services.cursors, &scope, rows, limit.0, viewer, &here)
                .as_of(observed.header(View::Social)),
        )
    }

    /// A post in its thread
    #[oai(
        path = "/posts/:post_id/thread",
        method = "get",
        operation_id = "getThread"
    )]
    #[allow(clippy::too_many_arguments)]
    async fn thread(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<Thread>, Problem> {
        let scope = format!("thread:{}", post_id.0);
        let after = pages::post(&services.cursors, &scope, cursor.0.as_deref())?;
        let observed = (services.freshness)
            .wait(View::Social, viewer.account(), &min_position.0)
            .await?;
        observed.refuse_parked(post_id.0)?;
        let row = find(&services, viewer, PostId(post_id.0)).await?;
        let (pool, account) = (services.pool(), viewer.account());
        let ancestors = posts::ancestors(pool, account, row.id).await?;
        let asked = pages::asked(limit.0);
        let below = posts::descendants(pool, account, row.id, after, asked).await?;
        let (below, next_cursor) = pages::cut(&services.cursors, &scope, below, limit.0);
        let link = next_cursor.as_deref().map(|cursor| here.next(cursor));
        let thread = Thread {
            ancestors: Post::all(ancestors, viewer),
            post: Post::of(row, viewer),
            descendants: Post::all(below, viewer),
            next_cursor,
        };
        Ok(Found::new(thread)
            .as_of(observed.header(View::Social))
            .next(link.as_deref()))
    }
}

/// The post where the viewer may see it.
pub(crate) async fn find(
    services: &Services,
    viewer: Viewer,
    post: PostId,
) -> Result<PostRow, Problem> {
    let row = posts::by_id(services.pool(), viewer.account(), post).await?;
    row.ok_or_else(|| Problem::not_found("post"))
}

fn parse_language(language: Option<String>) -> Result<Option<Language>, Problem> {
    let language = language.map(|language| language.parse::<Language>());
    Ok(language.transpose()?)
}

impl From<InvalidPost> for Problem {
    fn from(error: InvalidPost) -> Self {
        let pointer = match error {
            InvalidPost::Text => "/text",
            InvalidPost::Language => "/language",
            InvalidPost::Metadata => "/metadata",
        };
        Self::invalid_field(pointer, error.to_string())
    }
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        match error {
            PostError::PostNotFound => Self::not_found("post"),
            PostError::AccountNotFound => Self::not_found("account"),
            PostError::ParentNotFound => {
                Self::invalid_field("/reply_to_id", "There is no such post.")
            }
            PostError::PostNotOwn => Self::new(Code::Forbidden, "Only its author may do this."),
            PostError::VersionMismatch(version) => Self::new(
                Code::VersionMismatch,
                format!("It is at version {version}: read it again, then edit."),
            ),
            PostError::PostExists => Self::new(Code::Conflict, "Another post has this id."),
        }
    }
}
