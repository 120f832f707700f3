//! The fold of posts: rows, the versions they had, and how many there are.

use std::collections::BTreeMap;

use domain::posts::{PostCreated, PostEdited, PostEvent, Visibility};
use kernel::{AccountId, Personal, Uuid};
use sea_orm::sqlx::{self, PgTransaction, Row};

use crate::{
    ReadError,
    social::{Counters, Happened, PostCounts, Tables},
    standing::Moves,
};

/// Counters that one statement changes: one account may like many more posts.
const COUNTED_AT_ONCE: usize = 10_000;

/// What a batch did to each post, in the order of the post's versions.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    created: BTreeMap<Uuid, Created>,
    edits: BTreeMap<Uuid, Vec<Edit>>,
    deleted: BTreeMap<Uuid, (i64, i64)>,
}

#[derive(Debug)]
struct Created {
    author: Uuid,
    content: Content,
    mentions: Vec<AccountId>,
    followers_only: bool,
    parent: Option<Uuid>,
    root: Option<Uuid>,
    at: i64,
    version: i64,
}

#[derive(Debug)]
struct Edit {
    content: Content,
    /// Metadata that cannot be read any more are gone, not unchanged.
    has_metadata: bool,
    has_language: bool,
    mentions: Vec<AccountId>,
    at: i64,
    version: i64,
}

/// The words of a post.
#[derive(Debug)]
struct Content {
    text: Option<String>,
    hashtags: String,
    metadata: Option<String>,
    language: Option<String>,
}

impl Fold {
    pub fn take(&mut self, happened: &Happened, event: &PostEvent) {
        let post = happened.aggregate.id;
        let (at, version) = (happened.recorded_at.0, happened.version as i64);
        match event {
            PostEvent::PostCreated(event) => {
                self.created.insert(post, created(event, at, version));
            }
            PostEvent::PostEdited(event) => {
                let edits = self.edits.entry(post).or_default();
                edits.push(edit(event, at, version));
            }
            PostEvent::PostDeleted(_) => {
                self.deleted.insert(post, (at, version));
            }
        }
    }

    pub async fn write(
        mut self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        counters: &mut Counters,
    ) -> Result<(), ReadError> {
        if !self.created.is_empty() {
            insert(transaction, tables, &self.created, counters).await?;
        }
        // One round for each edit of the post that was edited most: each keeps
        // the version before it.
        while !self.edits.is_empty() {
            let round: Vec<(Uuid, Edit)> = self
                .edits
                .iter_mut()
                .map(|(post, edits)| (*post, edits.remove(0)))
                .collect();
            self.edits.retain(|_, edits| !edits.is_empty());
            replace(transaction, tables, &round).await?;
        }
        if !self.deleted.is_empty() {
            bury(transaction, tables, &self.deleted, counters).await?;
        }
        Ok(())
    }
}

fn created(event: &PostCreated, at: i64, version: i64) -> Created {
    Created {
        author: event.author.0,
        content: content(
            &event.text,
            &event.hashtags,
            &event.metadata,
            event.language.as_ref().map(|language| language.as_str()),
        ),
        mentions: event.mentions.clone(),
        followers_only: match event.visibility {
            Visibility::Public => false,
            Visibility::Followers => true,
        },
        parent: event.reply.map(|reply| reply.parent.0),
        root: event.reply.map(|reply| reply.root.0),
        at,
        version,
    }
}

fn edit(event: &PostEdited, at: i64, version: i64) -> Edit {
    Edit {
        content: content(
            &event.text,
            &event.hashtags,
            &event.metadata,
            event.language.as_deref().filter(|tag| !tag.is_empty()),
        ),
        has_metadata: event.metadata.is_some(),
        has_language: event.language.is_some(),
        mentions: event.mentions.clone(),
        at,
        version,
    }
}

fn content(
    text: &Personal,
    hashtags: &Option<Personal>,
    metadata: &Option<Personal>,
    language: Option<&str>,
) -> Content {
    let readable = |field: &Option<Personal>| {
        let text = field.as_ref().and_then(Personal::text);
        text.map(str::to_owned)
    };
    Content {
        text: text.text().map(str::to_owned),
        hashtags: readable(hashtags).unwrap_or_default(),
        metadata: readable(metadata).filter(|metadata| !metadata.is_empty()),
        language: language.map(str::to_owned),
    }
}

/// Ids with a comma between, since `unnest` cannot take lists of lists.
fn joined(mentions: &[AccountId]) -> String {
    let ids: Vec<_> = mentions.iter().map(ToString::to_string).collect();
    ids.join(",")
}

