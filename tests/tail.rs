//! `headwater tail`.

use devservices::{Programs, Stack};
use serde_json::Value;
use tempfile::tempdir;
use testkit::{App, Servers, until};

use crate::process::{command, environment, run};

fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_told_as_cloud_events() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let post = ada.publish("a secret thought").await;
    bob.like(&post).await;
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let tail = |arguments: &'static [&'static str]| {
        let (settings, folder) = (settings.clone(), folder.path().to_owned());
        async move {
            let mut all = vec!["tail"];
            all.extend(arguments);
            let output = run(&all, &settings, &folder).await;
            assert_eq!(output.status, 0, "{}", output.err);
            output
        }
    };

    let all = tail(&["-o", "start", "-e"]).await;
    let events = lines(&all.out);
    assert!(!all.out.contains("a secret thought"));
    for event in &events {
        for field in ["specversion", "id", "source", "type", "time", "data"] {
            assert!(event.get(field).is_some(), "{field} is missing in {event}");
        }
        assert_eq!(event["specversion"], "1.0");
    }
    let of = |kind: &str| events.iter().filter(|e| e["type"] == kind).count();
    assert_eq!(
        (of("AccountRegistered"), of("PostCreated"), of("Liked")),
        (2, 1, 1)
    );
    let liked = events
        .iter()
        .find(|event| event["type"] == "Liked")
        .unwrap();
    assert_eq!(liked["actor"], bob.id);
    assert_eq!(liked["subject"], format!("like/{}/{post}", bob.id));
    assert_eq!(liked["data"]["author"], ada.id);

    let chosen = lines(
        &tail(&["-o", "start", "-e", "-t", "Liked", "-t", "PostCreated"])
            .await
            .out,
    );
    assert_eq!(chosen.len(), 2);
    let shown = tail(&["-o", "start", "-e", "-t", "PostCreated", "--personal"]).await;
    assert_eq!(lines(&shown.out)[0]["data"]["text"], "a secret thought");
    assert_eq!(lines(&tail(&["-o", "start", "-n", "3"]).await.out).len(), 3);
    assert!(
        tail(&["-e"]).await.out.is_empty(),
        "from the end there is nothing"
    );
    let since = lines(&tail(&["-o", "@2020-01-01T00:00:00Z", "-e"]).await.out);
    assert!(
        since.len() >= events.len() - 8,
        "all but the epochs' starts"
    );
    assert!(
        tail(&["-o", "@2100-01-01T00:00:00Z", "-e"])
            .await
            .out
            .is_empty()
    );

    // What it says to go on with leaves nothing out and repeats nothing.
    let go_on = all
        .err
        .lines()
        .last()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();
    ada.publish("later").await;
    let rest = run(&["tail", "-o", &go_on, "-e"], &settings, folder.path()).await;
    let rest = lines(&rest.out);
    assert_eq!(
        (rest.len(), &rest[0]["type"]),
        (1, &Value::from("PostCreated"))
    );

    let bad = run(&["tail", "-o", "somewhere"], &settings, folder.path()).await;
    assert_eq!(bad.status, 1);
    assert!(bad.err.contains("start, end"), "{}", bad.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_after_the_end_is_an_error() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let made = ada
        .client
        .post("/v1/posts", serde_json::json!({"text": "one"}));
    let end = testkit::position(&made.await.expect(201).header("event-position"));
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let (partition, last) = end.split_once(':').unwrap();
    let next = last.replace("1-", "").parse::<u64>().unwrap() + 1;
    for offset in [
        format!("{partition}:1-99999999"),
        format!("{partition}:1-{next}"),
        format!("{partition}:9-0"),
        format!("{partition}:0-5"),
    ] {
        for more in [&[][..], &["-e"], &["-n", "1"]] {
            let tail = [&["tail", "-o", &offset], more].concat();
            let refused = run(&tail, &settings, folder.path()).await;
            assert_eq!(refused.status, 1, "{tail:?}");
            assert!(refused.err.contains(&offset), "{}", refused.err);
            assert!(refused.out.is_empty());
        }
        let replay = [
            "projections",
            "replay",
            "social",
            "--yes",
            "--from",
            &offset,
        ];
        let refused = run(&replay, &settings, folder.path()).await;
        assert_eq!(refused.status, 1, "{}", refused.err);
    }
    let at_the_end = run(&["tail", "-e", "-o", &end], &settings, folder.path()).await;
    assert_eq!(at_the_end.status, 0, "{}", at_the_end.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_refused_and_the_nearest_told() {
    let folder = tempdir().unwrap();
    let aggregate = "pots:01890a5d-ac96-774b-bcce-b302099a8057";
    for (arguments, near) in [
        (["tail", "-t", "PostCreate"].as_slice(), "PostCreated"),
        (&["tail", "-t", "postcreated"], "PostCreated"),
        (&["tail", "-t", "EpochStart"], "EpochStarted"),
        (&["verify", "socal"], "social"),
        (&["projections", "rebuild", "timeline"], "timelines"),
        (&["dead-letters", "list", "socials"], "social"),
        (
            &["dead-letters", "retry", "social", "--aggregate", aggregate],
            "post",
        ),
        (&["accounts", "grant", "ada", "operater"], "operator"),
        (&["log", "verfy"], "verify"),
        (&["tial"], "tail"),
    ] {
        let refused = run(arguments, &[], folder.path()).await;
        assert_eq!(refused.status, 2, "{arguments:?}: {}", refused.err);
        assert!(
            refused.err.contains(&format!("{near}'")) || refused.err.contains(&format!("{near}?")),
            "{arguments:?}: {}",
            refused.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_of_an_epoch_has_its_time_and_no_ids() {
    let app = App::start().await;
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let tail = ["tail", "-o", "start", "-e", "-t", "EpochStarted"];
    let told = run(&tail, &settings, folder.path()).await;
    let events = lines(&told.out);
    assert_eq!(events.len(), 8);
    for event in events {
        assert!(event["time"].as_str() > Some("2025"), "{event}");
        for none in ["subject", "actor", "correlationid"] {
            assert!(event.get(none).is_none(), "{event}");
        }
    }
    assert!(!told.out.contains("00000000-0000"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_restarts_is_waited_for_and_read_on() {
    let programs = Programs::find().unwrap();
    let mut stack = Stack::throwaway(&programs).await.unwrap();
    let app = App::on(Servers::on(stack.urls()).await).await;
    let ada = app.client().register("ada").await;
    let mut tail = Tailing::start(&environment(&app.servers));
    until("it is told", 20, async || {
        tail.told("AccountRegistered") == 1
    })
    .await;
    stack.log().kill().await.unwrap();
    until("it says that it waits", 20, async || {
        tail.said().contains("waits")
    })
    .await;
    stack.log().restart().await.unwrap();
    until("writes are taken", 20, async || {
        let post = serde_json::json!({"text": "after"});
        ada.client.post("/v1/posts", post).await.status == 201
    })
    .await;
    until("it goes on", 20, async || tail.told("PostCreated") == 1).await;
    assert_eq!(tail.told("AccountRegistered"), 1);
    assert_eq!(tail.end("TERM").await, Some(0));
    assert!(
        tail.said().contains("go on with: headwater tail -o "),
        "{}",
        tail.said()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_to_go_on_is_said_however_it_ends() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for number in 0..40 {
        ada.publish(&format!("{number}")).await;
    }
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    // A reader of the pipe that has had enough.
    let mut tail = command(&["tail", "-o", "start"], &settings, folder.path());
    let (reader, writer) = std::io::pipe().unwrap();
    tail.stdout(writer);
    tail.stderr(std::process::Stdio::piped());
    let child = tail.spawn().unwrap();
    drop(tail);
    drop(reader);
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let ended = ended.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    let go_on = said.lines().last().unwrap().rsplit(' ').next().unwrap();
    let rest = run(&["tail", "-e", "-o", go_on], &settings, folder.path()).await;
    let events = lines(&rest.out);
    let posts = events.iter().filter(|event| event["type"] == "PostCreated");
    assert_eq!(posts.count(), 40, "what was not written is read again");

    for signal in ["TERM", "INT"] {
        let mut tail = Tailing::start(&settings);
        until("it is told", 20, async || tail.told("PostCreated") == 40).await;
        assert_eq!(tail.end(signal).await, Some(0));
        let said = tail.said();
        assert!(said.contains("go on with: headwater tail -o 0:"), "{said}");
    }
}

/// `tail -o start` that goes on.
struct Tailing {
    child: tokio::process::Child,
    folder: tempfile::TempDir,
}

impl Tailing {
    fn start(settings: &[(&str, String)]) -> Self {
        let folder = tempdir().unwrap();
        let mut tail = command(&["tail", "-o", "start"], settings, folder.path());
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        tail.stdout(file("out")).stderr(file("err"));
        let tail = tokio::process::Command::from(tail)
            .kill_on_drop(true)
            .spawn();
        let child = tail.unwrap();
        Self { child, folder }
    }

    fn told(&self, what: &str) -> usize {
        let out = std::fs::read_to_string(self.folder.path().join("out")).unwrap();
        out.lines().filter(|line| line.contains(what)).count()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    async fn end(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
        self.child.wait().await.unwrap().code()
    }
}
