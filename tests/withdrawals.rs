//! What takes something away from readers counts at once, though nothing is folded: every
//! deed here stays unfolded, and every GET is asked.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{App, Client, Person, until};

use crate::examination::all_of_the_app_is_as_the_log_says;

/// What is looked for in answers: in the text of every post of the author.
const SECRET: &str = "k7qf29xmpd";

/// An author with a public post, a reply and a post for followers, liked, reposted and
/// bookmarked by a fan who follows.
struct Scene {
    author: Person,
    fan: Person,
    stranger: Person,
    parent: String,
    public: String,
    reply: String,
    for_followers: String,
}

impl Scene {
    async fn set(app: &App) -> Self {
        let author = app.client().register("author").await;
        let fan = app.client().register("fan").await;
        let stranger = app.client().register("stranger").await;
        let other = app.client().register("other").await;
        fan.follow(&author).await;
        author.follow(&fan).await;
        let parent = other.publish("what the author replies to").await;
        let public = author.publish(SECRET).await;
        let reply = author.reply(&parent, SECRET).await;
        let closed = json!({"text": SECRET, "visibility": "followers"});
        let closed = author.client.post("/v1/posts", closed).await.expect(201);
        author.like(&parent).await;
        for what in ["like", "repost", "bookmark"] {
            let path = format!("/v1/posts/{public}/{what}");
            let sent = fan.client.put(&path).await;
            assert!(sent.status.is_success(), "{}", sent.body);
        }
        app.settle().await;
        Self {
            author,
            fan,
            stranger,
            parent,
            public,
            reply,
            for_followers: closed.text("/id"),
        }
    }

    /// All that could show the author or the posts.
    fn paths(&self) -> Vec<String> {
        let (author, parent) = (&self.author.id, &self.parent);
        let mut paths = vec![
            "/v1/timelines/home".into(),
            "/v1/timelines/home?limit=50".into(),
            "/v1/timelines/local".into(),
            "/v1/bookmarks".into(),
            "/v1/accounts/me/likes".into(),
            format!("/v1/accounts/{author}/posts"),
            format!("/v1/posts/{parent}/replies"),
            format!("/v1/posts/{parent}/thread"),
        ];
        for post in [&self.public, &self.reply, &self.for_followers] {
            paths.push(format!("/v1/posts?ids={post}"));
            for part in ["", "/revisions", "/replies", "/thread"] {
                paths.push(format!("/v1/posts/{post}{part}"));
            }
        }
        paths
    }

    /// Those that tell of the author's account.
    fn account_paths(&self) -> Vec<String> {
        let (author, fan) = (&self.author.id, &self.fan.id);
        vec![
            format!("/v1/accounts/{author}"),
            format!("/v1/accounts?ids={author}"),
            format!("/v1/relationships?ids={author}"),
            format!("/v1/accounts/{fan}/followers"),
            format!("/v1/accounts/{fan}/following"),
            format!("/v1/posts/{}/likes", self.parent),
        ]
    }
}

/// Which of the answers have it: of lists, those on the way back from their end too.
async fn showing(client: &Client, paths: &[String], what: &str) -> Vec<String> {
    let mut showing = Vec::new();
    for path in paths {
        let answer = client.get(path).await;
        assert!(answer.status.as_u16() < 500, "{path}: {}", answer.body);
        if answer.status == 200 && answer.body.to_string().contains(what) {
            showing.push(path.clone());
        }
        if answer.status == 200 && !answer.body["prev_cursor"].is_null() {
            let list = path.split('?').next().unwrap();
            let (items, count) = back(client, list).await;
            if items.iter().any(|item| item.to_string().contains(what)) {
                showing.push(format!("{list}, back"));
            }
            if count.is_some_and(|count| count != items.len()) {
                showing.push(format!("{list}, counted"));
            }
        }
    }
    showing
}

/// All of a list but the item at its end, one a page from there back to its beginning; and
/// how many these are, where they can be counted.
async fn back(client: &Client, list: &str) -> (Vec<Value>, Option<usize>) {
    let page = async |parameters: String| client.get(&format!("{list}?limit=1{parameters}")).await;
    let mut last = page(String::new()).await;
    while let Some(next) = last.body["next_cursor"].as_str() {
        last = page(format!("&cursor={next}")).await;
    }
    // What is withdrawn meanwhile has no list any more.
    let mut items = Vec::new();
    let Some(from) = last.body["prev_cursor"].as_str() else {
        return (items, None);
    };
    let mut cursor = from.to_owned();
    loop {
        let answer = page(format!("&cursor={cursor}")).await;
        let found = answer.body.get("items").or(answer.body.get("descendants"));
        let Some(found) = found.and_then(Value::as_array) else {
            return (items, None);
        };
        let further = answer.text("/prev_cursor");
        if found.is_empty() && further == cursor {
            break;
        }
        items.extend(found.iter().cloned());
        cursor = further;
    }
    let of_posts = list.starts_with("/v1/accounts/") && list.ends_with("/posts");
    if !of_posts && !list.starts_with("/v1/timelines/") {
        return (items, None);
    }
    let counted = format!("{list}/count?newer_than={from}");
    let counted = client.get(&counted).await;
    let counted = counted.body["count"].as_u64();
    (items, counted.map(|count| count as usize))
}

