//! Home, local, and an account's own posts.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, App, Person};

use crate::examination::all_of_the_app_is_as_the_log_says;

#[tokio::test(flavor = "multi_thread")]
async fn home_is_ones_own_and_the_followeds_posts_newest_first() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let eve = app.client().register("eve").await;
    let before = bob.publish("before the follow").await;
    ada.follow(&bob).await;
    app.settle().await;
    let home = || async { testkit::ids(&ada.client.all("/v1/timelines/home", 2).await) };
    assert_eq!(
        home().await,
        std::slice::from_ref(&before),
        "following merges earlier posts"
    );

    let own = ada.publish("mine").await;
    let after = bob.publish("after the follow").await;
    eve.publish("not followed").await;
    let reply = bob.reply(&own, "a reply").await;
    app.settle().await;
    assert_eq!(home().await, [reply, after, own.clone(), before]);

    ada.unfollow(&bob).await;
    app.settle().await;
    assert_eq!(home().await, [own], "unfollowing removes them");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn home_is_the_same_pushed_pulled_or_without_the_views_server() {
    let mut app = App::start().await;
    let reader = app.client().register("reader").await;
    let mut authors = Vec::new();
    for _ in 0..3 {
        let author = app.client().register("author").await;
        reader.follow(&author).await;
        authors.push(author);
    }
    // More followers than are pushed to: this author is pulled.
    for _ in 0..2 {
        app.client().register("fan").await.follow(&authors[0]).await;
    }
    app.push_followers_max = 2;
    app.settle().await;
    reader.client.get("/v1/timelines/home").await.expect(200);
    let mut wanted = Vec::new();
    for number in 0..30 {
        wanted.push(authors[number % 3].publish(&format!("post {number}")).await);
    }
    wanted.reverse();
    app.settle().await;
    for limit in [1, 7, 100] {
        let home = reader.client.all("/v1/timelines/home", limit).await;
        assert_eq!(testkit::ids(&home), wanted, "{limit} a page");
    }
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_neither_repeats_nor_loses_a_post_while_others_arrive() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let mut old = Vec::new();
    for number in 0..9 {
        old.push(ada.publish(&format!("old {number}")).await);
    }
    old.reverse();
    app.settle().await;
    let posts = format!("/v1/accounts/{}/posts", ada.id);
    for path in [
        "/v1/timelines/home",
        "/v1/timelines/local",
        &posts,
        "/v1/accounts/me/posts",
    ] {
        let first = ada.client.get(&format!("{path}?limit=4")).await.expect(200);
        ada.publish("newer").await;
        app.settle().await;
        let cursor = first.text("/next_cursor");
        let rest = format!("{path}?limit=100&cursor={cursor}");
        let rest = ada.client.get(&rest).await.expect(200).ids();
        assert!(rest.ends_with(&old[old.len() - 5..]), "{path}");
        let seen: Vec<_> = first.ids().into_iter().chain(rest).collect();
        let all: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(all.len(), seen.len(), "{path} repeats");
        assert!(old.iter().all(|id| all.contains(id)), "{path} loses");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_is_everything_public() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let first = ada.publish("one").await;
    let second = bob.publish("two").await;
    app.settle().await;
    assert_eq!(
        app.client()
            .get("/v1/timelines/local")
            .await
            .expect(200)
            .ids(),
        [second, first]
    );
    app.client()
        .get("/v1/timelines/home")
        .await
        .problem(401, "unauthenticated");
}

/// Bob's home, as it is after `position`.
async fn home_after(bob: &Person, position: &str) -> Vec<Value> {
    let told = [("Min-Position", position)];
    let home = bob
        .client
        .send(Method::GET, "/v1/timelines/home", None, &told);
    let home = home.await.expect(200);
    home.body["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn home_that_was_read_before_shows_what_happens_after() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    bob.follow(&ada).await;
    let first = ada.publish("first").await;
    app.settle().await;
    let path = format!("/v1/posts/{first}");
    let home = async |answer: Answer| {
        let position = answer.header("event-position");
        app.settle().await;
        let shown = home_after(&bob, &position).await;
        assert_eq!(home_after(&bob, &position).await, shown, "again the same");
        shown
    };
    let edited = ada.client.patch(&path, json!({"text": "edited"})).await;
    assert_eq!(home(edited).await[0]["text"], "edited");
    // A post that touches no other post of the page.
    let plain = ada.client.post("/v1/posts", json!({"text": "plain"})).await;
    let plain = home(plain).await;
    assert_eq!((plain.len(), &plain[0]["text"]), (2, &json!("plain")));
    let plain = format!("/v1/posts/{}", plain[0]["id"].as_str().unwrap());
    assert_eq!(home(ada.client.delete(&plain).await).await.len(), 1);
    let liked = bob.like(&first).await;
    let liked = home(liked).await;
    assert_eq!(liked[0]["viewer"]["liked"], true);
    assert_eq!(liked[0]["likes_count"], 1);
    let liked = home(ada.like(&first).await).await;
    assert_eq!(liked[0]["likes_count"], 2);
    let name = json!({"display_name": "Countess"});
    let named = ada.client.patch("/v1/accounts/me", name).await;
    let named = home(named).await;
    assert_eq!(named[0]["author"]["display_name"], "Countess");
    let body = json!({"text": "second", "reply_to_id": first});
    let reply = home(ada.client.post("/v1/posts", body).await).await;
    assert_eq!((reply.len(), &reply[0]["text"]), (2, &json!("second")));
    assert_eq!(reply[1]["replies_count"], 1);
    let second = format!("/v1/posts/{}", reply[0]["id"].as_str().unwrap());
    let deleted = home(ada.client.delete(&second).await).await;
    assert_eq!(
        (deleted.len(), &deleted[0]["replies_count"]),
        (1, &json!(0))
    );
    assert_eq!(home(bob.unfollow(&ada).await).await, Vec::<Value>::new());
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_posts_and_its_replies_are_listed_apart() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let first = ada.publish("first").await;
    let reply = ada.reply(&first, "and more").await;
    let second = ada.publish("second").await;
    app.settle().await;
    let path = format!("/v1/accounts/@{}/posts", ada.handle);
    for (client, path) in [
        (&bob.client, path.as_str()),
        (&ada.client, "/v1/accounts/me/posts"),
    ] {
        let ids = async |only: &str| client.get(&format!("{path}{only}")).await.expect(200).ids();
        assert_eq!(ids("").await, [&*second, &*reply, &*first]);
        assert_eq!(ids("?only=posts").await, [&*second, &*first]);
        assert_eq!(ids("?only=replies").await, [&*reply]);
        client.get(&format!("{path}?only=likes")).await.expect(400);
        // A cursor is of its list.
        let page = client.get(&format!("{path}?only=posts&limit=1")).await;
        let cursor = page.expect(200).text("/next_cursor");
        let other = client
            .get(&format!("{path}?only=replies&cursor={cursor}"))
            .await;
        other.problem(400, "invalid_cursor");
        let next = client
            .get(&format!("{path}?only=posts&cursor={cursor}"))
            .await;
        assert_eq!(next.expect(200).ids(), [&*first]);
    }
}
