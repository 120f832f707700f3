//! Posts and replies: publishing, reading, editing, deleting, threads.

mod shapes;

use std::collections::BTreeMap;

use domain::posts::{
    Change, DeletePost, EditPost, InvalidPost, Language, Metadata, PostError, PostId, PublishPost,
    Text, Visibility,
};
use edge::{
    answers::{Changed, Created, Done, Found},
    body::Input,
    identity::{Authenticated, Viewer},
    paging::Limit,
    preconditions::{self, IfMatch, IfNoneMatch, MustMatch},
    text,
};
use eventlog::Receipt;
use kernel::{Command, Uuid};
use poem::http::HeaderValue;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::{
    hot::{Parent, Reading, Seen},
    posts::{self, PostRow},
};
use serde_json::Value;

use crate::{
    explained::Explained,
    freshness::{Moment, View},
    handlers::{Read, Version, Write},
    problem::{Code, FieldCode, Fields, Problem},
    services::new_id,
    shown::{self, ShownPost},
    tags::Tag,
};

pub use shapes::{MarkedPost, Post, PostPage, PostVisibility, ReplyTo, Repost};
use shapes::{
    NewPost, ParentState, PostBatch, PostEdit, PostThread, Revision, RevisionPage, Tombstone,
};

/// Of one answer.
pub(crate) const TOMBSTONES_MAX: u32 = 400;

pub struct PostsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Posts")]
impl PostsApi {
    /// Publish a post or a reply
    ///
    /// A reply names the post that it replies to. Hashtags and mentions are read out of
    /// the text, and not out of addresses (URLs) in it. A hashtag is `#` and letters,
    /// marks, digits, underscores and emoji of any script, at least one of them a letter
    /// or emoji, and at most 100 code points as it is folded. A mention is `@` and the
    /// handle of an account; a name that goes on, as `@ada@example.org`, is of nobody
    /// here. Both begin where a word begins, or after letters of a script that puts no
    /// blanks between words. The first 30 different hashtags and the first 20 different
    /// handles count; those that follow are text alone, and the post is published.
    #[oai(path = "/posts", method = "post", operation_id = "publishPost")]
    async fn publish(&self, write: Write, body: Input<NewPost>) -> Result<Created<Post>, Problem> {
        let body = body.0;
        let (text, language, metadata) = parse(&body.text, body.language, body.metadata)?;
        let command = PublishPost {
            post: PostId(new_id(write.account())?),
            author: write.account(),
            text,
            language,
            metadata,
            visibility: match body.visibility {
                Some(PostVisibility::Followers) => Visibility::Followers,
                Some(PostVisibility::Public) | None => Visibility::Public,
            },
            reply_to: body.reply_to_id.map(PostId),
        };
        let receipt = write.execute_once(&command).await?;
        let location = format!("/v1/posts/{}", receipt.aggregate.id);
        let created = match read_back(&write, &receipt).await {
            Some((bytes, tag)) => Created::written(&location, bytes).tag(tag),
            None => Created::short(&location, &Version::from(&receipt)).version(receipt.version),
        };
        Ok(created.at(receipt.position).replayed(receipt.again))
    }

    /// Posts by their ids
    ///
    /// In the order that was asked for; those that the reader may not see are left
    /// out.
    #[oai(path = "/posts", method = "get", operation_id = "listPosts")]
    async fn batch(
        &self,
        read: Read<Viewer>,
        /// 1 to 100 ids with commas between; those that may not be seen are left out.
        ids: Query<String>,
    ) -> Result<Found<PostBatch>, Problem> {
        let (observed, ids) = read.observe_batch(&ids.0, PostId).await?;
        let reading = read.services.reading(&observed);
        let posts = reading.posts(read.who.account(), &ids).await?;
        let (mut bytes, _) = shown::write_items(&posts, &observed, read.who);
        bytes.push(b'}');
        Ok(Found::written(bytes).as_of(observed.header(View::SOCIAL)))
    }

