//! A PostgreSQL that is not ours: settings of a role, few connections, a pooler, an
//! encoding, privileges. What can be set is set; what cannot is named.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Client, Servers};
use tokio::task::JoinSet;

use crate::{
    pooler,
    process::{Output, Running, environment, run},
};

type Settings = Vec<(&'static str, String)>;

fn with(settings: &Settings, name: &'static str, value: String) -> Settings {
    let mut all = settings.clone();
    all.retain(|(known, _)| *known != name);
    all.push((name, value));
    all
}

async fn headwater(arguments: &[&str], settings: &Settings) -> Output {
    run(arguments, settings, tempdir().unwrap().path()).await
}

/// A database of its own in this server, that a new role owns, whose attributes and
/// settings are `role`; how it is reached.
async fn owned(servers: &Servers, suffix: &str, made: &str, role: &[&str]) -> (String, String) {
    let admin = Database::connect(&servers.database).await.unwrap();
    let name = format!("{}_{suffix}", servers.prefix);
    let mut statements = vec![
        format!("CREATE ROLE {name} LOGIN"),
        format!("CREATE DATABASE {name} OWNER {name} {made}"),
    ];
    statements.extend(role.iter().map(|what| format!("ALTER ROLE {name} {what}")));
    for statement in statements {
        admin.execute_unprepared(&statement).await.unwrap();
    }
    admin.close().await.unwrap();
    let (before, _) = servers.database.rsplit_once('/').unwrap();
    let (_, host) = before.rsplit_once('@').unwrap();
    (name.clone(), format!("postgres://{name}@{host}/{name}"))
}

async fn findings(settings: &Settings) -> Vec<Value> {
    let told = headwater(&["doctor", "--json"], settings).await;
    told.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn number(database: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let row = database.query_one_raw(statement).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_role_change_nothing() {
    // Given a role that somebody has set up for other things.
    let servers = Servers::shared().await;
    let (_, url) = owned(
        &servers,
        "set",
        "",
        &[
            "SET search_path = ''",
            "SET default_transaction_isolation = 'serializable'",
            "SET default_transaction_deferrable = on",
            "SET idle_in_transaction_session_timeout = '100ms'",
            "SET statement_timeout = '500ms'",
            "SET lock_timeout = '50ms'",
            "SET \"TimeZone\" = 'Asia/Kathmandu'",
            "SET \"DateStyle\" = 'German'",
            "SET bytea_output = 'escape'",
            "SET standard_conforming_strings = off",
            "SET client_encoding = 'LATIN1'",
            "SET row_security = off",
            "SET extra_float_digits = -10",
            "SET jit = on",
        ],
    )
    .await;
    let settings = with(&environment(&servers), "DATABASE_URL", url);
    let migrated = headwater(&["migrate"], &settings).await;
    assert_eq!(migrated.status, 0, "{}", migrated.err);
    let folder = tempdir().unwrap();
    let serve = Running::start(&["serve"], &settings, folder.path(), "documentation").await;
    let work = Running::start(&["work"], &settings, folder.path(), "works on the log").await;
    // When
    let ada = Client::new(serve.api.clone()).register("ada").await;
    let bob = Client::new(serve.api.clone()).register("bob").await;
    bob.follow(&ada).await.expect(204);
    let post = ada.publish("Grüße, 世界 \\ ' \u{1F600}").await;
    let home = bob.client.get("/v1/timelines/home").await.expect(200);
    // Then
    assert_eq!(home.ids(), [post.as_str()]);
    let read = bob
        .client
        .get(&format!("/v1/posts/{post}"))
        .await
        .expect(200);
    assert_eq!(read.text("/text"), "Grüße, 世界 \\ ' \u{1F600}");
    let rebuilt = headwater(&["projections", "rebuild", "social"], &settings).await;
    assert_eq!(rebuilt.status, 0, "{}", rebuilt.err);
    let verified = headwater(&["verify"], &settings).await;
    assert_eq!(verified.status, 0, "{}", verified.err);
    assert_eq!(work.stop().await, 0);
    assert_eq!(serve.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_named_by_every_command() {
    let servers = Servers::shared().await;
    let (before, database) = servers.database.rsplit_once('/').unwrap();
    let (user, port) = before.rsplit_once(':').unwrap();
    let pooler = pooler::before(port.parse().unwrap()).await;
    let url = format!("{user}:{pooler}/{database}");
    let settings = with(&environment(&servers), "DATABASE_URL", url.clone());
    for command in [
        &["migrate"][..],
        &["serve"],
        &["work"],
        &["projections"],
        &["verify"],
        &["token", "ada"],
    ] {
        let told = headwater(command, &settings).await;
        assert_eq!(told.status, 1);
        let named = told.err.contains("pooler") && told.err.contains("session mode");
        assert!(
            named && !told.err.contains("headwater migrate"),
            "{command:?}: {}",
            told.err
        );
    }
    let all = findings(&settings).await;
    let of_it = |one: &&Value| one["part"] == "database" && one["grade"] == "problem";
    let finding = all.iter().find(of_it).unwrap();
    let mend = finding["mend"].as_str().unwrap();
    assert!(mend.contains("session mode"), "{finding}");
    // What it refuses at the start is named too.
    let refused = with(
        &settings,
        "DATABASE_URL",
        format!("{url}?options=-c%20jit%3Doff"),
    );
    let told = headwater(&["migrate"], &refused).await;
    assert!(
        told.err.contains("pooler") && told.err.contains("options"),
        "{}",
        told.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_connections_are_shared_and_some_are_left_for_operators() {
    // Given a role that may have as many as a server with max_connections 20 gives.
    let servers = Servers::shared().await;
    let (name, url) = owned(&servers, "few", "", &["CONNECTION LIMIT 17"]).await;
    let settings = with(&environment(&servers), "DATABASE_URL", url);
    assert_eq!(headwater(&["migrate"], &settings).await.status, 0);
    let folder = tempdir().unwrap();
    let serve = Running::start(&["serve"], &settings, folder.path(), "documentation").await;
    let work = Running::start(&["work"], &settings, folder.path(), "works on the log").await;
    for process in [&serve, &work] {
        let said = process.said();
        assert!(said.contains("takes fewer"), "{said}");
    }
    // When many read and write at once.
    let ada = Client::new(serve.api.clone()).register("ada").await;
    let post = ada.publish("a few").await;
    let mut reads = JoinSet::new();
    for number in 0..64 {
        let ada = ada.client.clone();
        let post = post.clone();
        reads.spawn(async move {
            let body = json!({ "text": format!("number {number}") });
            ada.post("/v1/posts", body).await.expect(201);
            ada.get(&format!("/v1/posts/{post}")).await.expect(200);
            ada.get("/v1/timelines/home").await.expect(200);
        });
    }
    let reading = reads.join_all();
    let operating = async {
        // Then operators find a place.
        for command in [
            &["projections"][..],
            &["verify"],
            &["migrate"],
            &["token", ada.handle.as_str()],
        ] {
            let told = headwater(command, &settings).await;
            assert_eq!(told.status, 0, "{command:?}: {}", told.err);
        }
        let all = findings(&settings).await;
        let starved = |one: &&Value| {
            let seen = one["seen"].as_str().unwrap();
            seen.contains("timed out")
                || seen.contains("no answer")
                || seen.contains("no connection")
        };
        assert_eq!(all.iter().find(starved), None);
    };
    tokio::join!(reading, operating);
    let admin = Database::connect(&servers.database).await.unwrap();
    let taken = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'");
    assert!(number(&admin, &taken).await <= 17 - 5);
    // One more would starve the others, and is told.
    let third = headwater(&["serve"], &settings).await;
    assert_eq!(third.status, 1);
    assert!(third.err.contains("CONNECTION LIMIT"), "{}", third.err);
    assert_eq!(work.stop().await, 0);
    assert_eq!(serve.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_connection_left_is_named() {
    let servers = Servers::shared().await;
    let (_, url) = owned(&servers, "none", "", &["CONNECTION LIMIT 0"]).await;
    let settings = with(&environment(&servers), "DATABASE_URL", url);
    for command in ["migrate", "serve", "projections"] {
        let told = headwater(&[command], &settings).await;
        assert_eq!(told.status, 1);
        assert!(told.err.contains("has no connection left"), "{}", told.err);
    }
    let all = findings(&settings).await;
    let of_it = |one: &&Value| one["seen"].as_str().unwrap().contains("no connection left");
    assert!(all.iter().any(|one| of_it(&one)), "{all:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_keep_every_text_is_named() {
    let servers = Servers::shared().await;
    for (suffix, encoding) in [("latin", "LATIN1"), ("ascii", "SQL_ASCII")] {
        let made = format!("ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        let (_, url) = owned(&servers, suffix, &made, &[]).await;
        let settings = with(&environment(&servers), "DATABASE_URL", url);
        for command in ["migrate", "serve", "work"] {
            let told = headwater(&[command], &settings).await;
            assert_eq!(told.status, 1);
            let named = told.err.contains(encoding) && told.err.contains("ENCODING 'UTF8'");
            assert!(named, "{command}: {}", told.err);
        }
        let all = findings(&settings).await;
        let of_it = |one: &Value| one["seen"].as_str().unwrap().contains(encoding);
        assert!(all.iter().any(of_it), "{all:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_lacks_is_named_with_the_grant() {
    let servers = Servers::shared().await;
    let (name, url) = owned(&servers, "poor", "", &[]).await;
    let admin = Database::connect(&servers.database).await.unwrap();
    for statement in [
        format!("ALTER DATABASE {name} OWNER TO headwater"),
        format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC, {name}"),
        format!("GRANT CONNECT ON DATABASE {name} TO {name}"),
    ] {
        admin.execute_unprepared(&statement).await.unwrap();
    }
    let settings = with(&environment(&servers), "DATABASE_URL", url);
    let told = headwater(&["migrate"], &settings).await;
    assert_eq!(told.status, 1);
    let grant = format!("GRANT CREATE ON DATABASE {name} TO {name}");
    assert!(told.err.contains(&grant), "{}", told.err);
    let all = findings(&settings).await;
    let of_it = |one: &Value| one["mend"].as_str() == Some(grant.as_str());
    assert!(all.iter().any(of_it), "{all:#?}");
}
