//! The fold of posts: rows, the versions they had, and how many there are.

use std::collections::BTreeMap;

use domain::{
    Event, kinds,
    posts::{PostCreated, PostEdited, PostEvent, PostId, Visibility},
};
use kernel::{AccountId, AggregateId, Kind, Personal, Uuid};
use sea_orm::sqlx::{self, PgTransaction, Row};

use crate::{
    ReadError,
    counters::{self, AccountCounter, PostCounter, PostCounts},
    feature::Feature,
    social::{Effects, Happened, Tables},
    standing::Moves,
    timelines::FanOut,
    touches::Touch,
};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS {schema}.posts (
        id uuid PRIMARY KEY,
        author_id uuid NOT NULL,
        text text,
        hashtags text[] NOT NULL,
        mentions uuid[] NOT NULL,
        metadata jsonb,
        language text,
        followers_only boolean NOT NULL,
        parent_id uuid,
        root_id uuid,
        created_at bigint NOT NULL,
        edited_at bigint,
        deleted_at bigint,
        version bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS {schema}.post_revisions (
        post_id uuid NOT NULL,
        version bigint NOT NULL,
        text text,
        metadata jsonb,
        language text,
        written_at bigint NOT NULL,
        PRIMARY KEY (post_id, version)
    );
    -- Folds of deactivations look rows up by this.
    CREATE INDEX IF NOT EXISTS posts_author ON {schema}.posts (author_id, id DESC);";

const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS posts_parent ON {schema}.posts (parent_id, id)
        WHERE parent_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS posts_root ON {schema}.posts (root_id, id)
        WHERE root_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS posts_public ON {schema}.posts (id DESC)
        WHERE deleted_at IS NULL AND NOT followers_only;
    CREATE INDEX IF NOT EXISTS posts_author_public ON {schema}.posts (author_id, id DESC)
        WHERE deleted_at IS NULL AND NOT followers_only;";

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

impl Feature for Fold {
    const KIND: Kind = kinds::POST;
    type Event = PostEvent;

    const FAN_OUT: Option<fn(AggregateId, &Event, &mut FanOut)> = Some(fan_out);

    fn tables() -> String {
        TABLES.to_owned() + &counters::table::<PostCounts>()
    }

    fn indexes() -> String {
        INDEXES.to_owned()
    }

    fn invalidates(aggregate: AggregateId, event: &PostEvent) -> Vec<Touch> {
        let post = PostId(aggregate.id);
        match event {
            PostEvent::PostCreated(created) => {
                let parent = created.reply.map(|reply| Touch::Post(reply.parent));
                let author = created.author;
                let new = [
                    Touch::Post(post),
                    Touch::Authored(author),
                    Touch::FannedOut(author),
                ];
                parent.into_iter().chain(new).collect()
            }
            PostEvent::PostEdited(_) => vec![Touch::Post(post)],
            PostEvent::PostDeleted(deleted) => vec![
                Touch::Post(post),
                Touch::ParentOf(post),
                Touch::Authored(deleted.author),
            ],
        }
    }

    fn counting() -> Option<String> {
        let sql = "SELECT parent_id AS post_id FROM posts
                   WHERE author_id = ANY($1) AND parent_id IS NOT NULL";
        Some(sql.to_owned())
    }

    fn take(&mut self, happened: &Happened, event: &PostEvent) {
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

    async fn write(
        mut self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        if !self.created.is_empty() {
            insert(transaction, tables, &self.created, effects).await?;
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
            tombstone(transaction, tables, &self.deleted, effects).await?;
        }
        Ok(())
    }

    /// Its own rows, and what it counts for. Likes of it and replies to it are not its own.
    async fn forget(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        aggregate: AggregateId,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let sql = tables.sql("DELETE FROM {s}.post_revisions WHERE post_id = $1");
        sqlx::query(sql)
            .bind(aggregate.id)
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
            .bind(aggregate.id)
            .fetch_all(&mut **transaction)
            .await?;
        add(&rows, -1, effects)
    }

    /// Replies of accounts that move. How many posts one wrote is shown with the account
    /// alone.
    async fn move_standings(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        moves: &Moves,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let sql = tables.sql(
            "SELECT p.parent_id, sum(m.change)::bigint AS replies
             FROM unnest($1::uuid[], $2::bigint[]) AS m (id, change)
             JOIN {s}.posts AS p ON p.author_id = m.id
             WHERE p.parent_id IS NOT NULL AND p.deleted_at IS NULL GROUP BY p.parent_id",
        );
        for row in moves.rows(transaction, sql).await? {
            let counts = effects.posts.entry(row.try_get("parent_id")?).or_default();
            counts.add(PostCounter::Replies, row.try_get("replies")?);
        }
        Ok(())
    }
}

/// New posts go into the lists of followers. What was deleted, reads leave out.
fn fan_out(aggregate: AggregateId, event: &Event, fan_out: &mut FanOut) {
    if let Event::Post(PostEvent::PostCreated(created)) = event {
        fan_out.push(created.author, PostId(aggregate.id).into());
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
    effects: &mut Effects,
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
    add(&rows, 1, effects)
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
async fn tombstone(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    deleted: &BTreeMap<Uuid, (i64, i64)>,
    effects: &mut Effects,
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
    add(&rows, -1, effects)?;
    let forget = tables.sql("DELETE FROM {s}.post_revisions WHERE post_id = ANY($1)");
    sqlx::query(forget)
        .bind(&ids)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Adds what the statement really did to authors' posts and parents' replies. Replies
/// of a deactivated author do not count.
fn add(
    rows: &[sqlx::postgres::PgRow],
    change: i64,
    effects: &mut Effects,
) -> Result<(), ReadError> {
    for row in rows {
        let author = row.try_get("author_id")?;
        effects
            .accounts
            .entry(author)
            .or_default()
            .add(AccountCounter::Posts, change);
        let counts: bool = row.try_get("counts")?;
        let parent: Option<Uuid> = row.try_get("parent_id")?;
        if let Some(parent) = parent.filter(|_| counts) {
            let counts = effects.posts.entry(parent).or_default();
            counts.add(PostCounter::Replies, change);
        }
    }
    Ok(())
}
