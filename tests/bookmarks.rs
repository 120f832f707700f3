//! Bookmarks: for oneself alone, in folders, whatever becomes of the posts.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Answer, App, Client, Person};

use crate::{
    examination::all_of_the_app_is_as_the_log_says,
    process::{environment, run},
};

const FOLDERS: &str = "/v1/bookmark-folders";
const FOLDERS_MAX: usize = 100;

fn path(post: &str) -> String {
    format!("/v1/posts/{post}/bookmark")
}

async fn bookmark(person: &Person, post: &str) {
    person.client.put(&path(post)).await.expect(204);
}

async fn file_as(client: &Client, post: &str, folder: &str, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"folder_id": folder});
    let (method, path) = (Method::PUT, path(post));
    client.send(method, &path, Some(body), headers).await
}

async fn file(person: &Person, post: &str, folder: &str) -> Answer {
    file_as(&person.client, post, folder, &[]).await
}

async fn folder(person: &Person, name: &str) -> String {
    let made = person.client.post(FOLDERS, json!({"folder_name": name}));
    made.await.expect(201).text("/id")
}

async fn listed(app: &App, person: &Person) -> Vec<Value> {
    app.settle().await;
    person.client.all("/v1/bookmarks", 2).await
}

async fn in_folder(app: &App, person: &Person, folder: &str) -> Vec<String> {
    app.settle().await;
    let path = format!("/v1/bookmarks?folder_id={folder}");
    testkit::ids(&person.client.all(&path, 2).await)
}

/// Name and number of bookmarks of each folder, the last made first.
async fn folders(app: &App, person: &Person) -> Vec<(String, i64)> {
    app.settle().await;
    let all = person.client.all(FOLDERS, 2).await;
    let told = |folder: &Value| {
        let name = folder["folder_name"].as_str().unwrap().to_owned();
        (name, folder["bookmarks_count"].as_i64().unwrap())
    };
    all.iter().map(told).collect()
}

