//! A log server or a database that becomes another, or weaker, under running processes
//! and between them: `doctor`, readiness and the answers to writes say the same, and no
//! log is made in place of one that was lost.

use std::path::Path;

use devservices::{Programs, Stack};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use testkit::{Client, Person, Servers, until};

use crate::process::{Running, environment, run};

const PROBLEMS: i32 = 3;
const PATIENCE_SECONDS: u64 = 30;

/// Processes on servers of their own.
struct Story {
    serve: Running,
    work: Running,
    ada: Person,
    post: String,
    folder: TempDir,
    servers: Servers,
    stack: Stack,
}

/// What each of the three says of one state.
struct Said<'a> {
    /// Of readiness, and false in it.
    ready_part: &'a str,
    ready: &'a str,
    doctor_part: &'a str,
    doctor: &'a str,
    write: &'a str,
}

impl Story {
    async fn begin() -> Self {
        let programs = Programs::find().unwrap();
        let stack = Stack::throwaway(&programs).await.unwrap();
        let servers = Servers::on(stack.urls()).await;
        let folder = tempdir().unwrap();
        // Both at once: one log is made, whoever is first.
        let (serve, work) = tokio::join!(
            Running::serve(&servers, folder.path()),
            Running::work(&servers, folder.path()),
        );
        let ada = Client::new(serve.api.clone()).register("ada").await;
        let post = ada.publish("there").await;
        let path = format!("/v1/posts/{post}");
        ada.client.get(&path).await.expect(200);
        ada.like(&post).await;
        Self {
            stack,
            servers,
            folder,
            serve,
            work,
            ada,
            post,
        }
    }

    async fn redis(&self, words: &str) {
        ask(&self.servers.redis_log, words).await;
    }

    async fn sql(&self, statement: &str) {
        let database = Database::connect(&self.servers.database).await.unwrap();
        database.execute_unprepared(statement).await.unwrap();
        database.close().await.unwrap();
    }

    async fn ready(&self) -> Value {
        let client = Client::new(self.serve.api.clone());
        client.get("/health/ready").await.expect(200).body
    }

    async fn doctor(&self) -> Vec<Value> {
        doctor(&environment(&self.servers), self.folder.path()).await
    }

    /// Whether a write is taken; why not.
    async fn write(&self) -> Result<(), String> {
        let body = json!({"text": "more"});
        let answer = self.ada.client.post("/v1/posts", body).await;
        if answer.status == 201 {
            return Ok(());
        }
        Err(answer.problem(503, "unavailable").text("/detail"))
    }

    /// All three say so, within their patience.
    async fn says(&self, said: &Said<'_>) {
        until("writes say so", PATIENCE_SECONDS, || async {
            self.write()
                .await
                .is_err_and(|why| why.contains(said.write))
        })
        .await;
        until("readiness says so", PATIENCE_SECONDS, || async {
            let ready = self.ready().await;
            let told = |trouble: &Value| {
                let detail = trouble["detail"].as_str().unwrap();
                trouble["part"] == said.ready_part && detail.contains(said.ready)
            };
            ready["ready"] == false
                && ready.get(said.ready_part).is_none_or(|part| *part == false)
                && ready["troubles"].as_array().unwrap().iter().any(told)
        })
        .await;
        let findings = self.doctor().await;
        let is = problem(&findings, said.doctor_part, said.doctor);
        assert!(is.is_some(), "{findings:#?}");
        // The same for what has nothing to do.
        let like = format!("/v1/posts/{}/like", self.post);
        let liked = self.ada.client.put(&like).await;
        liked.problem(503, "unavailable");
        // What is folded is read all the same.
        let path = format!("/v1/posts/{}", self.post);
        let client = Client::new(self.serve.api.clone());
        client.get(&path).await.expect(200);
    }

    /// Of a part, which has no such problem any more.
    async fn is_well(&self, part: &str, seen: &str) {
        until("writes are taken", PATIENCE_SECONDS, || async {
            self.write().await.is_ok()
        })
        .await;
        until("it is ready", PATIENCE_SECONDS, || async {
            self.ready().await["ready"] == true
        })
        .await;
        let findings = self.doctor().await;
        let ill = problem(&findings, part, seen);
        assert!(ill.is_none(), "{findings:#?}");
    }
}

