//! The archive, as operators use it: what is sealed is read, and a log that is
//! lost comes back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use devservices::{Programs, Stack};
use parquet::file::reader::{FileReader, SerializedFileReader};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use testkit::{App, Servers, secrets};

use crate::process::{Output, Running, command, environment, hear, run};

const PROBLEMS: i32 = 3;
const PATIENCE_SECONDS: u64 = 40;

struct Setting {
    app: App,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Setting {
    async fn new() -> Self {
        let app = App::start().await;
        let folder = tempdir().unwrap();
        let mut settings = environment(&app.servers);
        let archive = folder.path().join("archive");
        // As `serve` and `work` make it at their start.
        std::fs::create_dir(&archive).unwrap();
        settings.push(("ARCHIVE_URL", format!("file://{}", archive.display())));
        Self {
            app,
            folder,
            settings,
        }
    }

    async fn headwater(&self, arguments: &[&str]) -> Output {
        run(arguments, &self.settings, self.folder.path()).await
    }

    async fn done(&self, arguments: &[&str]) -> Output {
        let output = self.headwater(arguments).await;
        let told = format!("{}{}", output.out, output.err);
        assert_eq!(output.status, 0, "{arguments:?}: {told}");
        output
    }

    /// A reader that knows nothing of manifests finds each event once; after what
    /// a crash left was swept, nothing else is there.
    fn by_pattern(&self, swept: bool) {
        let mut found = std::collections::BTreeSet::new();
        for partition in std::fs::read_dir(self.folder.path().join("archive")).unwrap() {
            let partition = partition.unwrap().path();
            let mut files = std::fs::read_dir(&partition).unwrap();
            for file in files.by_ref() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|kind| kind == "parquet") {
                    let file = std::fs::File::open(&path).unwrap();
                    let rows = SerializedFileReader::new(file).unwrap();
                    for row in rows.get_row_iter(None).unwrap() {
                        let row = row.unwrap();
                        let of = |name: &str| {
                            let mut columns = row.get_column_iter();
                            columns.find(|one| one.0 == name).unwrap().1.to_string()
                        };
                        let position = (of("partition"), of("epoch"), of("seq"));
                        assert!(found.insert(position), "twice in {}", path.display());
                    }
                }
            }
            let staged = std::fs::read_dir(partition.join("staged")).unwrap();
            assert!(!swept || staged.count() == 1, "{}", partition.display());
        }
        assert!(!swept || found.len() > 24);
    }

    async fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.headwater(arguments).await;
        let lines = output.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Only this test's keys: the server is shared.
