//! Accounts: their profiles, whether they are private or have left, and how they are
//! shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{Feature, Kind, unknown};
use crate::{
    Unreachable,
    database::{Database, unsigned},
    entries::{Aggregate, Event},
    findings::Findings,
    looks::{About, NOBODY, Viewer},
    message_pack::Value,
    reader::{Reader, joined},
    sealed::Keys,
    shown::Shown,
    world::DAY_MILLISECONDS,
};

const DAY_SECONDS: i64 = 24 * 60 * 60;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub handle: String,
    pub display_name: Option<String>,
    pub bio: Option<String>,
    pub pinned: Option<Uuid>,
    pub registered_at: i64,
    /// Days since 1970-01-01.
    pub active_on: i64,
    pub version: u64,
    pub private: bool,
    pub deactivated: bool,
}

#[derive(Debug, Default)]
pub struct Accounts {
    pub all: BTreeMap<Uuid, Account>,
    /// Registrations that can't end any more.
    abandoned: BTreeSet<Uuid>,
}

impl Accounts {
    fn registered(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        let (id, data) = (event.aggregate.id, &event.data);
        let name = keys.open(event, "display_name")?;
        let account = Account {
            handle: data.field("handle").text().ok_or("no handle")?.to_owned(),
            display_name: name.filter(|name| !name.is_empty()),
            registered_at: event.recorded_at,
            version: event.version,
            ..Account::default()
        };
        match self.all.insert(id, account) {
            Some(_) => Err("the account was registered before".into()),
            None => Ok(()),
        }
    }

    fn changed(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        let text = |name: &str| keys.open(event, name);
        let account = self.all.get_mut(&event.aggregate.id);
        let account = account.ok_or("no such account")?;
        match event.name.as_str() {
            "ProfileUpdated" => {
                if let Some(name) = text("display_name")? {
                    account.display_name = Some(name).filter(|name| !name.is_empty());
                }
                if let Some(bio) = text("bio")? {
                    account.bio = Some(bio).filter(|bio| !bio.is_empty());
                }
            }
            "PostPinned" => account.pinned = Some(event.data.field("post").id()?),
            "PostUnpinned" => account.pinned = None,
            "AccountMadePrivate" => account.private = true,
            "AccountMadePublic" => account.private = false,
            "AccountDeactivated" => account.deactivated = true,
            "AccountReactivated" => account.deactivated = false,
            _ => return Err(unknown(event)),
        }
        account.version = event.version;
        Ok(())
    }
}

impl Feature for Accounts {
    fn kind(&self) -> Option<Kind> {
        Some((1, "account"))
    }

    fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        match event.name.as_str() {
            "RegistrationAbandoned" => {
                self.abandoned.insert(event.aggregate.id);
                Ok(())
            }
            "AccountRegistered" => self.registered(event, keys),
            _ => self.changed(event, keys),
        }
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        let text = |text: &str| Value::Text(text.into());
        let Some(account) = self.all.get(&aggregate.id) else {
            let standing = match self.abandoned.contains(&aggregate.id) {
                true => text("Abandoned"),
                false => Value::Nil,
            };
            return vec![standing, Value::Nil, Value::Nil, Value::Bool(false)];
        };
        let standing = match account.deactivated {
            false => "Registered",
            true => "Deactivated",
        };
        vec![
            text(standing),
            text(&account.handle),
            account.pinned.map_or(Value::Nil, Value::of_id),
            Value::Bool(account.private),
        ]
    }

    fn stored_state(&self, state: &Value) -> Vec<Value> {
        state.fields(&["standing", "handle", "pinned", "private"])
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        let mut found = BTreeMap::new();
        for row in database.rows("SELECT * FROM social.accounts")? {
            found.insert(row.try_get("id")?, account(&row)?);
        }
        findings.same_rows("accounts", &self.all, &found);
        Ok(())
    }

    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        match about {
            About::Accounts(ids) => several(reader, ids),
            About::Account(id) => self.one(reader, viewer, *id),
            _ => Ok(()),
        }
    }
}

