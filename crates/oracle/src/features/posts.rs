//! Posts, replies to them and their revisions: what their events add up to.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Feature, Kind, World, unknown};
use crate::{
    Unreachable,
    counts::Counts,
    database::Database,
    entries::{Aggregate, Event},
    findings::Findings,
    json::Json,
    looks::{About, Viewer},
    message_pack::Value,
    reader::Reader,
    sealed::Keys,
};

mod answers;
mod table;

#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    pub author: Uuid,
    pub text: Option<String>,
    pub hashtags: Vec<String>,
    pub mentions: Vec<Uuid>,
    pub metadata: Option<Json>,
    pub language: Option<String>,
    pub followers_only: bool,
    pub parent: Option<Uuid>,
    pub root: Option<Uuid>,
    pub created_at: i64,
    pub edited_at: Option<i64>,
    pub deleted_at: Option<i64>,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub text: Option<String>,
    pub metadata: Option<Json>,
    pub language: Option<String>,
    pub written_at: i64,
}

#[derive(Debug, Default)]
pub struct Posts {
    pub all: BTreeMap<Uuid, Post>,
    /// By post and its version then.
    revisions: BTreeMap<(Uuid, u64), Revision>,
}

impl Posts {
    fn created(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        let data = &event.data;
        let author = data.field("author").id()?;
        if author != event.actor {
            return Err("the author is not who acted".into());
        }
        let text = |name: &str| keys.open(event, name);
        let reply = data.field("reply");
        let is_reply = *reply != Value::Nil;
        let of_reply = |name: &str| is_reply.then(|| reply.field(name).id()).transpose();
        let post = Post {
            author,
            text: text("text")?,
            hashtags: words(text("hashtags")?),
            mentions: ids(data.field("mentions"))?,
            metadata: json(text("metadata")?)?,
            language: data.field("language").text().map(str::to_owned),
            followers_only: match data.field("visibility").text() {
                Some("public") => false,
                Some("followers") => true,
                other => return Err(format!("the visibility {other:?}")),
            },
            parent: of_reply("parent")?,
            root: of_reply("root")?,
            created_at: event.recorded_at,
            edited_at: None,
            deleted_at: None,
            version: event.version,
        };
        match self.all.insert(event.aggregate.id, post) {
            Some(_) => Err("the post was made before".into()),
            None => Ok(()),
        }
    }

    fn edited(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        let (id, data) = (event.aggregate.id, &event.data);
        let text = |name: &str| keys.open(event, name);
        let post = self.all.get_mut(&id).ok_or("no such post")?;
        let before = Revision {
            text: post.text.clone(),
            metadata: post.metadata.clone(),
            language: post.language.clone(),
            written_at: post.edited_at.unwrap_or(post.created_at),
        };
        self.revisions.insert((id, post.version), before);
        post.text = text("text")?;
        post.hashtags = words(text("hashtags")?);
        post.mentions = ids(data.field("mentions"))?;
        if *data.field("metadata") != Value::Nil {
            post.metadata = json(text("metadata")?)?;
        }
        if let Some(language) = data.field("language").text() {
            post.language = Some(language.to_owned()).filter(|tag| !tag.is_empty());
        }
        post.edited_at = Some(event.recorded_at);
        post.version = event.version;
        Ok(())
    }

    fn deleted(&mut self, event: &Event) -> Result<(), String> {
        let id = event.aggregate.id;
        let post = self.all.get_mut(&id).ok_or("no such post")?;
        post.text = None;
        post.hashtags.clear();
        post.mentions.clear();
        post.metadata = None;
        post.language = None;
        post.deleted_at = Some(event.recorded_at);
        post.version = event.version;
        self.revisions.retain(|(post, _), _| *post != id);
        Ok(())
    }

    fn not_deleted(&self) -> impl Iterator<Item = &Post> {
        self.all.values().filter(|post| post.deleted_at.is_none())
    }
}

impl Feature for Posts {
    fn kind(&self) -> Option<Kind> {
        Some((3, "post"))
    }

    fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        match event.name.as_str() {
            "PostCreated" => self.created(event, keys),
            "PostEdited" => self.edited(event, keys),
            "PostDeleted" => self.deleted(event),
            _ => Err(unknown(event)),
        }
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        let Some(post) = self.all.get(&aggregate.id) else {
            return Vec::new();
        };
        let visibility = match post.followers_only {
            true => "followers",
            false => "public",
        };
        vec![
            Value::of_id(post.author),
            Value::Text(visibility.into()),
            post.root.map_or(Value::Nil, Value::of_id),
            Value::Bool(post.deleted_at.is_some()),
        ]
    }

    fn stored_state(&self, state: &Value) -> Vec<Value> {
        state.fields(&["author", "visibility", "root", "deleted"])
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        table::compare(self, database, findings)
    }

    fn count(&self, world: &World, counts: &mut Counts) {
        let authors = self.not_deleted().map(|post| post.author);
        counts.accounts.add("posts", authors);
        let counted = self.not_deleted();
        let counted = counted.filter(|post| !world.is_deactivated(post.author));
        let parents = counted.filter_map(|post| post.parent);
        counts.posts.add("replies", parents);
    }

    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        answers::ask(self, reader, viewer, about)
    }
}

fn ids(value: &Value) -> Result<Vec<Uuid>, String> {
    let list = value.list().ok_or("mentions are no list")?;
    list.iter().map(Value::id).collect()
}

fn words(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn json(text: Option<String>) -> Result<Option<Json>, String> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| Json::parse(&text)).transpose()
}
