//! Lists both ways: every list of the contract, while things come and go between its
//! pages.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, App, Client, Person};

/// Of whom each makes one thing in a list.
const PEOPLE: usize = 12;
/// Things at first; the others come later.
const AT_FIRST: usize = 7;
pub(crate) const HOME: &str = "/v1/timelines/home";
pub(crate) const LOCAL: &str = "/v1/timelines/local";

#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    Local,
    Home,
    Account,
    Mine,
    Replies,
    Thread,
    Below,
    Revisions,
    Likers,
    Reposters,
    Followers,
    Following,
    Requests,
    Folders,
    Liked,
    Bookmarks,
    InFolder,
    Mutes,
    Blocks,
}

/// Local goes first: nobody but this story publishes in it.
const LISTS: [List; 19] = [
    List::Local,
    List::Home,
    List::Account,
    List::Mine,
    List::Replies,
    List::Thread,
    List::Below,
    List::Revisions,
    List::Likers,
    List::Reposters,
    List::Followers,
    List::Following,
    List::Requests,
    List::Folders,
    List::Liked,
    List::Bookmarks,
    List::InFolder,
    List::Mutes,
    List::Blocks,
];

impl List {
    fn is_of_posts(self) -> bool {
        matches!(self, Self::Local | Self::Home | Self::Account | Self::Mine)
    }
}

struct World {
    app: App,
    /// Who follows the author.
    reader: Person,
    author: Person,
    /// Whose account asks who wants to follow it.
    private: Person,
    /// Who follows, blocks, mutes and bookmarks the others.
    busy: Person,
    people: Vec<Person>,
    /// What is replied to, liked …, and a reply to it.
    root: String,
    reply: String,
    posts: Vec<String>,
    folder: String,
}

