//! The rows of posts and of their revisions.

use std::collections::BTreeMap;

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{Post, Posts, Revision};
use crate::{
    Unreachable,
    database::{Database, unsigned},
    findings::Findings,
    json::Json,
};

pub fn compare(
    posts: &Posts,
    database: &mut Database,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let mut found = BTreeMap::new();
    for row in database.rows("SELECT *, metadata::text AS json FROM social.posts")? {
        found.insert(row.try_get("id")?, post(&row)?);
    }
    findings.same_rows("posts", &posts.all, &found);

    let mut found: BTreeMap<(Uuid, u64), Revision> = BTreeMap::new();
    for row in database.rows("SELECT *, metadata::text AS json FROM social.post_revisions")? {
        let revision = Revision {
            text: row.try_get("text")?,
            metadata: json(&row)?,
            language: row.try_get("language")?,
            written_at: row.try_get("written_at")?,
        };
        let key = (row.try_get("post_id")?, unsigned(&row, "version")?);
        found.insert(key, revision);
    }
    findings.same_rows("post revisions", &posts.revisions, &found);
    Ok(())
}

fn post(row: &PgRow) -> Result<Post, Unreachable> {
    Ok(Post {
        author: row.try_get("author_id")?,
        text: row.try_get("text")?,
        hashtags: row.try_get("hashtags")?,
        mentions: row.try_get("mentions")?,
        metadata: json(row)?,
        language: row.try_get("language")?,
        followers_only: row.try_get("followers_only")?,
        parent: row.try_get("parent_id")?,
        root: row.try_get("root_id")?,
        created_at: row.try_get("created_at")?,
        edited_at: row.try_get("edited_at")?,
        deleted_at: row.try_get("deleted_at")?,
        version: unsigned(row, "version")?,
    })
}

fn json(row: &PgRow) -> Result<Option<Json>, Unreachable> {
    let text: Option<String> = row.try_get("json")?;
    let json = text.map(|text| Json::parse(&text)).transpose();
    json.map_err(|why| Unreachable(format!("metadata that is no JSON: {why}")))
}
