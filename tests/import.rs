//! `headwater simulate` and `headwater import`: the counts over the API are
//! those of the file, after a kill too.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use edge::tokens::{SigningKey, TokenSettings, Tokens};
use serde_json::Value;
use tempfile::tempdir;
use testkit::{Client, Servers, ids, until};

use crate::examination::{all_is_as_the_log_says, target};
use crate::process::{Running, environment, run};

/// What a file of activity says, counted without any code of the product.
#[derive(Default)]
struct Expected {
    users: BTreeSet<String>,
    follows: BTreeSet<(String, String)>,
    /// By post: who wrote it, and what it replies to.
    posts: BTreeMap<String, (String, Option<String>)>,
    likes: BTreeSet<(String, String)>,
    /// Author and text of every post, in the order of the file.
    texts: Vec<(String, String)>,
}

impl Expected {
    fn of(text: &str) -> Self {
        let mut expected = Self::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let get = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            if line.get("text").is_some() {
                expected.texts.push((get("user"), get("text")));
            }
            match get("op").as_str() {
                "register" => drop(expected.users.insert(get("user"))),
                "follow" => drop(expected.follows.insert((get("user"), get("target")))),
                "post" => drop(expected.posts.insert(get("id"), (get("user"), None))),
                "reply" => {
                    let post = (get("user"), Some(get("to")));
                    expected.posts.insert(get("id"), post);
                }
                "like" => drop(expected.likes.insert((get("user"), get("post")))),
                other => panic!("{other}"),
            }
        }
        expected
    }

    /// What the home of `user` must be, newest first.
    fn home(&self, user: &str) -> Vec<(String, String)> {
        let shown = |author: &String| {
            author == user || self.follows.contains(&(user.to_owned(), author.clone()))
        };
        let posts = self.texts.iter().rev();
        posts.filter(|(author, _)| shown(author)).cloned().collect()
    }

    /// Followers, followed and posts by account, in the order of their handles.
    fn accounts(&self) -> BTreeMap<&str, [i64; 3]> {
        let zero = |user: &'_ String| (user.as_str().to_owned(), [0; 3]);
        let mut counts: BTreeMap<String, [i64; 3]> = self.users.iter().map(zero).collect();
        for (follower, followed) in &self.follows {
            counts.entry(followed.clone()).or_default()[0] += 1;
            counts.entry(follower.clone()).or_default()[1] += 1;
        }
        for (author, _) in self.posts.values() {
            counts.entry(author.clone()).or_default()[2] += 1;
        }
        let named = |user: &'_ String| counts.get(user).copied().unwrap_or_default();
        self.users
            .iter()
            .map(|user| (user.as_str(), named(user)))
            .collect()
    }

    /// Likes and replies of every post, sorted: the file's ids are not ours.
    fn posts(&self) -> Vec<(String, i64, i64)> {
        let mut counts: BTreeMap<&str, (i64, i64)> = self
            .posts
            .keys()
            .map(|post| (post.as_str(), (0, 0)))
            .collect();
        for (_, post) in &self.likes {
            counts.entry(post).or_default().0 += 1;
        }
        for (_, parent) in self.posts.values() {
            if let Some(parent) = parent {
                counts.entry(parent).or_default().1 += 1;
            }
        }
        let count = |post: &String| counts[post.as_str()];
        let mut all: Vec<_> = self
            .posts
            .iter()
            .map(|(post, (author, _))| (author.clone(), count(post).0, count(post).1))
            .collect();
        all.sort();
        all
    }
}

/// Compares the counts over the API with the file's.
async fn compare(expected: &Expected, client: &Client) {
    for (handle, counts) in expected.accounts() {
        let account = client
            .get(&format!("/v1/handles/{handle}"))
            .await
            .expect(200);
        let shown = ["followers_count", "following_count", "posts_count"]
            .map(|field| account.number(&format!("/{field}")));
        assert_eq!(shown, counts, "{handle}");
    }
    let local = client.all("/v1/timelines/local", 100).await;
    assert_eq!(
        ids(&local).into_iter().collect::<BTreeSet<_>>().len(),
        local.len()
    );
    let mut shown: Vec<_> = local
        .iter()
        .map(|post| {
            let count = |field: &str| post[field].as_i64().unwrap();
            let author = post["author"]["handle"].as_str().unwrap().to_owned();
            (author, count("likes_count"), count("replies_count"))
        })
        .collect();
    shown.sort();
    assert_eq!(shown, expected.posts());
}

/// Compares every `step`-th account's home, page by page to its end.
async fn compare_homes(expected: &Expected, client: &Client, step: usize, limit: u32) {
    let secret = testkit::secrets::TOKEN_SECRET.as_bytes().to_vec();
    let tokens = Tokens::new(TokenSettings {
        issuer: "headwater".into(),
        audience: "headwater".into(),
        signing: SigningKey::Secret(secret.clone()),
        accepted: Vec::new(),
        session_secret: secret,
    })
    .unwrap();
    for handle in expected.users.iter().step_by(step) {
        let account = client.get(&format!("/v1/handles/{handle}")).await;
        let id = account.expect(200).text("/id").parse().unwrap();
        let token = tokens.issue(
            kernel::AccountId(id),
            uuid::Uuid::now_v7(),
            edge::identity::now(),
        );
        let reader = client.clone().with_token(token.unwrap());
        let home = reader.all("/v1/timelines/home", limit).await;
        let shown: Vec<_> = home
            .iter()
            .map(|post| {
                let text = |pointer| post.pointer(pointer).and_then(Value::as_str).unwrap();
                (text("/author/handle").to_owned(), text("/text").to_owned())
            })
            .collect();
        assert!(shown == expected.home(handle), "home of {handle} differs");
    }
}

