//! Liking, unliking, who liked.

use testkit::App;

use crate::examination::all_of_the_app_is_as_the_log_says;

#[tokio::test(flavor = "multi_thread")]
async fn likes_are_counted_once_each_under_races() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let post = ada.publish("like me").await;
    let path = format!("/v1/posts/{post}/like");
    let mut fans = Vec::new();
    for _ in 0..4 {
        fans.push(app.client().register("fan").await);
    }
    let mut likes = tokio::task::JoinSet::new();
    for fan in &fans {
        for _ in 0..8 {
            let (client, path) = (fan.client.clone(), path.clone());
            likes.spawn(async move { client.put(&path).await.expect(204) });
        }
    }
    while let Some(like) = likes.join_next().await {
        like.unwrap();
    }
    app.settle().await;
    let read = format!("/v1/posts/{post}");
    assert_eq!(
        ada.client
            .get(&read)
            .await
            .expect(200)
            .number("/likes_count"),
        4
    );

    fans[0].client.delete(&path).await.expect(204);
    fans[0].client.delete(&path).await.expect(204);
    app.settle().await;
    let unliked = fans[0].client.get(&read).await.expect(200);
    assert_eq!(unliked.number("/likes_count"), 3);
    assert_eq!(unliked.body["viewer"]["liked"], false);
    let liked = fans[1].client.get(&read).await.expect(200);
    assert_eq!(liked.body["viewer"]["liked"], true);

    let likers = app.client().all(&format!("{read}/likes"), 2).await;
    let mut likers = testkit::ids(&likers);
    likers.sort();
    let mut wanted: Vec<_> = fans[1..].iter().map(|fan| fan.id.clone()).collect();
    wanted.sort();
    assert_eq!(likers, wanted);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_post_can_be_unliked_but_not_liked() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let post = ada.publish("soon gone").await;
    bob.like(&post).await;
    ada.client
        .delete(&format!("/v1/posts/{post}"))
        .await
        .expect(204);
    let path = format!("/v1/posts/{post}/like");
    ada.client.put(&path).await.problem(404, "not_found");
    bob.client.delete(&path).await.expect(204);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_i_liked_is_listed_the_last_first_and_to_me_alone() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let mut posts = Vec::new();
    for text in ["one", "two", "three"] {
        posts.push(ada.publish(text).await);
    }
    for post in [&posts[2], &posts[0], &posts[1]] {
        bob.like(post).await;
    }
    let deleted = ada.client.delete(&format!("/v1/posts/{}", posts[0])).await;
    deleted.expect(204);
    app.settle().await;
    let list = "/v1/accounts/me/likes";
    let liked = bob.client.get(list).await.expect(200);
    assert_eq!(liked.ids(), [posts[1].clone(), posts[2].clone()]);
    assert_eq!(liked.body["items"][0]["viewer"]["liked"], true);
    assert!(ada.client.get(list).await.expect(200).ids().is_empty());
    app.client().get(list).await.problem(401, "unauthenticated");
    // The posts of an account that blocks the reader are left out.
    let block = format!("/v1/accounts/{}/block", bob.id);
    ada.client.put(&block).await.expect(204);
    app.settle().await;
    assert!(bob.client.get(list).await.expect(200).ids().is_empty());
}