async fn ask(url: &str, words: &str) -> redis::Value {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection).await.unwrap()
}

async fn doctor(settings: &[(&str, String)], folder: &Path) -> Vec<Value> {
    let told = run(&["doctor"], settings, folder).await;
    let lines = told.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What mends a problem of `part`, where it is seen.
fn problem<'a>(findings: &'a [Value], part: &str, seen: &str) -> Option<&'a str> {
    let is = |finding: &&Value| {
        finding["grade"] == "problem"
            && finding["part"] == part
            && finding["seen"].as_str().unwrap().contains(seen)
    };
    findings.iter().find(is)?["mend"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_server_that_weakens_is_told_of_by_all_three() {
    let story = Story::begin().await;
    story.is_well("log server", "").await;
    for (weak, strong, said) in [
        (
            "CONFIG SET appendfsync everysec",
            "CONFIG SET appendfsync always",
            "appendfsync is everysec",
        ),
        (
            "CONFIG SET maxmemory-policy allkeys-lru",
            "CONFIG SET maxmemory-policy noeviction",
            "maxmemory-policy is allkeys-lru",
        ),
        (
            "REPLICAOF 127.0.0.1 1",
            "REPLICAOF NO ONE",
            "it is a replica",
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "min-replicas-to-write",
        ),
    ] {
        story.redis(weak).await;
        story
            .says(&Said {
                ready_part: "log",
                ready: said,
                doctor_part: "log server",
                doctor: said,
                write: said,
            })
            .await;
        story.redis(strong).await;
        story.is_well("log server", "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_wiped_is_told_of_and_not_made_anew() {
    let story = Story::begin().await;
    story.redis("FLUSHALL").await;
    story
        .says(&Said {
            ready_part: "log",
            ready: "no log",
            doctor_part: "log server",
            doctor: "the log is gone",
            write: "the log is lost",
        })
        .await;
    let ready = story.ready().await;
    let states = ready["projections"].as_array().unwrap();
    assert!(
        states.iter().all(|one| one["state"] == "diverged"),
        "{ready}"
    );

    let Story {
        stack,
        servers,
        folder,
        serve,
        work,
        ada,
        ..
    } = story;
    assert_eq!(serve.stop().await, 0);
    assert_eq!(work.stop().await, 0);
    let settings = environment(&servers);
    let file = folder.path().join("none.ndjson");
    std::fs::write(&file, "").unwrap();
    for arguments in [
        "serve",
        "work",
        "up",
        "tail -e",
        "tail -o start -e",
        "verify",
        "log stats",
        "log verify",
        "log archive",
        "log trim --yes",
        "log rebuild-state --yes",
        "dead-letters list",
        "projections",
        "projections rebuild social",
        "import none.ndjson",
        "service-tokens list",
        &format!("token {}", ada.handle),
        &format!("accounts grant {} operator", ada.handle),
    ] {
        let words: Vec<_> = arguments.split(' ').collect();
        let refused = run(&words, &settings, folder.path()).await;
        assert_eq!(refused.status, 1, "{arguments}: {}", refused.out);
        let keys = ask(&servers.redis_log, "DBSIZE").await;
        assert_eq!(keys, redis::Value::Int(0), "{arguments} made something");
        if ["serve", "work", "up"].contains(&arguments) {
            assert!(refused.err.contains("the log is gone"), "{}", refused.err);
            assert!(refused.err.contains("copy of its disk"), "{}", refused.err);
        }
    }
    let findings = doctor(&settings, folder.path()).await;
    let mend = problem(&findings, "log server", "the log is gone");
    assert!(mend.is_some(), "{findings:#?}");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_has_seen_a_log_keeps_another_from_being_made() {
    let story = Story::begin().await;
    story.redis("FLUSHALL").await;
    let settings = environment(&story.servers);
    let refused = async |witness: &str| {
        let refused = run(&["work"], &settings, story.folder.path()).await;
        assert_eq!(refused.status, 1);
        assert!(refused.err.contains(witness), "{}", refused.err);
        let keys = ask(&story.servers.redis_log, "DBSIZE").await;
        assert_eq!(keys, redis::Value::Int(0));
    };
    refused("the database belongs to one").await;
    // Each of these may be what is left of a copy.
    story.work.signal("STOP");
    story.sql("DELETE FROM projections.log").await;
    refused("projections have read one").await;
    story.sql("DELETE FROM projections.checkpoints").await;
    refused("accounts were registered with one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_log_that_do_not_belong_together_are_refused() {
    let (one, other) = (Story::begin().await, Servers::shared().await);
    // The database of a second installation, on the log of the first.
    let folder = tempdir().unwrap();
    let second = Running::work(&other, folder.path()).await;
    assert_eq!(second.stop().await, 0);
    let mut settings = environment(&other);
    for (name, value) in &mut settings {
        match *name {
            "REDIS_LOG_URL" => *value = one.servers.redis_log.clone(),
            "KEY_PREFIX" => *value = one.servers.prefix.clone(),
            _ => {}
        }
    }
    for role in ["serve", "work", "verify"] {
        let refused = run(&[role], &settings, folder.path()).await;
        assert_eq!(refused.status, 1);
        assert!(refused.err.contains("another log"), "{}", refused.err);
    }
    let findings = doctor(&settings, folder.path()).await;
    let mend = problem(&findings, "log server", "another log");
    assert!(mend.is_some(), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_one_partition_is_refused_and_told_of() {
    let story = Story::begin().await;
    let prefix = &story.servers.prefix;
    let keys = format!("DEL {prefix}:{{p05}}:events {prefix}:{{p05}}:meta");
    story.redis(&keys).await;
    story
        .says(&Said {
            ready_part: "log",
            ready: "partitions 5",
            doctor_part: "log server",
            doctor: "partitions 5 of the log are gone",
            write: "the log is lost",
        })
        .await;
    let settings = environment(&story.servers);
    let refused = run(&["serve"], &settings, story.folder.path()).await;
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("partitions 5"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_told_of_by_all_three() {
    let story = Story::begin().await;
    story
        .sql("ALTER SYSTEM SET default_transaction_read_only = on")
        .await;
    story.sql("SELECT pg_reload_conf()").await;
    story
        .says(&Said {
            ready_part: "database",
            ready: "read-only",
            doctor_part: "database",
            doctor: "read-only",
            write: "read-only",
        })
        .await;
    let client = Client::new(story.serve.api.clone());
    let login = json!({"login": story.ada.handle, "password": story.ada.password});
    let password = testkit::secrets::password("bob");
    let email = testkit::secrets::email("bob");
    let registration = json!({"handle": "bob", "email": email, "password": password});
    for (path, body) in [("/v1/sessions", login), ("/v1/accounts", registration)] {
        let refused = client.post(path, body).await.problem(503, "unavailable");
        let detail = refused.text("/detail");
        assert!(detail.contains("read-only"), "{path}: {detail}");
    }
    story
        .sql("ALTER SYSTEM RESET default_transaction_read_only")
        .await;
    story.sql("SELECT pg_reload_conf()").await;
    story.is_well("database", "read-only").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_began_read_only_do_not_outlive_it() {
    let story = Story::begin().await;
    let alter = |what: &str| {
        format!(
            "BEGIN READ WRITE;
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {what}', current_database()); END $$;
             COMMIT"
        )
    };
    story
        .sql(&alter("SET default_transaction_read_only = on"))
        .await;
    story
        .sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    story
        .says(&Said {
            ready_part: "database",
            ready: "read-only",
            doctor_part: "database",
            doctor: "read-only",
            write: "read-only",
        })
        .await;
    story
        .sql(&alter("RESET default_transaction_read_only"))
        .await;
    story.is_well("database", "read-only").await;
    let post = story.ada.publish("folded").await;
    let path = format!("/v1/posts/{post}");
    until("it is folded", PATIENCE_SECONDS, || async {
        story.ada.client.get(&path).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_leave_room_for_operators_in_the_memory_of_the_log() {
    let story = Story::begin().await;
    let findings = story.doctor().await;
    let advised = findings.iter().find(|one| {
        one["grade"] == "notice" && one["seen"].as_str().unwrap().contains("without a limit")
    });
    assert!(advised.is_some(), "{findings:#?}");
    // So much that what connections take is little beside it.
    story.redis("SETRANGE filler 20000000 x").await;
    let info = ask(&story.servers.redis_log, "INFO memory").await;
    let info: String = redis::from_redis_value(info).unwrap();
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.unwrap().trim().parse().unwrap();
    // Nine tenths of it are used.
    story
        .redis(&format!("CONFIG SET maxmemory {}", used * 10 / 9))
        .await;
    until("writes are refused", PATIENCE_SECONDS, || async {
        story
            .write()
            .await
            .is_err_and(|why| why.contains("takes nothing more"))
    })
    .await;
    let findings = story.doctor().await;
    let mend = problem(&findings, "log server", "what clients write is refused");
    assert!(mend.unwrap().contains("ARCHIVE_HOT_BYTES"), "{findings:#?}");
    // An operator's act is an event too.
    let suspend = ["accounts", "suspend", &story.ada.handle, "--reason", "x"];
    let done = run(&suspend, &environment(&story.servers), story.folder.path()).await;
    assert_eq!(done.status, 0, "{}", done.err);
    let restore = ["accounts", "restore", &story.ada.handle];
    let done = run(&restore, &environment(&story.servers), story.folder.path()).await;
    assert_eq!(done.status, 0, "{}", done.err);
    let path = format!("/v1/posts/{}", story.post);
    Client::new(story.serve.api.clone())
        .get(&path)
        .await
        .expect(200);
    story.redis("CONFIG SET maxmemory 0").await;
    // Her sessions ended; a new one waits until it is seen that there is room.
    let body = || json!({"login": story.ada.handle, "password": story.ada.password});
    let client = Client::new(story.serve.api.clone());
    until("she signs in and writes", PATIENCE_SECONDS, || async {
        let signed_in = client.post("/v1/sessions", body()).await;
        if signed_in.status != 201 {
            return false;
        }
        let client = Client::new(story.serve.api.clone());
        let client = client.with_token(signed_in.text("/access_token"));
        let written = client.post("/v1/posts", json!({"text": "more"})).await;
        written.status == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_a_notice_that_does_not_advise_to_allow_it() {
    let programs = Programs::find().unwrap();
    let stack = Stack::throwaway(&programs).await.unwrap();
    let servers = Servers::on(stack.urls()).await;
    ask(&servers.redis_log, "CONFIG SET appendfsync everysec").await;
    let folder = tempdir().unwrap();
    let mut settings = environment(&servers);
    let refused = run(&["doctor"], &settings, folder.path()).await;
    assert_eq!(refused.status, PROBLEMS, "{}", refused.out);

    settings.push(("LOG_ALLOW_UNSAFE", "true".into()));
    let serve = Running::start(&["serve"], &settings, folder.path(), "documentation").await;
    let work = Running::start(&["work"], &settings, folder.path(), "works on the log").await;
    let client = Client::new(serve.api.clone());
    client.register("ada").await;
    until("it is ready", PATIENCE_SECONDS, || async {
        client.get("/health/ready").await.expect(200).body["ready"] == true
    })
    .await;
    let findings = doctor(&settings, folder.path()).await;
    let of_log = findings.iter().filter(|one| one["part"] == "log server");
    let of_log: Vec<_> = of_log.collect();
    assert!(
        of_log.iter().any(|one| one["grade"] == "notice"
            && one["seen"]
                .as_str()
                .unwrap()
                .contains("appendfsync is everysec")),
        "{findings:#?}"
    );
    for finding in of_log {
        assert_ne!(finding["grade"], "problem", "{finding}");
        let mend = finding["mend"].as_str().unwrap_or_default();
        assert!(!mend.contains("LOG_ALLOW_UNSAFE"), "{mend}");
    }
    assert_eq!(serve.stop().await, 0);
    assert_eq!(work.stop().await, 0);
}
