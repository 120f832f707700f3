//! `headwater completion` and `man`: what shells and `man` know of the program.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater completion bash > /etc/bash_completion.d/headwater
  headwater completion zsh > ~/.zfunc/_headwater")]
pub struct Completion {
    shell: Shell,
}

pub fn completion(arguments: &Completion, mut program: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "headwater", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater man /usr/local/share/man/man1
  headwater man . && man ./headwater-projections-rebuild.1")]
pub struct Man {
    /// Where the pages go, one for each command
    folder: PathBuf,
}

pub fn man(arguments: &Man, program: Command) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    clap_mangen::generate_to(program, folder).with_context(|| folder.display().to_string())?;
    eprintln!("to read: man {}/headwater.1", folder.display());
    Ok(())
}
