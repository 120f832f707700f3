//! The read model is a function of the log.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use testkit::{App, Person};

use crate::examination::all_of_the_app_is_as_the_log_says;

/// Answers over the API that must not change.
async fn answers(app: &App, people: &[Person], posts: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    for person in people {
        let account = format!("/v1/accounts/{}", person.id);
        for path in [
            account.clone(),
            format!("{account}/followers"),
            format!("{account}/following"),
            format!("{account}/posts"),
        ] {
            answers.push(app.client().get(&path).await.expect(200).body);
        }
        answers.push(json!(person.client.all("/v1/timelines/home", 3).await));
    }
    for post in posts {
        let post = format!("/v1/posts/{post}");
        for path in [
            post.clone(),
            format!("{post}/thread"),
            format!("{post}/revisions"),
        ] {
            answers.push(app.client().get(&path).await.body);
        }
    }
    for answer in &mut answers {
        if let Some(object) = answer.as_object_mut() {
            object.remove("request_id");
            object.remove("next_cursor");
            object.remove("prev_cursor");
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_all_that_is_derived_and_folding_again_changes_no_answer() {
    let app = App::start().await;
    let mut people = Vec::new();
    for _ in 0..6 {
        people.push(app.client().register("person").await);
    }
    let mut posts: Vec<String> = Vec::new();
    for number in 0..30_usize {
        let author = &people[number * 7 % 6];
        posts.push(match number % 3 {
            0 => author.publish(&format!("post {number} #tag{number}")).await,
            _ => {
                author
                    .reply(&posts[number / 20 * 10], &format!("reply {number}"))
                    .await
            }
        });
        let other = &people[(number * 5 + 1) % 6];
        // Every tenth is deleted below.
        let liked = number * 3 % posts.len();
        if liked % 10 != 9 {
            other.like(&posts[liked]).await;
        }
        if other.id != author.id {
            other.follow(author).await;
        }
        if number % 4 == 0 {
            let path = format!("/v1/posts/{}", posts[number]);
            author
                .client
                .patch(&path, json!({"text": "edited"}))
                .await
                .expect(200);
        }
        if number % 10 == 9 {
            author
                .client
                .delete(&format!("/v1/posts/{}", posts[number]))
                .await
                .expect(204);
        }
        app.settle().await;
    }
    let before = answers(&app, &people, &posts).await;
    all_of_the_app_is_as_the_log_says(&app).await;

    for table in [
        "social.accounts",
        "social.account_counters",
        "social.posts",
        "social.post_revisions",
        "social.post_counters",
        "social.likes",
        "social.follows",
        "projections.checkpoints",
        "projections.pulled_authors",
    ] {
        let wipe = format!("TRUNCATE {table}");
        app.database.execute_unprepared(&wipe).await.unwrap();
    }
    wipe_views(&app).await;
    app.settle().await;
    assert_eq!(answers(&app, &people, &posts).await, before);
    all_of_the_app_is_as_the_log_says(&app).await;
}

/// Only this test's keys: the server is shared.
async fn wipe_views(app: &App) {
    let client = redis::Client::open(app.servers.redis_views.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(format!("{}:*", app.servers.prefix))
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(!keys.is_empty(), "there were timelines");
    let mut delete = redis::cmd("DEL");
    delete.arg(keys);
    delete.query_async::<()>(&mut connection).await.unwrap();
}

/// A crash loses the last commits, which are soon folded again; what was read
/// between the two must not stay.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_just_after_a_crash_of_the_database_does_not_stay() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("asked").await;
    ada.reply(&post, "answered").await;
    app.settle().await;
    let sql = async |sql: &str| app.database.execute_unprepared(sql).await.unwrap();
    let replies = async || {
        let path = format!("/v1/posts/{post}");
        let shown = app.client().get(&path).await.expect(200).body;
        shown["replies_count"].as_i64().unwrap()
    };
    // What the crash lost, and what it always empties, is read before the API can know:
    // what it observed counts for a tenth of a second. A slow machine tries again.
    for _ in 0..50 {
        app.settle().await;
        let began = Instant::now();
        sql("UPDATE social.post_counters SET replies = 0; TRUNCATE projections.life").await;
        let read = replies().await;
        let is_in_time = began.elapsed() < Duration::from_millis(90);
        // Folded again, the checkpoint stands where it stood.
        sql("UPDATE social.post_counters SET replies = 1").await;
        app.settle().await;
        if is_in_time {
            assert_eq!((read, replies().await), (0, 1));
            return;
        }
        app.services.forget_cached();
    }
    panic!("this machine is too slow for this story");
}
