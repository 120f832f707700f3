//! Settings and the contract, from the command line.

use sea_orm::ConnectionTrait;
use tempfile::tempdir;
use testkit::{App, Servers};

use crate::process::{as_program, command, environment, run};

#[tokio::test(flavor = "multi_thread")]
async fn config_tells_values_and_sources_and_no_secret() {
    let folder = tempdir().unwrap();
    let mut settings = environment(&Servers::shared().await);
    let shown = run(&["config"], &settings, folder.path()).await;
    assert_eq!(shown.status, 0, "{}", shown.err);
    assert!(shown.out.contains("LISTEN_ADDRESS"));
    assert!(!shown.out.contains("which is long enough") && !shown.out.contains("postgres://h"));

    settings.retain(|(name, _)| *name != "DATABASE_URL");
    settings.push(("LOG_PARTITIONS", "many".into()));
    settings.push(("TOKEN_ALGORITHM", "none".into()));
    let bad = run(&["serve"], &settings, folder.path()).await;
    assert_eq!(bad.status, 1);
    for name in ["DATABASE_URL", "LOG_PARTITIONS", "TOKEN_ALGORITHM"] {
        assert!(bad.err.contains(name), "{name} is not told: {}", bad.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_settings_can_be_read_by_shells() {
    let folder = tempdir().unwrap();
    let example = include_str!("../.env.example");
    // Also what is commented out, once somebody takes the mark off.
    let shouted = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let setting = |line: &str| {
        let (name, _) = line.split_once('=')?;
        (name.contains('_') && name.chars().all(shouted)).then(|| line.to_owned())
    };
    let all = example
        .lines()
        .map(|line| line.trim_start_matches(['#', ' ']));
    let all: Vec<_> = all.filter_map(setting).collect();
    assert!(all.len() > 30);
    std::fs::write(folder.path().join("example"), example).unwrap();
    std::fs::write(folder.path().join("all"), all.join("\n")).unwrap();
    for shell in ["sh", "bash", "dash"] {
        for file in ["example", "all"] {
            let mut command = as_program(shell, &[], folder.path());
            let script = format!("set -eu; set -a; . ./{file}; exec env");
            let Ok(output) = command.args(["-c", &script]).output() else {
                eprintln!("skipped: there is no {shell}");
                continue;
            };
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                output.status.success() && said.is_empty(),
                "{shell}: {said}"
            );
            let read = String::from_utf8(output.stdout).unwrap();
            let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
            // Of several examples of a setting the last one counts.
            let is_last = |(index, line): &(usize, &String)| {
                !all[index + 1..]
                    .iter()
                    .any(|later| name(later) == name(line))
            };
            let live = all.iter().enumerate().filter(|(index, line)| match file {
                "all" => is_last(&(*index, *line)),
                _ => example.contains(&format!("\n{line}\n")),
            });
            let live = live.map(|(_, line)| line);
            for line in live {
                let plain = line.replace('"', "");
                assert!(
                    read.lines().any(|read| read == plain),
                    "{shell} {file}: {line}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempdir().unwrap();
    let mut command = command(&["config"], &[], folder.path());
    command.env("ARCHIVE_URL", std::ffi::OsStr::from_bytes(b"file:///\xe9"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ARCHIVE_URL is not UTF-8"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_contract_is_the_generated_one() {
    let folder = tempdir().unwrap();
    let generated = run(&["openapi"], &[], folder.path()).await;
    assert_eq!(generated.status, 0, "{}", generated.err);
    let committed = include_str!("../openapi/openapi.json");
    assert!(
        generated.out == committed,
        "run `just gen` and commit openapi/openapi.json"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_log_server_is_refused() {
    let folder = tempdir().unwrap();
    let servers = Servers::shared().await;
    let mut settings = environment(&servers);
    for (name, value) in &mut settings {
        if *name == "REDIS_LOG_URL" {
            // The views server keeps nothing.
            *value = servers.redis_views.clone();
        }
    }
    let refused = run(&["serve"], &settings, folder.path()).await;
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("appendonly"), "{}", refused.err);
    assert!(refused.err.contains("LOG_ALLOW_UNSAFE"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_on_a_database_of_an_earlier_release() {
    let app = App::start().await;
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let forget = "DELETE FROM public.seaql_migrations WHERE version = 'm0003_progress'";
    app.database.execute_unprepared(forget).await.unwrap();
    for role in ["serve", "work"] {
        let refused = run(&[role], &settings, folder.path()).await;
        assert_eq!(refused.status, 1);
        assert!(refused.err.contains("m0003_progress"), "{}", refused.err);
        assert!(refused.err.contains("headwater migrate"), "{}", refused.err);
    }
}

/// Every command that operators type shows how.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_operators_has_two_examples_and_a_manual_page() {
    let folder = tempdir().unwrap();
    let pages = folder.path().join("man");
    let written = run(&["man", pages.to_str().unwrap()], &[], folder.path()).await;
    assert_eq!(written.status, 0, "{}", written.err);
    for command in [
        "projections",
        "projections rebuild",
        "projections abort",
        "projections rollback",
        "projections drop",
        "projections pause",
        "projections resume",
        "projections replay",
        "verify",
        "dead-letters",
        "dead-letters list",
        "dead-letters show",
        "dead-letters retry",
        "dead-letters skip",
        "log",
        "log stats",
        "log archive",
        "log trim",
        "log verify",
        "log restore",
        "log rebuild-state",
        "doctor",
        "completion",
        "man",
    ] {
        let mut arguments: Vec<_> = command.split(' ').collect();
        let page = format!("headwater-{}.1", arguments.join("-"));
        assert!(pages.join(&page).exists(), "{page} is missing");
        arguments.push("--help");
        let help = run(&arguments, &[], folder.path()).await;
        let examples = help.out.matches("\n  headwater ").count();
        assert!(examples >= 2, "{command}: {}", help.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell], &[], folder.path()).await;
        assert!(script.out.contains("dead-letters"), "{shell}");
    }
}