async fn insert(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    created: &BTreeMap<Uuid, Created>,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql(
        "INSERT INTO {s}.posts AS p (id, author_id, text, hashtags, mentions, metadata, language,
             followers_only, parent_id, root_id, created_at, version)
         SELECT id, author_id, text, string_to_array(hashtags, ' '),
             string_to_array(mentions, ',')::uuid[], metadata::jsonb, language,
             followers_only, parent_id, root_id, created_at, version
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::bool[], $9::uuid[], $10::uuid[], $11::bigint[],
                     $12::bigint[])
             AS c (id, author_id, text, hashtags, mentions, metadata, language,
                   followers_only, parent_id, root_id, created_at, version)
         ON CONFLICT (id) DO NOTHING
         RETURNING p.author_id, p.parent_id, (
            SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = p.author_id
         ) IS NOT TRUE AS counts",
    );
    let ids: Vec<Uuid> = created.keys().copied().collect();
    let rows = sqlx::query(sql)
        .bind(ids)
        .bind(column(created, |c| c.author))
        .bind(column(created, |c| c.content.text.clone()))
        .bind(column(created, |c| c.content.hashtags.clone()))
        .bind(column(created, |c| joined(&c.mentions)))
        .bind(column(created, |c| c.content.metadata.clone()))
        .bind(column(created, |c| c.content.language.clone()))
        .bind(column(created, |c| c.followers_only))
        .bind(column(created, |c| c.parent))
        .bind(column(created, |c| c.root))
        .bind(column(created, |c| c.at))
        .bind(column(created, |c| c.version))
        .fetch_all(&mut **transaction)
        .await?;
    add(&rows, 1, counters)
}

fn column<T>(created: &BTreeMap<Uuid, Created>, field: impl Fn(&Created) -> T) -> Vec<T> {
    created.values().map(field).collect()
}

