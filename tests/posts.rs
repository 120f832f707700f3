//! Publishing, reading, editing, deleting, threads, visibility.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::App;

use crate::examination::all_of_the_app_is_as_the_log_says;

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_published_and_read_as_it_was_written() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let body = json!({
        "text": format!("Grüße an @{} #Rust #日本語", bob.handle),
        "language": "de",
        "metadata": {"category": "greetings", "price": 1.5},
    });
    let created = ada.client.post("/v1/posts", body.clone()).await.expect(201);
    let id = created.text("/id");
    assert_eq!(created.header("location"), format!("/v1/posts/{id}"));
    assert_eq!(created.header("etag"), "\"1\"");
    app.settle().await;

    let post = app
        .client()
        .get(&format!("/v1/posts/{id}"))
        .await
        .expect(200);
    assert_eq!(post.body["text"], body["text"]);
    assert_eq!(post.body["metadata"], body["metadata"]);
    assert_eq!(post.body["language"], "de");
    assert_eq!(post.body["hashtags"], json!(["rust", "日本語"]));
    assert_eq!(post.body["mention_ids"], json!([bob.id]));
    assert_eq!(post.text("/author/handle"), ada.handle);
    assert!(post.body.get("viewer").is_none(), "nobody is signed in");

    let tag = post.header("etag");
    let known = [("If-None-Match", tag.as_str())];
    let again = app
        .client()
        .send(Method::GET, &format!("/v1/posts/{id}"), None, &known)
        .await;
    assert_eq!(again.expect(304).body, Value::Null);
    let batch = app
        .client()
        .get(&format!("/v1/posts?ids={id}"))
        .await
        .expect(200);
    assert_eq!(batch.ids(), [id]);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_keeps_what_was_said_before() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let id = ada.publish("first").await;
    let path = format!("/v1/posts/{id}");
    for (text, etag) in [("second", "\"1\""), ("third", "\"2\"")] {
        let headers = [("If-Match", etag)];
        let body = Some(json!({"text": text}));
        let edited = ada
            .client
            .send(Method::PATCH, &path, body, &headers)
            .await
            .expect(200);
        assert_ne!(edited.header("etag"), etag);
    }
    let stale = ada
        .client
        .send(
            Method::PATCH,
            &path,
            Some(json!({"text": "no"})),
            &[("If-Match", "\"2\"")],
        )
        .await;
    stale.problem(412, "version_mismatch");
    app.settle().await;
    let post = app.client().get(&path).await.expect(200);
    assert_eq!(post.text("/text"), "third");
    assert_eq!(post.number("/version"), 3);
    assert!(post.body.get("edited_at").is_some());
    let history = app
        .client()
        .get(&format!("{path}/revisions"))
        .await
        .expect(200);
    let texts: Vec<_> = history.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["text"])
        .collect();
    assert_eq!(texts, ["second", "first"]);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_post_is_gone_everywhere_and_counts_follow() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let root = ada.publish("root").await;
    let reply = bob.reply(&root, "reply").await;
    bob.follow(&ada).await;
    app.settle().await;
    let read = |path: String| {
        let client = bob.client.clone();
        async move { client.get(&path).await }
    };
    let post = read(format!("/v1/posts/{root}")).await.expect(200);
    assert_eq!(post.number("/replies_count"), 1);
    assert_eq!(
        bob.client.get("/v1/timelines/home").await.ids(),
        [reply.clone(), root.clone()]
    );

    bob.client
        .delete(&format!("/v1/posts/{reply}"))
        .await
        .expect(204);
    bob.client
        .delete(&format!("/v1/posts/{reply}"))
        .await
        .expect(204);
    app.settle().await;
    read(format!("/v1/posts/{reply}"))
        .await
        .problem(404, "not_found");
    let post = read(format!("/v1/posts/{root}")).await.expect(200);
    assert_eq!(post.number("/replies_count"), 0);
    let account = read(format!("/v1/accounts/{}", bob.id)).await.expect(200);
    assert_eq!(account.number("/posts_count"), 0);
    for path in ["/v1/timelines/home", "/v1/timelines/local"] {
        assert_eq!(
            bob.client.get(path).await.expect(200).ids(),
            std::slice::from_ref(&root)
        );
    }
    let thread = read(format!("/v1/posts/{root}/thread")).await.expect(200);
    assert_eq!(thread.body["descendants"], json!([]));
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_shows_what_is_above_and_below() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let root = ada.publish("root").await;
    let middle = bob.reply(&root, "middle").await;
    let leaf = ada.reply(&middle, "leaf").await;
    let other = bob.reply(&root, "other").await;
    app.settle().await;

    let thread = app
        .client()
        .get(&format!("/v1/posts/{middle}/thread"))
        .await
        .expect(200);
    assert_eq!(thread.text("/ancestors/0/id"), root);
    assert_eq!(thread.text("/post/id"), middle);
    assert_eq!(thread.text("/descendants/0/id"), leaf);
    assert_eq!(thread.text("/descendants/0/root_id"), root);
    assert_eq!(thread.text("/descendants/0/reply_to_id"), middle);

    let replies = app
        .client()
        .all(&format!("/v1/posts/{root}/replies"), 1)
        .await;
    assert_eq!(testkit::ids(&replies), [middle, other]);
    let below = app
        .client()
        .get(&format!("/v1/posts/{root}/thread?limit=2"))
        .await
        .expect(200);
    assert_eq!(below.body["descendants"].as_array().unwrap().len(), 2);
    let cursor = below.text("/next_cursor");
    let more = format!("/v1/posts/{root}/thread?limit=2&cursor={cursor}");
    let rest = app.client().get(&more).await.expect(200);
    assert_eq!(rest.body["descendants"].as_array().unwrap().len(), 1);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followers_only_post_is_nowhere_to_be_seen_by_strangers() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let friend = app.client().register("friend").await;
    let stranger = app.client().register("stranger").await;
    friend.follow(&ada).await;
    let body = json!({"text": "for friends", "visibility": "followers"});
    let id = ada
        .client
        .post("/v1/posts", body)
        .await
        .expect(201)
        .text("/id");
    app.settle().await;

    let paths = [
        format!("/v1/posts/{id}"),
        format!("/v1/posts/{id}/thread"),
        format!("/v1/posts/{id}/replies"),
        format!("/v1/posts/{id}/revisions"),
        format!("/v1/posts/{id}/likes"),
    ];
    let lists = [
        format!("/v1/posts?ids={id}"),
        format!("/v1/accounts/{}/posts", ada.id),
    ];
    for client in [&ada.client, &friend.client] {
        for path in &paths {
            client.get(path).await.expect(200);
        }
        for path in &lists {
            assert_eq!(
                client.get(path).await.expect(200).ids(),
                std::slice::from_ref(&id),
                "{path}"
            );
        }
        assert_eq!(
            client.get("/v1/timelines/home").await.ids(),
            std::slice::from_ref(&id)
        );
    }
    for client in [&stranger.client, &app.client()] {
        for path in &paths {
            client.get(path).await.problem(404, "not_found");
        }
        for path in &lists {
            assert!(
                client.get(path).await.expect(200).ids().is_empty(),
                "{path}"
            );
        }
        assert!(client.get("/v1/timelines/local").await.ids().is_empty());
    }
    let like = format!("/v1/posts/{id}/like");
    let hidden = stranger.client.delete(&like).await;
    hidden.problem(404, "not_found");
    stranger.client.put(&like).await.problem(404, "not_found");
    friend.client.put(&like).await.expect(204);
    let reply = json!({"text": "hm", "reply_to_id": id});
    let refused = stranger.client.post("/v1/posts", reply.clone()).await;
    refused.problem(422, "invalid_field");
    friend.client.post("/v1/posts", reply).await.expect(201);

    friend.unfollow(&ada).await;
    app.settle().await;
    friend.client.get(&paths[0]).await.problem(404, "not_found");
    assert!(
        friend
            .client
            .get("/v1/timelines/home")
            .await
            .ids()
            .iter()
            .all(|other| *other != id)
    );
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_publishes_once() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let client = ada.client.clone();
        tries.spawn(async move {
            let headers = [("Idempotency-Key", "once")];
            let body = Some(json!({"text": "once"}));
            let answer = client
                .send(Method::POST, "/v1/posts", body, &headers)
                .await
                .expect(201);
            (answer.body.to_string(), answer.header("event-position"))
        });
    }
    let mut answers = std::collections::BTreeSet::new();
    while let Some(answer) = tries.join_next().await {
        answers.insert(answer.unwrap());
    }
    assert_eq!(answers.len(), 1);
    app.settle().await;
    assert_eq!(
        ada.client
            .get("/v1/accounts/me/posts")
            .await
            .expect(200)
            .ids()
            .len(),
        1
    );
    let other = Some(json!({"text": "twice"}));
    let reused = ada
        .client
        .send(
            Method::POST,
            "/v1/posts",
            other,
            &[("Idempotency-Key", "once")],
        )
        .await;
    reused.problem(422, "idempotency_key_reused");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_of_what_was_shown_and_to_whom() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let path = format!("/v1/posts/{}", ada.publish("tagged").await);
    app.settle().await;
    let conditional = |client: &testkit::Client, path: &str, tag: &str| {
        let (client, path, tag) = (client.clone(), path.to_owned(), tag.to_owned());
        async move {
            let known = [("If-None-Match", tag.as_str())];
            client.send(Method::GET, &path, None, &known).await
        }
    };
    let mine = ada.client.get("/v1/accounts/me").await.expect(200);
    let tag = mine.header("etag");
    conditional(&ada.client, "/v1/accounts/me", &tag)
        .await
        .expect(304);
    conditional(&bob.client, "/v1/accounts/me", &tag)
        .await
        .expect(200);
    assert!(mine.header("vary").contains("Authorization"));

    let before = bob.client.get(&path).await.expect(200).header("etag");
    conditional(&bob.client, &path, &before).await.expect(304);
    bob.client.put(&format!("{path}/like")).await.expect(204);
    app.settle().await;
    let after = conditional(&bob.client, &path, &before).await.expect(200);
    assert_eq!(after.body["viewer"]["liked"], true);
    // A tag of a page guards an edit as well as the version alone does.
    let seen = ada.client.get(&path).await.expect(200).header("etag");
    let edit = || Some(json!({"text": "edited"}));
    let guard = [("If-Match", seen.as_str())];
    ada.client
        .send(Method::PATCH, &path, edit(), &guard)
        .await
        .expect(200);
    let stale = ada.client.send(Method::PATCH, &path, edit(), &guard).await;
    stale.problem(412, "version_mismatch");
    // Any of several (RFC 9110, 13.1.1).
    let guard = [("If-Match", "\"99\" , W/\"3\",, \"2\"")];
    let edited = ada.client.send(Method::PATCH, &path, edit(), &guard).await;
    assert_eq!(edited.expect(200).number("/version"), 3);
    let guard = [("If-Match", "\"99\""), ("If-Match", "\"3\"")];
    let edited = ada.client.send(Method::PATCH, &path, edit(), &guard).await;
    assert_eq!(edited.expect(200).number("/version"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_effect_however_the_path_is_spelled() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let id = ada.publish("first").await;
    for spelling in [id.clone(), id.to_uppercase(), id.replace('-', "")] {
        let path = format!("/v1/posts/{spelling}");
        let key = [("Idempotency-Key", "edit-once"), ("If-Match", "\"1\"")];
        let body = Some(json!({"text": "second"}));
        let edited = ada.client.send(Method::PATCH, &path, body, &key).await;
        assert_eq!(edited.expect(200).number("/version"), 2, "{spelling}");
    }
}
