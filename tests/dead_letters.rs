//! `headwater dead-letters`: what cannot be folded waits, is seen, and is mended
//! or left out by somebody who says why.

use sea_orm::{ConnectionTrait, FromQueryResult, Statement};
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{App, Person};

use crate::{
    examination::all_of_the_app_is_as_the_log_says,
    process::{Output, environment, run},
};

const PROBLEMS: i32 = 3;

async fn headwater(app: &App, arguments: &[&str]) -> Output {
    let folder = tempdir().unwrap();
    run(arguments, &environment(&app.servers), folder.path()).await
}

async fn letters(app: &App) -> Vec<Value> {
    let told = headwater(app, &["dead-letters", "list", "social"]).await;
    let lines = told
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let status = if lines.is_empty() { 0 } else { PROBLEMS };
    assert_eq!(told.status, status, "{}", told.err);
    lines
}

#[derive(FromQueryResult)]
struct Key {
    key: Vec<u8>,
}

/// With another key, what an author wrote does not open.
async fn take_the_key(app: &App, author: &Person) -> Vec<u8> {
    let backend = app.database.get_database_backend();
    let sql = "SELECT key FROM vault.account_keys WHERE account_id = $1::uuid";
    let statement = Statement::from_sql_and_values(backend, sql, [author.id.clone().into()]);
    let key = Key::find_by_statement(statement).one(&app.database).await;
    let other = format!(
        "UPDATE vault.account_keys SET key = sha256('other') WHERE account_id = '{}'",
        author.id
    );
    app.database.execute_unprepared(&other).await.unwrap();
    key.unwrap().unwrap().key
}

async fn give_it_back(app: &App, author: &Person, key: &[u8]) {
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!(
        "UPDATE vault.account_keys SET key = '\\x{hex}' WHERE account_id = '{}'",
        author.id
    );
    app.database.execute_unprepared(&sql).await.unwrap();
}

