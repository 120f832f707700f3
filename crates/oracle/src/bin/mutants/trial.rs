//! One test in the copy, broken or not, and what came of it.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::{
    copy::Copy,
    mutant::{Mutant, Test},
};

const BUILD_MINUTES_MAX: u64 = 30;
const LOOK_MILLISECONDS: u64 = 100;

pub enum Outcome {
    /// The test failed, and this is what it said.
    Killed(String),
    Survived,
    /// What does not compile breaks nothing.
    NotBuilt,
    /// The test said nothing in its time.
    TimedOut,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed(_) => "killed",
            Self::Survived => "SURVIVED",
            Self::NotBuilt => "NOT BUILT",
            Self::TimedOut => "TIMED OUT",
        })
    }
}

pub fn line(mutant: &Mutant, outcome: &Outcome, seconds: f64) -> Value {
    let said = match outcome {
        Outcome::Killed(said) => said.as_str(),
        Outcome::Survived | Outcome::NotBuilt | Outcome::TimedOut => "",
    };
    json!({
        "mutant": mutant.name,
        "breaks": mutant.breaks,
        "test": mutant.killed_by.to_string(),
        "outcome": outcome.to_string().to_lowercase(),
        "said": said,
        "seconds": (seconds * 10.0).round() / 10.0,
    })
}

pub struct Trials {
    copy: Copy,
    /// Has `tree`, `target`, `output` and `results.jsonl`.
    place: PathBuf,
    killed: BTreeSet<(String, String)>,
    minutes: u64,
}

impl Trials {
    pub fn open(place: &Path, copy: Copy, minutes: u64) -> Result<Self, String> {
        let place = fs::canonicalize(place).map_err(|error| error.to_string())?;
        fs::create_dir_all(place.join("output")).map_err(|error| error.to_string())?;
        let results = fs::read_to_string(place.join("results.jsonl")).unwrap_or_default();
        let results = results
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let killed = results
            .filter(|result| result["outcome"] == "killed")
            .map(|result| {
                let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
                (text("commit"), text("mutant"))
            });
        let killed = killed.collect();
        Ok(Self {
            copy,
            place,
            killed,
            minutes,
        })
    }

    pub fn was_killed(&self, mutant: &Mutant) -> bool {
        let commit = self.copy.commit.clone();
        self.killed.contains(&(commit, mutant.name.clone()))
    }

    pub fn note(&self, mutant: &Mutant, outcome: &Outcome, seconds: f64) -> Result<(), String> {
        let mut result = line(mutant, outcome, seconds);
        result["commit"] = self.copy.commit.clone().into();
        let path = self.place.join("results.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{result}"));
        written.map_err(|error| error.to_string())
    }

    pub fn passes_unbroken(&self, test: &Test) -> Result<(), String> {
        match self.attempt(test, "unbroken", self.minutes)? {
            Outcome::Survived => Ok(()),
            outcome => Err(format!("{test} must pass without a mutant: {outcome}")),
        }
    }

    pub fn run(&self, mutant: &Mutant) -> Result<Outcome, String> {
        self.copy.apply(mutant)?;
        let minutes = mutant.minutes.unwrap_or(self.minutes);
        let outcome = self.attempt(&mutant.killed_by, &mutant.name, minutes);
        self.copy.take_back()?;
        outcome
    }

    fn attempt(&self, test: &Test, name: &str, minutes: u64) -> Result<Outcome, String> {
        let output = self.place.join("output").join(format!("{name}.txt"));
        let build = self.cargo(test, &["--no-run"]);
        let built = run(build, &output, BUILD_MINUTES_MAX)?;
        if built != Some(true) {
            return Ok(Outcome::NotBuilt);
        }
        let exactly = ["--", "--exact", &test.path, "--nocapture"];
        let ended = run(self.cargo(test, &exactly), &output, minutes)?;
        let said = fs::read(&output).map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&said);
        match ended {
            None => Ok(Outcome::TimedOut),
            Some(true) if said.contains("1 passed") => Ok(Outcome::Survived),
            Some(false) if said.contains("1 failed") => Ok(Outcome::Killed(assertion(&said))),
            Some(_) => Err(format!("{test} did not run; see {}", output.display())),
        }
    }

    fn cargo(&self, test: &Test, rest: &[&str]) -> Command {
        let cargo = std::env::var_os("MUTANTS_CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "--locked", "--package", &test.package]);
        match test.target.as_str() {
            "lib" => command.arg("--lib"),
            target => command.args(["--test", target]),
        };
        command.args(rest);
        command.current_dir(&self.copy.tree);
        command.env("CARGO_TARGET_DIR", self.place.join("target"));
        // Nobody debugs a mutant: most of the time goes into linking.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
        command
    }
}

/// The first thing that the test said when it failed, on one line.
fn assertion(said: &str) -> String {
    let after = said
        .lines()
        .skip_while(|line| !line.contains("panicked at"));
    let lines: Vec<&str> = after.skip(1).take(2).collect();
    let text = lines.join(" ");
    match text.char_indices().nth(200) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// Whether it ended well; none where it had to be ended, with all it started.
fn run(mut command: Command, output: &Path, minutes: u64) -> Result<Option<bool>, String> {
    let file = File::create(output).map_err(|error| error.to_string())?;
    let same = file.try_clone().map_err(|error| error.to_string())?;
    command.stdout(file).stderr(same).process_group(0);
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("cargo: {error}"))?;
    let deadline = Instant::now() + Duration::from_secs(minutes * 60);
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > deadline {
            if let Some(group) = Pid::from_raw(child.id() as i32) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(LOOK_MILLISECONDS));
    }
}