async fn replace(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    round: &[(Uuid, Edit)],
) -> Result<(), ReadError> {
    let ids: Vec<Uuid> = round.iter().map(|(post, _)| *post).collect();
    let versions: Vec<i64> = round.iter().map(|(_, edit)| edit.version).collect();
    let keep = tables.sql(
        "INSERT INTO {s}.post_revisions (post_id, version, text, metadata, language, written_at)
         SELECT p.id, p.version, p.text, p.metadata, p.language,
                coalesce(p.edited_at, p.created_at)
         FROM unnest($1::uuid[], $2::bigint[]) AS c (id, version)
         JOIN {s}.posts AS p ON p.id = c.id AND p.version < c.version
         ON CONFLICT (post_id, version) DO NOTHING",
    );
    sqlx::query(keep)
        .bind(&ids)
        .bind(&versions)
        .execute(&mut **transaction)
        .await?;
    let update = tables.sql(
        "UPDATE {s}.posts AS p SET
             text = c.text,
             hashtags = string_to_array(c.hashtags, ' '),
             mentions = string_to_array(c.mentions, ',')::uuid[],
             metadata = CASE WHEN c.has_metadata THEN c.metadata::jsonb ELSE p.metadata END,
             language = CASE WHEN c.has_language THEN c.language ELSE p.language END,
             edited_at = c.edited_at,
             version = c.version
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::bigint[], $8::bigint[], $9::bool[], $10::bool[])
             AS c (id, text, hashtags, mentions, metadata, language, edited_at, version,
                   has_metadata, has_language)
         WHERE p.id = c.id AND p.version < c.version",
    );
    let edits = || round.iter().map(|(_, edit)| edit);
    sqlx::query(update)
        .bind(&ids)
        .bind(edits().map(|e| e.content.text.clone()).collect::<Vec<_>>())
        .bind(
            edits()
                .map(|e| e.content.hashtags.clone())
                .collect::<Vec<_>>(),
        )
        .bind(edits().map(|e| joined(&e.mentions)).collect::<Vec<_>>())
        .bind(
            edits()
                .map(|e| e.content.metadata.clone())
                .collect::<Vec<_>>(),
        )
        .bind(
            edits()
                .map(|e| e.content.language.clone())
                .collect::<Vec<_>>(),
        )
        .bind(edits().map(|e| e.at).collect::<Vec<_>>())
        .bind(&versions)
        .bind(edits().map(|e| e.has_metadata).collect::<Vec<_>>())
        .bind(edits().map(|e| e.has_language).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// A deleted post keeps its place in the thread and none of its words.
async fn bury(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    deleted: &BTreeMap<Uuid, (i64, i64)>,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let ids: Vec<Uuid> = deleted.keys().copied().collect();
    let update = tables.sql(
        "UPDATE {s}.posts AS p SET text = NULL, hashtags = '{}', mentions = '{}',
             metadata = NULL, language = NULL, deleted_at = c.at, version = c.version
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS c (id, at, version)
         WHERE p.id = c.id AND p.deleted_at IS NULL
         RETURNING p.author_id, p.parent_id, (
            SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = p.author_id
         ) IS NOT TRUE AS counts",
    );
    let rows = sqlx::query(update)
        .bind(&ids)
        .bind(deleted.values().map(|d| d.0).collect::<Vec<_>>())
        .bind(deleted.values().map(|d| d.1).collect::<Vec<_>>())
        .fetch_all(&mut **transaction)
        .await?;
    add(&rows, -1, counters)?;
    let forget = tables.sql("DELETE FROM {s}.post_revisions WHERE post_id = ANY($1)");
    sqlx::query(forget)
        .bind(&ids)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Takes a post back, as if it had never been: its own rows, and what it counts
/// for. Likes of it and replies to it are not its own.
pub(crate) async fn forget(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    post: Uuid,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql("DELETE FROM {s}.post_revisions WHERE post_id = $1");
    sqlx::query(sql)
        .bind(post)
        .execute(&mut **transaction)
        .await?;
    let sql = tables.sql(
        "WITH gone AS (DELETE FROM {s}.posts WHERE id = $1
             RETURNING author_id, parent_id, deleted_at)
         SELECT author_id, parent_id, (
            SELECT a.deactivated FROM {s}.accounts AS a WHERE a.id = author_id
         ) IS NOT TRUE AS counts
         FROM gone WHERE deleted_at IS NULL",
    );
    let rows = sqlx::query(sql)
        .bind(post)
        .fetch_all(&mut **transaction)
        .await?;
    add(&rows, -1, counters)
}

/// Replies of whoever moves. How many posts one wrote is shown with the account alone.
pub(crate) async fn move_standings(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    moves: &Moves,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    let sql = tables.sql(
        "SELECT p.parent_id, sum(m.change)::bigint AS replies
         FROM unnest($1::uuid[], $2::bigint[]) AS m (id, change)
         JOIN {s}.posts AS p ON p.author_id = m.id
         WHERE p.parent_id IS NOT NULL AND p.deleted_at IS NULL GROUP BY p.parent_id",
    );
    let rows = sqlx::query(sql)
        .bind(&moves.accounts)
        .bind(&moves.changes)
        .fetch_all(&mut **transaction)
        .await?;
    for row in rows {
        let parent = row.try_get("parent_id")?;
        counters.posts.entry(parent).or_default().replies += row.try_get::<i64, _>("replies")?;
    }
    Ok(())
}

/// Adds what the statement really did to authors' posts and parents' replies. Replies
/// of a deactivated author do not count.
fn add(
    rows: &[sqlx::postgres::PgRow],
    change: i64,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    for row in rows {
        let author = row.try_get("author_id")?;
        counters.accounts.entry(author).or_default().posts += change;
        let counts: bool = row.try_get("counts")?;
        let parent: Option<Uuid> = row.try_get("parent_id")?;
        if let Some(parent) = parent.filter(|_| counts) {
            counters.posts.entry(parent).or_default().replies += change;
        }
    }
    Ok(())
}

/// Adds to the counters of many posts, keys sorted. Counters that are back at
/// nothing go: whether they were ever written depends on how the log was cut.
pub(crate) async fn count(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    counts: &BTreeMap<Uuid, PostCounts>,
) -> Result<(), ReadError> {
    let changed = counts.iter().filter(|(_, c)| **c != PostCounts::default());
    let changed: Vec<_> = changed.map(|(id, counts)| (*id, *counts)).collect();
    for some in changed.chunks(COUNTED_AT_ONCE) {
        count_some(transaction, tables, some).await?;
    }
    Ok(())
}

async fn count_some(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    changed: &[(Uuid, PostCounts)],
) -> Result<(), ReadError> {
    let column = |of: fn(&PostCounts) -> i64| -> Vec<i64> {
        changed.iter().map(|(_, counts)| of(counts)).collect()
    };
    let sql = tables.sql(
        "INSERT INTO {s}.post_counters AS n (post_id, likes, replies)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
         ON CONFLICT (post_id) DO UPDATE SET
             likes = n.likes + EXCLUDED.likes,
             replies = n.replies + EXCLUDED.replies",
    );
    sqlx::query(sql)
        .bind(changed.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(column(|counts| counts.likes))
        .bind(column(|counts| counts.replies))
        .execute(&mut **transaction)
        .await?;
    let fewer = changed.iter().filter(|(_, c)| c.likes < 0 || c.replies < 0);
    let fewer: Vec<Uuid> = fewer.map(|(id, _)| *id).collect();
    if fewer.is_empty() {
        return Ok(());
    }
    let forget = tables
        .sql("DELETE FROM {s}.post_counters WHERE post_id = ANY($1) AND likes = 0 AND replies = 0");
    sqlx::query(forget)
        .bind(fewer)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
