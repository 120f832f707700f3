//! What is between an account and others: flags that features fill.

use serde_json::{Value, json};

use super::Feature;
use crate::{
    Unreachable,
    looks::{About, Viewer},
    reader::{BATCH_IDS_MAX, Reader, joined},
};

#[derive(Debug, Default)]
pub struct Relationships;

impl Feature for Relationships {
    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        let About::Own(own) = *about else {
            return Ok(());
        };
        let world = reader.shown.world;
        let pairs = world.features().into_iter().flat_map(Feature::pairs);
        let others = pairs.filter_map(|(from, to)| match (from == own, to == own) {
            (true, _) => Some(to),
            (false, true) => Some(from),
            (false, false) => None,
        });
        let mut others: Vec<_> = others.chain([own]).collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|id| world.finds(Some(own), *id));
        others.truncate(BATCH_IDS_MAX);
        if others.is_empty() {
            return Ok(());
        }
        let path = format!("/v1/relationships?ids={}", joined(&others));
        let items = reader.items(&path, viewer)?;
        reader.findings.same(&path, &others.len(), &items.len());
        for (id, found) in others.iter().zip(&items) {
            let mut expected = json!({"account_id": id});
            for feature in world.features() {
                for (flag, is_set) in feature.relationship(own, *id) {
                    expected[flag] = Value::from(is_set);
                }
            }
            reader.same_item(&path, &expected, found);
        }
        Ok(())
    }
}