/// It is seen before, and nowhere soon after `deed`, which nobody folds; nor when it is
/// folded.
async fn is_gone(
    app: &App,
    clients: &[&Client],
    (paths, what): (&[String], &str),
    deed: impl Future<Output = ()>,
) {
    for client in clients {
        assert_ne!(showing(client, paths, what).await, [""; 0], "{what}");
    }
    deed.await;
    for client in clients {
        until("what is withdrawn is withheld", 2, || async {
            showing(client, paths, what).await.is_empty()
        })
        .await;
    }
    app.settle().await;
    for client in clients {
        assert_eq!(showing(client, paths, what).await, [""; 0], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_post_is_gone_before_it_is_folded() {
    let app = App::start().await;
    let scene = Scene::set(&app).await;
    let everybody = [&scene.fan.client, &scene.stranger.client, &app.client()];
    let seen = showing(&scene.fan.client, &scene.paths(), SECRET).await;
    assert!(
        seen.contains(&"/v1/timelines/home, back".into()),
        "{seen:?}"
    );
    let deleted = async {
        for post in [&scene.public, &scene.reply, &scene.for_followers] {
            let path = format!("/v1/posts/{post}");
            scene.author.client.delete(&path).await.expect(204);
        }
    };
    is_gone(&app, &everybody, (&scene.paths(), SECRET), deleted).await;
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_sees_nothing_before_it_is_folded() {
    let app = App::start().await;
    let scene = Scene::set(&app).await;
    let blocked = async {
        let path = format!("/v1/accounts/{}/block", scene.fan.id);
        scene.author.client.put(&path).await.expect(204);
    };
    let paths = [scene.paths(), scene.account_paths()].concat();
    let id = scene.author.id.clone();
    is_gone(&app, &[&scene.fan.client], (&paths, &id), blocked).await;
    // Everybody else sees what they saw.
    let stranger = showing(&scene.stranger.client, &paths, SECRET).await;
    assert!(stranger.contains(&format!("/v1/posts/{}", scene.public)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_made_private_is_closed_before_it_is_folded() {
    let app = App::start().await;
    let scene = Scene::set(&app).await;
    let strangers = [&scene.stranger.client, &app.client()];
    let closed = async {
        let private = json!({"private": true});
        let changed = scene.author.client.patch("/v1/accounts/me", private).await;
        changed.expect(200);
    };
    is_gone(&app, &strangers, (&scene.paths(), SECRET), closed).await;
    for side in ["followers", "following"] {
        let path = format!("/v1/accounts/{}/{side}", scene.author.id);
        let answer = scene.stranger.client.get(&path).await;
        answer.problem(403, "account_private");
    }
    let fan = showing(&scene.fan.client, &scene.paths(), SECRET).await;
    assert!(fan.contains(&"/v1/timelines/home".into()), "{fan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_follower_sees_no_more_before_it_is_folded() {
    let app = App::start().await;
    let scene = Scene::set(&app).await;
    let removed = async {
        let path = format!("/v1/accounts/me/followers/{}", scene.fan.id);
        scene.author.client.delete(&path).await.expect(204);
    };
    let paths = scene.paths();
    let what = (&paths[..], scene.for_followers.as_str());
    is_gone(&app, &[&scene.fan.client], what, removed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_account_is_gone_before_it_is_folded() {
    let app = App::start().await;
    let scene = Scene::set(&app).await;
    let everybody = [&scene.fan.client, &scene.stranger.client];
    let deactivated = async {
        let body = Some(json!({"current_password": scene.author.password}));
        let path = "/v1/accounts/me/deactivation";
        let done = scene.author.client.send(Method::PUT, path, body, &[]).await;
        assert!(done.status.is_success(), "{}", done.body);
    };
    let paths = [scene.paths(), scene.account_paths()].concat();
    let id = scene.author.id.clone();
    is_gone(&app, &everybody, (&paths, &id), deactivated).await;
}
