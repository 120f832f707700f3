//! `headwater projections rebuild`: what is live goes on being read and written,
//! and what takes its place is the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tempfile::tempdir;
use testkit::{App, Person};
use tokio::task::JoinHandle;

use crate::{
    examination::all_of_the_app_is_as_the_log_says,
    process::{Output, Running, environment, run},
};

const PEOPLE: usize = 6;
const PROBLEMS: i32 = 3;
/// A swap holds the fold for less than this.
const READ_MILLISECONDS_MAX: u64 = 2_000;

struct Setting {
    app: App,
    folder: tempfile::TempDir,
    people: Vec<Person>,
    posts: Vec<String>,
}

impl Setting {
    async fn new() -> Self {
        let app = App::start().await;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(app.client().register("person").await);
        }
        let mut posts = Vec::new();
        for author in &people {
            for other in people.iter().filter(|other| other.id != author.id) {
                other.follow(author).await;
            }
            for text in ["one #tag", "two"] {
                posts.push(author.publish(text).await);
            }
        }
        for (place, post) in posts.iter().enumerate() {
            people[place % PEOPLE].like(post).await;
        }
        app.settle().await;
        for reader in &people {
            reader.client.get("/v1/timelines/home").await.expect(200);
        }
        let folder = tempdir().unwrap();
        Self {
            app,
            folder,
            people,
            posts,
        }
    }

    async fn headwater(&self, arguments: &[&str]) -> Output {
        run(
            arguments,
            &environment(&self.app.servers),
            self.folder.path(),
        )
        .await
    }

    async fn done(&self, arguments: &[&str]) -> Output {
        let output = self.headwater(arguments).await;
        assert_eq!(
            output.status, 0,
            "{arguments:?}: {}{}",
            output.out, output.err
        );
        output
    }

    async fn worker(&self) -> Running {
        Running::work(&self.app.servers, self.folder.path()).await
    }

    async fn sql(&self, sql: &str) -> u64 {
        let done = self.app.database.execute_unprepared(sql).await.unwrap();
        done.rows_affected()
    }

    async fn generations(&self, projection: &str) -> Vec<(i64, String)> {
        let told = self.done(&["projections"]).await;
        let lines = told
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let all = lines.filter(|line: &Value| line["projection"] == projection);
        let name = |line: Value| {
            let role = line["role"].as_str().unwrap().to_owned();
            (line["generation"].as_i64().unwrap(), role)
        };
        let mut all: Vec<_> = all.map(name).collect();
        all.dedup();
        all
    }
}

fn generation(number: i64, role: &str) -> (i64, String) {
    (number, role.to_owned())
}

