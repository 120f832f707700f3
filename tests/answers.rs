//! What writes answer with: what they made or changed, as its GET shows it, or the short
//! answer.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{App, Client, Servers};

use crate::process::Running;

const SHORT: &str = "return=minimal";

/// The same, but for headers that are of one answer, and for positions.
async fn as_its_get_shows_it(client: &Client, path: &str, shown: &Value) {
    let read = client.get(path).await.expect(200);
    assert_eq!(&read.body, shown, "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_answer_with_what_their_get_shows() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let api = Running::serve(&servers, folder.path()).await;
    let worker = Running::work(&servers, folder.path()).await;
    let ada = Client::new(api.api.clone()).register("ada").await;
    let bob = Client::new(api.api.clone()).register("bob").await;
    let (whole, shy) = (ada.client.whole(), bob.client.whole());

    let text = format!("to @{} and #all", bob.handle);
    let made = whole.post("/v1/posts", json!({"text": text})).await;
    let made = made.expect(201);
    assert_ne!(made.header("event-position"), "");
    assert_eq!(made.header("preference-applied"), "");
    let path = format!("/v1/posts/{}", made.text("/id"));
    assert_eq!(made.header("location"), path);
    as_its_get_shows_it(&whole, &path, &made.body).await;
    assert_eq!(
        made.header("etag"),
        whole.get(&path).await.expect(200).header("etag")
    );
    assert_eq!(made.body["mention_ids"], json!([bob.id]));

    // Its tag is that of the post: an edit takes it, and gives the next one.
    let tag = [("If-Match", made.header("etag"))];
    let tag: Vec<_> = tag
        .iter()
        .map(|(name, tag)| (*name, tag.as_str()))
        .collect();
    let body = json!({"text": "to nobody"});
    let edited = whole.send(Method::PATCH, &path, Some(body), &tag).await;
    let edited = edited.expect(200);
    assert_eq!(edited.text("/text"), "to nobody");
    assert_eq!(edited.number("/version"), 2);
    as_its_get_shows_it(&whole, &path, &edited.body).await;
    let known = [("If-None-Match", edited.header("etag"))];
    let known: Vec<_> = known
        .iter()
        .map(|(name, tag)| (*name, tag.as_str()))
        .collect();
    whole
        .send(Method::GET, &path, None, &known)
        .await
        .expect(304);

    // Marks answer with the post after them, counters and all.
    for (mark, flag, counter) in [
        ("like", "liked", Some("likes_count")),
        ("repost", "reposted", Some("reposts_count")),
        ("bookmark", "bookmarked", None),
    ] {
        for is_set in [true, false] {
            let method = if is_set { Method::PUT } else { Method::DELETE };
            let answer = shy.send(method, &format!("{path}/{mark}"), None, &[]).await;
            let answer = answer.expect(200);
            let post = &answer.body["post"];
            assert_eq!(post["viewer"][flag], is_set, "{mark}: {post}");
            if let Some(counter) = counter {
                assert_eq!(post[counter], i64::from(is_set), "{mark}");
            }
            as_its_get_shows_it(&shy, &path, post).await;
        }
    }

    // What is between two accounts, after each change of it, by id and by handle.
    let between = format!("/v1/relationships?ids={}", ada.id);
    let by_handle = format!("@{}", ada.handle);
    for (method, name, what, flag, is_set) in [
        (Method::PUT, &ada.id, "follow", "following", true),
        (Method::DELETE, &by_handle, "follow", "following", false),
        (Method::PUT, &by_handle, "mute", "muting", true),
        (Method::DELETE, &ada.id, "mute", "muting", false),
        (Method::PUT, &by_handle, "follow", "following", true),
        (Method::PUT, &ada.id, "block", "blocking", true),
        (Method::DELETE, &by_handle, "block", "blocking", false),
    ] {
        let at = format!("/v1/accounts/{name}/{what}");
        let answer = shy.send(method, &at, None, &[]).await.expect(200);
        assert_eq!(answer.body[flag], is_set, "{at}: {}", answer.body);
        assert_eq!(answer.body["account_id"], json!(ada.id));
        let read = shy.get(&between).await.expect(200);
        assert_eq!(read.body["items"][0], answer.body, "{at}");
    }
    // The block ended the follow, and the answer said so.
    let read = shy.get(&between).await.expect(200);
    assert_eq!(read.body["items"][0]["following"], false);

    let me = whole
        .patch("/v1/accounts/me", json!({"bio": "Engines."}))
        .await;
    as_its_get_shows_it(&whole, "/v1/accounts/me", &me.expect(200).body).await;
    let pinned = json!({"post_id": made.text("/id")});
    let pinned = whole.send(
        Method::PUT,
        "/v1/accounts/me/pinned-post",
        Some(pinned),
        &[],
    );
    let pinned = pinned.await.expect(200);
    assert_eq!(pinned.body["pinned_post_id"], made.body["id"]);
    let unpinned = whole
        .delete("/v1/accounts/me/pinned-post")
        .await
        .expect(200);
    as_its_get_shows_it(&whole, "/v1/accounts/me", &unpinned.body).await;

    // What is gone has nothing to show, and what was done with it is done.
    shy.put(&format!("{path}/like")).await.expect(200);
    whole.delete(&path).await.expect(204);
    let unliked = shy.delete(&format!("{path}/like")).await;
    assert_eq!(unliked.expect(200).body, json!({}));

    let folder_name = json!({"folder_name": "Later"});
    let folder = whole.post("/v1/bookmark-folders", folder_name).await;
    let folder = folder.expect(201);
    let at = folder.header("location");
    as_its_get_shows_it(&whole, &at, &folder.body).await;
    let renamed = whole.patch(&at, json!({"folder_name": "Sooner"})).await;
    as_its_get_shows_it(&whole, &at, &renamed.expect(200).body).await;
    assert_eq!(worker.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_answer_is_given_where_it_is_asked_for() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let short = [("Prefer", "wait=5, return=minimal")];
    let client = ada.client.whole();
    let body = json!({"text": "short"});
    let made = client.send(Method::POST, "/v1/posts", Some(body), &short);
    let made = made.await.expect(201);
    assert_eq!(made.body, json!({"id": made.text("/id"), "version": 1}));
    assert_eq!(made.header("preference-applied"), SHORT);
    assert_eq!(made.header("etag"), "\"1\"");
    let path = format!("/v1/posts/{}", made.text("/id"));
    let like = format!("{path}/like");
    let liked = client.send(Method::PUT, &like, None, &short).await;
    let liked = liked.expect(204);
    assert_eq!(liked.body, Value::Null);
    assert_eq!(liked.header("preference-applied"), SHORT);
    assert_ne!(liked.header("event-position"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_cannot_be_shown_is_done_and_answered_shortly() {
    // Nothing is folded here until `settle`.
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let client = ada.client.whole();
    let made = client.post("/v1/posts", json!({"text": "unfolded"})).await;
    let made = made.expect(201);
    assert_eq!(made.body, json!({"id": made.text("/id"), "version": 1}));
    assert_eq!(made.header("preference-applied"), SHORT);
    let path = format!("/v1/posts/{}", made.text("/id"));
    app.settle().await;
    assert_eq!(
        client.get(&path).await.expect(200).text("/text"),
        "unfolded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_write_says_so() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let key = [("Idempotency-Key", "one-and-the-same")];
    let body = json!({"text": "once"});
    let once = async || {
        let sent = (ada.client).send(Method::POST, "/v1/posts", Some(body.clone()), &key);
        sent.await.expect(201)
    };
    let first = once().await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = once().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.body, first.body);
    assert_eq!(
        again.header("event-position"),
        first.header("event-position")
    );
    let deletion = [("Idempotency-Key", "gone-once")];
    let path = format!("/v1/posts/{}", first.text("/id"));
    for replayed in ["", "true"] {
        let gone = (ada.client)
            .send(Method::DELETE, &path, None, &deletion)
            .await;
        assert_eq!(gone.expect(204).header("idempotent-replayed"), replayed);
    }
}
