//! A mutant is a patch file whose first lines say what it breaks and by which
//! test it is killed. It refuses headers that a person could not follow.

use std::{
    fmt, fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

pub const FOLDER: &str = "crates/oracle/mutants";
const DAY_SECONDS: u64 = 24 * 60 * 60;

#[derive(Clone, Debug)]
pub struct Patch {
    /// The file's name without its ending.
    pub name: String,
    /// What does not hold any more.
    pub breaks: String,
    pub killed_by: Test,
    /// How long the test may take, where the usual time is too short.
    pub minutes: Option<u64>,
    text: String,
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

impl Patch {
    fn parse(name: &str, text: String) -> Result<Self, String> {
        let header = |wanted: &str| {
            let mut lines = text.lines().take_while(|line| !line.starts_with("--- "));
            let found = lines.find_map(|line| line.strip_prefix(wanted));
            found.map(|value| value.trim().to_owned())
        };
        let missing = |what: &str| format!("{name}: its header has no {what}");
        let killed_by = header("Killed-by:").ok_or_else(|| missing("Killed-by"))?;
        let killed_by = Test::parse(&killed_by).ok_or_else(|| missing("test"))?;
        let minutes = header("Minutes:").map(|minutes| minutes.parse());
        Ok(Self {
            name: name.to_owned(),
            breaks: header("Breaks:").ok_or_else(|| missing("Breaks"))?,
            killed_by,
            minutes: minutes
                .transpose()
                .map_err(|_| missing("number of Minutes"))?,
            text,
        })
    }

    /// The first file that it changes.
    pub fn file(&self) -> String {
        let mut lines = self.text.lines();
        let file = lines.find_map(|line| line.strip_prefix("+++ b/"));
        file.unwrap_or_default().to_owned()
    }

    pub fn path(&self) -> String {
        format!("{FOLDER}/{}.patch", self.name)
    }
}

/// All of the tree at `tree`, by name.
pub fn all(tree: &Path) -> Result<Vec<Patch>, String> {
    let unreadable = |error: std::io::Error| format!("{FOLDER}: {error}");
    let mut patches = Vec::new();
    for entry in fs::read_dir(tree.join(FOLDER)).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|ending| ending == "patch") {
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            patches.push(Patch::parse(&name, text)?);
        }
    }
    patches.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(patches)
}

/// `count` of them, evenly spread, others every day.
pub fn sample(patches: Vec<Patch>, count: usize) -> Vec<Patch> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let step = (patches.len() / count.max(1)).max(1);
    let first = (now.as_secs() / DAY_SECONDS) as usize % step;
    patches
        .into_iter()
        .skip(first)
        .step_by(step)
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf, process::Command};

    use super::*;

    fn tree() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn sources(folder: &Path, all: &mut String) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                sources(&path, all)?;
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                all.push_str(&fs::read_to_string(path)?);
            }
        }
        Ok(())
    }

    #[test]
    fn every_mutant_still_applies_to_this_tree() -> Result<(), String> {
        let patches = all(&tree())?;
        assert!(patches.len() >= 25, "{} mutants", patches.len());
        let mut rotten = Vec::new();
        for patch in patches {
            let mut git = Command::new("git");
            git.args(["apply", "--check"]).arg(patch.path());
            let applied = git
                .current_dir(tree())
                .output()
                .map_err(|e| e.to_string())?;
            if !applied.status.success() {
                let why = String::from_utf8_lossy(&applied.stderr).into_owned();
                rotten.push(format!("{}: {why}", patch.name));
            }
        }
        assert!(rotten.is_empty(), "{}", rotten.join("\n"));
        Ok(())
    }

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_a_test_that_exists() -> Result<(), String> {
        let mut code = String::new();
        for folder in ["crates", "tests"] {
            sources(&tree().join(folder), &mut code).map_err(|e| e.to_string())?;
        }
        let mut numbers = BTreeSet::new();
        for patch in all(&tree())? {
            let test = patch.killed_by.path.rsplit("::").next().unwrap_or_default();
            assert!(
                code.contains(&format!("fn {test}(")),
                "{}: {test}",
                patch.name
            );
            assert!(
                patch.breaks.len() > 10 && !patch.file().is_empty(),
                "{}",
                patch.name
            );
            let number = patch.name.split('-').next().map(str::to_owned);
            assert!(
                numbers.insert(number),
                "{}: its number is taken",
                patch.name
            );
        }
        Ok(())
    }
}