    /// A post
    ///
    /// With its counters and, for whoever is signed in, what they did with it.
    #[oai(path = "/posts/:post_id", method = "get", operation_id = "getPost")]
    async fn get(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
    ) -> Result<Found<Post>, Problem> {
        let observed = read.observe_of(post_id.0).await?;
        let reading = read.services.reading(&observed);
        let (viewer, ids) = (read.who, [PostId(post_id.0)]);
        let posts = reading.posts(viewer.account(), &ids).await?;
        let seen = posts.first().ok_or_else(Problem::no_post)?;
        let tag = shown::etag(seen, viewer);
        let found = match known.has(tag.as_str()) {
            true => Found::known(),
            false => Found::written(shown::written(seen, viewer)),
        };
        Ok(found.tag(tag.value()).as_of(observed.header(View::SOCIAL)))
    }

    /// Edit a post of mine
    ///
    /// What it said before is kept and shown under `/revisions`. `If-Match` says which
    /// version is edited, or `*` for any: without it the answer is 428.
    #[oai(path = "/posts/:post_id", method = "patch", operation_id = "editPost")]
    async fn edit(
        &self,
        write: Write<MustMatch>,
        post_id: Path<Uuid>,
        body: Input<PostEdit>,
    ) -> Result<Changed<Post>, Problem> {
        let body = body.0;
        let (text, language, metadata) = parse_edit(body)?;
        let command = EditPost {
            post: PostId(post_id.0),
            actor: write.account(),
            text,
            language,
            metadata,
            expected_version: write.expected.0.clone(),
        };
        let receipt = write.execute_once(&command).await?;
        let changed = match read_back(&write, &receipt).await {
            Some((bytes, tag)) => Changed::written(bytes).tag(tag),
            None => Changed::short(Some(&Version::from(&receipt))).version(receipt.version),
        };
        Ok(changed.at(receipt.position).replayed(receipt.again))
    }

    /// Delete a post of mine
    ///
    /// It is gone from every list and timeline at once; replies to it stay.
    #[oai(
        path = "/posts/:post_id",
        method = "delete",
        operation_id = "deletePost"
    )]
    async fn delete(&self, write: Write<IfMatch>, post_id: Path<Uuid>) -> Result<Done, Problem> {
        let command = DeletePost {
            post: PostId(post_id.0),
            actor: write.account(),
            expected_version: write.expected.0.clone(),
        };
        Ok(write.done(&write.execute_once(&command).await?))
    }

    /// What a post said before it was edited
    ///
    /// Every version but the one that is shown, the latest first; the latest 100 of them.
    #[oai(
        path = "/posts/:post_id/revisions",
        method = "get",
        operation_id = "listPostRevisions"
    )]
    async fn revisions(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<RevisionPage>, Problem> {
        let scope = format!("revisions:{}", post_id.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        page.observed.refuse_parked(post_id.0)?;
        let post = find(&read, PostId(post_id.0)).await?.id;
        let part = posts::revisions(read.pool(), post, page.start, page.limit).await?;
        Ok(page.answer(part, |rows, ends| RevisionPage {
            items: rows.into_iter().map(Revision::from).collect(),
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        }))
    }

    /// Replies to a post, oldest first
    ///
    /// The direct ones; what replies to those is in the thread.
    #[oai(
        path = "/posts/:post_id/replies",
        method = "get",
        operation_id = "listReplies"
    )]
    async fn replies(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostPage>, Problem> {
        let scope = format!("replies:{}", post_id.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        page.observed.refuse_parked(post_id.0)?;
        let post = find(&read, PostId(post_id.0)).await?.id;
        let (pool, account) = (read.pool(), read.who.account());
        let part = posts::replies(pool, account, post, page.start, page.limit).await?;
        page.posts(part).await
    }

    /// A post in its thread
    ///
    /// What it replies to from the root down, and what is below it: below a root all of it,
    /// below a reply the 500 posts that are nearest. The threads of these go on.
    #[oai(
        path = "/posts/:post_id/thread",
        method = "get",
        operation_id = "getThread"
    )]
    async fn thread(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        post_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<PostThread>, Problem> {
        let scope = format!("thread:{}", post_id.0);
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        page.observed.refuse_parked(post_id.0)?;
        let row = find(&read, PostId(post_id.0)).await?;
        let (pool, viewer, account) = (read.pool(), read.who, read.who.account());
        let ancestors = posts::ancestors(pool, account, row.id).await?;
        let of = (row.id, row.root_id.is_none());
        let part = posts::descendants(pool, account, of, page.start, page.limit).await?;
        let (rows, part) = part.without_rows();
        let mut posts = page.known(ancestors);
        let above = posts.len();
        posts.push(Post::of(row, viewer));
        posts.extend(page.known(rows));
        let reading = read.services.reading(&page.observed);
        let mut posts = with_parents(&reading, viewer, posts).await?;
        let tombstones = tombstones(&reading, viewer, &posts).await?;
        let below = part.with(posts.split_off(above + 1));
        let post = posts.pop().ok_or_else(Problem::no_post)?;
        Ok(page.answer(below, |descendants, ends| PostThread {
            ancestors: posts,
            post,
            descendants,
            tombstones,
            next_cursor: ends.next,
            prev_cursor: ends.prev,
        }))
    }
}

