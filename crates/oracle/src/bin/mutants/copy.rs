//! A copy of the last commit, in which mutants are applied and taken back. It
//! is kept between runs, so that little has to be built again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{mutant::Mutant, source};

pub struct Copy {
    pub tree: PathBuf,
    pub commit: String,
}

impl Copy {
    /// At HEAD of the repository that this is started in.
    pub fn make(place: &Path) -> Result<Self, String> {
        fs::create_dir_all(place).map_err(|error| format!("{}: {error}", place.display()))?;
        let place = fs::canonicalize(place).map_err(|error| error.to_string())?;
        let here = Path::new(".");
        let commit = git(here, &["rev-parse", "HEAD"])?;
        let origin = git(
            here,
            &["rev-parse", "--path-format=absolute", "--git-common-dir"],
        )?;
        let tree = place.join("tree");
        if !tree.join(".git").exists() {
            let clone = [
                "clone",
                "--quiet",
                "--shared",
                "--no-checkout",
                &origin,
                "tree",
            ];
            git(&place, &clone)?;
        }
        git(
            &tree,
            &["checkout", "--quiet", "--force", "--detach", &commit],
        )?;
        git(&tree, &["clean", "--quiet", "--force", "-d"])?;
        Ok(Self { tree, commit })
    }

    pub fn apply(&self, mutant: &Mutant) -> Result<(), String> {
        for changed in mutant.apply(&source::all(&self.tree)?)? {
            let path = self.tree.join(&changed.path);
            fs::write(&path, changed.text)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    pub fn take_back(&self) -> Result<(), String> {
        git(&self.tree, &["checkout", "--quiet", "--force", "."]).map(drop)
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output();
    let output = output.map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git {}: {why}", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
