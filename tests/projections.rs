//! `headwater projections`: what an operator is told is true.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::tempdir;
use testkit::App;

use crate::process::{Running, environment, run};

const PATIENCE_SECONDS: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_never_looks_healthy() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    ada.publish("one").await;
    app.settle().await;
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let told = async || -> Vec<Value> {
        let told = run(&["projections"], &settings, folder.path()).await;
        assert_eq!(told.status, 0, "{}", told.err);
        let lines = told.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let until = async |what: &str, is: &dyn Fn(&Value) -> bool| {
        let began = Instant::now();
        loop {
            let all = told().await;
            if all.iter().all(is) {
                return all;
            }
            let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
            assert!(!late, "not all are {what}: {all:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };

    // Everything is folded, but nobody would fold what comes next.
    let all = told().await;
    let names: BTreeSet<_> = all.iter().map(|p| p["projection"].as_str()).collect();
    assert_eq!(names, BTreeSet::from([Some("social"), Some("timelines")]));
    for progress in &all {
        assert_eq!(progress["state"], "stalled", "{progress}");
        assert_eq!(progress["position"], progress["head"], "{progress}");
        assert_eq!(progress["lag_events"], 0, "{progress}");
    }

    let worker = Running::work(&app.servers, folder.path()).await;
    let live = |progress: &Value| progress["state"] == "live";
    let all = until("live", &live).await;
    let pid = worker.child.id().unwrap().to_string();
    for progress in &all {
        let owner = progress["owner"].as_str().unwrap();
        assert!(owner.ends_with(&format!("/{pid}")), "{owner}");
        assert_eq!(progress["trouble"], Value::Null);
    }

    worker.kill().await;
    ada.publish("two").await;
    let stalled = |progress: &Value| progress["state"] == "stalled";
    let all = until("stalled", &stalled).await;
    for progress in &all {
        assert_eq!(progress["owner"], Value::Null);
        assert_eq!(progress["trouble"], "no worker holds the partition");
    }
    let behind = all.iter().filter(|progress| progress["lag_events"] != 0);
    for progress in behind.clone() {
        assert!(progress["lag_seconds"].as_f64().unwrap() > 0.0);
    }
    // Of both projections, her partition.
    assert_eq!(behind.count(), 2);
}
