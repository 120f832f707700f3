//! Everybody may ask for so much, and is told how much is left.

use api::LimitSettings;
use reqwest::Method;
use serde_json::json;
use testkit::{App, Servers, secrets};

/// Six points in a minute for strangers, and twenty for accounts.
async fn limited(servers: Servers) -> App {
    let limits = LimitSettings {
        anonymous: "6/60".parse().unwrap(),
        account: "20/60".parse().unwrap(),
        ..LimitSettings::NONE
    };
    App::limited(servers, limits).await
}

const LOCAL: &str = "/v1/timelines/local";

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_tells_what_is_left_and_a_write_spends_more() {
    let app = limited(Servers::shared().await).await;
    // Five of the six points of this address.
    let ada = app.client().register("ada").await;
    app.settle().await;
    let strangers = app.client().get(LOCAL).await.expect(200);
    assert_eq!(
        strangers.header("ratelimit-policy"),
        "\"anonymous\";q=6;w=60"
    );
    assert!(strangers.header("ratelimit").contains("r=0;"));
    let refused = app.client().get(LOCAL).await;
    let refused = refused.problem(429, "too_many_requests");
    let seconds: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
    assert!(refused.header("ratelimit").contains("r=0;"));
    // Neither other addresses nor accounts at the same one are refused.
    let elsewhere = [("X-Forwarded-For", "198.51.100.9")];
    let elsewhere = app
        .client()
        .send(Method::GET, LOCAL, None, &elsewhere)
        .await;
    assert!(elsewhere.expect(200).header("ratelimit").contains("r=5;"));

    let read = ada.client.get(LOCAL).await.expect(200);
    assert_eq!(read.header("ratelimit-policy"), "\"account\";q=20;w=60");
    assert_eq!(read.header("ratelimit"), "\"account\";r=19;t=3");
    let body = || json!({"text": "five points"});
    let wrote = ada.client.post("/v1/posts", body()).await.expect(201);
    assert!(wrote.header("ratelimit").contains("r=14;"));
    // A refusal is an answer, and one that is not found too.
    let missing = ada.client.get("/v1/nothing").await.expect(404);
    assert!(missing.header("ratelimit").contains("r=13;"));
    for _ in 0..2 {
        ada.client.post("/v1/posts", body()).await.expect(201);
    }
    let refused = ada.client.post("/v1/posts", body()).await;
    refused.problem(429, "too_many_requests");
    // What is left is enough for a read.
    app.settle().await;
    ada.client.get(LOCAL).await.expect(200);
    // Whoever watches the server is not counted.
    for _ in 0..30 {
        let live = app.client().get("/health/live").await.expect(200);
        assert_eq!(live.headers.get("ratelimit"), None);
    }
}

