//! Blocks and mutes: what they hide, from whom, and that they do so at once.

use domain::{blocks::Blocks, edges::Connect};
use eventlog::Intent;
use kernel::{AccountId, Position, Uuid};
use reqwest::Method;
use serde_json::json;
use testkit::{App, Person};

use crate::examination::all_of_the_app_is_as_the_log_says;

fn on(person: &Person, what: &str) -> String {
    format!("/v1/accounts/{}/{what}", person.id)
}

fn partition_of(app: &App, person: &Person) -> u16 {
    let id: Uuid = person.id.parse().unwrap();
    app.log.partition_of_account(AccountId(id)).0
}

async fn relationship(of: &Person, to: &Person) -> serde_json::Value {
    let path = format!("/v1/relationships?ids={}", to.id);
    of.client.get(&path).await.expect(200).body["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_blocked_finds_nothing_and_does_nothing() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let carl = app.client().register("carl").await;
    let post = ada.publish("hello").await;
    bob.follow(&ada).await;
    ada.follow(&bob).await;
    carl.follow(&ada).await;
    bob.like(&post).await;
    let answer = bob.reply(&post, "hi").await;
    let bobs = bob.publish("by bob").await;
    app.settle().await;
    // Kept in process before the block, it must not be shown after it.
    assert_eq!(
        bob.client
            .get("/v1/timelines/home")
            .await
            .expect(200)
            .ids()
            .len(),
        3
    );
    bob.client
        .get(&format!("/v1/posts/{post}"))
        .await
        .expect(200);

    ada.client.put(&on(&bob, "block")).await.expect(204);
    ada.client.put(&on(&bob, "block")).await.expect(204);
    app.settle().await;
    let post_path = format!("/v1/posts/{post}");
    for path in [
        format!("/v1/accounts/{}", ada.id),
        format!("/v1/handles/{}", ada.handle),
        on(&ada, "posts"),
        on(&ada, "followers"),
        on(&ada, "following"),
        post_path.clone(),
        format!("{post_path}/thread"),
        format!("{post_path}/replies"),
        format!("{post_path}/likes"),
        format!("{post_path}/revisions"),
    ] {
        bob.client.get(&path).await.problem(404, "not_found");
    }
    for path in [
        format!("/v1/accounts?ids={}", ada.id),
        format!("/v1/posts?ids={post}"),
        format!("/v1/relationships?ids={}", ada.id),
        on(&bob, "following"),
    ] {
        let items = bob.client.get(&path).await.expect(200);
        assert!(items.ids().is_empty(), "{path}: {}", items.body);
    }
    for path in ["/v1/timelines/home", "/v1/timelines/local"] {
        assert_eq!(
            bob.client.get(path).await.expect(200).ids(),
            [bobs.clone(), answer.clone()]
        );
        assert_eq!(
            ada.client.get(path).await.expect(200).ids(),
            std::slice::from_ref(&post)
        );
    }
    bob.client
        .put(&on(&ada, "follow"))
        .await
        .problem(404, "not_found");
    bob.client
        .put(&on(&ada, "mute"))
        .await
        .problem(404, "not_found");
    let like = format!("{post_path}/like");
    bob.client.put(&like).await.problem(404, "not_found");
    // What was there before can be taken back.
    bob.client.delete(&like).await.expect(204);
    let reply = json!({"text": "again", "reply_to_id": post});
    bob.client
        .post("/v1/posts", reply)
        .await
        .problem(422, "invalid_field");
    let mention = json!({"text": format!("hi @{}", ada.handle)});
    let mention = bob.client.post("/v1/posts", mention).await.expect(201);
    app.settle().await;
    let shown = bob
        .client
        .get(&format!("/v1/posts/{}", mention.text("/id")))
        .await
        .expect(200);
    assert_eq!(shown.body["mention_ids"], json!([]));

    // Nor does she come across him; but she finds him, to unblock him.
    ada.client
        .get(&format!("/v1/posts/{bobs}"))
        .await
        .problem(404, "not_found");
    ada.client
        .put(&on(&bob, "follow"))
        .await
        .problem(409, "account_blocked");
    let thread = ada
        .client
        .get(&format!("{post_path}/thread"))
        .await
        .expect(200);
    assert_eq!(thread.body["descendants"], json!([]));
    assert_eq!(ada.client.all("/v1/accounts/me/blocks", 5).await.len(), 1);
    let between = relationship(&ada, &bob).await;
    assert_eq!(between["blocking"], true);
    assert_eq!(
        (&between["following"], &between["followed_by"]),
        (&json!(false), &json!(false))
    );
    let account = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(account.number("/followers_count"), 1, "carl");
    assert_eq!(account.number("/following_count"), 0);
    // Nor do they see each other in the lists of others.
    bob.follow(&carl).await;
    app.settle().await;
    for (viewer, side) in [(&ada, "followers"), (&bob, "following")] {
        let list = viewer.client.get(&on(&carl, side)).await.expect(200);
        assert_eq!(list.ids(), [""; 0], "{side}");
    }
    // Others see them as before.
    assert_eq!(
        carl.client
            .get(&post_path)
            .await
            .expect(200)
            .number("/replies_count"),
        1
    );
    all_of_the_app_is_as_the_log_says(&app).await;

    // Unblocked, nobody follows anybody by it.
    ada.client.delete(&on(&bob, "block")).await.expect(204);
    app.settle().await;
    bob.client.get(&post_path).await.expect(200);
    let between = relationship(&bob, &ada).await;
    assert_eq!(
        (&between["following"], &between["followed_by"]),
        (&json!(false), &json!(false))
    );
    bob.follow(&ada).await;
    app.settle().await;
    assert!(
        bob.client
            .get("/v1/timelines/home")
            .await
            .expect(200)
            .ids()
            .contains(&post)
    );
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_that_race_with_a_block_do_not_outlive_it() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for _ in 0..12 {
        let bob = app.client().register("bob").await;
        let (follow, block) = (on(&ada, "follow"), on(&bob, "block"));
        let followed = bob.client.put(&follow);
        let blocked = ada.client.put(&block);
        let (followed, blocked) = tokio::join!(followed, blocked);
        blocked.expect(204);
        assert!(
            [204, 404].contains(&followed.status.as_u16()),
            "{followed:?}"
        );
        app.settle().await;
        let between = relationship(&ada, &bob).await;
        assert_eq!(between["followed_by"], false, "{between}");
    }
    all_of_the_app_is_as_the_log_says(&app).await;
}

/// As if the block came between the follow and what looks for blocks after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_follow_that_is_decided_before_a_block_ends_with_it() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let follow = async || {
        let headers = [("Idempotency-Key", "cut-off-before-its-answer")];
        let path = on(&ada, "follow");
        bob.client.send(Method::PUT, &path, None, &headers).await
    };
    follow().await.expect(204);
    let (by, target) = (ada.id.parse().unwrap(), bob.id.parse().unwrap());
    let intent = Intent {
        actor: AccountId(by),
        now: edge::identity::now(),
        correlation: by,
        causation: None,
        key: None,
        trace: None,
    };
    let block = Connect::<Blocks>::new(AccountId(by), AccountId(target));
    let sealer = app.sealer.as_ref();
    app.log.execute(&block, &intent, sealer).await.unwrap();
    app.settle().await;
    assert_eq!(relationship(&ada, &bob).await["followed_by"], true);
    follow().await.expect(204);
    app.settle().await;
    let between = relationship(&ada, &bob).await;
    assert_eq!(between["followed_by"], false, "{between}");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_a_stranger_moves_no_partition_but_ones_own() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    // In another partition than hers.
    let bob = loop {
        let bob = app.client().register("bob").await;
        if partition_of(&app, &bob) != partition_of(&app, &ada) {
            break bob;
        }
    };
    let heads = async || app.log.heads().await.unwrap();
    let moved = async |before: Vec<Position>| -> Vec<(u16, u64)> {
        let after = heads().await;
        let all = before.iter().zip(&after);
        let all = all.map(|(before, after)| (after.partition.0, after.seq - before.seq));
        all.filter(|(_, by)| *by > 0).collect()
    };
    let own = partition_of(&app, &ada);
    let path = on(&bob, "block");
    for _ in 0..2 {
        let before = heads().await;
        ada.client.put(&path).await.expect(204);
        assert_eq!(moved(before).await, [(own, 1)], "the block alone");
        let before = heads().await;
        ada.client.delete(&path).await.expect(204);
        assert_eq!(moved(before).await, [(own, 1)], "its end alone");
    }
    // Where one follows the other, that ends, in the partition of whoever followed.
    bob.follow(&ada).await;
    let before = heads().await;
    ada.client.put(&path).await.expect(204);
    let mut ended = moved(before).await;
    ended.sort_by_key(|(partition, _)| *partition != own);
    assert_eq!(ended, [(own, 1), (partition_of(&app, &bob), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reads_what_one_did_in_the_partitions_of_others() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let private = json!({"private": true});
    ada.client
        .patch("/v1/accounts/me", private)
        .await
        .expect(200);
    let engine = app.engine();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let working = tokio::spawn(async move { engine.run(stopped).await });
    for _ in 0..10 {
        let bob = app.client().register("bob").await;
        bob.follow(&ada).await;
        // A read says what the reader wrote, not what others did: it is asked for.
        let requested = bob.client.get("/v1/accounts/me").await.expect(200);
        let position = requested.header("as-of");
        let headers = [("Min-Position", position.as_str())];
        let path = "/v1/accounts/me/follow-requests";
        let waiting = ada.client.send(Method::GET, path, None, &headers).await;
        assert_eq!(waiting.expect(200).ids(), std::slice::from_ref(&bob.id));
        let own = format!("/v1/accounts/me/followers/{}", bob.id);
        ada.client.put(&own).await.expect(204);
        assert_eq!(ada.client.get(path).await.expect(200).ids(), [""; 0]);
        assert_eq!(relationship(&ada, &bob).await["followed_by"], true);
        ada.client.delete(&own).await.expect(204);
        assert_eq!(relationship(&ada, &bob).await["followed_by"], false);
    }
    stop.send(true).unwrap();
    working.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mutes_hide_from_what_one_comes_across_alone() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    ada.follow(&bob).await;
    let own = ada.publish("mine").await;
    let post = bob.publish("his").await;
    let reply = bob.reply(&own, "his answer").await;
    app.settle().await;
    assert_eq!(
        ada.client
            .get("/v1/timelines/home")
            .await
            .expect(200)
            .ids()
            .len(),
        3
    );
    ada.client.put(&on(&bob, "mute")).await.expect(204);
    ada.client.put(&on(&bob, "mute")).await.expect(204);
    app.settle().await;
    for path in ["/v1/timelines/home", "/v1/timelines/local"] {
        assert_eq!(
            ada.client.get(path).await.expect(200).ids(),
            std::slice::from_ref(&own)
        );
    }
    let replies = format!("/v1/posts/{own}/replies");
    assert_eq!(ada.client.get(&replies).await.expect(200).ids(), [""; 0]);
    assert_eq!(
        bob.client.get(&replies).await.expect(200).ids(),
        std::slice::from_ref(&reply)
    );
    // Where she looks, she finds.
    ada.client
        .get(&format!("/v1/posts/{post}"))
        .await
        .expect(200);
    assert_eq!(
        ada.client
            .get(&on(&bob, "posts"))
            .await
            .expect(200)
            .ids()
            .len(),
        2
    );
    assert_eq!(ada.client.all("/v1/accounts/me/mutes", 5).await.len(), 1);
    assert_eq!(relationship(&ada, &bob).await["muting"], true);
    assert_eq!(relationship(&bob, &ada).await["followed_by"], true);
    all_of_the_app_is_as_the_log_says(&app).await;

    ada.client.delete(&on(&bob, "mute")).await.expect(204);
    app.settle().await;
    let home = ada.client.get("/v1/timelines/home").await.expect(200).ids();
    assert_eq!(home, [reply, post, own], "they are where they were");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_blocks_or_mutes_themselves_or_nobody() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for what in ["block", "mute"] {
        let own = on(&ada, what);
        let code = format!("self_{what}");
        ada.client.put(&own).await.problem(409, &code);
        ada.client.delete(&own).await.expect(204);
        let unknown = format!("/v1/accounts/{}/{what}", crate::accounts::uuid());
        ada.client.put(&unknown).await.problem(404, "not_found");
        ada.client.delete(&unknown).await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_block_back_the_list_of_blocks_has_the_name_alone() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let about = json!({"bio": "Engines.", "display_name": "Countess"});
    ada.client.patch("/v1/accounts/me", about).await.expect(200);
    ada.publish("hello").await;
    bob.client.put(&on(&ada, "block")).await.expect(204);
    app.settle().await;
    let listed = async || {
        let page = bob.client.get("/v1/accounts/me/blocks").await.expect(200);
        page.body["items"][0].clone()
    };
    let seen = listed().await;
    assert_eq!(
        (&seen["bio"], &seen["posts_count"]),
        (&json!("Engines."), &json!(1))
    );
    ada.client.put(&on(&bob, "block")).await.expect(204);
    app.settle().await;
    let seen = listed().await;
    assert_eq!(seen["handle"], ada.handle);
    let text = seen.to_string();
    assert!(
        !text.contains("Engines") && !text.contains("Countess"),
        "{text}"
    );
    assert_eq!(seen["posts_count"], 0);
    // Which is enough to unblock it.
    bob.client.delete(&on(&ada, "block")).await.expect(204);
}
