//! Following, unfollowing, the lists.

use testkit::App;

use crate::examination::all_of_the_app_is_as_the_log_says;

#[tokio::test(flavor = "multi_thread")]
async fn follows_are_counted_and_listed_page_by_page() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let mut fans = Vec::new();
    for _ in 0..5 {
        let fan = app.client().register("fan").await;
        fan.follow(&ada).await;
        fan.follow(&ada).await;
        fans.push(fan);
    }
    app.settle().await;
    let account = format!("/v1/accounts/{}", ada.id);
    let shown = app.client().get(&account).await.expect(200);
    assert_eq!(shown.number("/followers_count"), 5);
    let followers = app.client().all(&format!("{account}/followers"), 2).await;
    let wanted: Vec<_> = fans.iter().rev().map(|fan| fan.id.clone()).collect();
    assert_eq!(testkit::ids(&followers), wanted, "the last first");
    let following = format!("/v1/accounts/{}/following", fans[0].id);
    assert_eq!(
        app.client().get(&following).await.expect(200).ids(),
        std::slice::from_ref(&ada.id)
    );

    fans[0].unfollow(&ada).await;
    fans[0].unfollow(&ada).await;
    app.settle().await;
    let shown = app.client().get(&account).await.expect(200);
    assert_eq!(shown.number("/followers_count"), 4);
    let shown = app
        .client()
        .get(&format!("/v1/accounts/{}", fans[0].id))
        .await
        .expect(200);
    assert_eq!(shown.number("/following_count"), 0);
    all_of_the_app_is_as_the_log_says(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_follows_themselves_or_nobody() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let own = format!("/v1/accounts/{}/follow", ada.id);
    ada.client.put(&own).await.problem(409, "self_follow");
    let unknown = format!("/v1/accounts/{}/follow", crate::accounts::uuid());
    ada.client.put(&unknown).await.problem(404, "not_found");
    ada.client.delete(&unknown).await.problem(404, "not_found");
}