/// The post that was written, as its GET shows it, and its tag. None where the answer is
/// the short one.
async fn read_back<E>(
    write: &Write<E>,
    receipt: &Receipt,
) -> Option<(Vec<u8>, Option<HeaderValue>)> {
    let read = write.read_back(&[*receipt]).await?;
    let seen = see(&read, PostId(receipt.aggregate.id)).await.ok()??;
    let viewer = read.viewer();
    let tag = shown::etag(&seen, viewer).value();
    Some((shown::written(&seen, viewer), tag))
}

/// Sends a command of what an account does with `post`, and answers with the post after
/// it.
pub(crate) async fn mark<C>(
    write: &Write,
    command: &C,
    post: PostId,
) -> Result<Changed<MarkedPost>, Problem>
where
    C: Command,
    Problem: From<C::Error>,
{
    let receipt = write.execute(command).await?;
    let seen = match write.read_back(&[receipt]).await {
        Some(read) => see(&read, post).await.ok(),
        None => None,
    };
    let viewer = Viewer(Some(write.me));
    let changed = match seen {
        Some(seen) => Changed::written(shown::write_marked(seen.as_ref(), viewer)),
        None => Changed::short(None::<&Version>),
    };
    Ok(changed.at(receipt.position).replayed(receipt.again))
}

/// The post where the reader sees it, as what is kept in process has it.
async fn see(read: &Read<Authenticated>, post: PostId) -> Result<Option<Seen<ShownPost>>, Problem> {
    let observed = read.observe_of(post.0).await?;
    let reading = read.services.reading(&observed);
    let seen = reading.posts(read.viewer().account(), &[post]).await?;
    Ok(seen.into_iter().next())
}

/// The same posts, each reply with what it replies to.
pub(crate) async fn with_parents(
    reading: &Reading<'_, ShownPost>,
    viewer: Viewer,
    posts: Vec<Post>,
) -> Result<Vec<Post>, Problem> {
    let ids = posts.iter().filter_map(Post::parent).collect();
    let parents = reading.parents(viewer.account(), &ids).await?;
    let posts = posts.into_iter().map(|post| {
        let parent = post.parent().and_then(|id| parents.get(&id));
        post.with_parent(parent)
    });
    Ok(posts.collect())
}

/// Those of `ids` that the reader may see now. What waits for an operator may be deleted.
pub(crate) async fn available(
    read: &Read<impl Copy + Into<Viewer>>,
    observed: &Moment,
    ids: &[PostId],
) -> Result<BTreeMap<PostId, Post>, Problem> {
    let (viewer, withheld) = (read.viewer(), &observed.withheld);
    let reader = viewer.account();
    let mut rows = posts::by_ids(read.pool(), reader, ids).await?;
    rows.retain(|row| !observed.is_parked(row.id.0) && !withheld.post(reader, row));
    let posts = rows.into_iter().map(|row| Post::of(row, viewer)).collect();
    let reading = read.services.reading(observed);
    let posts = with_parents(&reading, viewer, posts).await?;
    let with_ids = posts.into_iter().map(|post| (PostId(post.id()), post));
    Ok(with_ids.collect())
}

