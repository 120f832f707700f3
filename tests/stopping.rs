//! How processes end when they are asked to: what is under way is finished.

use std::process::Stdio;

use tempfile::tempdir;
use testkit::{Client, Servers};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::process::{Running, command, environment, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_drains_as_a_termination_does() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let serve = Running::serve(&servers, folder.path()).await;
    let work = Running::work(&servers, folder.path()).await;
    for running in [serve, work] {
        // A terminal that closes hangs up twice.
        running.signal("HUP");
        running.signal("HUP");
        assert_eq!(running.stop_after_signal().await, 0);
    }
    let up = Running::start(&["up"], &[], folder.path(), "Ctrl-C").await;
    up.signal("HUP");
    assert_eq!(up.stop_after_signal().await, 0);
    assert!(!folder.path().join(".headwater/up.json").exists());

    for command in [&["tail"][..], &["projections", "--watch"]] {
        let environment = environment(&servers);
        let running = Running::start(command, &environment, folder.path(), "").await;
        testkit::until("it listens to hangups", 30, || {
            let status = format!("/proc/{}/status", running.child.id().unwrap());
            async move {
                let status = std::fs::read_to_string(status).unwrap();
                let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:"));
                let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
                caught & 1 == 1
            }
        })
        .await;
        running.signal("HUP");
        assert_eq!(running.stop_after_signal().await, 0, "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nohup_starts_outlives_its_terminal() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let settings = environment(&servers);
    let ignoring = "trap '' HUP";
    let serve = Running::start_after(ignoring, &["serve"], &settings, folder.path(), "docs").await;
    serve.signal("HUP");
    let client = Client::new(serve.api.clone());
    client.get("/health/live").await.expect(200);
    assert_eq!(serve.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_terminal_is_gone_drains() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    for (role, ready) in [("serve", "documentation"), ("work", "works on")] {
        let mut settings = environment(&servers);
        // Each step is a line that cannot be written.
        settings.push(("TRACE_FILTER", "trace".to_owned()));
        let command = command(&[role], &settings, folder.path());
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains(ready) {
                break;
            }
        }
        drop(said);
        let pid = child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-HUP", &pid])
            .status();
        assert!(sent.unwrap().success());
        let end = tokio::time::timeout(std::time::Duration::from_secs(60), child.wait());
        assert_eq!(end.await.unwrap().unwrap().code(), Some(0), "{role}");
    }
    let left = run(&["doctor"], &environment(&servers), folder.path()).await;
    assert!(left.status == 0 || left.status == 3, "{}", left.err);
}
