//! Reposting, taking it back, who reposted, and what home shows of it. That a post is shown
//! again after a day is tried where time can be made to pass (`readmodel/tests`).

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, App, Person};

use crate::examination::all_of_the_app_is_as_the_log_says;

const HOME: &str = "/v1/timelines/home";

fn on(post: &str) -> String {
    format!("/v1/posts/{post}/repost")
}

async fn repost(person: &Person, post: &str) -> Answer {
    person.client.put(&on(post)).await.expect(204)
}

async fn undo(person: &Person, post: &str) -> Answer {
    person.client.delete(&on(post)).await.expect(204)
}

async fn people<const N: usize>(app: &App, names: [&str; N]) -> [Person; N] {
    let mut people = Vec::new();
    for name in names {
        people.push(app.client().register(name).await);
    }
    people.try_into().unwrap_or_else(|_| unreachable!())
}

/// The posts of a home, each with its reposter, if it has one.
async fn home(app: &App, reader: &Person) -> Vec<(String, Option<String>)> {
    app.settle().await;
    let items = reader.client.get(HOME).await.expect(200).body["items"].clone();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let items = items.as_array().unwrap().iter();
    items
        .map(|item| {
            let by = text(&item["repost"]["account"]["id"]);
            (text(&item["id"]).unwrap(), by)
        })
        .collect()
}

fn by(post: &str, person: &Person) -> (String, Option<String>) {
    (post.to_owned(), Some(person.id.clone()))
}

