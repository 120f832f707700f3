//! Finds the build of `headwater` that is measured: built by the same cargo as
//! this program where there is one, else the one beside this program.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, ensure};
use tokio::process::Command;

const NAME: &str = "headwater";

pub async fn find_or_build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program is in no folder")?;
    let beside = folder.join(NAME);
    if let Some(cargo) = std::env::var_os("CARGO") {
        eprintln!("builds {NAME}");
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", NAME, "--bin", NAME]);
        if is_optimised() {
            build.arg("--release");
        }
        // Only the table goes to standard output.
        let built = build.stdout(Stdio::null()).status().await?;
        ensure!(built.success(), "{NAME} cannot be built");
    }
    ensure!(
        beside.exists(),
        "{} is not there; type `cargo build --release --package {NAME}`, or name a build with --headwater",
        beside.display()
    );
    Ok(beside)
}

/// Figures of a debug build say nothing.
pub fn is_optimised() -> bool {
    !cfg!(debug_assertions)
}
