//! One request a screen: what the screens of an app show, and how many requests that takes.

use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Answer, App, Client, Person, Servers};

use crate::{examination::all_of_the_app_is_as_the_log_says, process::Running};

/// A client that counts what it asks.
struct Counting {
    client: Client,
    requests: usize,
}

impl Counting {
    fn of(person: &Person) -> Self {
        let client = person.client.whole();
        Self {
            client,
            requests: 0,
        }
    }

    async fn get(&mut self, path: &str) -> Value {
        self.requests += 1;
        self.client.get(path).await.expect(200).body
    }

    async fn put(&mut self, path: &str) -> Value {
        self.requests += 1;
        self.client.put(path).await.expect(200).body
    }

    async fn publish(&mut self, body: Value) -> Answer {
        self.requests += 1;
        self.client.post("/v1/posts", body).await.expect(201)
    }

    /// Since the last time.
    fn took(&mut self, requests: usize, screen: &str) {
        assert_eq!(std::mem::take(&mut self.requests), requests, "{screen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_takes_one_request() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let api = Running::serve(&servers, folder.path()).await;
    let worker = Running::work(&servers, folder.path()).await;
    let client = Client::new(api.api.clone());
    let (ada, bob) = (client.register("ada").await, client.register("bob").await);
    let mut app = Counting::of(&ada);
    let post = bob.publish("hello").await;
    let pin = json!({"post_id": post});
    let path = "/v1/accounts/me/pinned-post";
    let pinned = (bob.client).send(reqwest::Method::PUT, path, Some(pin), &[]);
    pinned.await.expect(204);
    bob.follow(&ada).await;
    // Who reads sees what they wrote: now it is there for others too.
    bob.client.get("/v1/accounts/me").await.expect(200);

    // Follow: the button's next state.
    let named = format!("/v1/accounts/@{}", bob.handle);
    let between = app.put(&format!("{named}/follow")).await;
    assert_eq!(between["following"], true);
    assert_eq!(between["followed_by"], true);
    app.took(1, "follow");

    // Compose: the post as in the list, with the author of its parent.
    let text = format!("@{} welcome to #headwater 👋", bob.handle);
    let made = app
        .publish(json!({"text": text, "reply_to_id": post}))
        .await;
    let author = json!({"id": bob.id, "handle": bob.handle, "display_name": "bob"});
    assert_eq!(
        made.body["reply_to"],
        json!({"state": "shown", "author": author})
    );
    app.took(1, "compose");

    // Home: authors, counters, flags, whom replies answer, what is in texts.
    let home = app.get("/v1/timelines/home").await;
    assert_eq!(home["items"][0], made.body);
    assert_eq!(home["items"][1]["id"], json!(post));
    app.took(1, "home");

    // Like: the counter and the heart.
    let liked = app.put(&format!("/v1/posts/{post}/like")).await;
    assert_eq!(liked["post"]["likes_count"], 1);
    assert_eq!(liked["post"]["viewer"]["liked"], true);
    app.took(1, "like");

    // A post: what is above it and below it.
    let thread = app.get(&format!("/v1/posts/{post}/thread")).await;
    assert_eq!(thread["post"], liked["post"]);
    assert_eq!(thread["descendants"], json!([made.body]));
    app.took(1, "post");

    // A profile: the account, what is between, what is pinned; and its posts, in pages.
    let profile = app.get(&format!("{named}?include=pinned_post")).await;
    assert_eq!(profile["viewer"]["following"], true);
    assert_eq!(profile["pinned_post"], liked["post"]);
    let posts = app.get(&format!("{named}/posts")).await;
    assert_eq!(posts["items"], json!([liked["post"]]));
    app.took(2, "profile");

    // Followers: who, and whether I follow them.
    let path = format!("/v1/accounts/@{}/followers", ada.handle);
    let followers = app.get(&path).await;
    assert_eq!(followers["items"][0]["handle"], json!(bob.handle));
    assert_eq!(followers["items"][0]["viewer"]["following"], true);
    app.took(1, "followers");
    assert_eq!(worker.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_text_is_where_it_says() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    // 👋 is one code point and two units of UTF-16; nobody has the handle `nobody_here`.
    let text = format!("👋 @{} #Straße @nobody_here 👋#strasse", bob.handle);
    let post = ada.publish(&text).await;
    app.settle().await;
    let shown = app.client().get(&format!("/v1/posts/{post}")).await;
    let shown = shown.expect(200).body;
    let scalars: Vec<char> = text.chars().collect();
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut found = Vec::new();
    for entity in shown["entities"].as_array().unwrap() {
        let at = |name: &str| entity[name].as_u64().unwrap() as usize;
        let slice: String = scalars[at("start")..at("end")].iter().collect();
        let same = String::from_utf16(&units[at("utf16_start")..at("utf16_end")]).unwrap();
        assert_eq!(slice, same);
        found.push((
            slice,
            entity["hashtag"].clone(),
            entity["account_id"].clone(),
        ));
    }
    assert_eq!(
        found,
        [
            (format!("@{}", bob.handle), Value::Null, json!(bob.id)),
            ("#Straße".into(), json!("strasse"), Value::Null),
            ("#strasse".into(), json!("strasse"), Value::Null),
        ]
    );
    assert_eq!(shown["entities"][0]["handle"], json!(bob.handle));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_says_whom_it_answers_as_far_as_the_reader_may_know() {
    let app = App::start().await;
    let names = ["ada", "bob", "eve"];
    let mut people = Vec::new();
    for name in names {
        people.push(app.client().register(name).await);
    }
    let [ada, bob, eve] = people.try_into().ok().unwrap();
    let root = ada.publish("root").await;
    let middle = bob.reply(&root, "middle").await;
    let last = eve.reply(&middle, "last").await;
    app.settle().await;
    let path = format!("/v1/posts/{last}");
    let state = async |person: &Person| {
        let answers = [
            person.client.get(&path).await.expect(200),
            (person.client.get(&format!("{path}/thread")).await).expect(200),
            (person.client.get(&format!("/v1/posts?ids={last}")).await).expect(200),
        ];
        let [one, thread, batch] = answers.map(|answer| answer.body);
        assert_eq!(one, thread["post"]);
        assert_eq!(one, batch["items"][0]);
        let eves = format!("/v1/accounts/@{}/posts", eve.handle);
        let list = person.client.get(&eves).await.expect(200).body;
        assert_eq!(list["items"][0]["reply_to"], one["reply_to"]);
        (one["reply_to"].clone(), thread["tombstones"].clone())
    };
    let author = json!({"id": bob.id, "handle": bob.handle, "display_name": "bob"});
    let shown = json!({"state": "shown", "author": author});
    assert_eq!(state(&ada).await, (shown.clone(), json!([])));
    let before = ada.client.get(&path).await.expect(200).header("etag");

    // Bob blocks ada: his post is hidden from her, and so is its parent.
    let block = format!("/v1/accounts/{}/block", ada.id);
    bob.client.put(&block).await.expect(204);
    app.settle().await;
    let hidden = json!({"state": "hidden"});
    let tombstone = json!([{"id": middle, "state": "hidden"}]);
    assert_eq!(state(&ada).await, (hidden, tombstone));
    assert_ne!(
        ada.client.get(&path).await.expect(200).header("etag"),
        before
    );
    assert_eq!(state(&eve).await, (shown, json!([])));
    bob.client.delete(&block).await.expect(204);

    // Deleted: a tombstone in its place, between the root and the reply.
    let deleted = bob.client.delete(&format!("/v1/posts/{middle}")).await;
    deleted.expect(204);
    app.settle().await;
    let gone = json!({"state": "gone"});
    let tombstone = json!([{"id": middle, "state": "gone", "reply_to_id": root}]);
    for person in [&ada, &eve] {
        assert_eq!(state(person).await, (gone.clone(), tombstone.clone()));
    }
    let thread = ada.client.get(&format!("/v1/posts/{root}/thread")).await;
    let thread = thread.expect(200).body;
    assert_eq!(thread["descendants"][0]["id"], json!(last));
    assert_eq!(thread["tombstones"], tombstone);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_stands_for_an_id_where_its_account_is_found() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    app.settle().await;
    let by = |name: &str| format!("/v1/accounts/{name}");
    let (id, handle) = (by(&ada.id), by(&format!("@{}", ada.handle)));
    for rest in ["", "/posts", "/followers", "/following"] {
        let one = bob.client.get(&format!("{id}{rest}")).await.expect(200);
        let other = bob.client.get(&format!("{handle}{rest}")).await.expect(200);
        match rest {
            "" => assert_eq!(one.body, other.body),
            // Cursors are of the path that they were given for.
            _ => assert_eq!(one.body["items"], other.body["items"], "{rest}"),
        }
    }
    let loud = by(&format!("@{}", ada.handle.to_uppercase()));
    bob.client.get(&loud).await.expect(200);
    for nobody in ["@nobody_here", "@", "@a", "@a b", "@@ada", "ada"] {
        let path = by(&nobody.replace(' ', "%20"));
        let refused = bob.client.get(&path).await;
        assert!([400, 404].contains(&refused.status.as_u16()), "{nobody}");
        let refused = bob.client.put(&format!("{path}/follow")).await;
        assert!([400, 404].contains(&refused.status.as_u16()), "{nobody}");
    }
    // A blocked account finds neither.
    let block = format!("/v1/accounts/@{}/block", bob.handle);
    ada.client.put(&block).await.expect(204);
    app.settle().await;
    for path in [&id, &handle] {
        bob.client.get(path).await.problem(404, "not_found");
        let follow = format!("{path}/follow");
        bob.client.put(&follow).await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn my_account_counts_who_waits_to_follow_me() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let private = json!({"private": true});
    ada.client
        .patch("/v1/accounts/me", private)
        .await
        .expect(200);
    let mut fans = Vec::new();
    for _ in 0..3 {
        let fan = app.client().register("fan").await;
        fan.follow(&ada).await;
        fans.push(fan);
    }
    app.settle().await;
    let waiting = async || {
        let me = ada.client.get("/v1/accounts/me").await.expect(200);
        let listed = ada.client.get("/v1/accounts/me/follow-requests").await;
        let listed = listed.expect(200).ids().len() as i64;
        assert_eq!(me.number("/follow_requests_count"), listed);
        assert!(me.body.get("viewer").is_none());
        listed
    };
    assert_eq!(waiting().await, 3);
    let path = format!("/v1/accounts/me/followers/@{}", fans[0].handle);
    ada.client.put(&path).await.expect(204);
    let block = format!("/v1/accounts/{}/block", fans[1].id);
    ada.client.put(&block).await.expect(204);
    app.settle().await;
    assert_eq!(waiting().await, 1);
    let unknown = ada.client.get("/v1/accounts/me?include=everything").await;
    unknown.expect(400);
}
