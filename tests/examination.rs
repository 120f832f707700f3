//! The oracle examines what stories leave behind; and it sees what is wrong.

use oracle::{Target, Verdict};
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tempfile::tempdir;
use testkit::{App, Servers};

/// Of an API at `api`, with every account in the sample.
pub fn target(servers: &Servers, api: String) -> Target {
    Target {
        log_url: servers.redis_log.clone(),
        key_prefix: servers.prefix.clone(),
        database_url: servers.database.clone(),
        views_url: Some(servers.redis_views.clone()),
        api_url: Some(api),
        token_secret: Some(testkit::secrets::TOKEN_SECRET.into()),
        vault_secrets: vec![testkit::secrets::VAULT_SECRET.into()],
        token_issuer: "headwater".into(),
        cursor_secret: Some(testkit::secrets::TOKEN_SECRET.into()),
        home_sample: 50,
        seed: 1,
        journal: None,
    }
}

pub async fn examine(target: Target) -> Verdict {
    let examined = tokio::task::spawn_blocking(move || oracle::examine(&target));
    examined.await.unwrap().unwrap()
}

/// Fails where the system is not as its log says.
pub async fn all_is_as_the_log_says(target: Target) {
    let began = std::time::Instant::now();
    let verdict = examine(target).await;
    eprintln!("examined in {:?}: {:?}", began.elapsed(), verdict.counts);
    assert!(
        verdict.violations.is_empty(),
        "{}",
        verdict.violations.join("\n")
    );
}

pub async fn all_of_the_app_is_as_the_log_says(app: &App) {
    app.settle().await;
    all_is_as_the_log_says(target(&app.servers, app.url())).await;
}

