//! Plain edges: an account makes one to an account or to a post and ends it. Such a
//! feature is a declaration, an `Edge`.

use std::{collections::BTreeMap, marker::PhantomData};

use uuid::Uuid;

use super::{Feature, Kind, World, unknown};
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
    shown::Shown,
};

/// Where the edges of a feature lead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Far {
    Account,
    Post,
}

/// What there is to say of a plain edge. Paths of lists are their ends.
pub trait Edge: Sync + 'static {
    const KIND: Kind;
    const FAR: Far;
    /// The events that make it and end it.
    const EVENTS: (&'static str, &'static str);
    /// What its rows are called in findings, and the query of them: whose edge, to what,
    /// since when.
    const ROWS: (&'static str, &'static str);
    /// Shown with a post to its viewer, or among relationships.
    const FLAG: &'static str;
    /// The posts' counter of those who have one.
    const COUNTER: Option<&'static str> = None;
    /// The list of those who have one, below `/v1/posts/{id}/`.
    const LIST_OF_POST: Option<&'static str> = None;
    /// The list of one's own, below `/v1/accounts/me/`.
    const OWN_LIST: Option<&'static str> = None;

    /// Whether `own` is shown an account in the list of one's own.
    fn lists(world: &World, own: Uuid, account: Uuid) -> bool {
        world.finds(Some(own), account)
    }
}

/// Since when there are edges, by whose and to what.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<(Uuid, Uuid), i64>);

impl Rows {
    pub fn make(&mut self, event: &Event) -> Result<(), String> {
        self.0.insert(event.aggregate.edge()?, event.recorded_at);
        Ok(())
    }

    /// Whether there was one.
    pub fn end(&mut self, event: &Event) -> Result<bool, String> {
        Ok(self.0.remove(&event.aggregate.edge()?).is_some())
    }

    pub fn holds(&self, from: Uuid, to: Uuid) -> bool {
        self.0.contains_key(&(from, to))
    }

    pub fn has(&self, aggregate: Aggregate) -> bool {
        aggregate
            .edge()
            .is_ok_and(|edge| self.0.contains_key(&edge))
    }

    /// Whose, and to what.
    pub fn pairs(&self) -> impl Iterator<Item = (Uuid, Uuid)> {
        self.0.keys().copied()
    }

    /// Since when and to what, of those of `from`.
    pub fn of(&self, from: Uuid) -> Vec<(i64, Uuid)> {
        let edges = self.0.iter().filter(|((whose, _), _)| *whose == from);
        edges.map(|((_, to), at)| (*at, *to)).collect()
    }

    /// Since when and whose, of those to `to`.
    pub fn to(&self, to: Uuid) -> Vec<(i64, Uuid)> {
        let edges = self.0.iter().filter(|((_, what), _)| *what == to);
        edges.map(|((from, _), at)| (*at, *from)).collect()
    }

    /// With the rows of a query: whose, to what, since when.
    pub fn compare(
        &self,
        (what, sql): (&str, &'static str),
        database: &mut Database,
        findings: &mut Findings,
    ) -> Result<(), Unreachable> {
        let mut found = BTreeMap::new();
        for row in database.rows(sql)? {
            use sqlx::Row as _;
            found.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        }
        findings.same_rows(what, &self.0, &found);
        Ok(())
    }
}

/// All edges of one plain feature.
#[derive(Debug)]
pub struct Edges<E> {
    pub rows: Rows,
    of: PhantomData<E>,
}

impl<E> Default for Edges<E> {
    fn default() -> Self {
        let (rows, of) = (Rows::default(), PhantomData);
        Self { rows, of }
    }
}

impl<E: Edge> Feature for Edges<E> {
    fn kind(&self) -> Option<Kind> {
        Some(E::KIND)
    }

    fn take(&mut self, event: &Event, _: &Keys) -> Result<(), String> {
        let (made, ended) = E::EVENTS;
        match event.name.as_str() {
            name if name == made => self.rows.make(event),
            name if name == ended => self.rows.end(event).map(|_| ()),
            _ => Err(unknown(event)),
        }
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        vec![Value::Bool(self.rows.has(aggregate))]
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        self.rows.compare(E::ROWS, database, findings)
    }

    fn count(&self, world: &World, counts: &mut Counts) {
        if let Some(counter) = E::COUNTER {
            let counted = self.rows.pairs();
            let counted = counted.filter(|(from, _)| !world.is_deactivated(*from));
            counts.posts.add(counter, counted.map(|(_, post)| post));
        }
    }

    fn flag(&self, viewer: Uuid, post: Uuid) -> Option<(&'static str, bool)> {
        (E::FAR == Far::Post).then(|| (E::FLAG, self.rows.holds(viewer, post)))
    }

    fn relationship(&self, own: Uuid, other: Uuid) -> Vec<(&'static str, bool)> {
        match E::FAR {
            Far::Account => vec![(E::FLAG, self.rows.holds(own, other))],
            Far::Post => Vec::new(),
        }
    }

    fn pairs(&self) -> Vec<(Uuid, Uuid)> {
        match E::FAR {
            Far::Account => self.rows.pairs().collect(),
            Far::Post => Vec::new(),
        }
    }

    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        let world = reader.shown.world;
        match (about, E::LIST_OF_POST, E::OWN_LIST) {
            (About::Post(id), Some(list), _) => {
                let path = format!("/v1/posts/{id}/{list}");
                if !world.sees_post(viewer.id(), *id) {
                    return reader.status(&path, 404, viewer);
                }
                let expected = reader.shown.edges(viewer.id(), self.rows.to(*id));
                reader.account_pages(&path, &expected, viewer)
            }
            (About::Own(own), _, Some(list)) => {
                let path = format!("/v1/accounts/me/{list}");
                let mut expected = Shown::all_edges(self.rows.of(*own));
                match E::FAR {
                    Far::Account => {
                        expected.retain(|account| E::lists(world, *own, *account));
                        reader.account_pages(&path, &expected, viewer)
                    }
                    Far::Post => {
                        expected.retain(|post| world.sees_post(Some(*own), *post));
                        reader.post_pages(&path, &expected, viewer)
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{entries::Position, features::mutes::Mute};

    fn event(name: &str, member: Option<Uuid>) -> Event {
        let id = Uuid::from_u128(1);
        Event {
            position: Position {
                partition: 0,
                epoch: 1,
                seq: 1,
            },
            name: name.into(),
            event_version: 1,
            aggregate: Aggregate {
                kind: Mute::KIND.0,
                id,
                member,
            },
            version: 1,
            recorded_at: 7,
            actor: id,
            correlation: id,
            receipt: None,
            data: Value::Nil,
        }
    }

    #[test]
    fn an_edge_is_there_until_it_is_ended() {
        let keys = Keys(BTreeMap::new());
        let (from, to) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut mutes = Edges::<Mute>::default();
        let (made, ended) = (event("Muted", Some(to)), event("Unmuted", Some(to)));
        assert_eq!(mutes.take(&made, &keys), Ok(()));
        assert_eq!(mutes.rows.of(from), [(7, to)]);
        assert_eq!(mutes.rows.to(to), [(7, from)]);
        assert_eq!(mutes.state(made.aggregate), [Value::Bool(true)]);
        assert_eq!(mutes.relationship(from, to), [("muting", true)]);
        assert_eq!(mutes.take(&ended, &keys), Ok(()));
        assert_eq!(mutes.state(made.aggregate), [Value::Bool(false)]);
        assert!(mutes.take(&event("Liked", Some(to)), &keys).is_err());
        assert!(mutes.take(&event("Muted", None), &keys).is_err());
    }
}
