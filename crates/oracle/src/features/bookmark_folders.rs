//! Folders of bookmarks: each is its maker's alone, until it is deleted.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::Row;
use uuid::Uuid;

use super::{Feature, Kind, unknown};
use crate::{
    Unreachable,
    database::{Database, unsigned},
    entries::{Aggregate, Event},
    findings::Findings,
    looks::{About, Viewer},
    message_pack::Value,
    reader::Reader,
    sealed::Keys,
};

const COUNTED_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq)]
struct Folder {
    owner: Uuid,
    name: Option<String>,
    made_at: i64,
    version: u64,
}

#[derive(Debug, Default)]
pub struct BookmarkFolders {
    there: BTreeMap<Uuid, Folder>,
    /// Whose they were.
    deleted: BTreeMap<Uuid, Uuid>,
}

impl BookmarkFolders {
    pub fn is_there(&self, folder: Uuid) -> bool {
        self.there.contains_key(&folder)
    }

    /// Those of `own`, the last made first.
    pub fn of(&self, own: Uuid) -> Vec<Uuid> {
        let all = self.there.iter();
        let own = all.filter(|(_, folder)| folder.owner == own);
        let mut own: Vec<_> = own.map(|(id, folder)| (folder.made_at, *id)).collect();
        own.sort_unstable_by(|a, b| b.cmp(a));
        own.into_iter().map(|(_, id)| id).collect()
    }
}

impl Feature for BookmarkFolders {
    fn kind(&self) -> Option<Kind> {
        Some((10, "folder"))
    }

    fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        let id = event.aggregate.id;
        let name = || keys.open(event, "name");
        match event.name.as_str() {
            "FolderMade" => {
                let folder = Folder {
                    owner: event.data.field("owner").id()?,
                    name: name()?,
                    made_at: event.recorded_at,
                    version: event.version,
                };
                if folder.owner != event.actor {
                    return Err("the owner is not who acted".into());
                }
                match self.there.insert(id, folder) {
                    Some(_) => Err("the folder was made before".into()),
                    None => Ok(()),
                }
            }
            "FolderRenamed" => {
                let folder = self.there.get_mut(&id).ok_or("no such folder")?;
                folder.name = name()?;
                folder.version = event.version;
                Ok(())
            }
            "FolderDeleted" => {
                let folder = self.there.remove(&id).ok_or("no such folder")?;
                self.deleted.insert(id, folder.owner);
                Ok(())
            }
            _ => Err(unknown(event)),
        }
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        let there = self.there.get(&aggregate.id).map(|folder| folder.owner);
        let owner = there.or_else(|| self.deleted.get(&aggregate.id).copied());
        vec![
            owner.map_or(Value::Nil, Value::of_id),
            Value::Bool(there.is_none()),
        ]
    }

    fn stored_state(&self, state: &Value) -> Vec<Value> {
        state.fields(&["owner", "deleted"])
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        let mut found = BTreeMap::new();
        for row in database.rows("SELECT * FROM social.bookmark_folders")? {
            let folder = Folder {
                owner: row.try_get("account_id")?,
                name: row.try_get("name")?,
                made_at: row.try_get("made_at")?,
                version: unsigned(&row, "version")?,
            };
            found.insert(row.try_get("id")?, folder);
        }
        findings.same_rows("bookmark folders", &self.there, &found);
        Ok(())
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
        let bookmarks = &reader.shown.world.bookmarks;
        let told = self.of(own).into_iter().map(|id| {
            let folder = &self.there[&id];
            json!({
                "id": id,
                "folder_name": folder.name,
                "made_at": folder.made_at,
                "version": folder.version,
                "bookmarks_count": bookmarks.within(id).min(COUNTED_MAX),
            })
        });
        let told: Vec<_> = told.collect();
        reader.item_pages("/v1/bookmark-folders", &told, viewer)?;
        let others = self.there.iter().filter(|(_, folder)| folder.owner != own);
        let gone = self.deleted.keys().next();
        let refused = others.map(|(id, _)| id).next().into_iter().chain(gone);
        for id in refused {
            reader.status(&format!("/v1/bookmark-folders/{id}"), 404, viewer)?;
            reader.status(&format!("/v1/bookmarks?folder_id={id}"), 404, viewer)?;
        }
        Ok(())
    }
}