/// What a rebuild makes of the log is what there was.
async fn rebuilt(app: &App) {
    all_of_the_app_is_as_the_log_says(app).await;
    let here = tempdir().unwrap();
    let rebuild = ["projections", "rebuild", "social"];
    let done = run(&rebuild, &environment(&app.servers), here.path()).await;
    assert_eq!(done.status, 0, "{}{}", done.out, done.err);
    all_of_the_app_is_as_the_log_says(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bookmarked_is_listed_the_last_first_and_told_to_nobody_else() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let (bob, eve) = (
        app.client().register("bob").await,
        app.client().register("eve").await,
    );
    let mut posts = Vec::new();
    for number in 0..5 {
        posts.push(ada.publish(&format!("number {number}")).await);
    }
    app.settle().await;
    let read = format!("/v1/posts/{}", posts[2]);
    let before = bob.client.get(&read).await.expect(200);
    assert_eq!(before.body["viewer"]["bookmarked"], false);
    for post in [2, 0, 4, 3] {
        bookmark(&bob, &posts[post]).await;
        bookmark(&bob, &posts[post]).await;
    }
    let wanted: Vec<&str> = [3, 4, 0, 2].map(|post| posts[post].as_str()).into();
    let found = listed(&app, &bob).await;
    assert_eq!(testkit::ids(&found), wanted);
    assert_eq!(found[0]["unavailable"], false);
    assert_eq!(found[0]["post"]["text"], "number 3");
    assert_eq!(found[0]["post"]["author"]["handle"], ada.handle);
    assert_eq!(found[0]["post"]["viewer"]["bookmarked"], true);

    // A post is the same for its author and for everybody as it was before.
    app.settle().await;
    let after = bob.client.get(&read).await.expect(200);
    assert_eq!(after.body["viewer"]["bookmarked"], true);
    assert_ne!(after.header("etag"), before.header("etag"));
    let mut unmarked = after.body.clone();
    unmarked["viewer"]["bookmarked"] = false.into();
    assert_eq!(unmarked, before.body);
    for other in [&ada, &eve] {
        let seen = other.client.get(&read).await.expect(200);
        assert_eq!(seen.body["viewer"]["bookmarked"], false);
        assert_eq!(listed(&app, other).await, Vec::<Value>::new());
    }
    let anonymous = app.client().get(&read).await.expect(200);
    assert_eq!(anonymous.body.get("viewer"), None);
    assert!(!anonymous.body.to_string().contains("bookmark"));
    let anonymous = app.client().get("/v1/bookmarks").await;
    anonymous.problem(401, "unauthenticated");

    bob.client.delete(&path(&posts[4])).await.expect(204);
    bob.client.delete(&path(&posts[4])).await.expect(204);
    let left: Vec<&str> = [3, 0, 2].map(|post| posts[post].as_str()).into();
    assert_eq!(testkit::ids(&listed(&app, &bob).await), left);
    // Of somebody else's.
    let first = bob.client.get("/v1/bookmarks?limit=1").await.expect(200);
    let next = format!(
        "/v1/bookmarks?limit=1&cursor={}",
        first.text("/next_cursor")
    );
    let foreign = eve.client.get(&next).await;
    foreign.problem(400, "invalid_cursor");
    rebuilt(&app).await;
    assert_eq!(testkit::ids(&listed(&app, &bob).await), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_unavailable_and_can_be_taken_back() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let mut authors = Vec::new();
    let mut posts = Vec::new();
    for name in ["deletes", "blocks", "blocked", "leaves", "hides", "muted"] {
        let author = app.client().register(name).await;
        posts.push(author.publish(&format!("by who {name}")).await);
        authors.push(author);
    }
    for post in &posts {
        bookmark(&ada, post).await;
    }
    let client = |place: usize| &authors[place].client;
    let block = |whom: &Person| format!("/v1/accounts/{}/block", whom.id);
    let gone = format!("/v1/posts/{}", posts[0]);
    client(0).delete(&gone).await.expect(204);
    client(1).put(&block(&ada)).await.expect(204);
    ada.client.put(&block(&authors[2])).await.expect(204);
    let leave = Some(json!({"current_password": authors[3].password}));
    let path_of_leaving = "/v1/accounts/me/deactivation";
    let left = client(3).send(Method::PUT, path_of_leaving, leave, &[]);
    left.await.expect(204);
    let private = json!({"private": true});
    client(4)
        .patch("/v1/accounts/me", private)
        .await
        .expect(200);
    let mute = format!("/v1/accounts/{}/mute", authors[5].id);
    ada.client.put(&mute).await.expect(204);
    app.settle().await;

    let check = async || {
        let mut found = listed(&app, &ada).await;
        found.reverse();
        assert_eq!(testkit::ids(&found), posts);
        for (place, item) in found.iter().enumerate().take(5) {
            assert_eq!(item["unavailable"], true, "{place}: {item}");
            let names: Vec<_> = item.as_object().unwrap().keys().collect();
            assert_eq!(names, ["bookmarked_at", "id", "unavailable"], "{place}");
        }
        // Who is muted is looked at on purpose.
        assert_eq!(found[5]["post"]["text"], "by who muted");
        assert_eq!(found[5]["unavailable"], false);
    };
    check().await;
    rebuilt(&app).await;
    check().await;
    for post in &posts[..5] {
        ada.client.put(&path(post)).await.problem(404, "not_found");
        ada.client.delete(&path(post)).await.expect(204);
    }
    assert_eq!(testkit::ids(&listed(&app, &ada).await), posts[5..]);
    // Nothing is left that would tell whether it is there.
    let again = ada.client.delete(&path(&posts[1])).await;
    again.problem(404, "not_found");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmarks_are_moved_among_folders_and_outlive_them() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let mut posts = Vec::new();
    for number in 0..4 {
        posts.push(ada.publish(&format!("number {number}")).await);
    }
    let read = folder(&bob, " To read ").await;
    let done = folder(&bob, "Done").await;
    let same = folder(&bob, "Done").await;
    for post in &posts[..3] {
        file(&bob, post, &read).await.expect(204);
    }
    bookmark(&bob, &posts[3]).await;
    let named = |name: &str, count| (name.to_owned(), count);
    let all = [named("Done", 0), named("Done", 0), named("To read", 3)];
    assert_eq!(folders(&app, &bob).await, all);
    assert_eq!(
        in_folder(&app, &bob, &read).await,
        [2, 1, 0].map(|n| posts[n].clone())
    );
    assert_eq!(listed(&app, &bob).await.len(), 4);

    // Moved, it is the newest; said again, nothing changes; without a folder, it is in none.
    file(&bob, &posts[0], &done).await.expect(204);
    let moved = listed(&app, &bob).await;
    file(&bob, &posts[0], &done).await.expect(204);
    assert_eq!(listed(&app, &bob).await, moved);
    assert_eq!(moved[0]["folder_id"], done.as_str());
    assert_eq!(in_folder(&app, &bob, &done).await, [posts[0].clone()]);
    assert_eq!(
        in_folder(&app, &bob, &read).await,
        [2, 1].map(|n| posts[n].clone())
    );
    bookmark(&bob, &posts[0]).await;
    assert_eq!(listed(&app, &bob).await[0].get("folder_id"), None);
    file(&bob, &posts[0], &read).await.expect(204);

    // Deleting a folder with three leaves three.
    let gone = format!("{FOLDERS}/{read}");
    bob.client.delete(&gone).await.expect(204);
    bob.client.delete(&gone).await.expect(204);
    let check = async || {
        let left = listed(&app, &bob).await;
        assert_eq!(testkit::ids(&left), [0, 3, 2, 1].map(|n| posts[n].clone()));
        assert!(left.iter().all(|item| item.get("folder_id").is_none()));
        assert_eq!(
            folders(&app, &bob).await,
            [named("Done", 0), named("Done", 0)]
        );
        let within = format!("/v1/bookmarks?folder_id={read}");
        bob.client.get(&within).await.problem(404, "not_found");
    };
    check().await;
    file(&bob, &posts[1], &read).await.problem(404, "not_found");
    rebuilt(&app).await;
    check().await;

    // Somebody else's is as if it were not there.
    app.settle().await;
    let others = format!("{FOLDERS}/{same}");
    let name = || json!({"folder_name": "mine now"});
    file(&ada, &posts[0], &same).await.problem(404, "not_found");
    ada.client.get(&others).await.problem(404, "not_found");
    ada.client.delete(&others).await.problem(404, "not_found");
    let renamed = ada.client.patch(&others, name()).await;
    renamed.problem(404, "not_found");
    let within = format!("/v1/bookmarks?folder_id={same}");
    ada.client.get(&within).await.problem(404, "not_found");
    assert_eq!(folders(&app, &ada).await, []);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_named_and_renamed_by_their_version() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for bad in [
        "",
        "  ",
        "\u{200b}",
        "two\nlines",
        "a\u{202e}b",
        &"é".repeat(51),
    ] {
        let refused = ada.client.post(FOLDERS, json!({"folder_name": bad})).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(refused.text("/errors/0/pointer"), "/folder_name", "{bad:?}");
    }
    let long = "é".repeat(50);
    let made = ada.client.post(FOLDERS, json!({"folder_name": long})).await;
    let made = made.expect(201);
    let location = made.header("location");
    assert_eq!(location, format!("{FOLDERS}/{}", made.text("/id")));
    app.settle().await;
    let shown = ada.client.get(&location).await.expect(200);
    assert_eq!(shown.text("/folder_name"), long);
    assert_eq!(shown.number("/version"), 1);

    let body = || Some(json!({"folder_name": "Later"}));
    let unsaid = ada.client.send(Method::PATCH, &location, body(), &[]).await;
    unsaid.problem(428, "precondition_required");
    let made_tag = made.header("etag");
    let first = [("If-Match", made_tag.as_str())];
    let renamed = ada.client.send(Method::PATCH, &location, body(), &first);
    assert_eq!(renamed.await.expect(200).number("/version"), 2);
    for (method, body) in [(Method::PATCH, body()), (Method::DELETE, None)] {
        let late = ada.client.send(method, &location, body, &first).await;
        late.problem(412, "version_mismatch");
    }
    app.settle().await;
    let shown = ada.client.get(&location).await.expect(200);
    assert_eq!(shown.text("/folder_name"), "Later");
    let unknown = format!("{FOLDERS}/{}", ada.id);
    ada.client.get(&unknown).await.problem(404, "not_found");
    rebuilt(&app).await;
    assert_eq!(folders(&app, &ada).await, [("Later".to_owned(), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_a_thing_once_and_tells_one_folder_from_another() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let post = ada.publish("keep me").await;
    let key = [("Idempotency-Key", "one")];
    let make = async || {
        let body = Some(json!({"folder_name": "Once"}));
        let made = bob.client.send(Method::POST, FOLDERS, body, &key).await;
        made.expect(201).text("/id")
    };
    let one = make().await;
    assert_eq!(make().await, one);
    let other = folder(&bob, "Other").await;
    file_as(&bob.client, &post, &one, &key).await.expect(204);
    file_as(&bob.client, &post, &one, &key).await.expect(204);
    let reused = file_as(&bob.client, &post, &other, &key).await;
    assert!(reused.status.is_client_error(), "{}", reused.body);
    assert_eq!(
        in_folder(&app, &bob, &one).await,
        std::slice::from_ref(&post)
    );
    for wrong in [json!({"folder_id": "x"}), json!({"folder": one}), json!([])] {
        let path = path(&post);
        let refused = bob.client.send(Method::PUT, &path, Some(wrong), &[]);
        refused.await.problem(422, "invalid_field");
    }
    let unknown = bob.client.put(&path(&bob.id)).await;
    unknown.problem(404, "not_found");
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_hundred_folders() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    for number in 1..FOLDERS_MAX {
        folder(&ada, &format!("number {number}")).await;
    }
    let key = [("Idempotency-Key", "the-last")];
    let make = || {
        let body = Some(json!({"folder_name": "the last"}));
        ada.client.send(Method::POST, FOLDERS, body, &key)
    };
    let last = make().await.expect(201).text("/id");
    app.settle().await;
    let more = ada.client.post(FOLDERS, json!({"folder_name": "more"}));
    more.await.problem(409, "too_many_folders");
    // It was made before there was no room.
    assert_eq!(make().await.expect(201).text("/id"), last);
    ada.client
        .delete(&format!("{FOLDERS}/{last}"))
        .await
        .expect(204);
    app.settle().await;
    folder(&ada, "in its place").await;
    assert_eq!(folders(&app, &ada).await.len(), FOLDERS_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmarks_are_in_no_public_count() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("count me not").await;
    app.settle().await;
    let read = format!("/v1/posts/{post}");
    let account = format!("/v1/accounts/{}", ada.id);
    let seen = async || {
        let post = app.client().get(&read).await.expect(200);
        let by = app.client().get(&account).await.expect(200);
        (post.header("etag"), post.body, by.body)
    };
    let before = seen().await;
    for _ in 0..3 {
        bookmark(&app.client().register("fan").await, &post).await;
    }
    app.settle().await;
    assert_eq!(seen().await, before);
    all_of_the_app_is_as_the_log_says(&app).await;
}
