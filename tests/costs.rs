//! What a read costs: no more than its page, however much others made. The blocks that
//! PostgreSQL reads for each GET of the contract are counted in a world, and again in the
//! same world with ten times more of everything.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use readmodel::DatabaseConnection;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use testkit::{App, Client, Person};

/// What there is of each thing at first.
const SOME: u32 = 4_000;
/// Blocks that are not a page's: what plans and counters vary by.
const SPARE_BLOCKS: i64 = 100;

/// Many of everything around ada, her posts `$1` and `$2` (a reply to it), and eve, who is
/// private. Half of it is hidden from strangers, the newest. Ids count up.
const MANY: &[&str] = &[
    "INSERT INTO social.accounts
        (id, handle, registered_at, active_on, version, private, deactivated)
     SELECT ('a' || lpad(to_hex(i), 31, '0'))::uuid, 'many_' || i, i, 0, 1, false, i > {n} / 2
     FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.likes (account_id, post_id, liked_at)
     SELECT ('a' || lpad(to_hex(i), 31, '0'))::uuid, '{post}', {now} + i FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.reposts (account_id, post_id, reposted_at, repost_id)
     SELECT ('a' || lpad(to_hex(i), 31, '0'))::uuid, '{post}', {now} + i, gen_random_uuid()
     FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.follows (follower_id, followed_id, followed_at)
     SELECT ('a' || lpad(to_hex(i), 31, '0'))::uuid, '{ada}', {now} + i FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.follow_requests (follower_id, followed_id, requested_at)
     SELECT ('a' || lpad(to_hex(i), 31, '0'))::uuid, '{ada}', {now} + i FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.blocks (blocker_id, blocked_id, blocked_at)
     SELECT '{ada}', ('b' || lpad(to_hex(i), 31, '0'))::uuid, {now} + i FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.mutes (muter_id, muted_id, muted_at)
     SELECT '{ada}', ('b' || lpad(to_hex(i), 31, '0'))::uuid, {now} + i FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.bookmarks (account_id, post_id, bookmarked_at, folder_id)
     SELECT '{ada}', ('c' || lpad(to_hex(i), 31, '0'))::uuid, {now} + i, '{folder}'
     FROM generate_series(1, {n}) AS i",
    // Replies, and below the first of them another.
    "INSERT INTO social.posts (id, author_id, text, hashtags, mentions, followers_only, parent_id,
        root_id, created_at, version)
     SELECT ('d' || lpad(to_hex(i), 31, '0'))::uuid, '{ada}', 'a reply', '{}', '{}', i > {n} / 2,
        CASE WHEN i % 2 = 0 THEN '{post}' ELSE '{reply}' END::uuid, '{post}', {now} + i, 1
     FROM generate_series(1, {n}) AS i",
    // Of a private account: the newest of what is not for followers alone.
    "INSERT INTO social.posts (id, author_id, text, hashtags, mentions, followers_only, created_at,
        version)
     SELECT ('e' || lpad(to_hex(i), 31, '0'))::uuid, '{eve}', 'a post', '{}', '{}', false, {now} + i, 1
     FROM generate_series(1, {n}) AS i",
    // Of many authors.
    "INSERT INTO social.posts (id, author_id, text, hashtags, mentions, followers_only, created_at,
        version)
     SELECT ('f' || lpad(to_hex(i), 31, '0'))::uuid, ('a' || lpad(to_hex(i), 31, '0'))::uuid,
        'a post', '{}', '{}', true, {now} + i, 1
     FROM generate_series(1, {n}) AS i",
    "INSERT INTO social.post_revisions (post_id, version, text, written_at)
     SELECT '{post}', 1000000 + i, 'as it was', {now} + i FROM generate_series(1, {n}) AS i",
    "VACUUM ANALYZE",
];

struct World {
    app: App,
    /// `{…}` of paths and of `MANY`.
    names: BTreeMap<&'static str, String>,
    ada: Person,
}

impl World {
    async fn new() -> Self {
        let app = App::with_connections(1).await;
        let ada = app.client().register("ada").await;
        let eve = app.client().register("eve").await;
        let private = json!({"private": true});
        (eve.client.patch("/v1/accounts/me", private).await).expect(200);
        let post = ada.publish("a post").await;
        let reply = json!({"text": "a reply", "reply_to_id": post});
        let reply = ada.client.post("/v1/posts", reply).await.expect(201);
        let folder = json!({"folder_name": "a folder"});
        let folder = (ada.client.post("/v1/bookmark-folders", folder).await).expect(201);
        let session = json!({"login": ada.handle, "password": ada.password});
        let session = app.client().post("/v1/sessions", session).await.expect(201);
        app.settle().await;
        let names = BTreeMap::from([
            ("{ada}", ada.id.clone()),
            ("{account_id}", ada.id.clone()),
            ("{handle}", ada.handle.clone()),
            ("{eve}", eve.id.clone()),
            ("{post}", post.clone()),
            ("{post_id}", post),
            ("{reply}", reply.text("/id")),
            ("{folder}", folder.text("/id")),
            ("{folder_id}", folder.text("/id")),
            ("{session_id}", session.text("/session_id")),
            ("{now}", "1800000000000".to_owned()),
        ]);
        Self { app, names, ada }
    }

    fn filled(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| text.replace(*name, value);
        self.names.iter().fold(text.to_owned(), fill)
    }

    async fn make(&self, many: u32) {
        for sql in MANY {
            let sql = self.filled(&sql.replace("{n}", &many.to_string()));
            self.app.database.execute_unprepared(&sql).await.unwrap();
        }
    }

