//! Private accounts: who asks to follow, who is let in, and what others see.

use readmodel::Projections;
use sea_orm::{ConnectionTrait, Database};
use serde_json::json;
use testkit::{App, Person, Servers};

use crate::examination::all_of_the_app_is_as_the_log_says;

async fn make_private(person: &Person, private: bool) {
    let change = json!({"private": private});
    let changed = person.client.patch("/v1/accounts/me", change).await;
    changed.expect(200);
}

async fn between(of: &Person, to: &Person, what: &str) -> bool {
    let path = format!("/v1/relationships?ids={}", to.id);
    let items = of.client.get(&path).await.expect(200);
    items.body["items"][0][what].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_of_what_a_private_account_does() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let fan = app.client().register("fan").await;
    let stranger = app.client().register("stranger").await;
    fan.follow(&ada).await;
    make_private(&ada, true).await;
    app.settle().await;
    let path = format!("/v1/accounts/{}", ada.id);
    for person in [&ada, &fan] {
        let shown = person.client.get(&path).await.expect(200);
        assert!(shown.body["last_active_on"].is_string(), "{}", shown.body);
    }
    let clients = [&stranger.client, &app.client()];
    let looks = async || {
        let mut looks = Vec::new();
        for client in clients {
            let shown = client.get(&path).await.expect(200);
            assert_eq!(shown.body.get("last_active_on"), None, "{}", shown.body);
            looks.push((shown.header("etag"), shown.body));
        }
        looks
    };
    let before = looks().await;
    let own = ada.client.get(&path).await.expect(200).header("etag");
    // What changes nothing that others see, but its version.
    for bio in ["for a moment", ""] {
        let change = json!({"bio": Some(bio).filter(|bio| !bio.is_empty())});
        ada.client
            .patch("/v1/accounts/me", change)
            .await
            .expect(200);
    }
    app.settle().await;
    assert_eq!(looks().await, before);
    let changed = ada.client.get(&path).await.expect(200).header("etag");
    assert_ne!(changed, own, "the owner edits by versions");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_private_account_publishes_is_for_those_it_lets_in() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let fan = app.client().register("fan").await;
    let stranger = app.client().register("stranger").await;
    fan.follow(&ada).await;
    let post = ada.publish("from when it was public").await;
    let pin = Some(json!({"post_id": post}));
    let path = "/v1/accounts/me/pinned-post";
    (ada.client.send(reqwest::Method::PUT, path, pin, &[]).await).expect(204);
    app.settle().await;
    let post_path = format!("/v1/posts/{post}");
    stranger.client.get(&post_path).await.expect(200);

    make_private(&ada, true).await;
    app.settle().await;
    let account = format!("/v1/accounts/{}", ada.id);
    for client in [&stranger.client, &app.client()] {
        client.get(&post_path).await.problem(404, "not_found");
        let local = client.get("/v1/timelines/local").await.expect(200);
        assert_eq!(local.ids(), [""; 0]);
        for list in ["posts", "followers", "following"] {
            let path = format!("{account}/{list}");
            client.get(&path).await.problem(403, "account_private");
        }
        let shown = client.get(&account).await.expect(200);
        assert_eq!(shown.body["private"], true);
        assert_eq!(shown.body.get("pinned_post_id"), None);
    }
    let like = format!("{post_path}/like");
    stranger.client.put(&like).await.problem(404, "not_found");
    let reply = json!({"text": "hi", "reply_to_id": post});
    let reply = stranger.client.post("/v1/posts", reply).await;
    reply.problem(422, "invalid_field");
    // Who follows already sees all as before.
    fan.like(&post).await;
    app.settle().await;
    for client in [&fan.client, &ada.client] {
        client.get(&post_path).await.expect(200);
        let home = client.get("/v1/timelines/home").await.expect(200);
        assert_eq!(home.ids(), std::slice::from_ref(&post));
        let shown = client.get(&account).await.expect(200);
        assert_eq!(shown.text("/pinned_post_id"), post);
        let followers = client.get(&format!("{account}/followers")).await;
        assert_eq!(followers.expect(200).ids(), std::slice::from_ref(&fan.id));
    }
    all_of_the_app_is_as_the_log_says(&app).await;

    make_private(&ada, false).await;
    app.settle().await;
    stranger.client.get(&post_path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_follow_is_let_in_or_not() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    make_private(&ada, true).await;
    let post = ada.publish("for friends").await;
    let mut people = Vec::new();
    for _ in 0..5 {
        let person = app.client().register("asks").await;
        person.follow(&ada).await;
        person.follow(&ada).await;
        people.push(person);
    }
    app.settle().await;
    let path = "/v1/accounts/me/follow-requests";
    let waiting = testkit::ids(&ada.client.all(path, 2).await);
    let wanted: Vec<_> = people.iter().rev().map(|one| one.id.clone()).collect();
    assert_eq!(waiting, wanted, "the last first");
    let [let_in, refused, withdrawn, blocked, waits] = &people[..] else {
        unreachable!()
    };
    for person in &people {
        assert!(between(person, &ada, "requested").await);
        assert!(!between(person, &ada, "following").await);
        assert!(between(&ada, person, "requested_by").await);
        let home = person.client.get("/v1/timelines/home").await.expect(200);
        assert_eq!(home.ids(), [""; 0]);
    }

    let own = |person: &Person| format!("/v1/accounts/me/followers/{}", person.id);
    ada.client.put(&own(let_in)).await.expect(204);
    ada.client.put(&own(let_in)).await.expect(204);
    ada.client.delete(&own(refused)).await.expect(204);
    ada.client
        .put(&own(refused))
        .await
        .problem(404, "not_found");
    withdrawn.unfollow(&ada).await;
    let block = format!("/v1/accounts/{}/block", blocked.id);
    ada.client.put(&block).await.expect(204);
    app.settle().await;
    assert_eq!(
        ada.client.get(path).await.expect(200).ids(),
        std::slice::from_ref(&waits.id)
    );
    let home = let_in.client.get("/v1/timelines/home").await.expect(200);
    assert_eq!(home.ids(), std::slice::from_ref(&post), "earlier posts too");
    for person in [refused, withdrawn] {
        assert!(!between(person, &ada, "requested").await);
        assert!(!between(person, &ada, "following").await);
    }
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.number("/followers_count"), 1);
    all_of_the_app_is_as_the_log_says(&app).await;

    // Public again, nobody needs to be let in; who waits asks once more.
    make_private(&ada, false).await;
    waits.follow(&ada).await;
    ada.client.delete(&own(let_in)).await.expect(204);
    app.settle().await;
    assert!(between(waits, &ada, "following").await);
    assert!(!between(let_in, &ada, "following").await);
    assert_eq!(ada.client.get(path).await.expect(200).ids(), [""; 0]);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_is_seen_by_nobody_until_they_are_back() {
    let app = App::start().await;
    let (ada, fan) = (
        app.client().register("ada").await,
        app.client().register("fan").await,
    );
    fan.follow(&ada).await;
    let post = ada.publish("still here").await;
    ada.like(&post).await;
    app.settle().await;
    let home = fan.client.get("/v1/timelines/home").await.expect(200);
    assert_eq!(home.ids(), std::slice::from_ref(&post));
    let leave = |password: &str| Some(json!({"current_password": password}));
    let path = "/v1/accounts/me/deactivation";
    let put = |body| ada.client.send(reqwest::Method::PUT, path, body, &[]);
    put(leave("another one"))
        .await
        .problem(403, "wrong_password");
    put(leave(&ada.password)).await.expect(204);
    app.settle().await;
    ada.client
        .get("/v1/accounts/me")
        .await
        .problem(401, "session_ended");
    let account = format!("/v1/accounts/{}", ada.id);
    let post_path = format!("/v1/posts/{post}");
    for path in [&account, &format!("/v1/handles/{}", ada.handle), &post_path] {
        fan.client.get(path).await.problem(404, "not_found");
    }
    for path in ["/v1/timelines/home", "/v1/timelines/local"] {
        assert_eq!(
            fan.client.get(path).await.expect(200).ids(),
            [""; 0],
            "{path}"
        );
    }
    let like = format!("{post_path}/like");
    fan.client.put(&like).await.problem(404, "not_found");
    let stranger = app.client().register("stranger").await;
    let follow = format!("{account}/follow");
    for client in [&stranger.client, &fan.client] {
        client.put(&follow).await.problem(404, "not_found");
    }
    all_of_the_app_is_as_the_log_says(&app).await;

    // Read without her posts and kept in process, it must not stay so.
    let home = fan.client.get("/v1/timelines/home").await.expect(200);
    assert_eq!(home.ids(), [""; 0]);
    let login = json!({"login": ada.handle, "password": ada.password});
    app.client().post("/v1/sessions", login).await.expect(201);
    app.settle().await;
    fan.client.get(&account).await.expect(200);
    let home = fan.client.get("/v1/timelines/home").await.expect(200);
    assert_eq!(home.ids(), std::slice::from_ref(&post), "as it was");
    fan.like(&post).await;
    all_of_the_app_is_as_the_log_says(&app).await;
}

/// The counters of an account and a post, beside how long their lists are.
async fn counted(reader: &Person, account: &str, post: &str) -> ([i64; 4], [usize; 4]) {
    let get = async |path: String| reader.client.get(&path).await.expect(200);
    let (of, at) = (
        get(format!("/v1/accounts/{account}")).await,
        get(format!("/v1/posts/{post}")).await,
    );
    let counts = [
        of.number("/followers_count"),
        of.number("/following_count"),
        at.number("/likes_count"),
        at.number("/replies_count"),
    ];
    let lists = [
        get(format!("/v1/accounts/{account}/followers")).await,
        get(format!("/v1/accounts/{account}/following")).await,
        get(format!("/v1/posts/{post}/likes")).await,
        get(format!("/v1/posts/{post}/replies")).await,
    ];
    (counts, lists.map(|list| list.ids().len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_as_long_as_lists_whoever_leaves_and_is_back() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let reader = app.client().register("reader").await;
    reader.follow(&ada).await;
    let post = ada.publish("count me").await;
    let mut fans = Vec::new();
    for number in 0..4 {
        let fan = app.client().register(&format!("fan_{number}")).await;
        fan.follow(&ada).await;
        ada.follow(&fan).await;
        fan.like(&post).await;
        let reply = json!({"text": "yes", "reply_to_id": post});
        fan.client.post("/v1/posts", reply).await.expect(201);
        fans.push(fan);
    }
    app.settle().await;
    let is = async |followers: i64, others: i64| {
        app.settle().await;
        let (counts, lists) = counted(&reader, &ada.id, &post).await;
        assert_eq!(counts, [followers, others, others, others]);
        assert_eq!(counts, lists.map(|length| length as i64));
        let home = reader.client.get("/v1/timelines/home").await.expect(200);
        let likes = home.body["items"].as_array().unwrap().iter();
        let likes = likes.filter(|item| item["id"] == post.as_str());
        let likes: Vec<_> = likes.map(|item| item["likes_count"].as_i64()).collect();
        assert_eq!(likes, [Some(others)], "the first page of home");
    };
    is(5, 4).await;
    for (gone, fan) in fans.iter().enumerate().take(2) {
        let body = Some(json!({"current_password": fan.password}));
        let path = "/v1/accounts/me/deactivation";
        let left = fan.client.send(reqwest::Method::PUT, path, body, &[]).await;
        left.expect(204);
        is(4 - gone as i64, 3 - gone as i64).await;
    }
    // What she takes back meanwhile is not taken twice.
    let unfollow = format!("/v1/accounts/{}/follow", fans[3].id);
    ada.client.delete(&unfollow).await.expect(204);
    let unlike = format!("/v1/posts/{post}/like");
    fans[3].client.delete(&unlike).await.expect(204);
    app.settle().await;
    let (counts, lists) = counted(&reader, &ada.id, &post).await;
    assert_eq!(counts, [3, 1, 1, 2]);
    assert_eq!(counts, lists.map(|length| length as i64));
    let login = json!({"login": fans[0].handle, "password": fans[0].password});
    app.client().post("/v1/sessions", login).await.expect(201);
    app.settle().await;
    let (counts, lists) = counted(&reader, &ada.id, &post).await;
    assert_eq!(counts, [4, 2, 2, 3]);
    assert_eq!(counts, lists.map(|length| length as i64));
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_before_there_were_private_accounts_is_migrated() {
    // Given what the release before made.
    let servers = Servers::shared().await;
    let database = Database::connect(&servers.database).await.unwrap();
    let before = "
        ALTER TABLE social.accounts DROP COLUMN private, DROP COLUMN deactivated;
        DROP TABLE social.follow_requests, social.blocks, social.mutes;
        CREATE SCHEMA social_7;
        CREATE TABLE social_7.accounts (id uuid PRIMARY KEY);
        DELETE FROM public.seaql_migrations WHERE version = 'm0010_private'";
    database.execute_unprepared(before).await.unwrap();
    // When
    migrations::migrate(&database, &Projections::default())
        .await
        .unwrap();
    migrations::migrate(&database, &Projections::default())
        .await
        .unwrap();
    // Then
    let kept = "SELECT private, deactivated FROM social_7.accounts";
    database.execute_unprepared(kept).await.unwrap();
    let kept = "SELECT 1 FROM social_7.blocks, social_7.mutes, social_7.follow_requests";
    database.execute_unprepared(kept).await.unwrap();
    database.close().await.unwrap();
    let app = App::on(servers).await;
    let ada = app.client().register("ada").await;
    make_private(&ada, true).await;
    all_of_the_app_is_as_the_log_says(&app).await;
}