async fn lose_the_log(servers: &Servers) {
    let client = redis::Client::open(servers.redis_log.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(format!("{}:*", servers.prefix))
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(keys.len() > 8);
    let mut delete = redis::cmd("DEL");
    delete.arg(keys);
    delete.query_async::<()>(&mut connection).await.unwrap();
}

/// A tool of PostgreSQL beside its server.
fn tool(name: &str) -> std::path::PathBuf {
    Programs::find().unwrap().postgres_bin.join(name)
}

fn done(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {told}", program.display());
    output.stdout
}

/// Load, archive, destroy, restore, verify.
#[tokio::test(flavor = "multi_thread")]
async fn the_drill_of_a_lost_log_and_a_lost_vault() {
    let setting = Setting::new().await;
    let app = &setting.app;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    bob.follow(&ada).await;
    let key = [("Idempotency-Key", "once")];
    let body = || Some(json!({"text": "kept #tag"}));
    let made = ada
        .client
        .send(Method::POST, "/v1/posts", body(), &key)
        .await;
    let kept = made.expect(201).text("/id");
    bob.like(&kept).await;
    app.settle().await;
    bob.client.get("/v1/timelines/home").await.expect(200);
    setting.done(&["log", "archive"]).await;
    setting.done(&["log", "verify"]).await;
    setting.done(&["log", "trim", "--keep", "1", "--yes"]).await;
    let stats = setting.lines(&["log", "stats"]).await;
    let hot = stats.iter().filter_map(|line| line["hot_events"].as_u64());
    assert!(
        hot.clone().count() == 8 && hot.sum::<u64>() <= 16,
        "{stats:?}"
    );
    // Both halves are folded as one, and tailed as one.
    setting.done(&["verify"]).await;
    let told = setting.lines(&["tail", "-o", "start", "-e"]).await;
    let types: Vec<_> = told
        .iter()
        .filter_map(|line| line["type"].as_str())
        .collect();
    let count = |of: &str| types.iter().filter(|one| **one == of).count();
    assert_eq!((count("AccountRegistered"), count("EpochStarted")), (2, 8));
    let since = [
        "tail",
        "-o",
        "@2026-01-01T00:00:00Z",
        "-e",
        "-t",
        "PostCreated",
    ];
    let _ = setting.done(&since).await;
    let replay = [
        "projections",
        "replay",
        "social",
        "--from",
        "@2020-01-01T00:00:00Z",
        "--yes",
    ];
    let replayed = setting.done(&replay).await;
    assert!(replayed.err.contains("after 0:0-0,"), "{}", replayed.err);
    // Only who has the archive can fold that.
    let folder = setting.folder.path();
    let worker = Running::start(&["work"], &setting.settings, folder, "works on").await;
    let began = Instant::now();
    loop {
        let all = setting.lines(&["projections"]).await;
        if all
            .iter()
            .all(|line| line["state"] == "live" && line["lag_events"] == 0)
        {
            break;
        }
        let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
        assert!(!late, "{all:#?}");
    }
    worker.stop().await;
    setting.done(&["verify", "social"]).await;

    // What comes after the last archiving is lost, and was seen.
    let lost = ada.publish("lost").await;
    app.settle().await;
    ada.client
        .get(&format!("/v1/posts/{lost}"))
        .await
        .expect(200);
    let dump = setting.folder.path().join("vault.dump");
    let (file, database) = (dump.to_str().unwrap(), app.servers.database.as_str());
    done(
        &tool("pg_dump"),
        &[
            "--schema=vault",
            "--format=custom",
            "--file",
            file,
            database,
        ],
    );
    done(
        &tool("psql"),
        &["--command", "DROP SCHEMA vault CASCADE", database],
    );
    lose_the_log(&app.servers).await;

    let refused = setting.headwater(&["work"]).await;
    assert_eq!(refused.status, 1);
    assert!(
        refused.err.contains("headwater log restore"),
        "{}",
        refused.err
    );
    done(&tool("pg_restore"), &["--dbname", database, file]);
    let dry = setting.done(&["log", "restore", "--dry-run"]).await;
    assert!(dry.err.contains("later ones are lost"), "{}", dry.err);
    setting.done(&["log", "restore"]).await;
    let again = setting.headwater(&["log", "restore"]).await;
    assert!(again.status == 1 && again.err.contains("there is a log"));
    setting.done(&["log", "verify"]).await;

    // Those who have read what is lost are found, named and rebuilt.
    let worker = Running::start(
        &["work"],
        &setting.settings,
        setting.folder.path(),
        "works on the log",
    )
    .await;
    let began = Instant::now();
    loop {
        let doctor = setting.headwater(&["doctor"]).await;
        assert_eq!(doctor.status, PROBLEMS);
        if doctor.out.contains("social") && doctor.out.contains("is diverged") {
            assert!(doctor.out.contains("headwater projections rebuild social"));
            break;
        }
        let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
        assert!(!late, "{}", doctor.out);
    }
    setting
        .done(&["projections", "rebuild", "social", "--rate", "max"])
        .await;
    setting
        .done(&["projections", "rebuild", "timelines", "--rate", "max"])
        .await;
    for name in ["social", "timelines"] {
        setting.done(&["projections", "drop", name, "--yes"]).await;
    }
    worker.stop().await;

    // New processes go on where the archive ended.
    let app = App::on(app.servers.clone()).await;
    app.settle().await;
    let (ada_now, bob_now) = (
        app.client_of(ada.id.parse().unwrap()),
        app.client_of(bob.id.parse().unwrap()),
    );
    let path = format!("/v1/posts/{kept}");
    let shown = ada_now.get(&path).await.expect(200).body;
    assert_eq!(
        (&shown["text"], &shown["likes_count"]),
        (&json!("kept #tag"), &json!(1))
    );
    ada_now.get(&format!("/v1/posts/{lost}")).await.expect(404);
    // Receipts, states and last positions are back.
    let again = ada_now.send(Method::POST, "/v1/posts", body(), &key).await;
    assert_eq!(again.text("/id"), kept);
    bob_now.put(&format!("{path}/like")).await.expect(204);
    let edit = json!({"text": "edited"});
    let edited = ada_now.patch(&path, edit).await.expect(200);
    assert_eq!(edited.number("/version"), 2);
    let taken = json!({
        "handle": ada.handle,
        "password": secrets::password("other"),
        "email": secrets::email("other"),
    });
    let taken = app.client().post("/v1/accounts", taken).await;
    assert_eq!(taken.text("/code"), "handle_taken", "{}", taken.body);
    app.settle().await;
    let home = bob_now.get("/v1/timelines/home").await.expect(200);
    assert_eq!(home.body["items"][0]["text"], "edited");
    assert_eq!(home.body["items"][0]["likes_count"], 1);
    setting.done(&["verify"]).await;
    setting.done(&["log", "archive"]).await;
    setting.done(&["log", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_while_it_archives_loses_nothing() {
    let mut setting = Setting::new().await;
    setting.settings.push(("ARCHIVE_SECONDS", "1".into()));
    setting.settings.push(("ARCHIVE_HOT_EVENTS", "4".into()));
    let ada = setting.app.client().register("ada").await;
    let mut posts = Vec::new();
    for point in [
        "archive.segment",
        "archive.manifest",
        "archive.published",
        "archive.trim",
    ] {
        for number in 0..8 {
            posts.push(ada.publish(&format!("post {number}")).await);
        }
        setting.app.settle().await;
        let mut settings = setting.settings.clone();
        settings.push(("HEADWATER_CRASH_AT", format!("{point}:1")));
        let folder = setting.folder.path();
        let mut command = tokio::process::Command::from(command(&["work"], &settings, folder));
        command
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        let crashing = command.spawn().unwrap().wait_with_output();
        let patience = Duration::from_secs(PATIENCE_SECONDS);
        let ended = tokio::time::timeout(patience, crashing).await;
        let ended = ended.expect("it crashes").unwrap();
        hear(&["work"], &settings, &ended.stderr);
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(told.contains(&format!("crash point {point}")), "{told}");
        setting.by_pattern(false);
    }
    let folder = setting.folder.path();
    let worker = Running::start(&["work"], &setting.settings, folder, "works on").await;
    let began = Instant::now();
    loop {
        let stats = setting.lines(&["log", "stats"]).await;
        let hot = stats.iter().filter_map(|line| line["hot_events"].as_u64());
        let archived = stats
            .iter()
            .filter_map(|line| line["archived_events"].as_u64());
        if hot.max() <= Some(5) && archived.sum::<u64>() > 24 {
            break;
        }
        let late = began.elapsed() > Duration::from_secs(PATIENCE_SECONDS);
        assert!(!late, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // An operator need not wait for the worker that archives.
    setting.done(&["log", "archive"]).await;
    setting.done(&["log", "trim", "--keep", "1", "--yes"]).await;
    let stats = setting.lines(&["log", "stats"]).await;
    let mut hot = stats.iter().filter_map(|line| line["hot_events"].as_u64());
    assert!(hot.all(|hot| hot <= 2), "{stats:?}");
    worker.stop().await;
    setting.by_pattern(true);
    setting.done(&["log", "verify"]).await;
    setting.done(&["verify"]).await;
    for post in posts {
        ada.client
            .get(&format!("/v1/posts/{post}"))
            .await
            .expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_take_too_much_memory_are_trimmed_however_few_they_are() {
    const HOT_BYTES: u64 = 100_000;
    let mut setting = Setting::new().await;
    setting.settings.push(("ARCHIVE_SECONDS", "1".into()));
    let most = HOT_BYTES.to_string();
    setting.settings.push(("ARCHIVE_HOT_BYTES", most));
    let ada = setting.app.client().register("ada").await;
    let mut posts = Vec::new();
    for _ in 0..40 {
        posts.push(ada.publish(&"\u{1F600}".repeat(4_000)).await);
    }
    setting.app.settle().await;
    let hot_bytes = async || {
        let stats = setting.lines(&["log", "stats"]).await;
        let of = stats.iter().filter_map(|line| line["hot_bytes"].as_u64());
        of.max().unwrap()
    };
    assert!(hot_bytes().await > 2 * HOT_BYTES);
    let folder = setting.folder.path();
    let worker = Running::start(&["work"], &setting.settings, folder, "works on").await;
    testkit::until("little is kept", PATIENCE_SECONDS, || async {
        hot_bytes().await <= HOT_BYTES * 11 / 10
    })
    .await;
    worker.stop().await;
    setting.done(&["log", "verify"]).await;
    for post in posts {
        let path = format!("/v1/posts/{post}");
        ada.client.get(&path).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_trimmed_that_a_projection_has_not_passed() {
    let setting = Setting::new().await;
    let ada = setting.app.client().register("ada").await;
    setting.app.settle().await;
    for number in 0..10 {
        ada.publish(&format!("post {number}")).await;
    }
    setting.done(&["log", "archive"]).await;
    setting.done(&["log", "trim", "--keep", "1", "--yes"]).await;
    let before = setting.lines(&["log", "stats"]).await;
    let hot = |stats: &[Value]| -> u64 {
        stats
            .iter()
            .filter_map(|line| line["hot_events"].as_u64())
            .sum()
    };
    assert!(hot(&before) >= 10, "{before:?}");
    setting.app.settle().await;
    setting.done(&["log", "trim", "--keep", "1", "--yes"]).await;
    let after = setting.lines(&["log", "stats"]).await;
    assert!(hot(&after) <= 12, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_says_where() {
    let setting = Setting::new().await;
    let ada = setting.app.client().register("ada").await;
    ada.publish("one").await;
    setting.app.settle().await;
    setting.done(&["log", "archive"]).await;
    let archive = setting.folder.path().join("archive");
    let mut damaged = None;
    for partition in std::fs::read_dir(&archive).unwrap() {
        for file in std::fs::read_dir(partition.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "parquet") {
                let bytes = std::fs::read(&path).unwrap();
                damaged = Some((path, bytes));
            }
        }
    }
    let (path, mut bytes) = damaged.unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let verify = setting.headwater(&["log", "verify"]).await;
    assert_eq!(verify.status, PROBLEMS, "{}", verify.out);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(verify.out.contains(name), "{}", verify.out);
    // What is not archived is no archive.
    let without = run(
        &["log", "verify"],
        &environment(&setting.app.servers),
        setting.folder.path(),
    )
    .await;
    assert!(without.status == 1 && without.err.contains("ARCHIVE_URL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_are_gone_are_made_anew_from_the_events() {
    let setting = Setting::new().await;
    let app = &setting.app;
    let ada = app.client().register("ada").await;
    let post = ada.publish("one").await;
    let client = redis::Client::open(app.servers.redis_log.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(format!("{}:*:s1:*", app.servers.prefix))
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut delete = redis::cmd("DEL");
    delete.arg(&keys);
    delete.query_async::<()>(&mut connection).await.unwrap();
    let path = format!("/v1/posts/{post}");
    ada.client
        .patch(&path, json!({"text": "two"}))
        .await
        .expect(404);
    setting.done(&["log", "rebuild-state", "--yes"]).await;
    ada.client
        .patch(&path, json!({"text": "two"}))
        .await
        .expect(200);
    // One that is newer stays.
    setting.done(&["log", "rebuild-state", "--yes"]).await;
    crate::examination::all_of_the_app_is_as_the_log_says(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_is_archived_and_trimmed_and_takes_writes_again() {
    let programs = Programs::find().unwrap();
    let stack = Stack::throwaway(&programs).await.unwrap();
    let app = App::on(Servers::on(stack.urls()).await).await;
    let ada = app.client().register("ada").await;
    for number in 0..300 {
        ada.publish(&format!("{number} {}", "long ".repeat(900)))
            .await;
    }
    app.settle().await;
    let client = redis::Client::open(app.servers.redis_log.as_str()).unwrap();
    let mut log = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut log)
        .await
        .unwrap();
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.unwrap().trim().parse().unwrap();
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("maxmemory").arg(used - 100_000);
    limit.query_async::<()>(&mut log).await.unwrap();
    let body = || json!({"text": "no room"});
    ada.client
        .post("/v1/posts", body())
        .await
        .problem(503, "unavailable");

    let folder = tempfile::tempdir().unwrap();
    let mut settings = environment(&app.servers);
    let archive = folder.path().join("archive");
    settings.push(("ARCHIVE_URL", format!("file://{}", archive.display())));
    for arguments in [
        ["log", "archive"].as_slice(),
        &["log", "trim", "--keep", "1", "--yes"],
    ] {
        let done = run(arguments, &settings, folder.path()).await;
        assert_eq!(done.status, 0, "{}", done.err);
    }
    testkit::until("there is room", PATIENCE_SECONDS, || async {
        ada.client.post("/v1/posts", body()).await.status == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_put_back_is_not_archived_after_what_it_lost() {
    let setting = Setting::new().await;
    let app = &setting.app;
    let ada = app.client().register("ada").await;
    let made = ada.client.post("/v1/posts", json!({"text": "lost"})).await;
    let position = testkit::position(&made.expect(201).header("event-position"));
    app.settle().await;
    setting.done(&["log", "archive"]).await;

    let (partition, last) = position.split_once(':').unwrap();
    let (epoch, seq) = last.split_once('-').unwrap();
    let before = format!("{epoch}-{}", seq.parse::<u64>().unwrap() - 1);
    let key = format!("{}:{{p{partition:0>2}}}:events", app.servers.prefix);
    let client = redis::Client::open(app.servers.redis_log.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    // With what may have come after it: archiving is an event too.
    let mut later = redis::cmd("XRANGE");
    later.arg(&key).arg(last).arg("+");
    type Entry = (String, Vec<Vec<u8>>);
    let later: Vec<Entry> = later.query_async(&mut connection).await.unwrap();
    let mut put_back = redis::pipe();
    let forget = put_back.cmd("XDEL").arg(&key);
    for (id, _) in &later {
        forget.arg(id);
    }
    put_back.cmd("XSETID").arg(&key).arg(before);
    let gone: (usize, String) = put_back.query_async(&mut connection).await.unwrap();
    assert_eq!(gone.0, later.len());
    // New events would get the positions of archived ones.
    let refused = setting.headwater(&["serve"]).await;
    assert_eq!(refused.status, 1);
    assert!(
        refused.err.contains("put back from an old copy"),
        "{}",
        refused.err
    );

    // A process that was there before writes on.
    for number in 0..3 {
        ada.publish(&format!("{number}")).await;
    }
    for command in [["log", "archive"].as_slice(), &["log", "trim", "--yes"]] {
        let refused = setting.headwater(command).await;
        assert_eq!(refused.status, 1);
        assert!(
            refused.err.contains("put back from an old copy"),
            "{}",
            refused.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_refuses_and_does_not_lie() {
    let setting = Setting::new().await;
    let app = &setting.app;
    let ada = app.client().register("ada").await;
    let post = ada.publish("there").await;
    app.settle().await;
    lose_the_log(&app.servers).await;
    let path = format!("/v1/posts/{post}");
    let edited = ada.client.patch(&path, json!({"text": "edited"})).await;
    edited.problem(503, "unavailable");
    let liked = ada.client.put(&format!("{path}/like")).await;
    liked.problem(503, "unavailable");
    let again = ada.client.post("/v1/posts", json!({"text": "more"})).await;
    again.problem(503, "unavailable");
    let login = json!({"login": ada.handle, "password": ada.password});
    let signed_in = app.client().post("/v1/sessions", login).await;
    signed_in.problem(503, "unavailable");
    // What is folded can be read.
    app.client().get(&path).await.expect(200);
    let doctor = setting.headwater(&["doctor"]).await;
    assert_eq!(doctor.status, PROBLEMS, "{}", doctor.out);
    assert!(doctor.out.contains("the log is gone"), "{}", doctor.out);
}

/// What is only in the archive is read there, by every reader, or told as missing.
#[tokio::test(flavor = "multi_thread")]
async fn no_reader_of_a_trimmed_log_gives_less_in_silence() {
    let setting = Setting::new().await;
    let app = &setting.app;
    let ada = app.client().register("ada").await;
    let post = ada.publish("early").await;
    app.settle().await;
    let early = setting.lines(&["tail", "-o", "start", "-e"]).await;
    let made = early.iter().find(|event| event["type"] == "PostCreated");
    let since = format!("@{}", made.unwrap()["time"].as_str().unwrap());
    for number in 0..20 {
        ada.publish(&format!("{number}")).await;
    }
    app.settle().await;
    setting.done(&["log", "archive"]).await;
    setting.done(&["log", "trim", "--keep", "1", "--yes"]).await;

    let all = setting.lines(&["tail", "-o", "start", "-e"]).await;
    let count = |events: &[Value], of: &str| events.iter().filter(|e| e["type"] == of).count();
    assert_eq!(count(&all, "PostCreated"), 21);
    let later = setting.lines(&["tail", "-e", "-o", &since]).await;
    assert_eq!(count(&later, "PostCreated"), 21);
    let first = setting.lines(&["tail", "-o", "start", "-n", "2"]).await;
    assert_eq!(first.len(), 2);
    let chosen = ["tail", "-o", "start", "-e", "-t", "AccountRegistered"];
    assert_eq!(setting.lines(&chosen).await.len(), 1);

    let alone = environment(&app.servers);
    let headwater = async |arguments: &[&str]| run(arguments, &alone, setting.folder.path()).await;
    let aggregate = format!("post:{post}");
    let from = ["projections", "replay", "social", "--yes", "--from"];
    for command in [
        ["tail", "-e", "-o", "start"].as_slice(),
        &["tail", "-o", "start"],
        &["tail", "-o", "start", "-n", "3"],
        &["tail", "-e", "-o", "start", "-t", "PostCreated"],
        &["tail", "-e", "-o", &since],
        &["tail", "-e", "-o", "0:1-1"],
        &["verify", "social"],
        &["projections", "rebuild", "social", "--rate", "max"],
        &[&from[..], &["start"]].concat(),
        &[&from[..], &[&since]].concat(),
        &[
            "projections",
            "replay",
            "social",
            "--yes",
            "--aggregate",
            &aggregate,
        ],
        &["log", "rebuild-state", "--yes"],
    ] {
        let refused = headwater(command).await;
        let told = format!("{command:?}: {}{}", refused.out, refused.err);
        assert_eq!(refused.status, 1, "{told}");
        assert!(refused.err.contains("ARCHIVE_URL"), "{told}");
        assert!(refused.err.contains("begins at"), "{told}");
    }
    // Nothing was begun that an operator has to take away.
    let projections = setting.lines(&["projections"]).await;
    assert!(projections.iter().all(|line| line["role"] == "live"));
    let doctor = headwater(&["doctor"]).await;
    assert_eq!(doctor.status, PROBLEMS);
    let findings = doctor.out.lines();
    let findings = findings.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let archive: Vec<_> = findings.filter(|one| one["part"] == "archive").collect();
    assert_eq!(archive[0]["grade"], "problem", "{archive:?}");
    assert!(archive[0]["mend"].as_str().unwrap().contains("ARCHIVE_URL"));
    let stats = headwater(&["log", "stats"]).await;
    assert!(stats.err.contains("ARCHIVE_URL"), "{}", stats.err);
    let line: Value = serde_json::from_str(stats.out.lines().next().unwrap()).unwrap();
    assert_eq!(
        line["archived_events"],
        Value::Null,
        "nothing is known of it"
    );
    // A folder that is not there is not made by looking into it.
    let typo = setting.folder.path().join("typo");
    let url = format!("file://{}", typo.display());
    let astray = [environment(&app.servers), vec![("ARCHIVE_URL", url)]].concat();
    let looked = run(
        &["tail", "-e", "-o", "start"],
        &astray,
        setting.folder.path(),
    )
    .await;
    assert_eq!(looked.status, 1);
    assert!(looked.err.contains("no such folder"), "{}", looked.err);
    assert!(!typo.exists());
    // What the log has is read on.
    let head = headwater(&["tail", "-e", "-o", "end"]).await;
    assert_eq!(head.status, 0, "{}", head.err);

    // An archive that is empty, or another log's.
    let other = Setting::new().await;
    let bob = other.app.client().register("bob").await;
    bob.publish("elsewhere").await;
    other.app.settle().await;
    other.done(&["log", "archive"]).await;
    let elsewhere = other.folder.path().join("archive");
    let empty = setting.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (folder, why) in [(&empty, "neither in the log"), (&elsewhere, "another log")] {
        let mut settings = alone.clone();
        settings.push(("ARCHIVE_URL", format!("file://{}", folder.display())));
        let tail = ["tail", "-o", "start", "-e"];
        let refused = run(&tail, &settings, setting.folder.path()).await;
        assert_eq!(refused.status, 1, "{}", refused.err);
        assert!(refused.err.contains(why), "{}", refused.err);
        let doctor = run(&["doctor"], &settings, setting.folder.path()).await;
        assert!(
            doctor.status == PROBLEMS && doctor.out.contains(why),
            "{}",
            doctor.out
        );
    }
}

/// It takes connections, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_named_in_time() {
    let setting = Setting::new().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = environment(&setting.app.servers);
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    settings.extend([
        ("ARCHIVE_URL", "s3://archive/log".into()),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_ACCESS_KEY_ID", "key".into()),
        ("AWS_SECRET_ACCESS_KEY", "secret".into()),
        ("AWS_REGION", "here".into()),
    ]);
    for command in ["serve", "work"] {
        let began = Instant::now();
        let refused = run(&[command], &settings, setting.folder.path()).await;
        assert_eq!(refused.status, 1, "{}", refused.err);
        for named in ["does not answer", "s3://archive/log", "ARCHIVE_URL"] {
            assert!(refused.err.contains(named), "{}", refused.err);
        }
        assert!(began.elapsed() < Duration::from_secs(PATIENCE_SECONDS));
    }
}
