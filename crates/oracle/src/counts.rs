//! Counters of accounts and of posts: lists that features fill. One is a column of a
//! table, and with `_count` behind its name a field of an answer.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{Column, Row};
use uuid::Uuid;

use crate::{Unreachable, database::Database, features::World, findings::Findings};

/// Deactivated accounts, and what they did, are in no counter of others.
#[derive(Debug, Default)]
pub struct Counts {
    pub accounts: Counters,
    pub posts: Counters,
}

/// The counters of one kind of thing.
#[derive(Debug, Default)]
pub struct Counters {
    names: Vec<&'static str>,
    counted: BTreeMap<Uuid, BTreeMap<&'static str, i64>>,
}

/// All counters of one thing, by their names.
type Numbers = BTreeMap<String, i64>;

impl Counts {
    pub fn of(world: &World) -> Self {
        let mut counts = Self::default();
        for feature in world.features() {
            feature.count(world, &mut counts);
        }
        counts
    }

    pub fn compare(
        &self,
        database: &mut Database,
        findings: &mut Findings,
    ) -> Result<(), Unreachable> {
        let found = numbers(database, "SELECT * FROM social.account_counters")?;
        findings.same_rows("account counters", &self.accounts.rows(), &found);
        let found = numbers(database, "SELECT * FROM social.post_counters")?;
        findings.same_rows("post counters", &self.posts.rows(), &found);
        Ok(())
    }
}

impl Counters {
    /// One that goes up by one for each of `ids`.
    pub fn add(&mut self, name: &'static str, ids: impl Iterator<Item = Uuid>) {
        self.names.push(name);
        for id in ids {
            let counted = self.counted.entry(id).or_default();
            *counted.entry(name).or_default() += 1;
        }
    }

    fn of(&self, id: Uuid) -> Numbers {
        let counted = self.counted.get(&id);
        let number = |name| counted.and_then(|counted| counted.get(name)).copied();
        let names = self.names.iter();
        let numbers = names.map(|name| ((*name).to_owned(), number(name).unwrap_or_default()));
        numbers.collect()
    }

    /// What is counted nowhere has no row.
    fn rows(&self) -> BTreeMap<Uuid, Numbers> {
        let ids = self.counted.keys();
        ids.map(|id| (*id, self.of(*id))).collect()
    }

    /// An answer with its counters, which are 0 where nothing is to be counted.
    pub fn shown_in(&self, mut answer: Value, counted: Option<Uuid>) -> Value {
        for (name, number) in self.of(counted.unwrap_or_default()) {
            answer[format!("{name}_count")] = number.into();
        }
        answer
    }
}

/// Every row: the id, then a number a column, known here or not.
fn numbers(
    database: &mut Database,
    sql: &'static str,
) -> Result<BTreeMap<Uuid, Numbers>, Unreachable> {
    let mut found = BTreeMap::new();
    for row in database.rows(sql)? {
        let columns = row.columns().iter().skip(1);
        let numbers = columns.map(|column| {
            let number = row.try_get(column.ordinal())?;
            Ok((column.name().to_owned(), number))
        });
        found.insert(
            row.try_get(0)?,
            numbers.collect::<Result<_, sqlx::Error>>()?,
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_every_counter_and_a_thing_without_any_has_none() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut counters = Counters::default();
        counters.add("likes", [one, one].into_iter());
        counters.add("replies", std::iter::empty());
        let numbers = [("likes".to_owned(), 2), ("replies".to_owned(), 0)];
        assert_eq!(counters.rows(), [(one, numbers.into())].into());
        let shown = counters.shown_in(json!({"id": 1}), Some(other));
        assert_eq!(
            shown,
            json!({"id": 1, "likes_count": 0, "replies_count": 0})
        );
    }
}
