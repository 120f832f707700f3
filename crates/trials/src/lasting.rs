//! What must be seen while a server answers and must not be worked with: writes
//! are refused with the reason, `/health/ready` and `headwater doctor` name it,
//! reads go on. After it has been mended, `doctor` finds nothing more.
//! Not here: what makes a server so (see `unfit.rs`, `lost.rs`, `read_only.rs`).

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::sleep;

use crate::{
    client::{Answer, Request},
    load::Refusing,
    product::Said,
    trial::Trial,
};

/// From the fault until it is named everywhere.
const NOTICED_SECONDS_MAX: u64 = 10;
/// From then until the API holds all writes back: it looks every second, for a second
/// at most.
const HELD_MILLISECONDS_MAX: u64 = 2_500;
/// How long it is left as it is after that.
const LASTING_MILLISECONDS: u64 = 600;
/// Reads that meet a connection which is made anew are sent again until then.
const READS_SECONDS_MAX: u64 = 5;
/// Of a command that only looks, or must not begin.
const COMMAND_SECONDS_MAX: u64 = 15;
/// A lease, 5 s, and the longest pause of those who would take it.
const MENDED_SECONDS_MAX: u64 = 12;
const POLL_MILLISECONDS: u64 = 50;
/// What doctor finds whatever is tried: a machine with a small disk, and a database
/// that is made for speed.
const ALWAYS: [&str; 2] = ["are free where it keeps", "fsync is off"];

/// A state of a server, and how it is told.
#[derive(Clone, Copy)]
pub struct Unfit {
    /// For complaints: "the log is gone".
    pub state: &'static str,
    /// Of doctor's findings.
    pub part: &'static str,
    /// What names it has one of them.
    pub words: &'static [&'static str],
}

impl Unfit {
    /// From now on, or from when the product has noticed, no write may be
    /// acknowledged.
    pub fn refuse(self, trial: &Trial<'_>, strictly: bool) -> Arc<Refusing> {
        let refusing = Arc::new(Refusing {
            state: self.state,
            words: self.words,
            strictly: strictly.into(),
            ..Refusing::default()
        });
        trial.load.refuse(Some(refusing.clone()));
        refusing
    }

    fn names(self, text: &str) -> bool {
        self.words.iter().any(|word| text.contains(word))
    }
}

/// Looks until all is told, and for a while after; complains where it is not.
pub async fn look(trial: &mut Trial<'_>, unfit: Unfit, refusing: &Refusing) -> anyhow::Result<()> {
    let state = unfit.state;
    let began = Instant::now();
    let late = || began.elapsed() > Duration::from_secs(NOTICED_SECONDS_MAX);
    let (mut ready, mut doctor) = (ask(trial, "/health/ready", None).await, None);
    loop {
        let named = refusing.named.load(Ordering::SeqCst) > 0;
        let unready = !is_ready(&ready) && unfit.names(&ready.body);
        if named && unready && doctor.is_none() {
            // The slowest to look last, and then as often as needed.
            doctor = Some(ask_doctor(trial).await?);
        }
        let told = doctor.as_ref().is_some_and(|said| finds(said, unfit));
        if named && unready && told {
            break;
        }
        if late() {
            if !unready {
                let Answer { status, body, .. } = &ready;
                let complaint = format!("ready says {status} while {state}: {body}");
                trial.violations.push(complaint);
            }
            if !named {
                let count = refusing.refused.load(Ordering::SeqCst);
                let last = refusing.unnamed.lock().clone();
                trial.violations.push(format!(
                    "{count} writes were refused while {state}, none with the reason: {last}"
                ));
            }
            break;
        }
        sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
        ready = ask(trial, "/health/ready", None).await;
        if !told && doctor.is_some() {
            doctor = Some(ask_doctor(trial).await?);
        }
    }
    let doctor = match doctor {
        Some(doctor) => doctor,
        None => ask_doctor(trial).await?,
    };
    if !finds(&doctor, unfit) {
        let Said { status, out, err } = doctor;
        let complaint = format!("doctor ends with {status:?} while {state}: {out}{err}");
        trial.violations.push(complaint);
    }
    if !refusing.strictly.load(Ordering::SeqCst) {
        // Readiness looks by itself; writes are held back at the API's next look.
        sleep(Duration::from_millis(HELD_MILLISECONDS_MAX)).await;
        refusing.strictly.store(true, Ordering::SeqCst);
    }
    read(trial, unfit).await;
    sleep(Duration::from_millis(LASTING_MILLISECONDS)).await;
    let still = ask(trial, "/health/ready", None).await;
    if !is_ready(&ready) && is_ready(&still) {
        let complaint = format!("it is ready again while {state}: {}", still.body);
        trial.violations.push(complaint);
    }
    for process in trial.workers.iter_mut().chain([&mut trial.api]) {
        if let Some(status) = process.ended() {
            let (name, lines) = (process.name(), process.last_lines());
            let complaint = format!("{name} ended with {status} while {state}: {lines}");
            trial.violations.push(complaint);
        }
    }
    Ok(())
}