fn several(reader: &mut Reader<'_>, ids: &[Uuid]) -> Result<(), Unreachable> {
    let world = reader.shown.world;
    let path = format!("/v1/accounts?ids={}", joined(ids));
    let items = reader.items(&path, &NOBODY)?;
    let found = ids.iter().copied().filter(|id| world.finds(None, *id));
    reader.same_accounts(&path, &found.collect::<Vec<_>>(), &items, &NOBODY);
    Ok(())
}

impl Accounts {
    /// By its id, and by its handle in any case.
    fn one(&self, reader: &mut Reader<'_>, viewer: &Viewer, id: Uuid) -> Result<(), Unreachable> {
        let found = reader.shown.world.finds(viewer.id(), id);
        let handle = self.all.get(&id).map(|account| account.handle.clone());
        let handle = handle.unwrap_or_default();
        for path in [
            format!("/v1/accounts/{id}"),
            format!("/v1/handles/{handle}"),
            format!("/v1/handles/{}", handle.to_ascii_uppercase()),
        ] {
            if !found {
                reader.status(&path, 404, viewer)?;
                continue;
            }
            let body = reader.body(&path, viewer)?;
            let expected = reader.shown.account(id, viewer.id());
            reader.same_item(&path, &expected, &body);
        }
        Ok(())
    }
}

impl Shown<'_> {
    /// Null where there is no such account that `viewer` finds. One that blocks them, and
    /// that they block, has a name and says nothing.
    pub fn account(&self, id: Uuid, viewer: Option<Uuid>) -> serde_json::Value {
        let Some(account) = self.world.account(id) else {
            return serde_json::Value::Null;
        };
        let is_shared = !account.private || self.world.is_near(viewer, id);
        let hidden = self.world.blocks(Some(id), viewer);
        let bare = Account {
            handle: account.handle.clone(),
            registered_at: account.registered_at,
            active_on: account.registered_at.div_euclid(DAY_MILLISECONDS),
            private: account.private,
            ..Account::default()
        };
        let account = if hidden { &bare } else { account };
        // A pinned post is shown while it is for all, or all followers.
        let pinned = account.pinned.filter(|post| {
            let post = self.world.post(*post);
            let there = post.is_some_and(|post| post.deleted_at.is_none() && !post.followers_only);
            there && is_shared
        });
        let active = time::OffsetDateTime::from_unix_timestamp(account.active_on * DAY_SECONDS);
        let shown = json!({
            "id": id,
            "handle": account.handle,
            "display_name": account.display_name,
            "bio": account.bio,
            "pinned_post_id": pinned,
            "private": account.private,
            "created_at": account.registered_at,
            "last_active_on": active.ok().filter(|_| is_shared).map(|at| at.date().to_string()),
            "viewer": viewer.filter(|viewer| *viewer != id).map(|own| self.between(own, id)),
        });
        let counted = Some(id).filter(|_| !hidden);
        self.counts.accounts.shown_in(shown, counted)
    }
}

impl Shown<'_> {
    /// What is between two accounts, as features say.
    fn between(&self, own: Uuid, other: Uuid) -> serde_json::Map<String, serde_json::Value> {
        let features = self.world.features().into_iter();
        let flags = features.flat_map(|feature| feature.relationship(own, other));
        flags
            .map(|(name, is_set)| (name.to_owned(), is_set.into()))
            .collect()
    }
}

fn account(row: &PgRow) -> Result<Account, Unreachable> {
    Ok(Account {
        handle: row.try_get("handle")?,
        display_name: row.try_get("display_name")?,
        bio: row.try_get("bio")?,
        pinned: row.try_get("pinned_post_id")?,
        registered_at: row.try_get("registered_at")?,
        active_on: row.try_get("active_on")?,
        version: unsigned(row, "version")?,
        private: row.try_get("private")?,
        deactivated: row.try_get("deactivated")?,
    })
}
