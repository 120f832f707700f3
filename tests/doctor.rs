//! `headwater doctor`: finds what is wrong, says what mends it, changes nothing.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;
use testkit::{App, Servers};

use crate::process::{Running, environment, run};

const PROBLEMS: i32 = 3;
const PATIENCE_SECONDS: u64 = 30;

struct Told {
    status: i32,
    findings: Vec<Value>,
}

impl Told {
    /// What is seen of a part, and what mends it.
    fn problem(&self, part: &str, seen: &str) -> Option<&str> {
        let is = |finding: &&Value| {
            finding["grade"] == "problem"
                && finding["part"] == part
                && finding["seen"].as_str().unwrap().contains(seen)
        };
        self.findings.iter().find(is)?["mend"].as_str()
    }
}

async fn doctor(settings: &[(&str, String)]) -> Told {
    let folder = tempdir().unwrap();
    let told = run(&["doctor"], settings, folder.path()).await;
    let findings = told.out.lines().map(serde_json::from_str);
    Told {
        status: told.status,
        findings: findings.collect::<Result<_, _>>().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_it_says_to_start_one() {
    let app = App::start().await;
    app.client().register("ada").await;
    app.settle().await;
    let settings = environment(&app.servers);
    let told = doctor(&settings).await;
    assert_eq!(told.status, PROBLEMS);
    assert_eq!(told.problem("workers", "none"), Some("headwater work"));

    let folder = tempdir().unwrap();
    let worker = Running::work(&app.servers, folder.path()).await;
    let began = Instant::now();
    loop {
        let told = doctor(&settings).await;
        if told.problem("workers", "").is_none() && told.problem("projections", "").is_none() {
            break;
        }
        let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
        assert!(!late, "{:#?}", told.findings);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(worker.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_answer_or_do_not_fit_are_named() {
    let servers = Servers::shared().await;
    let with = |name: &'static str, value: &str| {
        let mut settings = environment(&servers);
        settings.retain(|(known, _)| *known != name);
        settings.push((name, value.to_owned()));
        settings
    };
    for (name, url, part) in [
        ("REDIS_LOG_URL", "redis://127.0.0.1:1", "log server"),
        ("REDIS_VIEWS_URL", "redis://127.0.0.1:1", "views server"),
        ("DATABASE_URL", "postgres://h@127.0.0.1:1/h", "database"),
    ] {
        let told = doctor(&with(name, url)).await;
        assert_eq!(told.status, PROBLEMS);
        let mend = told.problem(part, "").unwrap();
        assert!(mend.contains(name), "{mend}");
        // The other parts are looked at all the same.
        assert!(told.findings.len() >= 3, "{:#?}", told.findings);
    }
    let views = servers.redis_views.clone();
    let told = doctor(&with("REDIS_LOG_URL", &views)).await;
    let mend = told.problem("log server", "appendonly is no").unwrap();
    // On a server that has loaded nothing, CONFIG SET would replace what its files have.
    assert!(mend.contains("appendonly yes"), "{mend}");
    assert!(!mend.contains("CONFIG SET"), "{mend}");
    assert!(
        told.problem("views server", "it is the log server")
            .is_some()
    );

    let told = doctor(&with("LOG_PARTITIONS", "many")).await;
    assert!(told.problem("settings", "LOG_PARTITIONS").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_is_made_by_looking_for_one() {
    let servers = Servers::shared().await;
    let mut settings = environment(&servers);
    settings.retain(|(name, _)| *name != "KEY_PREFIX");
    settings.push(("KEY_PREFIX", "nobody-made-this".into()));
    for _ in 0..2 {
        let told = doctor(&settings).await;
        let seen = |finding: &Value| finding["seen"] == "there is no log in it yet";
        assert!(told.findings.iter().any(seen), "{:#?}", told.findings);
    }
    let folder = tempdir().unwrap();
    let told = run(&["projections"], &settings, folder.path()).await;
    assert_eq!(told.status, 1);
    assert!(told.err.contains("there is no log yet"), "{}", told.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_that_are_shared_by_session_are_told_of() {
    let servers = Servers::shared().await;
    let told = doctor(&environment(&servers)).await;
    let shared = std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    let shared = shared.is_ok_and(|shared| shared.trim() == "1");
    let of_it = |finding: &&Value| finding["part"] == "processors";
    let finding = told.findings.iter().find(of_it);
    assert_eq!(finding.is_some(), shared, "{:#?}", told.findings);
    let mend = finding.and_then(|finding| finding["mend"].as_str());
    assert!(mend.is_none_or(|mend| mend.contains("sched_autogroup_enabled=0")));
}
