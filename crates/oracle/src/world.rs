//! What the log adds up to: one event after the other, each given to its feature. It is
//! meant to be read and found right, and refuses to be quick.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    entries::{Entries, Event},
    features::{Feature, World},
    findings::Findings,
    sealed::Keys,
};

pub const DAY_MILLISECONDS: i64 = 24 * 60 * 60 * 1_000;

impl World {
    pub fn of(entries: &Entries, keys: &Keys, findings: &mut Findings) -> Self {
        let mut world = Self::default();
        for event in entries.all() {
            if let Err(why) = world.take(event, keys) {
                let (name, position) = (&event.name, event.position);
                findings.violation(format!("{name} at {position}: {why}"));
            }
        }
        let active = world.last_activity(entries);
        for (id, account) in &mut world.accounts.all {
            account.active_on = active.get(id).copied().unwrap_or_default();
        }
        for feature in world.features() {
            feature.check(&world, findings);
        }
        world
    }

    fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        if event.event_version != 1 {
            return Err(format!("its version {} is unknown", event.event_version));
        }
        if event.name == "EpochStarted" {
            return Ok(());
        }
        let kind = event.aggregate.kind;
        let mut features = self.features_mut().into_iter();
        match features.find(|feature| is_of(&**feature, kind)) {
            Some(feature) => feature.take(event, keys),
            None => Err(format!("nobody knows the kind {kind}")),
        }
    }

    /// The feature whose aggregates are of this kind.
    pub fn feature(&self, kind: u8) -> Option<&dyn Feature> {
        let mut features = self.features().into_iter();
        features.find(|feature| is_of(*feature, kind))
    }

    /// The day on which each account was active last, in days since 1970-01-01.
    fn last_activity(&self, entries: &Entries) -> BTreeMap<Uuid, i64> {
        let mut days: BTreeMap<Uuid, i64> = BTreeMap::new();
        for event in entries.all() {
            let feature = self.feature(event.aggregate.kind);
            if feature.is_some_and(|feature| feature.is_activity(event)) {
                let day = event.recorded_at.div_euclid(DAY_MILLISECONDS);
                let last = days.entry(event.actor).or_default();
                *last = day.max(*last);
            }
        }
        days
    }
}

fn is_of(feature: &dyn Feature, kind: u8) -> bool {
    feature.kind().is_some_and(|(code, _)| code == kind)
}

/// What aggregates of this kind are called.
pub fn kind_name(kind: u8) -> &'static str {
    let world = World::default();
    let known = world.feature(kind).and_then(Feature::kind);
    known.map_or("unknown", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_one_feature() {
        let world = World::default();
        let kinds = world.features().into_iter().filter_map(Feature::kind);
        let kinds: Vec<_> = kinds.collect();
        let codes: BTreeSet<_> = kinds.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes.len(), kinds.len(), "{kinds:?}");
        for (code, name) in kinds {
            assert_eq!(kind_name(code), name);
        }
        assert_eq!(kind_name(0), "unknown");
    }
}
