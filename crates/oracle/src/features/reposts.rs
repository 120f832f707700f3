//! Reposts: an edge from an account to a post, which counts and tells who; each has an id
//! of its own, by which it stands in home.

use std::collections::BTreeMap;

use sqlx::Row;
use uuid::Uuid;

use super::{
    Feature, Kind, World,
    edges::{Edge, Edges, Far},
};
use crate::{
    Unreachable,
    counts::Counts,
    database::Database,
    entries::{Aggregate, Event},
    findings::Findings,
    looks::{About, Viewer},
    message_pack::Value,
    reader::Reader,
    sealed::Keys,
};

#[derive(Debug)]
pub struct Plain;

impl Edge for Plain {
    const KIND: Kind = (11, "repost");
    const FAR: Far = Far::Post;
    const EVENTS: (&'static str, &'static str) = ("Reposted", "Unreposted");
    const ROWS: (&'static str, &'static str) = (
        "reposts",
        "SELECT account_id, post_id, reposted_at FROM social.reposts",
    );
    const FLAG: &'static str = "reposted";
    const COUNTER: Option<&'static str> = Some("reposts");
    const LIST_OF_POST: Option<&'static str> = Some("reposts");
}

/// What one repost is.
#[derive(Clone, Debug, PartialEq)]
pub struct Repost {
    pub by: Uuid,
    pub post: Uuid,
    pub created_at: i64,
}

#[derive(Debug, Default)]
pub struct Reposts {
    edges: Edges<Plain>,
    /// Those that stand, by their ids.
    pub all: BTreeMap<Uuid, Repost>,
}

impl Reposts {
    /// Of an id that sorts by when the repost was made, and tells whose and of what it is.
    fn made(&mut self, event: &Event) -> Result<(), String> {
        let (by, post) = event.aggregate.edge()?;
        let id = event.data.field("repost").id()?;
        let (bytes, of, maker) = (id.as_bytes(), post.as_bytes(), by.as_bytes());
        let as_promised =
            id.get_version_num() == 8 && bytes[8..14] == of[8..14] && bytes[14..] == maker[14..];
        if !as_promised {
            return Err(format!("the id {id} of a repost of {post} by {by}"));
        }
        let repost = Repost {
            by,
            post,
            created_at: event.recorded_at,
        };
        match self.all.insert(id, repost) {
            Some(_) => Err("the repost was made before".into()),
            None => Ok(()),
        }
    }
}

impl Feature for Reposts {
    fn kind(&self) -> Option<Kind> {
        self.edges.kind()
    }

    fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        self.edges.take(event, keys)?;
        let (by, post) = event.aggregate.edge()?;
        self.all
            .retain(|_, repost| (repost.by, repost.post) != (by, post));
        match event.name == Plain::EVENTS.0 {
            true => self.made(event),
            false => Ok(()),
        }
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        self.edges.state(aggregate)
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        self.edges.compare(database, findings)?;
        let mut found = BTreeMap::new();
        for row in database.rows("SELECT repost_id, account_id, post_id FROM social.reposts")? {
            let edge: (Uuid, Uuid) = (row.try_get(1)?, row.try_get(2)?);
            found.insert(row.try_get::<Uuid, _>(0)?, edge);
        }
        let all = self.all.iter();
        let expected = all.map(|(id, repost)| (*id, (repost.by, repost.post)));
        findings.same_rows("ids of reposts", &expected.collect(), &found);
        Ok(())
    }

    fn count(&self, world: &World, counts: &mut Counts) {
        self.edges.count(world, counts);
    }

    fn flag(&self, viewer: Uuid, post: Uuid) -> Option<(&'static str, bool)> {
        self.edges.flag(viewer, post)
    }

    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        self.edges.ask(reader, viewer, about)
    }
}