/// Somebody who wrote two posts, the first of which cannot be folded, edited it,
/// and whose second is fine.
async fn poisoned() -> (App, Person, [String; 2], Vec<u8>) {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let bob = app.client().register("bob").await;
    app.settle().await;
    let poison = ada.publish("first #tag").await;
    let path = format!("/v1/posts/{poison}");
    ada.client
        .patch(&path, json!({"text": "mended"}))
        .await
        .expect(200);
    let key = take_the_key(&app, &ada).await;
    // A process that has the key in memory is not this one.
    let fresh = App::on(app.servers.clone()).await;
    fresh.settle().await;
    give_it_back(&app, &ada, &key).await;
    let fine = ada.publish("second").await;
    bob.like(&poison).await;
    bob.like(&fine).await;
    let fresh = App::on(fresh.servers.clone()).await;
    fresh.settle().await;
    (fresh, ada, [poison, fine], key)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_and_goes_on_in_order_when_its_cause_is_mended() {
    let (app, _, [poison, fine], _) = poisoned().await;
    let waiting = letters(&app).await;
    let events: Vec<_> = waiting.iter().map(|letter| &letter["event"]).collect();
    assert_eq!(events, ["PostCreated", "PostEdited"]);
    let reasons: Vec<_> = waiting
        .iter()
        .map(|letter| letter["reason"].is_string())
        .collect();
    assert!(reasons[0], "{waiting:?}");
    let aggregate = format!("post:{poison}");
    assert!(
        waiting
            .iter()
            .all(|letter| letter["aggregate"] == aggregate)
    );

    // Never old data in silence; everything else flows.
    let path = format!("/v1/posts/{poison}");
    app.client().get(&path).await.problem(503, "parked");
    let shown = app
        .client()
        .get(&format!("/v1/posts/{fine}"))
        .await
        .expect(200);
    assert_eq!(shown.number("/likes_count"), 1);
    let told = headwater(&app, &["projections"]).await;
    let lines = told
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let parked: Vec<_> = lines.filter(|line| line["parked_events"] == 2).collect();
    assert_eq!(parked.len(), 1, "{}", told.out);

    let position = waiting[0]["position"].as_str().unwrap();
    let shown = headwater(&app, &["dead-letters", "show", "social", position]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["cloud_event"]["type"], "PostCreated");
    // A fresh fold meets the same now that the cause is mended, and differs.
    let verify = headwater(&app, &["verify", "social"]).await;
    assert_eq!(verify.status, PROBLEMS, "{}", verify.err);

    let retry = ["dead-letters", "retry", "social", "--all"];
    let retried = headwater(&app, &retry).await;
    assert_eq!(retried.status, 0, "{}", retried.err);
    assert!(
        retried.err.contains("2 events were folded"),
        "{}",
        retried.err
    );
    assert_eq!(letters(&app).await, Vec::<Value>::new());
    testkit::until("it is seen", 10, || async {
        app.client().get(&path).await.status == 200
    })
    .await;
    let shown = app.client().get(&path).await.expect(200).body;
    assert_eq!(
        (&shown["text"], &shown["likes_count"]),
        (&json!("mended"), &json!(1))
    );
    let revisions = app.client().get(&format!("{path}/revisions")).await;
    assert_eq!(revisions.expect(200).text("/items/0/text"), "first #tag");
    all_of_the_app_is_as_the_log_says(&app).await;
    let verify = headwater(&app, &["verify", "social"]).await;
    assert_eq!(verify.status, 0, "{}{}", verify.out, verify.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_cannot_be_folded_waits_on_with_its_reason() {
    let (app, ada, [poison, _], _) = poisoned().await;
    take_the_key(&app, &ada).await;
    let aggregate = format!("post:{poison}");
    let retry = ["dead-letters", "retry", "social", "--aggregate", &aggregate];
    let retried = headwater(&app, &retry).await;
    assert_eq!(retried.status, PROBLEMS, "{}", retried.err);
    assert!(
        retried.err.contains("0 events were folded, 1 aggregates"),
        "{}",
        retried.err
    );
    let waiting = letters(&app).await;
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0]["tries"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skip_needs_a_reason_holds_in_every_rebuild_and_is_told() {
    let (app, _, [poison, _], _) = poisoned().await;
    let position = letters(&app).await[0]["position"]
        .as_str()
        .unwrap()
        .to_owned();
    let skip = ["dead-letters", "skip", "social", &position];
    let unasked = headwater(&app, &[&skip[..], &["--reason", "x"]].concat()).await;
    assert!(unasked.status == 1 && unasked.err.contains("pass --yes"));
    let unreasoned = headwater(&app, &[&skip[..], &["--yes"]].concat()).await;
    assert!(unreasoned.status == 2 && unreasoned.err.contains("--reason"));
    let elsewhere = [
        "dead-letters",
        "skip",
        "social",
        "0:1-99999",
        "--reason",
        "x",
        "--yes",
    ];
    assert_eq!(headwater(&app, &elsewhere).await.status, 1);
    assert_eq!(letters(&app).await.len(), 2);

    let because = [&skip[..], &["--reason", "made in error", "--yes"]].concat();
    let done = headwater(&app, &because).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert_eq!(letters(&app).await, Vec::<Value>::new());
    let path = format!("/v1/posts/{poison}");
    testkit::until("it is not there", 10, || async {
        app.client().get(&path).await.status == 404
    })
    .await;
    app.settle().await;
    let rebuild = ["projections", "rebuild", "social", "--rate", "max"];
    let rebuilt = headwater(&app, &rebuild).await;
    assert_eq!(rebuilt.status, 0, "{}{}", rebuilt.out, rebuilt.err);
    app.services.look_again().await;
    app.client().get(&path).await.expect(404);
    let verify = headwater(&app, &["verify", "social"]).await;
    assert_eq!(verify.status, PROBLEMS);
    let lines = verify.out.lines().map(serde_json::from_str::<Value>);
    let lines: Vec<_> = lines.collect::<Result<_, _>>().expect(&verify.out);
    let skipped = lines.iter().find(|line| line["skipped"] == position);
    assert_eq!(skipped.unwrap()["reason"], "made in error");
}

/// An event of a newer release, about ada herself.
async fn add_unreadable(app: &App, ada: &Person, position: &str) -> String {
    let id: uuid::Uuid = ada.id.parse().unwrap();
    let envelope = kernel::Envelope {
        event_type: "PollClosed".into(),
        event_version: 1,
        aggregate: kernel::AggregateId::single(kernel::Kind(99), id),
        version: 1,
        recorded_at: kernel::Timestamp(1_790_000_000_000),
        actor: kernel::AccountId(id),
        correlation: id,
        causation: None,
        receipt: None,
        data: b"of tomorrow".to_vec(),
        trace: None,
    };
    let partition = position.split(':').next().unwrap();
    let key = format!("{}:{{p{partition:0>2}}}:events", app.servers.prefix);
    let client = redis::Client::open(app.servers.redis_log.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut add = redis::cmd("XADD");
    add.arg(key).arg("1-*").arg("e");
    add.arg(testkit::secrets::log_key().entry(&envelope).unwrap());
    let id: String = add.query_async(&mut connection).await.unwrap();
    format!("{partition}:{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_release_is_shown_and_stops_only_what_needs_it() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let made = ada.client.post("/v1/posts", json!({"text": "one"})).await;
    let at = testkit::position(&made.header("event-position"));
    let at = add_unreadable(&app, &ada, &at).await;
    ada.publish("two").await;
    app.settle().await;
    let waiting = letters(&app).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["position"], at);

    let shown = headwater(&app, &["dead-letters", "show", "social", &at]).await;
    assert_eq!(shown.status, 0, "{}", shown.err);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["cloud_event"]["data_base64"], "b2YgdG9tb3Jyb3c=");
    let tail = headwater(&app, &["tail", "-o", "start", "-e"]).await;
    assert_eq!(tail.status, 0, "{}", tail.err);
    let lines = tail.out.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["type"].clone(), line["unreadable"].is_string())
    });
    let ours: Vec<_> = lines.filter(|line| line.0 != "EpochStarted").collect();
    // In its partition, what comes after it is told too.
    let unreadable = ours.iter().position(|line| line.1);
    let after = ours.iter().rposition(|line| line.0 == "PostCreated");
    assert!(unreadable.is_some() && unreadable < after, "{ours:?}");

    // Its effect on states is not known, until somebody says that it has none.
    let states = ["log", "rebuild-state", "--yes"];
    let refused = headwater(&app, &states).await;
    assert!(
        refused.status == 1 && refused.err.contains(&at),
        "{}",
        refused.err
    );
    let skip = [
        "dead-letters",
        "skip",
        "social",
        &at,
        "--reason",
        "no polls",
        "--yes",
    ];
    let skipped = headwater(&app, &skip).await;
    assert_eq!(skipped.status, 0, "{}", skipped.err);
    let made = headwater(&app, &states).await;
    assert_eq!(made.status, 0, "{}", made.err);
    ada.publish("three").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_leave_out_what_waits() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let lists = [
        "/v1/timelines/home",
        "/v1/timelines/local",
        "/v1/accounts/me/posts",
    ];
    let mut cursors = Vec::new();
    for list in lists {
        let page = ada.client.get(list).await.expect(200);
        cursors.push(page.text("/prev_cursor"));
    }
    let waits = ada.publish("waits").await;
    let fine = ada.publish("fine").await;
    app.settle().await;
    // Its edit cannot be folded, and so the deletion after it.
    let path = format!("/v1/posts/{waits}");
    let edit = ada.client.patch(&path, json!({"text": "edited"})).await;
    edit.expect(200);
    ada.client.delete(&path).await.expect(204);
    take_the_key(&app, &ada).await;
    let app = App::on(app.servers.clone()).await;
    app.settle().await;
    assert_eq!(letters(&app).await.len(), 2);
    let ada = app.client_of(kernel::AccountId(ada.id.parse().unwrap()));
    for list in [
        "/v1/timelines/home",
        "/v1/timelines/local",
        "/v1/accounts/me/posts",
        &format!("/v1/posts?ids={waits},{fine}"),
    ] {
        let listed = ada.get(list).await.expect(200).ids();
        assert_eq!(listed, std::slice::from_ref(&fine), "{list}");
    }
    for (list, prev) in lists.iter().zip(&cursors) {
        let page = ada.get(&format!("{list}?cursor={prev}")).await.expect(200);
        assert_eq!(page.ids(), std::slice::from_ref(&fine), "{list}, what came");
        let counted = ada.get(&format!("{list}/count?newer_than={prev}")).await;
        assert_eq!(counted.expect(200).number("/count"), 1, "{list}, counted");
    }
    let likers = ada.get(&format!("{path}/likes")).await;
    likers.problem(503, "parked");
}
