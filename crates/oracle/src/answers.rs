//! What the API answers against what the log adds up to: all looks, shared out among
//! a few connections.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{
    Target, Unreachable, entries::Position, features::World, findings::Findings, http::Http,
    looks::looks, reader::Reader, sealed, shown::Shown,
};

const CONNECTIONS: usize = 3;

pub fn compare(
    target: &Target,
    url: &str,
    world: &World,
    heads: &BTreeMap<u16, Position>,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let shown = Shown::new(world);
    let looks = Mutex::new(looks(target, world));
    // A process may answer with what it saw a moment ago, unless it is told.
    let secret = target.cursor_secret.as_deref();
    let not_older = secret.and_then(|secret| sealed::positions(secret, heads.values()));
    let not_older = not_older.map(|token| format!("Min-Position: {token}\r\n"));
    let not_older = not_older.unwrap_or_default();
    let take = || looks.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let ended: Vec<Result<Findings, Unreachable>> = thread::scope(|scope| {
        let work = || -> Result<Findings, Unreachable> {
            let mut reader = Reader::new(Http::new(url, &not_older)?, &shown);
            while let Some(look) = take() {
                reader.look(&look)?;
            }
            Ok(reader.findings)
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        let broke_off = |_| Err(Unreachable("asking the API broke off".into()));
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(broke_off));
        ended.collect()
    });
    for one in ended {
        findings.add(one?);
    }
    Ok(())
}
