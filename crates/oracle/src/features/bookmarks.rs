//! Bookmarks: an edge from an account to a post, in a folder or in none, told to that
//! account alone.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use sqlx::Row;
use uuid::Uuid;

use super::{Feature, Kind, unknown};
use crate::{
    Unreachable,
    database::Database,
    entries::{Aggregate, Event},
    findings::Findings,
    looks::{About, Viewer},
    message_pack::Value,
    reader::Reader,
    sealed::Keys,
};

/// Since when, and in which folder, which may be deleted.
type Kept = (i64, Option<Uuid>);

/// Whose, and which post.
#[derive(Debug, Default)]
pub struct Bookmarks(BTreeMap<(Uuid, Uuid), Kept>);

impl Bookmarks {
    /// How many are in a folder.
    pub fn within(&self, folder: Uuid) -> usize {
        let all = self.0.values();
        all.filter(|(_, within)| *within == Some(folder)).count()
    }

    /// What `own` is told, of one folder or of all, the last first.
    fn told(&self, reader: &Reader<'_>, own: Uuid, folder: Option<Uuid>) -> Vec<Json> {
        let world = reader.shown.world;
        let all = self.0.iter().filter(|((whose, _), _)| *whose == own);
        let all = all.map(|((_, post), (at, within))| (*at, *post, *within));
        let mut all: Vec<_> = all
            .filter(|(_, _, within)| folder.is_none() || *within == folder)
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let told = all.into_iter().map(|(at, post, within)| {
            let seen = world.sees_post(Some(own), post);
            json!({
                "id": post,
                "bookmarked_at": at,
                "folder_id": within.filter(|folder| world.bookmark_folders.is_there(*folder)),
                "unavailable": !seen,
                "post": seen.then(|| reader.shown.post(post, Some(own))),
            })
        });
        told.collect()
    }
}

impl Feature for Bookmarks {
    fn kind(&self) -> Option<Kind> {
        Some((9, "bookmark"))
    }

    fn take(&mut self, event: &Event, _: &Keys) -> Result<(), String> {
        let edge = event.aggregate.edge()?;
        match event.name.as_str() {
            "Bookmarked" => {
                let folder = event.data.field("folder");
                let folder = (*folder != Value::Nil).then(|| folder.id()).transpose()?;
                self.0.insert(edge, (event.recorded_at, folder));
            }
            "Unbookmarked" => {
                self.0.remove(&edge);
            }
            _ => return Err(unknown(event)),
        }
        Ok(())
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        let kept = aggregate.edge().ok().and_then(|edge| self.0.get(&edge));
        let folder = kept.and_then(|(_, folder)| *folder);
        vec![
            Value::Bool(kept.is_some()),
            folder.map_or(Value::Nil, Value::of_id),
        ]
    }

    fn stored_state(&self, state: &Value) -> Vec<Value> {
        state.fields(&["held", "folder"])
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        let mut found = BTreeMap::new();
        let sql = "SELECT account_id, post_id, bookmarked_at, folder_id FROM social.bookmarks";
        for row in database.rows(sql)? {
            let kept: Kept = (row.try_get(2)?, row.try_get(3)?);
            found.insert((row.try_get(0)?, row.try_get(1)?), kept);
        }
        findings.same_rows("bookmarks", &self.0, &found);
        Ok(())
    }

    fn flag(&self, viewer: Uuid, post: Uuid) -> Option<(&'static str, bool)> {
        Some(("bookmarked", self.0.contains_key(&(viewer, post))))
    }

    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        let About::Own(own) = *about else {
            return Ok(());
        };
        let all = self.told(reader, own, None);
        reader.item_pages("/v1/bookmarks", &all, viewer)?;
        for folder in reader.shown.world.bookmark_folders.of(own) {
            let path = format!("/v1/bookmarks?folder_id={folder}");
            let within = self.told(reader, own, Some(folder));
            reader.item_pages(&path, &within, viewer)?;
        }
        Ok(())
    }
}