fn itself(post: &str) -> (String, Option<String>) {
    (post.to_owned(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn reposts_are_counted_once_each_under_races() {
    let app = App::start().await;
    let [ada, bob, eve] = people(&app, ["ada", "bob", "eve"]).await;
    eve.follow(&bob).await;
    let post = ada.publish("for all").await;
    let mut reposts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, path) = (bob.client.clone(), on(&post));
        reposts.spawn(async move { client.put(&path).await.expect(204) });
    }
    while let Some(repost) = reposts.join_next().await {
        repost.unwrap();
    }
    assert_eq!(home(&app, &eve).await, [by(&post, &bob)], "one event");
    repost(&eve, &post).await;
    app.settle().await;
    let path = format!("/v1/posts/{post}");
    let shown = bob.client.get(&path).await.expect(200);
    assert_eq!(shown.number("/reposts_count"), 2);
    assert_eq!(shown.body["viewer"]["reposted"], true);
    let reposters = app.client().all(&format!("{path}/reposts"), 1).await;
    assert_eq!(
        testkit::ids(&reposters),
        [eve.id.clone(), bob.id.clone()],
        "the last first"
    );
    // The item itself tells who brought it, and when.
    let home = eve.client.get(HOME).await.expect(200);
    assert_eq!(home.text("/items/0/repost/account/handle"), bob.handle);
    assert!(home.body["items"][0]["repost"]["created_at"].is_string());
    assert_ne!(home.text("/items/0/repost/id"), post);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repost_that_is_taken_back_is_gone_from_home_at_the_next_read() {
    let app = App::start().await;
    let [ada, bob, eve] = people(&app, ["ada", "bob", "eve"]).await;
    eve.follow(&bob).await;
    let post = ada.publish("for all").await;
    for _ in 0..2 {
        repost(&bob, &post).await;
        assert_eq!(home(&app, &eve).await, [by(&post, &bob)]);
        assert_eq!(home(&app, &bob).await, [], "not in one's own home");
        let undone = undo(&bob, &post).await;
        undo(&bob, &post).await;
        app.settle().await;
        let told = [(
            "Min-Position",
            undone.header("event-position").as_str().to_owned(),
        )];
        let told = told.each_ref().map(|(name, at)| (*name, at.as_str()));
        let read = eve.client.send(Method::GET, HOME, None, &told).await;
        assert_eq!(read.expect(200).ids(), [""; 0]);
        let shown = bob.client.get(&format!("/v1/posts/{post}")).await;
        assert_eq!(shown.expect(200).number("/reposts_count"), 0);
    }
    // What was deleted can be taken back, and not reposted.
    repost(&bob, &post).await;
    let path = format!("/v1/posts/{post}");
    ada.client.delete(&path).await.expect(204);
    assert_eq!(home(&app, &eve).await, []);
    ada.client.put(&on(&post)).await.problem(404, "not_found");
    undo(&bob, &post).await;
    ada.client
        .delete(&on(&post))
        .await
        .problem(404, "not_found");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn home_shows_a_post_once_and_the_next_repost_where_one_is_gone() {
    let app = App::start().await;
    let [ada, bob, carl, eve] = people(&app, ["ada", "bob", "carl", "eve"]).await;
    for author in [&ada, &bob, &carl] {
        eve.follow(author).await;
    }
    let post = ada.publish("for all").await;
    assert_eq!(home(&app, &eve).await, [itself(&post)]);
    repost(&bob, &post).await;
    let between = ada.publish("between").await;
    repost(&carl, &post).await;
    let both = [itself(&between), itself(&post)];
    assert_eq!(home(&app, &eve).await, both, "at its own place");
    eve.unfollow(&ada).await;
    assert_eq!(home(&app, &eve).await, [by(&post, &bob)]);
    undo(&bob, &post).await;
    assert_eq!(home(&app, &eve).await, [by(&post, &carl)]);
    repost(&bob, &post).await;
    assert_eq!(home(&app, &eve).await, [by(&post, &carl)], "the first one");
    let mute = |person: &Person| format!("/v1/accounts/{}/mute", person.id);
    eve.client.put(&mute(&carl)).await.expect(204);
    assert_eq!(home(&app, &eve).await, [by(&post, &bob)]);
    eve.client.put(&mute(&ada)).await.expect(204);
    assert_eq!(home(&app, &eve).await, [], "whoever reposts it");
    eve.client.delete(&mute(&ada)).await.expect(204);
    eve.client.delete(&mute(&carl)).await.expect(204);
    assert_eq!(home(&app, &eve).await, [by(&post, &carl)]);
    eve.follow(&ada).await;
    assert_eq!(home(&app, &eve).await, both);
    // One's own post comes back by nobody so soon, and by oneself never.
    let own = eve.publish("mine").await;
    repost(&bob, &own).await;
    repost(&eve, &between).await;
    assert_eq!(home(&app, &eve).await[0], itself(&own));
    assert_eq!(home(&app, &eve).await.len(), 3);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reposts_page_by_page_neither_repeat_nor_lose_one() {
    let mut app = App::start().await;
    let [ada, bob, carl, dora, eve] = people(&app, ["ada", "bob", "carl", "dora", "eve"]).await;
    for author in [&bob, &carl, &dora] {
        eve.follow(author).await;
    }
    // More followers than are pushed to: Dora is pulled.
    for reader in [&ada, &bob, &carl] {
        reader.follow(&dora).await;
    }
    app.push_followers_max = 3;
    assert_eq!(home(&app, &eve).await, []);
    let mut wanted = Vec::new();
    for number in 0..40 {
        let post = ada.publish(&format!("post {number}")).await;
        let first = [&bob, &carl, &dora][number % 3];
        repost(first, &post).await;
        repost([&carl, &dora, &bob][number % 3], &post).await;
        wanted.push(by(&post, first));
    }
    wanted.reverse();
    app.settle().await;
    for limit in [1, 7, 100] {
        let items = eve.client.all(HOME, limit).await;
        let posts: Vec<_> = wanted.iter().map(|(post, _)| post.clone()).collect();
        assert_eq!(testkit::ids(&items), posts, "{limit} a page");
        let is_wanted = |(item, (_, by)): (&Value, &(String, Option<String>))| {
            item["repost"]["account"]["id"].as_str() == by.as_deref()
        };
        assert!(items.iter().zip(&wanted).all(is_wanted), "{limit} a page");
    }
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_followers_is_reposted_by_its_author_alone() {
    let app = App::start().await;
    let [ada, bob, eve] = people(&app, ["ada", "bob", "eve"]).await;
    bob.follow(&ada).await;
    eve.follow(&bob).await;
    let body = json!({"text": "for followers", "visibility": "followers"});
    let post = ada.client.post("/v1/posts", body).await.expect(201);
    let post = post.text("/id");
    bob.client
        .put(&on(&post))
        .await
        .problem(403, "not_repostable");
    eve.client.put(&on(&post)).await.problem(404, "not_found");
    repost(&ada, &post).await;
    assert_eq!(home(&app, &bob).await, [itself(&post)], "within a day");
    assert_eq!(home(&app, &eve).await, []);
    let list = format!("/v1/posts/{post}/reposts");
    let reposters = bob.client.get(&list).await.expect(200);
    assert_eq!(reposters.ids(), std::slice::from_ref(&ada.id));
    eve.client.get(&list).await.problem(404, "not_found");
    // So is what a private account publishes for all.
    let public = ada.publish("for all").await;
    let private = json!({"private": true});
    ada.client
        .patch("/v1/accounts/me", private)
        .await
        .expect(200);
    bob.client
        .put(&on(&public))
        .await
        .problem(403, "not_repostable");
    repost(&ada, &public).await;
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_no_repost_of_an_author_who_is_private_or_gone_by_now() {
    let app = App::start().await;
    let [ada, bob, carl, dora, eve] = people(&app, ["ada", "bob", "carl", "dora", "eve"]).await;
    for account in [&bob, &carl, &dora] {
        eve.follow(account).await;
    }
    let friend = app.client().register("friend").await;
    friend.follow(&ada).await;
    friend.follow(&bob).await;
    let post = ada.publish("for all").await;
    for account in [&bob, &carl, &dora] {
        repost(account, &post).await;
    }
    assert_eq!(home(&app, &eve).await, [by(&post, &bob)]);
    let private = async |private: bool| {
        let change = json!({"private": private});
        let changed = ada.client.patch("/v1/accounts/me", change).await;
        changed.expect(200);
    };
    private(true).await;
    assert_eq!(home(&app, &eve).await, []);
    assert_eq!(home(&app, &friend).await, [itself(&post)]);
    private(false).await;
    assert_eq!(home(&app, &eve).await, [by(&post, &bob)]);
    let block = format!("/v1/accounts/{}/block", eve.id);
    ada.client.put(&block).await.expect(204);
    assert_eq!(home(&app, &eve).await, []);
    ada.client.delete(&block).await.expect(204);
    bob.client.put(&block).await.expect(204);
    assert_eq!(home(&app, &eve).await, [by(&post, &carl)]);
    let leave = Some(json!({"current_password": carl.password}));
    let path = "/v1/accounts/me/deactivation";
    let left = carl.client.send(Method::PUT, path, leave, &[]).await;
    left.expect(204);
    assert_eq!(home(&app, &eve).await, [by(&post, &dora)]);
    let shown = eve.client.get(&format!("/v1/posts/{post}")).await;
    assert_eq!(shown.expect(200).number("/reposts_count"), 2);
    all_of_the_app_is_as_the_log_says(&app).await;
}