/// Where reads are answered and writes are not, it is 200, and says that it is not.
fn is_ready(answer: &Answer) -> bool {
    let body = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    answer.status == 200 && body["ready"] != false
}

async fn ask(trial: &Trial<'_>, path: &str, token: Option<&str>) -> Answer {
    let request = Request {
        method: "GET".into(),
        path: path.into(),
        token: token.map(str::to_owned),
        ..Request::default()
    };
    trial.client.send(&request).await
}

async fn ask_doctor(trial: &Trial<'_>) -> anyhow::Result<Said> {
    let patience = Duration::from_secs(COMMAND_SECONDS_MAX);
    trial.setting.say("doctor", patience).await
}

/// Whether doctor calls it a problem.
fn finds(said: &Said, unfit: Unfit) -> bool {
    said.status == Some(3)
        && problems(said).any(|finding| {
            finding["part"] == unfit.part
                && unfit.names(finding["seen"].as_str().unwrap_or_default())
        })
}

fn problems(said: &Said) -> impl Iterator<Item = Value> {
    let findings = said.out.lines().map(serde_json::from_str::<Value>);
    let findings = findings.filter_map(Result::ok);
    findings.filter(|finding| finding["grade"] == "problem")
}

/// Reads come from projections: they go on.
async fn read(trial: &mut Trial<'_>, unfit: Unfit) {
    let (account, token) = trial.load.accounts[0].clone();
    let mut reads = vec![
        ("/v1/timelines/local?limit=5".to_owned(), None),
        (format!("/v1/accounts/{account}"), None),
    ];
    let post = trial.load.posts.lock().last();
    reads.extend(post.map(|post| (format!("/v1/posts/{post}"), None)));
    if unfit.part != DATABASE {
        // With rows that stand still, a writer's own reads wait for them.
        reads.push(("/v1/timelines/home?limit=5".to_owned(), Some(token)));
    }
    for (path, token) in reads {
        let deadline = Instant::now() + Duration::from_secs(READS_SECONDS_MAX);
        let answer = loop {
            let answer = ask(trial, &path, token.as_deref()).await;
            if answer.status != 503 || Instant::now() > deadline {
                break answer;
            }
            sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
        };
        // A post may be deleted, or not be folded any more.
        let fine = answer.status == 200 || (answer.status == 404 && path.contains("/posts/"));
        if !fine {
            let Answer { status, body, .. } = answer;
            let complaint = format!("GET {path}: {status} while {}: {body}", unfit.state);
            trial.violations.push(complaint);
        }
    }
}

pub const LOG: &str = "log server";
pub const DATABASE: &str = "database";

/// What would work with it must not begin, and says why.
pub async fn nothing_begins(trial: &mut Trial<'_>, unfit: Unfit) -> anyhow::Result<()> {
    for role in ["serve", "work"] {
        let mut setting = trial.setting.clone();
        // Beside the one that runs.
        setting.port = 0;
        let mut process = setting.start(&format!("{role}-refused"), role, None)?;
        let ended = process.wait(Duration::from_secs(COMMAND_SECONDS_MAX)).await;
        let lines = process.last_lines();
        let complaint = match ended {
            Err(_) => {
                process.kill().await?;
                format!("{role} begins while {}: {lines}", unfit.state)
            }
            Ok(status) if status.success() || !unfit.names(&lines) => {
                format!("{role} ends with {status} while {}: {lines}", unfit.state)
            }
            Ok(_) => continue,
        };
        trial.violations.push(complaint);
    }
    Ok(())
}

/// Commands that only look, of which none may make a log.
pub async fn look_with_commands(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    for command in [
        "log stats",
        "projections",
        "dead-letters list",
        "tail -e -o start",
    ] {
        let patience = Duration::from_secs(COMMAND_SECONDS_MAX);
        if let Err(error) = trial.setting.say(command, patience).await {
            trial.violations.push(format!("{error:#}"));
        }
    }
    Ok(())
}

/// What doctor says to do about the problem whose text has `word`; none where it
/// finds no such one.
pub async fn doctor_mends(trial: &Trial<'_>, word: &str) -> anyhow::Result<Option<String>> {
    let said = ask_doctor(trial).await?;
    let text =
        |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let found = problems(&said).find(|finding| text(finding, "seen").contains(word));
    let found = found.filter(|_| said.status == Some(3));
    Ok(found.map(|finding| text(&finding, "mend")))
}

/// Nothing is left to be mended, once partitions that were let go are taken again.
pub async fn mended(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(MENDED_SECONDS_MAX);
    loop {
        let said = ask_doctor(trial).await?;
        let left = problems(&said).filter(|finding| {
            let seen = finding["seen"].as_str().unwrap_or_default();
            !ALWAYS.iter().any(|text| seen.contains(text))
        });
        let left: Vec<_> = left.map(|finding| finding.to_string()).collect();
        if left.is_empty() && !said.out.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let complaint = format!("doctor after the mend: {}{}", left.join(" "), said.err);
            trial.violations.push(complaint);
            return Ok(());
        }
    }
}
