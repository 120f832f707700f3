//! Registrations that stop in the middle: whoever sends the same body with the same key
//! goes on, and no other body becomes part of it.

use std::time::Duration;

use kernel::{AccountId, Uuid};
use reqwest::Method;
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Answer, App, Client, secrets, until};
use vault::{Device, NewCredentials, VaultError, Verified};

use crate::process::{self, Running};

const POINTS: [&str; 2] = ["register.reserved", "register.admitted"];

fn body(of: &str, handle: Option<&str>) -> Value {
    let mut body = json!({"email": secrets::email(of), "password": secrets::password(of)});
    if let Some(handle) = handle {
        body["handle"] = handle.into();
    }
    body
}

async fn register(app: &App, body: &Value, key: &str) -> Answer {
    send(&app.client(), body, key).await
}

async fn send(client: &Client, body: &Value, key: &str) -> Answer {
    let key = [("Idempotency-Key", key)];
    let sent = client.send(Method::POST, "/v1/accounts", Some(body.clone()), &key);
    sent.await
}

/// With the address and the password of a registration.
async fn sign_in(app: &App, body: &Value) -> Answer {
    let body = json!({"login": body["email"], "password": body["password"]});
    app.client().post("/v1/sessions", body).await
}

/// Sends it to a process that dies at `point`.
async fn die_at(app: &App, point: &str, body: &Value, key: &str) {
    let folder = tempdir().unwrap();
    let mut environment = process::environment(&app.servers);
    environment.push(("HEADWATER_CRASH_AT", format!("{point}:1")));
    let mut serve = Running::start(&["serve"], &environment, folder.path(), "documentation").await;
    let sent = reqwest::Client::new()
        .post(format!("{}/v1/accounts", serve.api))
        .header("Idempotency-Key", key)
        .header("Content-Type", "application/json")
        .body(body.to_string());
    let answer = sent.send().await;
    assert!(answer.is_err(), "nobody answers: {answer:?}");
    serve.child.wait().await.unwrap();
    assert!(serve.said().contains(&format!("crash point {point}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_registers_as_the_service_or_with_what_is_not_seen() {
    let app = App::start().await;
    let register = async |change: Value| {
        let mut body = body(&crate::accounts::uuid(), None);
        let fields = body.as_object_mut().unwrap();
        fields.extend(change.as_object().unwrap().clone());
        app.client().post("/v1/accounts", body).await
    };
    for handle in ["admin", "Support", "ROOT", "me", "headwater", "everyone"] {
        let refused = register(json!({"handle": handle})).await;
        refused.problem(409, "handle_taken");
    }
    let accented = json!({"display_name": "A\u{301}da 👩🏽‍💻"});
    register(accented).await.expect(201);
    let pile = format!("a{}", "\u{301}".repeat(20));
    for change in [
        json!({"display_name": pile}),
        json!({"display_name": "Ada\u{200b}"}),
        json!({"display_name": "A\u{2060}da"}),
        json!({"display_name": "Ada\u{200d}"}),
        json!({"email": format!("a@b@{}", secrets::EMAIL_MARK)}),
        json!({"email": format!("a@\u{200b}{}", secrets::EMAIL_MARK)}),
    ] {
        let refused = register(change.clone()).await;
        refused.problem(422, "invalid_field");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_died_goes_on_with_its_own_body_alone() {
    let app = App::start().await;
    for (number, point) in POINTS.into_iter().enumerate() {
        for handle in [Some(format!("died_{number}")), None] {
            let named = handle.is_some();
            let of = |who: &str| format!("{who}_{number}_{named}");
            let key = format!("key-of-who-died-{number}-{named}");
            let own = body(&of("own"), handle.as_deref());
            die_at(&app, point, &own, &key).await;
            let other = body(&of("other"), handle.as_deref());
            let mut corrected = own.clone();
            corrected["password"] = other["password"].clone();
            for foreign in [&other, &corrected] {
                let refused = register(&app, foreign, &key).await;
                refused.problem(422, "idempotency_key_reused");
                let unknown = sign_in(&app, foreign).await;
                unknown.problem(401, "invalid_credentials");
            }
            let registered = register(&app, &own, &key).await.expect(201);
            let again = register(&app, &own, &key).await.expect(201);
            assert_eq!(again.text("/id"), registered.text("/id"));
            let signed_in = sign_in(&app, &own).await.expect(201);
            assert_eq!(signed_in.text("/account_id"), registered.text("/id"));
            for foreign in [&other, &corrected] {
                let refused = register(&app, foreign, &key).await;
                refused.problem(422, "idempotency_key_reused");
                let unknown = sign_in(&app, foreign).await;
                unknown.problem(401, "invalid_credentials");
            }
        }
    }
}

/// Another handle under the same key: nothing of what died is part of it.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_registration_that_died_another_is_wholly_its_own() {
    let app = App::start().await;
    for (number, point) in POINTS.into_iter().enumerate() {
        let of = |who: &str| body(&format!("{who}_{number}"), Some(&format!("{who}_{number}")));
        let (own, other) = (of("own"), of("other"));
        let key = format!("key-of-who-died-{number}");
        die_at(&app, point, &own, &key).await;
        let registered = register(&app, &other, &key).await.expect(201);
        let signed_in = sign_in(&app, &other).await.expect(201);
        assert_eq!(signed_in.text("/account_id"), registered.text("/id"));
        let refused = register(&app, &own, &key).await;
        refused.problem(422, "idempotency_key_reused");
        let unknown = sign_in(&app, &own).await;
        unknown.problem(401, "invalid_credentials");
    }
}

/// Whether it waits for the credentials, as those do who look at them; not whoever clears
/// addresses away that nobody verified.
async fn is_held_up(app: &App) -> bool {
    let sql = "SELECT 1 FROM pg_stat_activity
         WHERE wait_event_type = 'Lock' AND datname = current_database()
           AND query LIKE '%vault%credentials%' AND query NOT LIKE 'UPDATE%'";
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let waiting = app.database.query_all_raw(statement).await.unwrap();
    !waiting.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_choose_where_a_registration_stops() {
    let app = App::start().await;
    let own = body("own", Some("goes_away"));
    let locked = app.database.begin().await.unwrap();
    let lock = "LOCK TABLE vault.credentials IN ACCESS EXCLUSIVE MODE";
    locked.execute_unprepared(lock).await.unwrap();
    let (client, sent) = (app.client(), own.clone());
    let asking = tokio::spawn(async move { client.post("/v1/accounts", sent).await });
    until("it is held up", 10, || is_held_up(&app)).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    // It is seen to be away.
    tokio::time::sleep(Duration::from_millis(200)).await;
    locked.rollback().await.unwrap();
    until("it goes on by itself", 10, || async {
        // Each try costs a point, and there are few.
        tokio::time::sleep(Duration::from_secs(1)).await;
        sign_in(&app, &own).await.status == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_could_be_guessed_is_refused() {
    let app = App::start().await;
    let own = body("own", None);
    let short = register(&app, &own, "fifteen-letters").await;
    let short = short.problem(400, "malformed_request");
    assert_eq!(short.text("/errors/0/parameter"), "Idempotency-Key");
    register(&app, &own, "sixteen--letters").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_replaced_until_somebody_signs_in_with_them() {
    let app = App::start().await;
    let vault = app.vault();
    let account = AccountId(Uuid::from_u128(7));
    let admit = async |attempt: u128, of: &str| {
        let new = NewCredentials {
            account,
            attempt: Uuid::from_u128(attempt),
            email: Some(secrets::email(of).parse().unwrap()),
            password_hash: Some(format!("hash of {of}")),
        };
        vault.admit(new, [7; 32]).await.unwrap();
        let kept = vault.by_account(account).await.unwrap().unwrap();
        assert_eq!(
            kept.email,
            kept.password_hash
                .clone()
                .map(|hash| { secrets::email(hash.strip_prefix("hash of ").unwrap()) })
        );
        kept.password_hash.unwrap()
    };
    assert_eq!(admit(1, "one").await, "hash of one");
    assert_eq!(admit(2, "two").await, "hash of two");
    let given_up = secrets::email("one").parse().unwrap();
    assert!(vault.by_email(&given_up).await.unwrap().is_none());
    let device = Device::default();
    let begun = vault.begin_session(account, &device, None, false);
    assert!(begun.await.unwrap().is_some());
    assert_eq!(admit(3, "three").await, "hash of two");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_verified_gives_way() {
    let app = App::start().await;
    let mallory = app.client().register("mallory").await;
    let code = app.mailed_code(&mallory.email).await;
    let kim = json!({
        "handle": "kim", "email": mallory.email, "password": secrets::password("kim"),
    });
    let registered = app
        .client()
        .post("/v1/accounts", kim.clone())
        .await
        .expect(201);
    app.settle().await;
    let me = mallory.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body["email"], Value::Null);
    assert_eq!(me.body["email_verified"], false);

    // What was sent for the account that had it counts no more.
    let path = "/v1/accounts/me/email/verification";
    let verify = async |client: &Client, code: String| {
        let body = json!({"one_time_code": code});
        client.send(Method::PUT, path, Some(body), &[]).await
    };
    let late = verify(&mallory.client, code).await;
    late.problem(403, "invalid_code");
    let another = mallory
        .client
        .post("/v1/accounts/me/email/codes", Value::Null);
    another.await.problem(409, "email_verified");
    let sign_in = async |login: &str, password: &str| {
        let body = json!({"login": login, "password": password});
        app.client().post("/v1/sessions", body).await
    };
    let by_handle = sign_in(&mallory.handle, &mallory.password)
        .await
        .expect(201);
    assert_eq!(by_handle.text("/account_id"), mallory.id);
    let by_address = sign_in(&mallory.email, &mallory.password).await;
    by_address.problem(401, "invalid_credentials");
    let by_address = sign_in(&mallory.email, &secrets::password("kim")).await;
    let by_address = by_address.expect(201);
    assert_eq!(by_address.text("/account_id"), registered.text("/id"));

    let kims = app
        .client()
        .with_token(registered.text("/session/access_token"));
    let code = app.mailed_code(&mallory.email).await;
    verify(&kims, code).await.expect(204);
    let mut third = kim;
    third["handle"] = "third".into();
    let taken = app.client().post("/v1/accounts", third).await;
    taken.problem(409, "email_taken");
    let me = kims.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body["email_verified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_race_for_an_address_one_has_it() {
    let app = App::start().await;
    let wanted = secrets::email("wanted");
    let races = (0..12).map(|number| {
        let mut body = body(&format!("racer{number}"), Some(&format!("racer{number}")));
        body["email"] = wanted.clone().into();
        let client = app.client();
        tokio::spawn(async move { client.post("/v1/accounts", body).await })
    });
    for race in races.collect::<Vec<_>>() {
        race.await.unwrap().expect(201);
    }
    let mut holders = 0;
    for number in 0..12 {
        let password = secrets::password(&format!("racer{number}"));
        let body = json!({"login": wanted, "password": password});
        holders += u32::from(app.client().post("/v1/sessions", body).await.status == 201);
    }
    assert_eq!(holders, 1);
}

/// Whichever is first, one account has verified it, or none.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_verified_or_taken_and_never_both() {
    let app = App::start().await;
    let vault = app.vault();
    for number in 0..10_u128 {
        let ada = app.client().register("ada").await;
        let code = app.mailed_code(&ada.email).await;
        let holder = AccountId(ada.id.parse().unwrap());
        let new = NewCredentials {
            account: AccountId(Uuid::from_u128(number + 1)),
            attempt: Uuid::from_u128(number),
            email: Some(ada.email.parse().unwrap()),
            password_hash: None,
        };
        let (verified, admitted) =
            tokio::join!(vault.verify_email(holder, &code), vault.admit(new, [7; 32]));
        match (verified.unwrap(), admitted) {
            (Verified::Done { .. }, Err(VaultError::EmailTaken(account))) => {
                assert_eq!(account, holder);
            }
            (Verified::Wrong, Ok(())) => {}
            (verified, admitted) => panic!("{verified:?} and {admitted:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_writes_nothing() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.verify_email(&ada).await;
    let before = app.log.heads().await.unwrap();
    let taken = json!({"email": ada.email, "password": secrets::password("another")});
    let mut named = taken.clone();
    named["handle"] = "another".into();
    for (number, body) in [&taken, &named].into_iter().enumerate() {
        let refused = app.client().post("/v1/accounts", body.clone()).await;
        refused.problem(409, "email_taken");
        let refused = register(&app, body, &format!("a-key-of-its-own-{number}")).await;
        refused.problem(409, "email_taken");
    }
    let handle = body("bob", Some(&ada.handle));
    let refused = app.client().post("/v1/accounts", handle).await;
    refused.problem(409, "handle_taken");
    assert_eq!(app.log.heads().await.unwrap(), before);
    // Neither was reserved.
    let free = body("bob", Some("another"));
    app.client().post("/v1/accounts", free).await.expect(201);
}