/// Somebody with something of everything.
async fn settled_world() -> App {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let eve = app.client().register("eve").await;
    // A home that is read before is filled anew.
    ada.publish("before the follow").await;
    app.settle().await;
    bob.client.get("/v1/timelines/home").await.expect(200);
    bob.follow(&ada).await;
    eve.follow(&ada).await;
    eve.unfollow(&ada).await;
    let text = format!("hi @{} #rust", bob.handle);
    let body = json!({"text": text, "metadata": {"price": 1e2}, "language": "en"});
    let key = [("Idempotency-Key", "one")];
    let post = ada
        .client
        .send(Method::POST, "/v1/posts", Some(body), &key)
        .await;
    let post = post.expect(201).text("/id");
    let path = format!("/v1/posts/{post}");
    let edit = json!({"text": "edited", "language": "de"});
    ada.client.patch(&path, edit).await.expect(200);
    let hidden = json!({"text": "for friends", "visibility": "followers"});
    let hidden = ada.client.post("/v1/posts", hidden).await.expect(201);
    bob.reply(&hidden.text("/id"), "seen by all").await;
    let reply = bob.reply(&post, "a reply").await;
    let gone = bob.reply(&reply, "gone").await;
    let gone = format!("/v1/posts/{gone}");
    let edit = json!({"text": "gone, and edited"});
    bob.client.patch(&gone, edit).await.expect(200);
    bob.client.delete(&gone).await.expect(204);
    for reader in [&bob, &eve] {
        reader.like(&post).await;
    }
    let like = format!("/v1/posts/{post}/like");
    eve.client.delete(&like).await.expect(204);
    let profile = json!({"bio": "Engines.", "display_name": null});
    ada.client
        .patch("/v1/accounts/me", profile)
        .await
        .expect(200);
    let pin = Some(json!({"post_id": post}));
    let pinned = "/v1/accounts/me/pinned-post";
    ada.client
        .send(Method::PUT, pinned, pin, &[])
        .await
        .expect(204);
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_with_something_of_everything_is_as_its_log_says() {
    let app = settled_world().await;
    all_of_the_app_is_as_the_log_says(&app).await;
}

/// What the oracle says first of a settled world after `sql`.
async fn seen_after(sql: &str) -> String {
    let app = settled_world().await;
    app.settle().await;
    app.database.execute_unprepared(sql).await.unwrap();
    let verdict = examine(target(&app.servers, app.url())).await;
    verdict.violations.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_in_a_table_is_seen() {
    for (sql, word) in [
        ("DELETE FROM social.likes", "likes"),
        ("UPDATE social.likes SET liked_at = liked_at + 1", "likes"),
        ("DELETE FROM social.follows", "follows"),
        (
            "UPDATE social.account_counters SET followers = followers + 1",
            "account counters",
        ),
        (
            "UPDATE social.post_counters SET replies = replies + 1",
            "post counters",
        ),
        (
            "INSERT INTO social.post_counters (post_id) VALUES (gen_random_uuid())",
            "post counters",
        ),
        (
            "UPDATE social.posts SET text = text || '!' WHERE parent_id IS NOT NULL",
            "posts",
        ),
        ("UPDATE social.posts SET followers_only = false", "posts"),
        (
            "UPDATE social.posts SET mentions = array[author_id]",
            "posts",
        ),
        (
            "UPDATE social.posts SET metadata = '{}' WHERE metadata IS NOT NULL",
            "posts",
        ),
        (
            "UPDATE social.post_revisions SET version = 9",
            "post revisions",
        ),
        ("UPDATE social.accounts SET bio = NULL", "accounts"),
        (
            "UPDATE social.accounts SET active_on = active_on - 1",
            "accounts",
        ),
        (
            "UPDATE projections.checkpoints SET seq = seq + 1",
            "checkpoint",
        ),
        (
            "UPDATE projections.checkpoints SET stopped_because = 'x'",
            "stands still",
        ),
        (
            "UPDATE vault.account_keys SET key = sha256('other')",
            "does not open",
        ),
    ] {
        let seen = seen_after(sql).await;
        assert!(seen.contains(word), "{sql}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_beside_the_log_is_seen() {
    for (family, command, arguments, word) in [
        ("s1:", "DEL", vec![], "states"),
        ("l:", "SET", vec!["1-0"], "last positions"),
        ("r:", "DEL", vec![], "the receipt of"),
        ("r:", "SET", vec!["1 1-1 1-1 x"], "receipt"),
        ("events", "XTRIM", vec!["MAXLEN", "1"], "gap"),
        ("events", "XADD", vec!["1-999", "e", "x"], "the entry at"),
    ] {
        let app = settled_world().await;
        app.settle().await;
        let client = redis::Client::open(app.servers.redis_log.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let pattern = format!("{}:*:{family}*", app.servers.prefix);
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut connection)
            .await
            .unwrap();
        for key in keys {
            let mut change = redis::cmd(command);
            change.arg(key).arg(&arguments);
            change
                .query_async::<redis::Value>(&mut connection)
                .await
                .unwrap();
        }
        let verdict = examine(target(&app.servers, app.url())).await;
        let seen = verdict.violations.join("\n");
        assert!(seen.contains(word), "{command} {family}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_the_log_does_not_know_is_seen() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let created = ada.client.post("/v1/posts", json!({"text": "kept"})).await;
    let position = testkit::position(&created.expect(201).header("event-position"));
    app.settle().await;
    let folder = tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let line = |account: &str, position: &str| {
        json!({"account": account, "key": "k", "position": position, "status": 201}).to_string()
    };
    let nobody = crate::accounts::uuid().to_string();
    for (lines, violations) in [
        (vec![line(&ada.id, &position)], 0),
        (vec![line(&nobody, &position)], 1),
        (vec![line(&ada.id, "0:1-999")], 1),
        (vec![line(&ada.id, &position), line(&ada.id, "0:1-999")], 2),
        (vec!["{".into()], 1),
    ] {
        std::fs::write(&journal, lines.join("\n")).unwrap();
        let mut target = target(&app.servers, app.url());
        target.journal = Some(journal.clone());
        let verdict = examine(target).await;
        assert_eq!(
            verdict.violations.len(),
            violations,
            "{:?}",
            verdict.violations
        );
    }
}
