//! `headwater tail`.

use serde_json::Value;
use tempfile::tempdir;
use testkit::App;

use crate::process::{environment, run};

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