async fn caught_up(api: &str) {
    let client = Client::new(api.to_owned());
    let ready = || async {
        let ready = client.get("/health/ready").await;
        ready.status == 200 && ready.body["lag_events"] == 0
    };
    until("the projections are at the head", 60, ready).await;
}

fn simulated(folder: &Path, out: &str) -> std::path::PathBuf {
    let file = folder.join("activity.ndjson");
    std::fs::write(&file, out).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_gives_the_files_counts_and_a_second_one_changes_nothing() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let settings = environment(&servers);
    let made = run(
        &["simulate", "--accounts", "60", "--seed", "7"],
        &[],
        folder.path(),
    )
    .await;
    let file = simulated(folder.path(), &made.out);
    let api = Running::serve(&servers, folder.path()).await;
    let _worker = Running::work(&servers, folder.path()).await;
    let import = ["import", file.to_str().unwrap()];
    let first = run(&import, &settings, folder.path()).await;
    assert_eq!(first.status, 0, "{}", first.err);
    caught_up(&api.api).await;
    let expected = Expected::of(&made.out);
    let client = Client::new(api.api.clone());
    compare(&expected, &client).await;
    compare_homes(&expected, &client, 7, 9).await;
    all_is_as_the_log_says(target(&servers, api.api.clone())).await;

    let before = run(&["tail", "-o", "start", "-e"], &settings, folder.path())
        .await
        .out;
    let second = run(&import, &settings, folder.path()).await;
    assert_eq!(second.status, 0, "{}", second.err);
    let after = run(&["tail", "-o", "start", "-e"], &settings, folder.path())
        .await
        .out;
    assert_eq!(
        before.lines().count(),
        after.lines().count(),
        "{}",
        second.out
    );

    // What is wrong with a file is told, and the rest goes on.
    let bad = concat!(
        "{\"op\":\"register\",\"user\":\"new_one\"}\n",
        "nonsense\n",
        "{\"op\":\"like\",\"user\":\"new_one\",\"post\":\"nowhere\"}\n",
        "{\"op\":\"follow\",\"user\":\"new_one\",\"target\":\"new_one\"}\n",
    );
    let file = simulated(folder.path(), bad);
    let third = run(
        &["import", file.to_str().unwrap()],
        &settings,
        folder.path(),
    )
    .await;
    assert_eq!(third.status, 3, "{}", third.err);
    for (told, line) in [
        ("unreadable", 2),
        ("nobody can follow themselves", 4),
        ("does not stand before", 3),
    ] {
        let mut reasons = third.out.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["reason"].to_string(), line["line"].as_u64())
        });
        let found = reasons.any(|(why, at)| why.contains(told) && at == Some(line));
        assert!(found, "{told}: {}", third.out);
    }
    caught_up(&api.api).await;
    client.get("/v1/handles/new_one").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_is_resumed_without_a_second_effect() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let settings = environment(&servers);
    let made = run(
        &["simulate", "--accounts", "80", "--seed", "8"],
        &[],
        folder.path(),
    )
    .await;
    let file = simulated(folder.path(), &made.out);
    let import = ["import", file.to_str().unwrap()];
    let api = Running::serve(&servers, folder.path()).await;
    let _worker = Running::work(&servers, folder.path()).await;
    for kill in 0..6_u64 {
        let mut command = tokio::process::Command::from(crate::process::command(
            &import,
            &settings,
            folder.path(),
        ));
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        // Not a wait for an effect: the moment of the kill.
        let moment = std::time::Duration::from_millis(40 + 60 * kill);
        let _ = tokio::time::timeout(moment, child.wait()).await;
        let _ = child.kill().await;
    }
    let last = run(&import, &settings, folder.path()).await;
    assert_eq!(last.status, 0, "{}", last.err);
    caught_up(&api.api).await;
    compare(&Expected::of(&made.out), &Client::new(api.api.clone())).await;
}

/// A public social graph and real dialogue, 285,507 lines, where it is at hand.
#[tokio::test(flavor = "multi_thread")]
async fn real_activity_is_imported_as_it_is() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/activity.ndjson.gz");
    if !file.exists() {
        eprintln!("skipped: {} is not there", file.display());
        return;
    }
    let mut text = String::new();
    let opened = std::fs::File::open(&file).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(opened), &mut text).unwrap();
    let expected = Expected::of(&text);
    assert_eq!(
        (expected.users.len(), expected.follows.len()),
        (4_039, 176_468)
    );

    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let settings = environment(&servers);
    let api = Running::serve(&servers, folder.path()).await;
    let _worker = Running::work(&servers, folder.path()).await;
    let imported = run(
        &["import", file.to_str().unwrap()],
        &settings,
        folder.path(),
    )
    .await;
    assert_eq!(imported.status, 0, "{}", imported.err);
    eprintln!("{}", imported.out);
    caught_up(&api.api).await;
    let client = Client::new(api.api.clone());
    compare(&expected, &client).await;
    compare_homes(&expected, &client, 4_039 / 50, 100).await;
    all_is_as_the_log_says(target(&servers, api.api.clone())).await;
}