/// The missing parents of `posts`, up to the nearest post that can be shown. The parent of
/// a hidden post stays secret.
async fn tombstones(
    reading: &Reading<'_, ShownPost>,
    viewer: Viewer,
    posts: &[Post],
) -> Result<Vec<Tombstone>, Problem> {
    let replies = posts.iter().filter(|post| !post.is_parent_shown());
    let missing: Vec<PostId> = replies.filter_map(Post::parent).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let above = posts::deleted_upwards(reading.pool(), &missing, TOMBSTONES_MAX).await?;
    let ids = above.keys().copied().collect();
    let states = reading.parents(viewer.account(), &ids).await?;
    let mut found = BTreeMap::new();
    for id in missing {
        let mut next = Some(id);
        while let Some(id) = next.take_if(|id| !found.contains_key(id)) {
            let (state, reply_to) = match states.get(&id) {
                Some(Parent::Shown(_)) => break,
                Some(Parent::Hidden(_)) => (ParentState::Hidden, None),
                Some(Parent::Gone) | None => (ParentState::Gone, above.get(&id).copied().flatten()),
            };
            let tombstone = Tombstone {
                id: id.0,
                state,
                reply_to_id: reply_to.map(|id| id.0),
            };
            found.insert(id, tombstone);
            next = reply_to;
        }
    }
    Ok(found.into_values().take(TOMBSTONES_MAX as usize).collect())
}

/// The post where the viewer may see it.
pub(crate) async fn find(
    read: &Read<impl Copy + Into<Viewer>>,
    post: PostId,
) -> Result<PostRow, Problem> {
    let viewer = read.viewer().account();
    let row = posts::by_id(read.pool(), viewer, post).await?;
    let row = row.filter(|row| !read.withheld().post(viewer, row));
    row.ok_or_else(Problem::no_post)
}

/// What a post says.
fn parse(
    text: &str,
    language: Option<String>,
    metadata: Option<Value>,
) -> Result<(Text, Option<Language>, Option<Metadata>), Problem> {
    let mut fields = Fields::default();
    let language = language.map(|language| language.parse::<Language>());
    let text = fields.take(text.parse::<Text>());
    let language = fields.take(language.transpose());
    let metadata = fields.take(metadata.map(Metadata::try_from).transpose());
    match (text, language, metadata) {
        (Some(text), Some(language), Some(metadata)) => Ok((text, language, metadata)),
        _ => Err(fields.problem()),
    }
}

/// What an edit says.
fn parse_edit(edit: PostEdit) -> Result<(Text, Change<Language>, Change<Metadata>), Problem> {
    let clears_language = edit.language.is_null();
    let clears_metadata = edit.metadata.is_null();
    let (language, metadata) = (edit.language.take(), edit.metadata.take());
    let (text, language, metadata) = parse(&edit.text, language, metadata)?;
    Ok((
        text,
        change(language, clears_language),
        change(metadata, clears_metadata),
    ))
}

fn change<T>(value: Option<T>, clears: bool) -> Change<T> {
    match value {
        Some(value) => Change::Set(value),
        None if clears => Change::Clear,
        None => Change::Keep,
    }
}

impl From<InvalidPost> for Problem {
    fn from(error: InvalidPost) -> Self {
        let pointer = match error {
            InvalidPost::Text(_) => "/text",
            InvalidPost::Language => "/language",
            InvalidPost::Metadata(_) => "/metadata",
        };
        Self::invalid_field(pointer, error.explained())
    }
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        match error {
            PostError::PostNotFound => Self::no_post(),
            PostError::AccountNotFound => Self::no_account(),
            PostError::ParentNotFound => {
                let detail = text!(
                    "Reply to a post that is there: there is no such post.",
                    "Antworten Sie auf einen Beitrag, den es gibt: Diesen gibt es nicht."
                );
                Self::invalid_field("/reply_to_id", FieldCode::NotFound.saying(detail))
            }
            PostError::PostNotOwn => Code::NotAuthor.into(),
            PostError::VersionMismatch(version) => preconditions::version_mismatch(version).into(),
            // Ids are drawn at random.
            PostError::PostExists => Self::internal(error),
        }
    }
}
