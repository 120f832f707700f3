//! A journal of acknowledgements against the log: whatever was answered with a
//! position stands there, once, as an event of that account; and one key was
//! answered alike however often it was sent. One JSON object a line:
//! `{"account": …, "key": …, "position": "3:1-42", "status": 201}`, of which
//! `key` and `position` may be missing; answers other than 2xx promise nothing.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    Unreachable,
    entries::{Entries, Position},
    findings::Findings,
};

pub fn check(path: &Path, entries: &Entries, findings: &mut Findings) -> Result<(), Unreachable> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| Unreachable(format!("{}: {error}", path.display())))?;
    let mut actors: BTreeMap<Position, Vec<Uuid>> = BTreeMap::new();
    for event in entries.all() {
        actors.entry(event.position).or_default().push(event.actor);
    }
    let mut answered: BTreeMap<(Uuid, String), Position> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let where_ = format!("line {number} of the journal");
        let line: Value = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(error) => {
                findings.violation(format!("{where_} cannot be read: {error}"));
                continue;
            }
        };
        let status = line["status"].as_u64().unwrap_or(200);
        let Some(position) = line["position"].as_str().filter(|_| status / 100 == 2) else {
            continue;
        };
        findings.count("acknowledgements", 1);
        let account = line["account"].as_str().and_then(|id| id.parse().ok());
        let (Some(position), Some(account)) = (Position::parse(position), account) else {
            findings.violation(format!("{where_} has no position and account: {line}"));
            continue;
        };
        let found = actors.get(&position).cloned().unwrap_or_default();
        let what = format_args!("{where_}, whose event is at {position}");
        findings.same(what, &vec![account], &found);
        if let Some(key) = line["key"].as_str() {
            let first = answered
                .entry((account, key.to_owned()))
                .or_insert(position);
            let what = format_args!("{where_}, the position answered to the key {key}");
            findings.same(what, &*first, &position);
        }
    }
    Ok(())
}