/// Somebody who writes, and reads at once what they wrote, and what others see:
/// no request fails, nothing goes back in time.
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    slowest_milliseconds: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(setting: &Setting) -> Self {
        let load = Self {
            stop: Arc::default(),
            rounds: Arc::default(),
            slowest_milliseconds: Arc::default(),
            tasks: Vec::new(),
        };
        let tasks = setting.people.iter().enumerate().map(|(place, person)| {
            let (stop, rounds) = (load.stop.clone(), load.rounds.clone());
            let slowest = load.slowest_milliseconds.clone();
            let client = setting.app.client_of(person.id.parse().unwrap());
            let liked = setting.posts[(place + 1) % setting.posts.len()].clone();
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let text = serde_json::json!({"text": format!("round {count}")});
                    let made = client.post("/v1/posts", text).await.expect(201).text("/id");
                    let timed = Instant::now();
                    let own = client.get(&format!("/v1/posts/{made}")).await;
                    own.expect(200);
                    let home = client.get("/v1/timelines/home?limit=3").await.expect(200);
                    slowest.fetch_max(timed.elapsed().as_millis() as u64, Ordering::Relaxed);
                    let first = home.body["items"][0]["created_at"].as_str();
                    assert!(first.is_some(), "{}", home.body);
                    let like = format!("/v1/posts/{liked}/like");
                    let written = match count % 2 {
                        0 => client.put(&like).await.expect(204),
                        _ => client.delete(&like).await.expect(204),
                    };
                    // A log that is slow to say what one wrote is not waited for; whoever
                    // names the position waits in any case.
                    let position = written.header("event-position");
                    let told = [("Min-Position", position.as_str())];
                    let read = format!("/v1/posts/{liked}");
                    let shown = client
                        .send(Method::GET, &read, None, &told)
                        .await
                        .expect(200);
                    let is_liked = shown.body["viewer"]["liked"].as_bool();
                    assert_eq!(is_liked, Some(count % 2 == 0), "{}", shown.body);
                    count += 1;
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks = tasks.collect();
        Self { tasks, ..load }
    }

    async fn more(&self, rounds: u64) {
        let wanted = self.rounds.load(Ordering::Relaxed) + rounds;
        testkit::until("the load goes on", 60, || async {
            self.tasks.iter().any(JoinHandle::is_finished)
                || self.rounds.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let slowest = self.slowest_milliseconds.load(Ordering::Relaxed);
        let rounds = self.rounds.load(Ordering::Relaxed);
        eprintln!("{rounds} rounds, the slowest reads took {slowest} ms");
        assert!(slowest < READ_MILLISECONDS_MAX, "{slowest} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_load_that_is_killed_twice_ends_and_nobody_notices() {
    let setting = Setting::new().await;
    let worker = setting.worker().await;
    let load = Load::start(&setting);
    load.more(30).await;
    let slow = ["projections", "rebuild", "social", "--rate", "100"];
    let settings = environment(&setting.app.servers);
    for _ in 0..2 {
        let folder = setting.folder.path();
        let rebuild = Running::start(&slow, &settings, folder, "replaying").await;
        load.more(10).await;
        assert_eq!(
            setting.generations("social").await,
            [generation(1, "live"), generation(2, "building")]
        );
        rebuild.kill().await;
    }
    let ended = setting
        .done(&["projections", "rebuild", "social", "--rate", "max"])
        .await;
    assert!(
        ended.err.contains("goes on with generation 2"),
        "{}",
        ended.err
    );
    load.more(30).await;
    let kept = [generation(1, "kept"), generation(2, "live")];
    assert_eq!(setting.generations("social").await, kept);

    // Back and forth: both are folded all the time.
    setting.done(&["projections", "rollback", "social"]).await;
    load.more(10).await;
    setting.done(&["projections", "rollback", "social"]).await;
    assert_eq!(setting.generations("social").await, kept);
    setting.done(&["projections", "rebuild", "timelines"]).await;
    load.more(10).await;
    for (name, number) in [("social", 2), ("timelines", 3)] {
        setting.done(&["projections", "drop", name, "--yes"]).await;
        let alone = [generation(number, "live")];
        assert_eq!(setting.generations(name).await, alone);
    }
    load.more(10).await;
    load.end().await;
    worker.stop().await;
    all_of_the_app_is_as_the_log_says(&setting.app).await;
    // What was done is told by the log.
    let told = ["tail", "-o", "start", "-e", "-t", "OperatorActed"];
    let told = setting.done(&told).await;
    let action = |line| serde_json::from_str::<Value>(line).unwrap()["data"]["action"].clone();
    let actions: Vec<_> = told.out.lines().map(action).collect();
    let expected = ["rebuild", "rollback", "rollback", "rebuild", "drop", "drop"];
    let expected = expected.map(|action| Value::from(format!("projections {action}")));
    assert_eq!(actions, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_differ_are_shown_and_nothing_is_swapped_unless_that_is_wanted() {
    let setting = Setting::new().await;
    let changed = setting
        .sql("UPDATE social.posts SET text = 'forged' WHERE text = 'two'")
        .await;
    let gone = setting
        .sql("DELETE FROM social.likes WHERE post_id = (SELECT min(post_id::text)::uuid FROM social.likes)")
        .await;
    assert!(changed > 1 && gone == 1);
    let verify = setting.headwater(&["verify", "social"]).await;
    assert_eq!(verify.status, PROBLEMS, "{}", verify.err);
    let rebuild = ["projections", "rebuild", "social", "--rate", "max"];
    let rebuilt = setting.headwater(&rebuild).await;
    assert_eq!(rebuilt.status, PROBLEMS, "{}", rebuilt.err);
    for told in [verify, rebuilt] {
        let lines = told
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let tables: Vec<Value> = lines.collect();
        let of = |name: &str| {
            let table = tables.iter().find(|table| table["table"] == name);
            table.unwrap().clone()
        };
        assert_eq!(of("posts")["differing"], changed);
        let example = &of("posts")["examples"][0];
        assert!(example["live"].as_str().unwrap().contains("forged"));
        assert!(example["fresh"].as_str().unwrap().contains("two"));
        assert_eq!(of("likes")["differing"], 1);
        assert_eq!(of("likes")["examples"][0]["live"], Value::Null);
        assert_eq!(of("follows")["differing"], 0);
    }
    let both = [generation(1, "live"), generation(3, "building")];
    assert_eq!(setting.generations("social").await, both);

    // Given up, begun anew, and wanted.
    setting
        .done(&["projections", "abort", "social", "--yes"])
        .await;
    assert_eq!(setting.generations("social").await, [generation(1, "live")]);
    let none = setting
        .headwater(&["projections", "abort", "social", "--yes"])
        .await;
    assert!(none.status == 1 && none.err.contains("no rebuild of social"));
    let dry = setting
        .done(&["projections", "rebuild", "social", "--dry-run"])
        .await;
    assert!(dry.err.contains("events are to be folded"), "{}", dry.err);
    assert_eq!(setting.generations("social").await, [generation(1, "live")]);
    let wanted = [&rebuild[..], &["--accept-differences"]].concat();
    setting.done(&wanted).await;
    all_of_the_app_is_as_the_log_says(&setting.app).await;
    setting.done(&["verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_destroyed_unasked() {
    let setting = Setting::new().await;
    setting.done(&["projections", "rebuild", "social"]).await;
    for arguments in [
        &["projections", "drop", "social"][..],
        &["projections", "replay", "social", "--from", "start"],
    ] {
        let refused = setting.headwater(arguments).await;
        assert_eq!(refused.status, 1, "{}", refused.err);
        assert!(refused.err.contains("pass --yes"), "{}", refused.err);
    }
    let kept = [generation(1, "kept"), generation(2, "live")];
    assert_eq!(setting.generations("social").await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_one_projection_and_is_told_to_those_who_wait() {
    let setting = Setting::new().await;
    let worker = setting.worker().await;
    let load = Load::start(&setting);
    load.more(5).await;
    load.end().await;
    let pause = [
        "projections",
        "pause",
        "social",
        "--reason",
        "the disk is moved",
    ];
    setting.done(&pause).await;
    let state = async |wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = setting.done(&["projections"]).await;
            let lines = told
                .out
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            let mut of = lines.filter(|line: &Value| line["projection"] == "social");
            if of.all(|line| line["state"] == wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "not {wanted}: {}", told.out);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    state("paused").await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let person = &setting.people[0];
    let post = person.publish("kept in the log").await;
    let path = format!("/v1/posts/{post}");
    let waits = person.client.get(&path).await.expect(503);
    assert_eq!(waits.text("/code"), "projection_behind");
    // Whoever wrote nothing meanwhile reads on.
    setting.people[1]
        .client
        .get("/v1/timelines/home")
        .await
        .expect(200);
    setting.done(&["projections", "resume", "social"]).await;
    state("live").await;
    person.client.get(&path).await.expect(200);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_comes_back_with_a_replay_and_what_was_changed_with_its_aggregates() {
    let setting = Setting::new().await;
    let answer = async |path: &str| setting.app.client().get(path).await;
    let post = format!("/v1/posts/{}", setting.posts[0]);
    let before = answer(&post).await.expect(200).body;
    setting.sql("UPDATE social.posts SET text = 'forged'").await;
    setting.sql("DELETE FROM social.likes").await;
    setting
        .sql("UPDATE social.post_counters SET likes = 0")
        .await;
    setting
        .sql("DELETE FROM social.post_counters WHERE replies = 0")
        .await;
    let replay = [
        "projections",
        "replay",
        "social",
        "--from",
        "start",
        "--yes",
    ];
    setting.done(&replay).await;
    setting.app.settle().await;
    let now = answer(&post).await.expect(200).body;
    assert_eq!(now["likes_count"], before["likes_count"]);
    assert_eq!(now["text"], "forged", "a row that is there stays");
    for post in &setting.posts {
        let aggregate = format!("post:{post}");
        let replay = [
            "projections",
            "replay",
            "social",
            "--yes",
            "--aggregate",
            &aggregate,
        ];
        let told = setting.done(&replay).await;
        assert!(told.err.contains("1 events"), "{}", told.err);
    }
    // Whoever kept the forged one was told to forget it.
    testkit::until("it is as it was", 10, || async {
        answer(&post).await.expect(200).body == before
    })
    .await;
    all_of_the_app_is_as_the_log_says(&setting.app).await;
}