impl World {
    async fn new() -> Self {
        let app = App::start().await;
        let register = async |name: &str| app.client().register(name).await;
        let [reader, author] = [register("reader").await, register("author").await];
        let [private, busy] = [register("private").await, register("busy").await];
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(register("person").await);
        }
        reader.follow(&author).await;
        let closed = json!({"private": true});
        let closed = private.client.patch("/v1/accounts/me", closed).await;
        closed.expect(200);
        let root = busy.publish("a root").await;
        let reply = busy.reply(&root, "a reply").await;
        let mut posts = Vec::new();
        for number in 0..PEOPLE {
            posts.push(busy.publish(&format!("post {number}")).await);
        }
        let folder = json!({"folder_name": "one"});
        let folder = busy.client.post("/v1/bookmark-folders", folder).await;
        let folder = folder.expect(201).text("/id");
        app.settle().await;
        Self {
            app,
            reader,
            author,
            private,
            busy,
            people,
            root,
            reply,
            posts,
            folder,
        }
    }

    fn path(&self, list: List) -> String {
        let root = &self.root;
        match list {
            List::Local => LOCAL.into(),
            List::Home => HOME.into(),
            List::Account => format!("/v1/accounts/{}/posts", self.author.id),
            List::Mine => "/v1/accounts/me/posts".into(),
            List::Replies => format!("/v1/posts/{root}/replies"),
            List::Thread => format!("/v1/posts/{root}/thread"),
            List::Below => format!("/v1/posts/{}/thread", self.reply),
            List::Revisions => format!("/v1/posts/{root}/revisions"),
            List::Likers => format!("/v1/posts/{root}/likes"),
            List::Reposters => format!("/v1/posts/{root}/reposts"),
            List::Followers => format!("/v1/accounts/{}/followers", self.author.id),
            List::Following => format!("/v1/accounts/{}/following", self.busy.id),
            List::Requests => "/v1/accounts/me/follow-requests".into(),
            List::Folders => "/v1/bookmark-folders".into(),
            List::Liked => "/v1/accounts/me/likes".into(),
            List::Bookmarks => "/v1/bookmarks".into(),
            List::InFolder => format!("/v1/bookmarks?folder_id={}", self.folder),
            List::Mutes => "/v1/accounts/me/mutes".into(),
            List::Blocks => "/v1/accounts/me/blocks".into(),
        }
    }

    fn client(&self, list: List) -> &Client {
        match list {
            List::Mine => &self.author.client,
            List::Requests => &self.private.client,
            List::Liked
            | List::Folders
            | List::Bookmarks
            | List::InFolder
            | List::Mutes
            | List::Blocks => &self.busy.client,
            _ => &self.reader.client,
        }
    }

    /// What a person does and may take back, and what is listed of it.
    fn edge(&self, list: List, number: usize) -> Option<(&Person, String, String)> {
        let (person, busy) = (&self.people[number], &self.busy);
        let of_root = |what: &str| format!("/v1/posts/{}/{what}", self.root);
        let of_person = |what: &str| format!("/v1/accounts/{}/{what}", person.id);
        let follow = |whom: &Person| format!("/v1/accounts/{}/follow", whom.id);
        let post = &self.posts[number];
        Some(match list {
            List::Likers => (person, of_root("like"), person.id.clone()),
            List::Reposters => (person, of_root("repost"), person.id.clone()),
            List::Followers => (person, follow(&self.author), person.id.clone()),
            List::Following => (busy, of_person("follow"), person.id.clone()),
            List::Requests => (person, follow(&self.private), person.id.clone()),
            List::Mutes => (busy, of_person("mute"), person.id.clone()),
            List::Blocks => (busy, of_person("block"), person.id.clone()),
            List::Liked => (busy, format!("/v1/posts/{post}/like"), post.clone()),
            List::Bookmarks | List::InFolder => {
                (busy, format!("/v1/posts/{post}/bookmark"), post.clone())
            }
            _ => return None,
        })
    }

    /// A thing comes into the list; returns how it is named there.
    async fn come(&self, list: List, number: usize) -> String {
        let text = format!("{list:?} {number}");
        if let Some((who, path, name)) = self.edge(list, number) {
            let body = (list == List::InFolder).then(|| json!({"folder_id": self.folder}));
            let done = who.client.send(Method::PUT, &path, body, &[]).await;
            assert!(done.status.is_success(), "{list:?}: {}", done.body);
            return name;
        }
        match list {
            List::Replies => self.author.reply(&self.root, &text).await,
            // Of the author, and what is replied to: not the same for all.
            List::Thread | List::Below => self.author.reply(&self.reply, &text).await,
            List::Revisions => {
                let path = format!("/v1/posts/{}", self.root);
                let edited = self.busy.client.patch(&path, json!({"text": text})).await;
                edited.expect(200);
                (number + 1).to_string()
            }
            List::Folders => {
                let folder = json!({"folder_name": text});
                let made = self.busy.client.post("/v1/bookmark-folders", folder).await;
                made.expect(201).text("/id")
            }
            _ => self.author.publish(&text).await,
        }
    }

    /// It goes again; false where that can't be.
    async fn go(&self, list: List, number: usize, name: &str) -> bool {
        if let Some((who, path, _)) = self.edge(list, number) {
            who.client.delete(&path).await.expect(204);
            return true;
        }
        match list {
            List::Revisions => return false,
            List::Folders => {
                let path = format!("/v1/bookmark-folders/{name}");
                self.busy.client.delete(&path).await.expect(204);
            }
            _ => {
                let path = format!("/v1/posts/{name}");
                self.author.client.delete(&path).await.expect(204);
            }
        }
        true
    }

    async fn full(&self, list: List) -> Vec<String> {
        let path = with(&self.path(list), "limit=100");
        let full = self.client(list).get(&path).await.expect(200);
        assert_eq!(cursor(&full, "next"), None, "{path}");
        names(&full)
    }
}

pub(crate) fn with(path: &str, parameter: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}{parameter}")
}

