//! A mutant is a small file that says what it breaks, which test kills it, and which
//! piece of which item it replaces. The item is found by its name, wherever it is.

use std::{
    fmt, fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::source::{self, Source};

pub const FOLDER: &str = "crates/oracle/mutants";
const DAY_SECONDS: u64 = 24 * 60 * 60;

#[derive(Clone, Debug)]
pub struct Mutant {
    /// The file's name without its ending.
    pub name: String,
    /// What does not hold any more.
    pub breaks: String,
    pub killed_by: Test,
    /// How long the test may take, where the usual time is too short.
    pub minutes: Option<u64>,
    changes: Vec<Change>,
}

/// One replacement.
#[derive(Clone, Debug)]
struct Change {
    /// The first folder below `crates`, where the item's name and the piece are not enough.
    room: Option<String>,
    item: String,
    piece: String,
    instead: String,
}

/// `package::target::path`, whose target is `lib` or a file in `tests`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub package: String,
    pub target: String,
    pub path: String,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}::{}", self.package, self.target, self.path)
    }
}

impl Test {
    fn parse(text: &str) -> Option<Self> {
        let (package, rest) = text.split_once("::")?;
        let (target, path) = rest.split_once("::")?;
        Some(Self {
            package: package.to_owned(),
            target: target.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl Mutant {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let (header, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let of = |wanted: &str| {
            let found = header.lines().find_map(|line| line.strip_prefix(wanted));
            found.map(|value| value.trim().to_owned())
        };
        let missing = |what: &str| format!("{name}: its header has no {what}");
        let killed_by = of("Killed-by:").ok_or_else(|| missing("Killed-by"))?;
        let minutes = of("Minutes:").map(|minutes| minutes.parse());
        let changes = changes(body).map_err(|line| format!("{name}: cannot read {line:?}"))?;
        if changes.is_empty() || changes.iter().any(|change| change.piece.is_empty()) {
            return Err(format!("{name}: it replaces nothing"));
        }
        Ok(Self {
            name: name.to_owned(),
            breaks: of("Breaks:").ok_or_else(|| missing("Breaks"))?,
            killed_by: Test::parse(&killed_by).ok_or_else(|| missing("test"))?,
            minutes: minutes
                .transpose()
                .map_err(|_| missing("number of Minutes"))?,
            changes,
        })
    }

    /// The files that it changes, and their new texts. Each piece must be at one place.
    pub fn apply(&self, sources: &[Source]) -> Result<Vec<Source>, String> {
        let mut changed: Vec<Source> = Vec::new();
        for change in &self.changes {
            let (path, text) = self.changed(change, sources, &changed)?;
            changed.retain(|source| source.path != path);
            changed.push(Source { path, text });
        }
        Ok(changed)
    }

    fn changed(
        &self,
        change: &Change,
        sources: &[Source],
        changed: &[Source],
    ) -> Result<(String, String), String> {
        let mut places = Vec::new();
        for source in sources.iter().filter(|source| change.is_in(&source.path)) {
            let now = changed.iter().find(|other| other.path == source.path);
            let now = now.unwrap_or(source);
            let found = source::find(now, &change.item, &change.piece);
            places.extend(found.into_iter().map(|place| (now, place)));
        }
        let (name, item) = (&self.name, &change.item);
        match places.as_slice() {
            [(source, place)] => {
                let mut text = source.text.clone();
                text.replace_range(place.clone(), &change.instead);
                Ok((source.path.clone(), text))
            }
            [] => Err(format!(
                "{name}: what it replaces is not in `{item}` (any more)"
            )),
            [(one, _), .., (other, _)] => Err(format!(
                "{name}: what it replaces is in `{item}` more than once ({} and {}): name more \
                 of it, or its crate (`In: crate item`)",
                one.path, other.path
            )),
        }
    }

    /// The first file that it changes; none where it does not apply.
    pub fn file(&self, sources: &[Source]) -> Option<String> {
        let changed = self.apply(sources).ok()?;
        changed.into_iter().next().map(|source| source.path)
    }
}

impl Change {
    fn is_in(&self, path: &str) -> bool {
        self.room.as_ref().is_none_or(|room| {
            path.starts_with(&format!("crates/{room}/")) || path.starts_with(&format!("{room}/"))
        })
    }
}

/// `In: [crate] item`, then lines with `-` that are there and lines with `+` instead.
fn changes(body: &str) -> Result<Vec<Change>, String> {
    let mut changes: Vec<Change> = Vec::new();
    let push = |text: &mut String, line: &str| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    };
    for line in body.lines().filter(|line| !line.is_empty()) {
        if let Some(place) = line.strip_prefix("In: ") {
            let (room, item) = match place.split_once(' ') {
                Some((room, item)) => (Some(room.to_owned()), item),
                None => (None, place),
            };
            changes.push(Change {
                room,
                item: item.to_owned(),
                piece: String::new(),
                instead: String::new(),
            });
            continue;
        }
        let change = changes.last_mut().ok_or(line)?;
        match line.split_at_checked(1) {
            Some(("-", there)) => push(&mut change.piece, there),
            Some(("+", instead)) => push(&mut change.instead, instead),
            _ => return Err(line.to_owned()),
        }
    }
    Ok(changes)
}

/// All of the tree at `tree`, by name.
pub fn all(tree: &Path) -> Result<Vec<Mutant>, String> {
    let unreadable = |error: std::io::Error| format!("{FOLDER}: {error}");
    let mut mutants = Vec::new();
    for entry in fs::read_dir(tree.join(FOLDER)).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|ending| ending == "mutant") {
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            mutants.push(Mutant::parse(&name, &text)?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

/// `count` of them, evenly spread, others every day.
pub fn sample(mutants: Vec<Mutant>, count: usize) -> Vec<Mutant> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let step = (mutants.len() / count.max(1)).max(1);
    let first = (now.as_secs() / DAY_SECONDS) as usize % step;
    mutants
        .into_iter()
        .skip(first)
        .step_by(step)
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use super::*;

    fn tree() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn test_sources(folder: &Path, all: &mut String) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                test_sources(&path, all)?;
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                all.push_str(&fs::read_to_string(path)?);
            }
        }
        Ok(())
    }

    #[test]
    fn every_mutant_still_applies_to_this_tree() -> Result<(), String> {
        let (mutants, sources) = (all(&tree())?, source::all(&tree())?);
        assert!(mutants.len() >= 150, "{} mutants", mutants.len());
        let applied = mutants.iter().map(|mutant| mutant.apply(&sources));
        let rotten: Vec<String> = applied.filter_map(Result::err).collect();
        assert!(rotten.is_empty(), "{}", rotten.join("\n"));
        Ok(())
    }

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_a_test_that_exists() -> Result<(), String> {
        let mut code = String::new();
        for folder in ["crates", "tests"] {
            test_sources(&tree().join(folder), &mut code).map_err(|e| e.to_string())?;
        }
        let mut numbers = BTreeSet::new();
        for mutant in all(&tree())? {
            let test = mutant
                .killed_by
                .path
                .rsplit("::")
                .next()
                .unwrap_or_default();
            assert!(
                code.contains(&format!("fn {test}(")),
                "{}: {test}",
                mutant.name
            );
            assert!(mutant.breaks.len() > 10, "{}", mutant.name);
            let number = mutant.name.split('-').next().map(str::to_owned);
            assert!(
                numbers.insert(number),
                "{}: its number is taken",
                mutant.name
            );
        }
        Ok(())
    }
}