/// What has no use for a token is paid for by the address: nobody hashes with the points of
/// many accounts.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_pays_as_a_stranger_whatever_token_they_send() {
    let app = limited(Servers::shared().await).await;
    let ada = app.client().register("ada").await;
    let nothing = json!({"login": ada.handle, "password": "guess it"});
    let elsewhere = [("X-Forwarded-For", "198.51.100.9")];
    for (path, body) in [
        ("/v1/sessions", nothing),
        ("/v1/sessions/refresh", json!({"refresh_token": "none"})),
    ] {
        let elsewhere = [("X-Forwarded-For", format!("198.51.100.{}", path.len()))];
        let elsewhere = elsewhere
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = ada
            .client
            .send(Method::POST, path, Some(body), &elsewhere)
            .await;
        let answer = answer.expect(401);
        let policy = answer.header("ratelimit-policy");
        assert_eq!(policy, "\"anonymous\";q=6;w=60", "{path}");
    }
    let read = ada.client.send(Method::GET, LOCAL, None, &elsewhere).await;
    assert_eq!(read.header("ratelimit"), "\"account\";r=19;t=3");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_out_spends_nothing_of_the_account() {
    let app = limited(Servers::shared().await).await;
    let ada = app.client().register("ada").await;
    let body = json!({"login": ada.handle, "password": ada.password});
    let elsewhere = [("X-Forwarded-For", "198.51.100.9")];
    let path = "/v1/sessions";
    let client = app.client();
    let other = client.send(Method::POST, path, Some(body), &elsewhere);
    let other = other.await.expect(201).text("/access_token");
    let other = app.client().with_token(other);
    // Six of twenty points.
    ada.client.delete("/v1/sessions/current").await.expect(204);
    for number in 0..4 {
        let address = format!("198.51.100.{number}");
        let from = [("X-Forwarded-For", address.as_str())];
        let answer = ada.client.send(Method::GET, path, None, &from).await;
        answer.problem(401, "session_ended");
    }
    let left = other.get(path).await.expect(200).header("ratelimit");
    assert!(left.contains("r=14;"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_refresh_is_charged_to_its_account() {
    let app = limited(Servers::shared().await).await;
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let mut people = Vec::new();
    for (name, address) in [
        ("ada", "198.51.100.1"),
        ("bob", "198.51.100.2"),
        ("cat", "198.51.100.3"),
        ("dan", "198.51.100.4"),
    ] {
        let body = json!({
            "handle": name, "email": secrets::email(name), "password": secrets::password(name),
        });
        let client = app.client();
        let made = client
            .send(Method::POST, "/v1/accounts", Some(body), &from(address))
            .await;
        people.push(made.expect(201).text("/session/refresh_token"));
    }
    let path = "/v1/sessions/refresh";
    let refresh = async |token: &str, address| {
        let (client, body) = (app.client(), json!({"refresh_token": token}));
        client
            .send(Method::POST, path, Some(body), &from(address))
            .await
    };
    // Three accounts of one network, more than its six points allow.
    for token in &mut people[..3] {
        for _ in 0..3 {
            let next = refresh(token, "198.51.100.200").await.expect(200);
            assert!(next.header("ratelimit").starts_with("\"account\";r="));
            *token = next.text("/refresh_token");
        }
    }
    // Its own account has an end, and so has who sends wrong ones.
    let mut token = people[3].clone();
    for _ in 0..4 {
        token = refresh(&token, "198.51.100.200")
            .await
            .expect(200)
            .text("/refresh_token");
    }
    let refused = refresh(&token, "198.51.100.200").await;
    let refused = refused.problem(429, "too_many_requests");
    assert!(refused.header("ratelimit").starts_with("\"account\";r="));
    let wrong = "A".repeat(64);
    let unknown = refresh(&wrong, "198.51.100.201").await;
    unknown.problem(401, "invalid_refresh_token");
    let refused = refresh(&wrong, "198.51.100.201").await;
    let refused = refused.problem(429, "too_many_requests");
    assert!(refused.header("ratelimit").starts_with("\"anonymous\";r="));
    // A good one counts there all the same, and takes nothing of the address.
    let good = refresh(&people[0], "198.51.100.201").await.expect(200);
    assert!(good.header("ratelimit").starts_with("\"account\";r="));
    let refused = refresh(&wrong, "198.51.100.201").await;
    refused.problem(429, "too_many_requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_count_together_and_the_policies_are_listed() {
    let app = limited(Servers::shared().await).await;
    let other = limited(app.servers.clone()).await;
    let mut let_in = 0;
    for number in 0..12 {
        let one = if number % 2 == 0 { &app } else { &other };
        let answer = one.client().get("/v1/limits").await;
        let_in += u32::from(answer.status == 200);
        if number == 0 {
            let names: Vec<_> = answer.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|policy| (policy["name"].as_str(), policy["points"].as_i64()))
                .collect();
            let told = [(Some("anonymous"), Some(6)), (Some("account"), Some(20))];
            assert_eq!(names, told);
            assert_eq!(answer.number("/write_points"), 5);
        }
    }
    assert_eq!(let_in, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_views_server_each_process_counts_by_itself() {
    let mut servers = Servers::shared().await;
    servers.redis_views = "redis://127.0.0.1:1".into();
    let app = limited(servers).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(app.client().get(LOCAL).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_body_costs_more() {
    let app = limited(Servers::shared().await).await;
    let ada = app.client().register("ada").await;
    let post = async |length: usize| {
        let body = json!({"text": "x", "metadata": {"of": "y".repeat(length)}});
        ada.client.post("/v1/posts", body).await
    };
    let left = |answer: &testkit::Answer| answer.header("ratelimit");
    let short = post(900).await.expect(201);
    assert!(left(&short).contains("r=15;"), "{}", left(&short));
    // Five, and one for each of two further KiB.
    let long = post(2_500).await.expect(201);
    assert!(left(&long).contains("r=8;"), "{}", left(&long));
    let longer = post(3_900).await.expect(201);
    assert!(left(&longer).contains("r=0;"), "{}", left(&longer));
    post(1).await.problem(429, "too_many_requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_writes_so_many_bytes_and_no_more() {
    let limits = LimitSettings {
        account_bytes: "10000/86400".parse().unwrap(),
        ..LimitSettings::NONE
    };
    let app = App::limited(Servers::shared().await, limits).await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let long = || json!({"text": "x", "metadata": {"of": "y".repeat(3_700)}});
    for _ in 0..2 {
        ada.client.post("/v1/posts", long()).await.expect(201);
    }
    let before = app.log.heads().await.unwrap();
    let refused = ada.client.post("/v1/posts", long()).await;
    let refused = refused.problem(429, "too_many_requests");
    let policy = "\"account_bytes\";q=10000;w=86400";
    assert_eq!(refused.header("ratelimit-policy"), policy);
    let seconds: u32 = refused.header("retry-after").parse().unwrap();
    assert!((600..86_400).contains(&seconds), "{seconds}");
    assert_eq!(app.log.heads().await.unwrap(), before);
    // What is short goes on for a while, what is read does always, and others write.
    let short = ada.publish("short").await;
    let like = format!("/v1/posts/{short}/like");
    let mut taken = 0;
    while ada.client.put(&like).await.status != 429 {
        taken += 1;
        assert!(taken < 10, "each write counts, whatever becomes of it");
    }
    app.settle().await;
    ada.client.get("/v1/accounts/me").await.expect(200);
    bob.client.post("/v1/posts", long()).await.expect(201);
    let listed = app.client().get("/v1/limits").await.expect(200);
    assert_eq!(listed.text("/items/0/name"), "account_bytes");
    assert_eq!(listed.number("/items/0/points"), 10_000);
}