    /// What each GET of the contract reads, for ada and for nobody, by path.
    async fn costs(&self) -> BTreeMap<String, i64> {
        let document = self
            .app
            .client()
            .get("/openapi.json")
            .await
            .expect(200)
            .body;
        let ids = |name: &str| format!("?ids={}", self.names[name]);
        let mut costs = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let Some(id) = methods["get"]["operationId"].as_str() else {
                continue;
            };
            let query = match id {
                "listAccounts" | "listRelationships" => ids("{ada}"),
                "listPosts" => ids("{post}"),
                _ => String::new(),
            };
            let mut paths = vec![self.filled(path) + &query];
            match id {
                "listAccountPosts" => {
                    paths.push(format!("/v1/accounts/{}/posts", self.names["{eve}"]));
                    for only in ["posts", "replies"] {
                        paths.push(format!("{}?only={only}", self.filled(path)));
                    }
                }
                "getThread" => paths.push(format!("/v1/posts/{}/thread", self.names["{reply}"])),
                "listBookmarks" => paths.push(self.filled("/v1/bookmarks?folder_id={folder}")),
                _ => {}
            }
            for path in paths {
                let nobody = self.app.client();
                for (who, client) in [("ada", &self.ada.client), ("nobody", &nobody)] {
                    let blocks = self.cost(client, &path, methods).await;
                    costs.insert(format!("{id} {path} for {who}"), blocks);
                    for (what, path) in self.back(client, &path).await {
                        let blocks = self.cost(client, &path, methods).await;
                        costs.insert(format!("{id} {what} for {who}"), blocks);
                    }
                }
            }
        }
        costs
    }

    /// Pages before the first one and the second one that `path` has, and counts of them.
    async fn back(&self, client: &Client, path: &str) -> Vec<(String, String)> {
        let join = if path.contains('?') { '&' } else { '?' };
        let mut page = client.get(path).await;
        let mut back = Vec::new();
        for number in [1, 2] {
            let Some(prev) = page.body["prev_cursor"].as_str() else {
                break;
            };
            let asked = format!("{path}{join}cursor={prev}");
            back.push((format!("{path} before page {number}"), asked));
            let is_counted = path.contains("/timelines/") || path.ends_with("/posts");
            if is_counted {
                let asked = format!("{path}/count?newer_than={prev}");
                back.push((format!("{path} counted before page {number}"), asked));
            }
            let Some(next) = page.body["next_cursor"].as_str() else {
                break;
            };
            page = client.get(&format!("{path}{join}cursor={next}")).await;
        }
        back
    }

    async fn cost(&self, client: &Client, path: &str, methods: &Value) -> i64 {
        self.app.services.forget_cached();
        let before = blocks(&self.app.database).await;
        let answer = client.get(path).await;
        let after = blocks(&self.app.database).await;
        let status = answer.status.as_u16();
        let is_known = !methods["get"]["responses"][status.to_string()].is_null();
        assert!(is_known && status < 500, "{path}: {status}");
        after - before
    }
}

/// Blocks of tables and indexes of `social` that were read so far, by the one connection.
async fn blocks(database: &DatabaseConnection) -> i64 {
    let run = |sql: &str| Statement::from_string(sea_orm::DbBackend::Postgres, sql.to_owned());
    let flush = run("SELECT pg_stat_force_next_flush()");
    database.query_one_raw(flush).await.unwrap();
    let sum = run(
        "SELECT sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0)
            + coalesce(toast_blks_hit + toast_blks_read, 0))::bigint AS blocks
         FROM pg_statio_user_tables WHERE schemaname = 'social'",
    );
    let row = database.query_one_raw(sum).await.unwrap().unwrap();
    row.try_get("", "blocks").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_costs_more_than_its_page() {
    let mut measured = Vec::new();
    for many in [SOME, 10 * SOME] {
        let world = World::new().await;
        world.make(many).await;
        measured.push(world.costs().await);
    }
    assert_eq!(measured[0].len(), measured[1].len());
    let [some, many] = [&measured[0], &measured[1]].map(|costs| costs.values());
    let dear = some.zip(many).zip(measured[0].keys());
    let dear = dear.filter(|((some, many), _)| **many > 2 * **some + SPARE_BLOCKS);
    let dear: Vec<_> = dear
        .map(|((some, many), what)| format!("{what}: {some} blocks, of ten times more {many}"))
        .collect();
    assert!(dear.is_empty(), "{}", dear.join("\n"));
    let most = measured[0].iter().max_by_key(|(_, blocks)| **blocks);
    assert!(
        most.is_some_and(|(_, blocks)| *blocks > 20),
        "nothing is counted: {most:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_without_an_account_keeps_nobody_else_from_the_database() {
    let app = App::with_connections(8).await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("a post").await;
    app.settle().await;
    app.services.forget_cached();
    // Reads of posts wait as long as this is open.
    let pool = app.database.get_postgres_connection_pool();
    let mut held = pool.begin().await.unwrap();
    sea_orm::sqlx::query("LOCK TABLE social.posts IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    let path = format!("/v1/posts/{post}/replies");
    let reads: Vec<_> = (0..20)
        .map(|_| {
            let (client, path) = (app.client(), path.clone());
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    (ada.client.get("/v1/sessions").await).expect(200);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    held.rollback().await.unwrap();
    let mut refused = 0;
    for read in reads {
        let answer = read.await.unwrap();
        match answer.status.as_u16() {
            200 => {}
            503 => {
                assert_eq!(answer.text("/code"), "overloaded");
                refused += 1;
            }
            other => panic!("{other}: {}", answer.body),
        }
    }
    assert_eq!(refused, 18, "two places of eight connections");
    app.client().get(&path).await.expect(200);
}
