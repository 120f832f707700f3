//! `headwater up`, the way newcomers meet it.

use std::{path::Path, process::Command};

use tempfile::tempdir;
use testkit::{Client, Watch};

use crate::process::{Running, run};

async fn up(folder: &Path) -> Running {
    Running::start(&["up"], &[], folder, "Ctrl-C").await
}

#[tokio::test(flavor = "multi_thread")]
async fn up_keeps_its_data_over_a_stop_and_a_kill_and_leaves_others_alone() {
    let (folder, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let redis = ["redis-log", "redis-views"].map(|name| {
        let home = folder.path().join(".headwater");
        home.join(name)
    });
    // Made now, so that it looks before the folder is gone.
    let _watch = Watch::over(redis.into());
    let first = up(folder.path()).await;
    let other = up(elsewhere.path()).await;
    assert_ne!(first.api, other.api);
    let ada = Client::new(first.api.clone()).register("ada").await;
    let post = ada.publish("kept").await;
    let path = format!("/v1/posts/{post}");
    assert_eq!(
        ada.client.get(&path).await.expect(200).text("/text"),
        "kept"
    );
    Client::new(other.api.clone())
        .get(&path)
        .await
        .problem(404, "not_found");

    // Other subcommands find it by themselves.
    let events = run(
        &["tail", "-o", "start", "-e", "-t", "PostCreated"],
        &[],
        folder.path(),
    )
    .await;
    assert_eq!(events.out.lines().count(), 1, "{}", events.err);
    let token = run(&["token", &ada.handle], &[], folder.path()).await;
    assert_eq!(token.status, 0, "{}", token.err);
    let second = run(&["up"], &[], folder.path()).await;
    assert_eq!(
        second.status, 1,
        "a second one in the same folder is refused"
    );

    assert_eq!(first.stop().await, 0);
    let none = run(&["tail", "-e"], &[], folder.path()).await;
    assert!(none.err.contains("headwater up"), "{}", none.err);
    let again = up(folder.path()).await;
    let read = Client::new(again.api.clone()).get(&path).await.expect(200);
    assert_eq!(read.text("/text"), "kept");

    again.kill().await;
    let third = up(folder.path()).await;
    let read = Client::new(third.api.clone()).get(&path).await.expect(200);
    assert_eq!(read.text("/text"), "kept");
    // Tokens outlive a restart.
    let me = Client::new(third.api.clone()).with_token(token.out.trim().to_owned());
    assert_eq!(
        me.get("/v1/accounts/me").await.expect(200).text("/id"),
        ada.id
    );

    // Ctrl-C goes to the whole group of a terminal: the servers must not die of it.
    third.signal("INT");
    assert_eq!(third.stop_after_signal().await, 0);
    assert_eq!(other.stop().await, 0);
    let left = Command::new("pgrep")
        .args(["-f", &folder.path().display().to_string()])
        .output();
    assert!(left.unwrap().stdout.is_empty(), "no server is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_does_not_begin_a_lost_log_anew() {
    let folder = tempdir().unwrap();
    let first = up(folder.path()).await;
    let ada = Client::new(first.api.clone()).register("ada").await;
    ada.publish("lost").await;
    assert_eq!(first.stop().await, 0);
    std::fs::remove_dir_all(folder.path().join(".headwater/redis-log")).unwrap();
    for _ in 0..2 {
        let refused = run(&["up"], &[], folder.path()).await;
        assert_eq!(refused.status, 1, "{}", refused.err);
        for told in ["the log is gone", "redis-log"] {
            assert!(refused.err.contains(told), "{}", refused.err);
        }
    }
}
