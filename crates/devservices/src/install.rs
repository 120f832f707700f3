//! Gets the server programs through the system's own package manager. Never
//! asks for a password and never adds a package source: where it may not
//! install, it says what to type.
//!
//! Some packages start a server of their own at once. We leave it alone: ours
//! listen on other ports and keep their data elsewhere.

use std::process::Stdio;

use tokio::process::Command;

use crate::programs::in_path;
use crate::{Error, Program, Programs};

const OUTPUT_LINES_MAX: usize = 15;

impl Programs {
    /// Finds the programs, else installs them (as root, or with a `sudo` that
    /// asks no password), saying through `say` what it does.
    pub async fn find_or_install(say: &dyn Fn(&str)) -> Result<Programs, Error> {
        let missing = match Programs::find() {
            Ok(programs) => return Ok(programs),
            Err(missing) => missing,
        };
        let Some(manager) = Manager::find() else {
            return Err(missing_error(&missing, None));
        };
        let Some(privilege) = Privilege::find().await else {
            return Err(missing_error(&missing, Some(manager)));
        };

        say(&format!("Installing {}.", names(&missing)));
        for command in manager.commands(&missing) {
            let line = privilege.line(&command);
            say(&format!("Running `{}`.", line.join(" ")));
            run(&line).await?;
        }
        Programs::find().map_err(|missing| missing_error(&missing, Some(manager)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Apk,
    Pacman,
}

enum Privilege {
    Root,
    Sudo,
}

impl Manager {
    fn find() -> Option<Manager> {
        let managers = [
            ("apt-get", Manager::Apt),
            ("dnf", Manager::Dnf),
            ("apk", Manager::Apk),
            ("pacman", Manager::Pacman),
        ];
        let found = managers
            .into_iter()
            .find(|(name, _)| in_path(name).is_some());
        found.map(|(_, manager)| manager)
    }

    fn commands(self, missing: &[Program]) -> Vec<Vec<&'static str>> {
        let packages = missing.iter().map(|program| self.package(*program));
        let (first, install): (Option<Vec<_>>, Vec<_>) = match self {
            Manager::Apt => (
                Some(vec!["apt-get", "update"]),
                vec![
                    "env",
                    "DEBIAN_FRONTEND=noninteractive",
                    "apt-get",
                    "install",
                    "-y",
                    "--no-install-recommends",
                ],
            ),
            Manager::Dnf => (None, vec!["dnf", "install", "-y"]),
            Manager::Apk => (None, vec!["apk", "add"]),
            Manager::Pacman => (None, vec!["pacman", "-Sy", "--needed", "--noconfirm"]),
        };
        let install = install.into_iter().chain(packages).collect();
        first.into_iter().chain([install]).collect()
    }

    fn package(self, program: Program) -> &'static str {
        match (self, program) {
            (Manager::Apt, Program::Redis) => "redis-server",
            (Manager::Apt, Program::Postgres) => "postgresql",
            (Manager::Dnf, Program::Redis) => "redis",
            (Manager::Dnf, Program::Postgres) => "postgresql-server",
            (Manager::Apk, Program::Redis) => "redis",
            (Manager::Apk, Program::Postgres) => "postgresql",
            // Arch ships Valkey in place of Redis.
            (Manager::Pacman, Program::Redis) => "valkey",
            (Manager::Pacman, Program::Postgres) => "postgresql",
        }
    }
}

impl Privilege {
    async fn find() -> Option<Privilege> {
        if rustix::process::geteuid().is_root() {
            return Some(Privilege::Root);
        }
        let asked = Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .output()
            .await;
        asked
            .is_ok_and(|output| output.status.success())
            .then_some(Privilege::Sudo)
    }

    fn line(&self, command: &[&'static str]) -> Vec<&'static str> {
        let prefix: &[&str] = match self {
            Privilege::Root => &[],
            Privilege::Sudo => &["sudo", "-n"],
        };
        prefix.iter().chain(command).copied().collect()
    }
}

async fn run(line: &[&str]) -> Result<(), Error> {
    let failed = |output: String| Error::Command {
        command: line.join(" "),
        output,
    };
    let Some((program, arguments)) = line.split_first() else {
        return Ok(());
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(failed(last_lines(
        &String::from_utf8_lossy(&said),
        OUTPUT_LINES_MAX,
    )))
}

pub(crate) fn last_lines(text: &str, lines_max: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(lines_max)..].join("\n")
}

fn missing_error(missing: &[Program], manager: Option<Manager>) -> Error {
    let advice = match manager {
        None => "Install Redis 7.0 or newer and PostgreSQL 15 or newer, then try again".to_owned(),
        Some(manager) => {
            let commands = manager.commands(missing);
            let typed: Vec<String> = commands
                .iter()
                .map(|command| format!("sudo {}", command.join(" ")))
                .collect();
            format!("Type this, then try again:\n\n    {}\n", typed.join(" && "))
        }
    };
    Error::Missing {
        programs: names(missing),
        advice,
    }
}

fn names(missing: &[Program]) -> String {
    let names: Vec<String> = missing.iter().map(Program::to_string).collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_a_line_to_type() {
        let error = missing_error(&[Program::Redis, Program::Postgres], Some(Manager::Apt));
        assert!(error.to_string().contains(
            "sudo apt-get update && sudo env DEBIAN_FRONTEND=noninteractive \
             apt-get install -y --no-install-recommends redis-server postgresql"
        ));
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(
            Manager::Dnf.commands(&[Program::Postgres]),
            [["dnf", "install", "-y", "postgresql-server"]]
        );
    }
}
