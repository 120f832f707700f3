//! The lists of home timelines in the views server: ordered, each id once, and
//! down to their floor nothing of home is missing but what is pulled when read.
//! What is there beyond home (unfollowed, deleted) reads leave out.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    Unreachable, database::Database, features::World, findings::Findings, redis::Redis,
    redis::Reply,
};
use sqlx::Row;

const ENTRIES_MAX: usize = 800;
const ID_BYTES: usize = 16;

pub fn check(
    views: &mut Redis,
    prefix: &str,
    database: &mut Database,
    world: &World,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let mut pulled = BTreeSet::new();
    for row in database.rows("SELECT account_id FROM projections.pulled_authors")? {
        pulled.insert(row.try_get::<Uuid, _>("account_id")?);
    }
    let generation = database.rows(
        "SELECT generation FROM projections.checkpoints WHERE live AND projection = 'timelines'",
    )?;
    let generation = generation
        .first()
        .map(|row| row.try_get::<i32, _>("generation"));
    let family = match generation.transpose()? {
        None | Some(1) => format!("{prefix}:home:"),
        Some(number) => format!("{prefix}:home.{number}:"),
    };
    let keys = views.keys(&family)?;
    let ranges = keys.iter().map(|key| {
        let range: [&[u8]; 4] = [b"LRANGE", key, b"0", b"-1"];
        range.map(<[u8]>::to_vec).to_vec()
    });
    let lists = views.ask_all(&ranges.collect::<Vec<_>>())?;
    for (key, list) in keys.iter().zip(lists) {
        let reader = Uuid::from_slice(&key[family.len()..]).unwrap_or_default();
        let mut entries: Vec<Vec<u8>> = list.list().into_iter().filter_map(Reply::bytes).collect();
        // One that is being filled, or has expired meanwhile.
        if entries.last().is_none_or(|last| last.len() != ID_BYTES) {
            continue;
        }
        findings.count("lists", 1);
        let all = entries
            .pop_if(|last| last.iter().all(|byte| *byte == 0))
            .is_some();
        let ids: Vec<Uuid> = entries
            .iter()
            .filter_map(|id| Uuid::from_slice(id).ok())
            .collect();
        if ids.len() > ENTRIES_MAX || !ids.windows(2).all(|pair| pair[0] > pair[1]) {
            findings.violation(format!("the list of {reader} is not in order, or too long"));
        }
        let floor = match (all, ids.last()) {
            (false, Some(floor)) => *floor,
            _ => Uuid::nil(),
        };
        let there: BTreeSet<&Uuid> = ids.iter().collect();
        for entry in world.candidates(reader) {
            let is_pulled = entry.by != reader && pulled.contains(&entry.by);
            if entry.id >= floor && !is_pulled && !there.contains(&entry.id) {
                findings.violation(format!("the list of {reader} lacks {}", entry.id));
            }
        }
    }
    Ok(())
}
