//! Registering, signing in, profiles, pins.

use reqwest::Method;
use serde_json::json;
use testkit::{
    App,
    secrets::{email, password},
};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_registers_and_is_signed_in() {
    let app = App::start().await;
    let ada = app.client().register("Ada").await;
    app.settle().await;

    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.text("/id"), ada.id);
    assert_eq!(me.text("/handle"), ada.handle.to_lowercase());
    assert_eq!(me.text("/email"), ada.email);
    assert_eq!(me.text("/display_name"), "Ada");
    assert!(!me.body.to_string().contains("argon2"));

    let others = app
        .client()
        .get(&format!("/v1/accounts/{}", ada.id))
        .await
        .expect(200);
    assert!(others.body.get("email").is_none(), "{}", others.body);
    let by_handle = format!("/v1/handles/{}", ada.handle.to_uppercase());
    assert_eq!(
        app.client().get(&by_handle).await.expect(200).text("/id"),
        ada.id
    );
    let unknown = uuid();
    let batch = format!("/v1/accounts?ids={unknown},{}", ada.id);
    assert_eq!(app.client().get(&batch).await.expect(200).ids(), [ada.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_is_made_up_where_none_is_given() {
    let app = App::start().await;
    let body = json!({"email": email("x"), "password": password("x")});
    let registered = app.client().post("/v1/accounts", body).await.expect(201);
    assert!(registered.text("/handle").starts_with("user_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn handle_and_email_are_unique_without_regard_to_case() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.verify_email(&ada).await;
    let register = |handle: String, email: String| {
        let body = json!({"handle": handle, "email": email, "password": password("anybody")});
        let client = app.client();
        async move { client.post("/v1/accounts", body).await }
    };
    let taken = register(ada.handle.to_uppercase(), email("new")).await;
    taken.problem(409, "handle_taken");
    let taken = register("free_handle".into(), ada.email.to_uppercase()).await;
    taken.problem(409, "email_taken");
    // The handle of the refused registration is free again.
    register("free_handle".into(), email("new"))
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_race_for_a_handle_one_gets_it() {
    let app = App::start().await;
    let races = (0..12).map(|number| {
        let client = app.client();
        let body = json!({
            "handle": "wanted",
            "email": email(&format!("racer{number}")),
            "password": password("anybody"),
        });
        tokio::spawn(async move { client.post("/v1/accounts", body).await })
    });
    let mut statuses = Vec::new();
    for race in races.collect::<Vec<_>>() {
        statuses.push(race.await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..].iter().all(|status| *status == 409),
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_registration_gives_the_same_account() {
    let app = App::start().await;
    let body = json!({"handle": "once", "email": email("once"), "password": password("anybody")});
    let key = [("Idempotency-Key", "register-only-once")];
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let answer = app
            .client()
            .send(Method::POST, "/v1/accounts", Some(body.clone()), &key)
            .await
            .expect(201);
        ids.insert(answer.text("/id"));
    }
    assert_eq!(ids.len(), 1);
    // By then it may have another password: what was sent first opens it no more.
    let again = || {
        let (client, body) = (app.client(), body.clone());
        async move {
            client
                .send(Method::POST, "/v1/accounts", Some(body), &key)
                .await
        }
    };
    let session = again().await.expect(201).text("/session/access_token");
    let change = json!({"current_password": password("anybody"), "new_password": password("new")});
    let changed = (app.client().with_token(session))
        .send(Method::PUT, "/v1/accounts/me/password", Some(change), &[])
        .await;
    changed.expect(204);
    again().await.problem(401, "invalid_credentials");
    let other = json!({"handle": "other", "email": email("o"), "password": password("anybody")});
    let reused = app
        .client()
        .send(Method::POST, "/v1/accounts", Some(other), &key)
        .await;
    reused.problem(422, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_sent_twice_at_once_gives_one_account() {
    let app = App::start().await;
    for (number, handle) in [Some("twice"), None].into_iter().enumerate() {
        let mut body = json!({
            "email": email(&format!("twice{number}")), "password": password("anybody"),
        });
        if let Some(handle) = handle {
            body["handle"] = handle.into();
        }
        let all = (0..8).map(|_| {
            let (client, body) = (app.client(), body.clone());
            tokio::spawn(async move {
                let key = format!("register-twice-{number}");
                let key = [("Idempotency-Key", key.as_str())];
                client
                    .send(Method::POST, "/v1/accounts", Some(body), &key)
                    .await
            })
        });
        let mut ids = std::collections::BTreeSet::new();
        for answer in all.collect::<Vec<_>>() {
            ids.insert(answer.await.unwrap().expect(201).text("/id"));
        }
        assert_eq!(ids.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_takes_handle_or_email_and_tells_nothing_else() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let sign_in = |login: &str, password: &str| {
        let body = json!({"login": login, "password": password});
        let client = app.client();
        async move { client.post("/v1/sessions", body).await }
    };
    for login in [&ada.handle, &ada.email.to_uppercase()] {
        let session = sign_in(login, &ada.password).await.expect(201);
        assert_eq!(session.text("/account_id"), ada.id);
        assert_eq!(session.number("/expires_in"), 900);
    }
    let wrong = sign_in(&ada.handle, "not the password").await;
    let wrong = wrong.problem(401, "invalid_credentials");
    let unknown = sign_in("nobody_at_all", "not the password").await;
    let unknown = unknown.problem(401, "invalid_credentials");
    let (mut wrong, mut unknown) = (wrong.body, unknown.body);
    for body in [&mut wrong, &mut unknown] {
        body.as_object_mut().unwrap().remove("request_id");
    }
    assert_eq!(wrong, unknown);
}

/// What takes time is hashing: as often for an account that there is as for none.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_hashed_for_as_often_as_somebody() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let somebody = [ada.handle.as_str(), &ada.email];
    let nobody = ["nobody_at_all", &email("nobody"), "no login at all"];
    for login in somebody.into_iter().chain(nobody) {
        let before = app.services.passwords.computed();
        let body = json!({"login": login, "password": "not the password"});
        let refused = app.client().post("/v1/sessions", body).await;
        refused.problem(401, "invalid_credentials");
        assert_eq!(app.services.passwords.computed() - before, 1, "{login}");
    }
    for address in [somebody[1], nobody[1]] {
        let before = app.services.passwords.computed();
        let body = json!({
            "email": address, "one_time_code": "00000-00000", "new_password": password("other"),
        });
        let path = "/v1/password-resets/completion";
        let refused = app.client().post(path, body).await;
        refused.problem(403, "invalid_code");
        assert_eq!(app.services.passwords.computed() - before, 1, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_changes_and_a_stale_change_is_refused() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let etag = ada
        .client
        .get("/v1/accounts/me")
        .await
        .expect(200)
        .header("etag");
    let change = |body, etag: &str| {
        let (client, etag) = (ada.client.clone(), etag.to_owned());
        async move {
            let headers = [("If-Match", etag.as_str())];
            client
                .send(Method::PATCH, "/v1/accounts/me", Some(body), &headers)
                .await
        }
    };
    change(json!({"bio": "Engines."}), &etag).await.expect(200);
    let stale = change(json!({"bio": "Looms."}), &etag).await;
    stale.problem(412, "version_mismatch");
    app.settle().await;
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.text("/bio"), "Engines.");
    assert_eq!(me.text("/display_name"), "ada", "what is left out stays");

    ada.client
        .patch("/v1/accounts/me", json!({"bio": null}))
        .await
        .expect(200);
    app.settle().await;
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert!(me.body.get("bio").is_none(), "null clears");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_of_ones_own_is_pinned_and_unpinned() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let post = ada.publish("look at this").await;
    let foreign = bob.publish("not this").await;
    let pin = |id: &str| {
        let (client, body) = (ada.client.clone(), json!({"post_id": id}));
        async move {
            client
                .send(Method::PUT, "/v1/accounts/me/pinned-post", Some(body), &[])
                .await
        }
    };
    pin(&post).await.expect(204);
    pin(&foreign).await.problem(409, "not_pinnable");
    app.settle().await;
    let path = format!("/v1/accounts/{}", ada.id);
    assert_eq!(
        bob.client
            .get(&path)
            .await
            .expect(200)
            .text("/pinned_post_id"),
        post
    );
    ada.client
        .delete("/v1/accounts/me/pinned-post")
        .await
        .expect(204);
    app.settle().await;
    assert!(
        bob.client
            .get(&path)
            .await
            .expect(200)
            .body
            .get("pinned_post_id")
            .is_none()
    );

    // What is deleted, or not for everybody, is not shown as pinned.
    pin(&post).await.expect(204);
    ada.client
        .delete(&format!("/v1/posts/{post}"))
        .await
        .expect(204);
    app.settle().await;
    let shown = bob.client.get(&path).await.expect(200);
    assert!(shown.body.get("pinned_post_id").is_none());
    let body = json!({"text": "for friends", "visibility": "followers"});
    let hidden = ada.client.post("/v1/posts", body).await.expect(201);
    pin(&hidden.text("/id")).await.problem(409, "not_pinnable");
}

pub fn uuid() -> String {
    "01890a5d-ac96-774b-bcce-b302099a8057".into()
}