/// How the items of a page are named.
fn names(page: &Answer) -> Vec<String> {
    let items = page.body.get("items").or(page.body.get("descendants"));
    let name = |item: &Value| match item["id"].as_str() {
        Some(id) => id.to_owned(),
        None => item["version"].to_string(),
    };
    items
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect()
}

/// The cursor of the page beside this one, which it links to as well.
#[track_caller]
pub(crate) fn cursor(page: &Answer, direction: &str) -> Option<String> {
    let cursor = page.body[format!("{direction}_cursor")].as_str();
    let link = page.header("link");
    let linked = link
        .split(", ")
        .find(|link| link.ends_with(&format!("rel=\"{direction}\"")));
    assert_eq!(linked.is_some(), cursor.is_some(), "{link}");
    if let (Some(cursor), Some(linked)) = (cursor, linked) {
        assert!(linked.contains(&format!("cursor={cursor}>")), "{link}");
    }
    cursor.map(str::to_owned)
}

/// Page by page from a cursor on, in one direction, until there is no more.
pub(crate) async fn walk(client: &Client, path: &str, direction: &str, from: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor_now = from.to_owned();
    for _ in 0..200 {
        let page = with(path, &format!("limit=2&cursor={cursor_now}"));
        let page = client.get(&page).await.expect(200);
        let found = names(&page);
        assert!(found.len() <= 2);
        let is_empty = found.is_empty();
        if direction == "next" {
            all.extend(found);
        } else {
            drop(all.splice(0..0, found));
        }
        match cursor(&page, direction) {
            None => return all,
            Some(same) if is_empty && same == cursor_now => return all,
            Some(further) => {
                assert_eq!(further.len(), from.len(), "cursors have one length");
                cursor_now = further;
            }
        }
    }
    panic!("{path} has no end");
}

