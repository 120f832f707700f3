//! You read what you wrote, through any process; and reads go on where the log
//! or the views are away.

use std::time::Duration;

use devservices::{Programs, Stack};
use reqwest::Method;
use serde_json::json;
use tempfile::tempdir;
use testkit::{App, Client, Servers, until};

use crate::process::Running;

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_reads_it_at_once_and_others_by_its_position() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let first = Running::serve(&servers, folder.path()).await;
    let second = Running::serve(&servers, folder.path()).await;
    let worker = Running::work(&servers, folder.path()).await;
    let ada = Client::new(first.api.clone()).register("ada").await;
    let bob = Client::new(second.api.clone()).register("bob").await;
    let token = ada.client.post(
        "/v1/sessions",
        json!({"login": ada.handle, "password": ada.password}),
    );
    let token = token.await.expect(201).text("/access_token");
    let elsewhere = Client::new(second.api.clone()).with_token(token);
    for number in 0..25 {
        let text = format!("post {number}");
        let created = ada
            .client
            .post("/v1/posts", json!({"text": text}))
            .await
            .expect(201);
        let (id, position) = (created.text("/id"), created.header("event-position"));
        // The writer, through the other process, with no help.
        let path = format!("/v1/posts/{id}");
        assert_eq!(elsewhere.get(&path).await.expect(200).text("/text"), text);
        assert_eq!(
            elsewhere
                .get("/v1/timelines/home?limit=1")
                .await
                .expect(200)
                .ids(),
            std::slice::from_ref(&id)
        );
        // Somebody else, who was told the position.
        let told = [("Min-Position", position.as_str())];
        let read = bob
            .client
            .send(Method::GET, &path, None, &told)
            .await
            .expect(200);
        let plain = testkit::position(&position);
        let partition = plain.split(':').next().unwrap();
        let as_of = testkit::position(&read.header("as-of"));
        assert!(
            as_of
                .split(',')
                .any(|p| p.starts_with(&format!("{partition}:"))),
            "{as_of}"
        );

        bob.client.put(&format!("{path}/like")).await.expect(204);
        assert_eq!(
            bob.client.get(&path).await.expect(200).body["viewer"]["liked"],
            true
        );
    }
    assert_eq!(worker.stop().await, 0);

    // Without a worker one's own write is never answered with older data.
    let created = ada
        .client
        .post("/v1/posts", json!({"text": "too early"}))
        .await
        .expect(201);
    let path = format!("/v1/posts/{}", created.text("/id"));
    let behind = ada
        .client
        .get(&path)
        .await
        .problem(503, "projection_behind");
    assert_ne!(behind.header("retry-after"), "");
    bob.client.get("/v1/timelines/local").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_within_10_seconds() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let api = Running::serve(&servers, folder.path()).await;
    let first = Running::work(&servers, folder.path()).await;
    let ada = Client::new(api.api.clone()).register("ada").await;
    let folded = || async { ada.client.get("/v1/accounts/me").await.status == 200 };
    until("the first worker folds", 20, folded).await;
    let second = Running::work(&servers, folder.path()).await;
    first.kill().await;
    let post = ada.publish("who folds this?").await;
    let path = format!("/v1/posts/{post}");
    let folded = || async { ada.client.get(&path).await.status == 200 };
    until("the second worker has taken over", 10, folded).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_worker_commits_nothing_stale() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let api = Running::serve(&servers, folder.path()).await;
    let paused = Running::work(&servers, folder.path()).await;
    let ada = Client::new(api.api.clone()).register("ada").await;
    let bob = Client::new(api.api.clone()).register("bob").await;
    let path = format!("/v1/accounts/{}", ada.id);
    let folded = || async { bob.client.get(&path).await.status == 200 };
    until("the first worker folds", 20, folded).await;
    paused.signal("STOP");
    let other = Running::work(&servers, folder.path()).await;
    for number in 0..20 {
        let post = ada.publish(&format!("{number}")).await;
        bob.like(&post).await;
    }
    let caught_up = || async { ada.client.get(&path).await.status == 200 };
    until("the other worker has taken over", 15, caught_up).await;
    paused.signal("CONT");
    let last = ada.publish("after the pause").await;
    let read = || async { ada.client.get(&format!("/v1/posts/{last}")).await.status == 200 };
    until("both go on", 15, read).await;
    let account = ada.client.get(&path).await.expect(200);
    assert_eq!(account.number("/posts_count"), 21);
    let posts = ada.client.all("/v1/accounts/me/posts", 10).await;
    assert_eq!(posts.len(), 21);
    assert!(
        posts[1..].iter().all(|post| post["likes_count"] == 1),
        "{posts:?}"
    );
    assert_eq!(other.stop().await, 0);
    assert_eq!(paused.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_log_stopped_every_get_still_answers() {
    let programs = Programs::find().unwrap();
    let mut stack = Stack::throwaway(&programs).await.unwrap();
    let app = App::on(Servers::on(stack.urls()).await).await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    bob.follow(&ada).await;
    let post = ada.publish("still here").await;
    bob.reply(&post, "yes").await;
    let folder = json!({"folder_name": "Later"});
    let folder = bob.client.post("/v1/bookmark-folders", folder).await;
    let folder = folder.expect(201).text("/id");
    app.settle().await;
    let sessions = bob.client.get("/v1/sessions").await.expect(200);
    let session = sessions.text("/items/0/id");
    stack.log().stop().await.unwrap();

    let document = app.client().get("/openapi.json").await.expect(200);
    let mut gets = 0;
    for (template, methods) in document.body["paths"].as_object().unwrap() {
        // Operators ask the log itself.
        if methods.get("get").is_none() || template.starts_with("/v1/operations/") {
            continue;
        }
        let path = template
            .replace("{account_id}", &ada.id)
            .replace("{post_id}", &post)
            .replace("{session_id}", &session)
            .replace("{folder_id}", &folder)
            .replace("{handle}", &ada.handle);
        let ids = match template.as_str() {
            "/v1/accounts" | "/v1/relationships" => format!("?ids={}", ada.id),
            "/v1/posts" => format!("?ids={post}"),
            template if template.ends_with("/count") => {
                let page = bob.client.get(path.trim_end_matches("/count")).await;
                format!("?newer_than={}", page.expect(200).text("/prev_cursor"))
            }
            _ => String::new(),
        };
        let began = std::time::Instant::now();
        let answer = bob.client.get(&format!("{path}{ids}")).await.expect(200);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{template} took too long"
        );
        // Neither the vault nor the settings lag behind the log.
        let folded = ![
            "/v1/limits",
            "/v1/sessions",
            "/v1/sessions/{session_id}",
            "/v1/accounts/me/second-factor",
        ]
        .contains(&template.as_str());
        if template.starts_with("/v1") && folded {
            assert_ne!(answer.header("as-of"), "", "{template} says how far it is");
        }
        gets += 1;
    }
    assert!(gets >= 15, "the document has {gets} reads");
    let refused = bob.client.put(&format!("/v1/posts/{post}/like")).await;
    let refused = refused.problem(503, "unavailable");
    assert_ne!(refused.header("retry-after"), "");

    stack.log().restart().await.unwrap();
    let path = format!("/v1/posts/{post}/like");
    let back = || async { bob.client.put(&path).await.status == 204 };
    until("writes work again", 10, back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_views_wiped_or_away_home_is_right_at_its_next_read() {
    let programs = Programs::find().unwrap();
    let mut stack = Stack::throwaway(&programs).await.unwrap();
    let app = App::on(Servers::on(stack.urls()).await).await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    bob.follow(&ada).await;
    let mut wanted = Vec::new();
    for number in 0..10 {
        wanted.push(ada.publish(&format!("{number}")).await);
    }
    wanted.reverse();
    app.settle().await;
    let home = || async { testkit::ids(&bob.client.all("/v1/timelines/home", 3).await) };
    assert_eq!(home().await, wanted);

    // The views server keeps nothing over a restart, its functions neither.
    stack.views().kill().await.unwrap();
    assert_eq!(home().await, wanted, "away");
    stack.views().restart().await.unwrap();
    assert_eq!(home().await, wanted, "wiped");
    let next = ada.publish("and on").await;
    app.settle().await;
    wanted.insert(0, next);
    assert_eq!(home().await, wanted, "pushed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_is_the_same_and_has_a_tag_of_its_own() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let text = "a post that is long enough to be sent in fewer bytes. ".repeat(30);
    let post = ada.publish(&text).await;
    app.settle().await;
    let path = format!("/v1/posts/{post}");
    let plain = ada.client.get(&path).await.expect(200);
    let tag = plain.header("etag");
    for encoding in ["zstd", "br", "gzip"] {
        let wanted = [("Accept-Encoding", encoding)];
        let sent = ada.client.send(Method::GET, &path, None, &wanted);
        let sent = sent.await.expect(200);
        assert_eq!(sent.header("content-encoding"), encoding);
        assert!(sent.header("vary").contains("Accept-Encoding"));
        let own = sent.header("etag");
        assert_eq!(own, format!("{}.{encoding}\"", tag.trim_end_matches('"')));
        // Whichever representation the reader has, it is this one.
        for known in [&own, &tag] {
            let asked = [wanted[0], ("If-None-Match", known)];
            let same = ada.client.send(Method::GET, &path, None, &asked);
            assert_eq!(&same.await.expect(304).header("etag"), known);
        }
        // A write's answer may hold secrets.
        let session = json!({"login": ada.handle, "password": ada.password});
        let session = ada
            .client
            .send(Method::POST, "/v1/sessions", Some(session), &wanted);
        assert_eq!(session.await.expect(201).header("content-encoding"), "");
    }
    let own = format!("{}.br\"", tag.trim_end_matches('"'));
    // An edit names what was read, however it came.
    let condition = [("If-Match", own.as_str())];
    let edited = ada.client.send(
        Method::PATCH,
        &path,
        Some(json!({"text": text})),
        &condition,
    );
    edited.await.expect(200);
}
