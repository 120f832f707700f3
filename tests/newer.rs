//! What is new in a list: asked with the tag of a page, with a cursor, and counted.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{App, Client, Person};

use crate::paging::{HOME, LOCAL, cursor, known, walk, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_changes_with_what_the_page_shows_and_with_nothing_else() {
    let app = App::start().await;
    let [ada, bob, eve] = [
        app.client().register("ada").await,
        app.client().register("bob").await,
        app.client().register("eve").await,
    ];
    ada.follow(&bob).await;
    let mut posts = Vec::new();
    for number in 0..5 {
        let text = format!("{number} {}", "long enough to be compressed ".repeat(20));
        posts.push(bob.publish(&text).await);
    }
    app.settle().await;
    let paths = [
        with(HOME, "limit=3"),
        with(LOCAL, "limit=3"),
        format!("/v1/accounts/{}/posts?limit=3", bob.id),
    ];
    let tags = async || {
        let mut tags = Vec::new();
        for path in &paths {
            tags.push(ada.client.get(path).await.expect(200).header("etag"));
        }
        tags
    };
    let mut before = tags().await;
    let unchanged = async |before: &[String], what: &str| {
        app.settle().await;
        for (path, tag) in paths.iter().zip(before) {
            let same = known(&ada.client, path, tag).await;
            assert_eq!(same.status, 304, "{path}: {what}");
            assert!(!same.header("as-of").is_empty());
        }
    };
    // The log goes on, and the page does not change.
    bob.client
        .patch("/v1/accounts/me", json!({"bio": "a bio"}))
        .await
        .expect(200);
    let closed = json!({"text": "for followers", "visibility": "followers"});
    eve.client.post("/v1/posts", closed).await.expect(201);
    eve.like(&posts[0]).await;
    unchanged(&before, "what it does not show").await;
    // Nor with what is hidden from this reader.
    let mute = format!("/v1/accounts/{}/mute", eve.id);
    ada.client.put(&mute).await.expect(204);
    eve.publish("not for whoever mutes").await;
    unchanged(&before, "what is hidden").await;

    let changes: [(&str, &Person, Method, String, Option<Value>); 4] = [
        (
            "a like of another",
            &eve,
            Method::PUT,
            format!("/v1/posts/{}/like", posts[4]),
            None,
        ),
        (
            "a bookmark",
            &ada,
            Method::PUT,
            format!("/v1/posts/{}/bookmark", posts[3]),
            None,
        ),
        (
            "an author's name",
            &bob,
            Method::PATCH,
            "/v1/accounts/me".into(),
            Some(json!({"display_name": "Robert"})),
        ),
        (
            "a deletion",
            &bob,
            Method::DELETE,
            format!("/v1/posts/{}", posts[2]),
            None,
        ),
    ];
    for (what, who, method, path, body) in changes {
        let any = [("If-Match", "*")];
        let sent = who.client.send(method, &path, body, &any).await;
        assert!(sent.status.is_success(), "{what}: {}", sent.body);
        app.settle().await;
        let after = tags().await;
        for (before, after) in before.iter().zip(&after) {
            assert_ne!(before, after, "{what}");
        }
        before = after;
        unchanged(&before, what).await;
    }

    // Each encoding has a tag of its own, and any of them is known.
    for (path, tag) in paths.iter().zip(&before) {
        for encoding in ["zstd", "br", "gzip"] {
            let wanted = ("Accept-Encoding", encoding);
            let asked = [wanted];
            let sent = ada.client.send(Method::GET, path, None, &asked).await;
            let sent = sent.expect(200);
            assert_eq!(sent.header("content-encoding"), encoding);
            for part in ["Authorization", "Accept-Encoding"] {
                assert!(sent.header("vary").contains(part));
            }
            let own = sent.header("etag");
            assert_eq!(own, format!("{}.{encoding}\"", tag.trim_end_matches('"')));
            for known in [&own, tag] {
                let asked = [wanted, ("If-None-Match", known)];
                let same = ada.client.send(Method::GET, path, None, &asked).await;
                assert_eq!(&same.expect(304).header("etag"), known);
            }
        }
        // What another reader is shown is another page.
        let other = known(&eve.client, path, tag).await;
        assert_eq!(other.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_counted_as_it_is_listed() {
    let app = App::start().await;
    let [ada, bob, eve] = [
        app.client().register("ada").await,
        app.client().register("bob").await,
        app.client().register("eve").await,
    ];
    ada.follow(&bob).await;
    ada.follow(&eve).await;
    bob.publish("seen").await;
    app.settle().await;
    let of_bob = format!("/v1/accounts/{}/posts", bob.id);
    let paths = [HOME, LOCAL, &of_bob];
    let mut cursors = Vec::new();
    for path in paths {
        let page = ada.client.get(path).await.expect(200);
        cursors.push(cursor(&page, "prev").unwrap());
    }
    let counts = async |client: &Client| {
        app.settle().await;
        let mut counts = Vec::new();
        for (path, prev) in paths.iter().zip(&cursors) {
            let counted = client.get(&format!("{path}/count?newer_than={prev}")).await;
            let counted = counted.expect(200).body;
            let listed = walk(client, path, "prev", prev).await;
            let (count, more) = (counted["count"].as_u64().unwrap(), &counted["more"]);
            assert_eq!(count, listed.len().min(100) as u64, "{path}");
            assert_eq!(more, &json!(listed.len() > 100), "{path}");
            counts.push(count);
        }
        counts
    };
    assert_eq!(counts(&ada.client).await, [0, 0, 0]);
    let closed = json!({"text": "for followers", "visibility": "followers"});
    bob.client.post("/v1/posts", closed).await.expect(201);
    bob.publish("for all").await;
    eve.publish("of another").await;
    assert_eq!(counts(&ada.client).await, [3, 2, 2]);
    let mute = format!("/v1/accounts/{}/mute", eve.id);
    ada.client.put(&mute).await.expect(204);
    assert_eq!(counts(&ada.client).await, [2, 1, 2]);
    ada.client.delete(&mute).await.expect(204);
    ada.unfollow(&eve).await;
    assert_eq!(counts(&ada.client).await, [2, 2, 2]);

    let stranger = app.client().register("stranger").await;
    app.settle().await;
    let of_bob_count = format!("{of_bob}/count?newer_than={}", cursors[2]);
    for client in [&stranger.client, &app.client()] {
        let counted = client.get(&of_bob_count).await.expect(200);
        assert_eq!(counted.number("/count"), 1, "what is for all");
    }
    let private = json!({"private": true});
    (bob.client.patch("/v1/accounts/me", private).await).expect(200);
    app.settle().await;
    let listed = with(&of_bob, &format!("cursor={}", cursors[2]));
    for path in [&of_bob_count, &listed] {
        let refused = stranger.client.get(path).await;
        refused.problem(403, "account_private");
    }
    assert_eq!(counts(&ada.client).await, [2, 1, 2], "who follows sees it");
    let block = format!("/v1/accounts/{}/block", stranger.id);
    bob.client.put(&block).await.expect(204);
    app.settle().await;
    let blocked = stranger.client.get(&of_bob_count).await;
    blocked.problem(404, "not_found");

    // More than are counted.
    let public = json!({"private": false});
    (bob.client.patch("/v1/accounts/me", public).await).expect(200);
    for number in 0..98 {
        bob.publish(&format!("{number}")).await;
    }
    assert_eq!(counts(&ada.client).await, [100, 100, 100]);
    bob.publish("one more").await;
    assert_eq!(counts(&ada.client).await, [100, 100, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_hidden_comes_where_it_belongs() {
    let app = App::start().await;
    let [ada, loud, quiet] = [
        app.client().register("ada").await,
        app.client().register("loud").await,
        app.client().register("quiet").await,
    ];
    ada.follow(&loud).await;
    ada.follow(&quiet).await;
    quiet.publish("seen").await;
    let mute = format!("/v1/accounts/{}/mute", loud.id);
    ada.client.put(&mute).await.expect(204);
    app.settle().await;
    let mut pages = Vec::new();
    for path in [HOME, LOCAL] {
        pages.push((path, ada.client.get(path).await.expect(200)));
    }
    let mut all = Vec::new();
    for number in 0..40 {
        let author = if number % 20 == 7 { &quiet } else { &loud };
        all.push((number % 20 == 7, author.publish(&format!("{number}")).await));
    }
    all.reverse();
    let heard: Vec<_> = all.iter().filter(|(heard, _)| *heard).collect();
    let heard: Vec<_> = heard.into_iter().map(|(_, post)| post.clone()).collect();
    app.settle().await;
    for (path, page) in &pages {
        let prev = cursor(page, "prev").unwrap();
        let back = walk(&ada.client, path, "prev", &prev).await;
        assert_eq!(back, heard, "{path}");
    }
    ada.client.delete(&mute).await.expect(204);
    app.settle().await;
    let everything: Vec<_> = all.iter().map(|(_, post)| post.clone()).collect();
    for (path, page) in &pages {
        let prev = cursor(page, "prev").unwrap();
        let back = walk(&ada.client, path, "prev", &prev).await;
        assert_eq!(back, everything, "{path}: and nothing of it is lost");
    }
}