pub(crate) async fn known(client: &Client, path: &str, tag: &str) -> Answer {
    let known = [("If-None-Match", tag)];
    client.send(Method::GET, path, None, &known).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_goes_both_ways_while_things_come_and_go() {
    let world = World::new().await;
    for list in LISTS {
        list_goes_both_ways(&world, list).await;
    }
}

async fn list_goes_both_ways(world: &World, list: List) {
    let (path, client) = (world.path(list), world.client(list));
    let empty = client.get(&with(&path, "limit=3")).await.expect(200);
    let mut came = Vec::new();
    for number in 0..AT_FIRST {
        came.push(world.come(list, number).await);
    }
    world.app.settle().await;
    let at_first = world.full(list).await;
    assert!(came.iter().all(|name| at_first.contains(name)), "{list:?}");
    if names(&empty).is_empty() {
        let back = walk(client, &path, "prev", &cursor(&empty, "prev").unwrap()).await;
        assert_eq!(back, at_first, "{list:?}: all is newer than nothing");
    }

    let first_path = with(&path, "limit=3");
    let first = client.get(&first_path).await.expect(200);
    let shown = names(&first);
    assert_eq!(shown, at_first[..3], "{list:?}");
    let (next, prev) = (cursor(&first, "next"), cursor(&first, "prev"));
    let (next, prev) = (next.unwrap(), prev.unwrap());
    let again = client
        .get(&with(&path, &format!("limit=3&cursor={prev}")))
        .await
        .expect(200);
    assert_eq!(names(&again), [""; 0], "{list:?}: nothing is new");
    assert_eq!(cursor(&again, "prev").as_ref(), Some(&prev));
    let over = walk(client, &path, "next", &cursor(&again, "next").unwrap()).await;
    assert_eq!(over, at_first, "{list:?}: below nothing new there is all");

    // Whoever asks again is told that it is the same.
    let tag = first.header("etag");
    assert!(tag.starts_with("\"page-"), "{list:?}: {tag}");
    let same = known(client, &first_path, &tag).await.expect(304);
    assert_eq!(
        (same.header("etag"), same.header("link")),
        (tag.clone(), String::new())
    );

    for number in AT_FIRST..PEOPLE {
        came.push(world.come(list, number).await);
    }
    // One of those that were shown goes, and one of the others.
    let mut gone = Vec::new();
    for name in [&shown[1], &at_first[4]] {
        let Some(number) = came.iter().position(|came| came == name) else {
            continue;
        };
        if world.go(list, number, name).await {
            gone.push(name.clone());
        }
    }
    world.app.settle().await;
    let now = world.full(list).await;
    assert!(gone.iter().all(|name| !now.contains(name)), "{list:?}");
    assert_eq!(
        known(client, &first_path, &tag).await.status,
        200,
        "{list:?}"
    );

    let before = walk(client, &path, "prev", &prev).await;
    let after = walk(client, &path, "next", &next).await;
    let mut all = [before, shown, after].concat();
    all.retain(|name| !gone.contains(name));
    assert_eq!(all, now, "{list:?}: neither a gap nor a repeat");

    // And from its end back to its beginning.
    let mut last = client.get(&first_path).await.expect(200);
    while let Some(next) = cursor(&last, "next") {
        let path = with(&path, &format!("limit=3&cursor={next}"));
        last = client.get(&path).await.expect(200);
    }
    let mut back = walk(client, &path, "prev", &cursor(&last, "prev").unwrap()).await;
    back.extend(names(&last));
    assert_eq!(back, now, "{list:?}: back from the end");

    if list.is_of_posts() {
        let counted = format!("{path}/count?newer_than={prev}");
        let counted = client.get(&counted).await.expect(200).body;
        let newer = PEOPLE - AT_FIRST;
        assert_eq!(counted, json!({"count": newer, "more": false}), "{list:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_of_another_query_or_direction_are_refused() {
    let app = App::start().await;
    let [ada, bob] = [
        app.client().register("ada").await,
        app.client().register("bob").await,
    ];
    for number in 0..3 {
        ada.publish(&format!("{number}")).await;
    }
    app.settle().await;
    let of_ada = format!("/v1/accounts/{}/posts", ada.id);
    let of_bob = format!("/v1/accounts/{}/posts", bob.id);
    let lists = [HOME, LOCAL, &of_ada, &of_bob, "/v1/bookmarks"];
    for (place, path) in lists.iter().enumerate() {
        let page = ada.client.get(&with(path, "limit=1")).await.expect(200);
        let cursors = [cursor(&page, "prev"), cursor(&page, "next")];
        for (other_place, other) in lists.iter().enumerate() {
            for cursor in cursors.iter().flatten() {
                let asked = ada
                    .client
                    .get(&with(other, &format!("cursor={cursor}")))
                    .await;
                if place == other_place {
                    asked.expect(200);
                } else {
                    asked.problem(400, "invalid_cursor");
                }
            }
        }
        if *path == "/v1/bookmarks" {
            continue;
        }
        // Only the way back is counted.
        let count = |cursor: &str| format!("{path}/count?newer_than={cursor}");
        let [prev, next] = &cursors;
        (ada.client.get(&count(prev.as_ref().unwrap())).await).expect(200);
        let wrong = [next.as_deref(), Some("nonsense"), Some("")];
        for wrong in wrong.into_iter().flatten() {
            let refused = ada.client.get(&count(wrong)).await;
            let refused = refused.problem(400, "invalid_cursor");
            assert_eq!(refused.text("/errors/0/parameter"), "newer_than");
        }
        let missing = ada.client.get(&format!("{path}/count")).await;
        missing.problem(400, "invalid_parameter");
    }
    // Each home has cursors of its own.
    let home = ada.client.get(HOME).await.expect(200);
    let prev = cursor(&home, "prev").unwrap();
    let foreign = bob.client.get(&with(HOME, &format!("cursor={prev}"))).await;
    foreign.problem(400, "invalid_cursor");
    let foreign = format!("{HOME}/count?newer_than={prev}");
    bob.client
        .get(&foreign)
        .await
        .problem(400, "invalid_cursor");
    app.client()
        .get(&foreign)
        .await
        .problem(401, "unauthenticated");
}
