//! Signing in, staying so, signing out: on every process.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version, password_hash::phc};
use reqwest::Method;
use sea_orm::{
    ConnectionTrait, TransactionTrait,
    sqlx::{self, Row},
};
use serde_json::{Value, json};
use testkit::{Answer, App, Client, Person, secrets, until};

use crate::throttle::held_up;

/// How long an ended session may still be let in elsewhere.
pub const FINAL_SECONDS: u64 = 5;

pub async fn sign_in(app: &App, person: &Person, device: &str) -> Answer {
    let body = json!({"login": person.email, "password": person.password});
    let device = [("User-Agent", device)];
    let client = app.client();
    let signed_in = client.send(Method::POST, "/v1/sessions", Some(body), &device);
    signed_in.await.expect(201)
}

pub async fn refresh(app: &App, token: &str) -> Answer {
    let body = json!({ "refresh_token": token });
    app.client().post("/v1/sessions/refresh", body).await
}

pub fn client(app: &App, session: &Answer) -> Client {
    app.client().with_token(session.text("/access_token"))
}

async fn sessions(client: &Client) -> Vec<Value> {
    let list = client.get("/v1/sessions").await.expect(200);
    list.body["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stays_signed_in_by_refreshing() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let first = sign_in(&app, &ada, "a telephone").await;
    assert_eq!(first.number("/refresh_expires_in"), 30 * 24 * 60 * 60);

    let second = refresh(&app, &first.text("/refresh_token"))
        .await
        .expect(200);
    assert_eq!(second.text("/session_id"), first.text("/session_id"));
    assert_ne!(second.text("/refresh_token"), first.text("/refresh_token"));
    let me = client(&app, &second).get("/v1/accounts/me").await;
    assert_eq!(me.expect(200).text("/id"), ada.id);

    // Registering was a session too; the telephone was seen last.
    let all = sessions(&client(&app, &second)).await;
    let seen = |session: &Value| (session["current"] == true, session["device"].clone());
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(seen(&all[0]), (true, json!("a telephone")));
    assert!(!seen(&all[1]).0);
    assert_eq!(all[0]["address"], "127.0.0.1");
    assert_eq!(all[0]["id"], first.text("/session_id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_refresh_at_once_get_the_same_and_so_does_a_retry() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let racing = (0..20).map(|_| {
        let (client, body) = (app.client(), json!({ "refresh_token": first }));
        tokio::spawn(async move { client.post("/v1/sessions/refresh", body).await })
    });
    let mut next = Vec::new();
    for answer in racing.collect::<Vec<_>>() {
        next.push(answer.await.unwrap().expect(200).text("/refresh_token"));
    }
    assert!(next.iter().all(|token| *token == next[0]), "{next:?}");
    // The reply was lost: the same question has the same answer.
    let again = refresh(&app, &first).await.expect(200);
    assert_eq!(again.text("/refresh_token"), next[0]);
    refresh(&app, &next[0]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_used_again_ends_its_session_and_no_other() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let first = sign_in(&app, &ada, "").await;
    let second = refresh(&app, &first.text("/refresh_token"))
        .await
        .expect(200);
    let third = refresh(&app, &second.text("/refresh_token"))
        .await
        .expect(200);
    let owner = client(&app, &third);
    owner.get("/v1/accounts/me").await.expect(200);

    pass(&app, vault::RETRY_SECONDS + 1).await;
    // Whoever knows the session's id, and no token of it, ends nothing.
    let real = third.text("/refresh_token");
    let forged = format!("{}{}", &real[..30], "A".repeat(34));
    refresh(&app, &forged)
        .await
        .problem(401, "invalid_refresh_token");
    owner.get("/v1/accounts/me").await.expect(200);

    refresh(&app, &first.text("/refresh_token"))
        .await
        .problem(401, "session_ended");
    owner
        .get("/v1/accounts/me")
        .await
        .problem(401, "session_ended");
    refresh(&app, &real).await.problem(401, "session_ended");
    ada.client.get("/v1/accounts/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_was_lost_is_given_again_for_a_minute_only() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let second = refresh(&app, &first).await.expect(200);
    pass(&app, vault::RETRY_SECONDS + 1).await;
    refresh(&app, &first).await.problem(401, "session_ended");
    refresh(&app, &second.text("/refresh_token"))
        .await
        .problem(401, "session_ended");
}

/// Makes all rotations so far that much older.
async fn pass(app: &App, seconds: i64) {
    let sql = format!(
        "UPDATE vault.sessions SET rotated_at = rotated_at - interval '{seconds} seconds',
             rotated_before = ARRAY(SELECT at - interval '{seconds} seconds'
                 FROM unnest(rotated_before) WITH ORDINALITY AS one (at, behind)
                 ORDER BY behind)"
    );
    app.database.execute_unprepared(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_last_minute_gives_the_current_one() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let next = async |token: &str| {
        refresh(&app, token)
            .await
            .expect(200)
            .text("/refresh_token")
    };
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let second = next(&first).await;
    let third = next(&second).await;
    assert_eq!(next(&first).await, third);
    assert_eq!(next(&second).await, third);
    // Two tabs that are behind, and one that is not, at once.
    let racing = [&first, &second, &third].map(|token| {
        let (client, body) = (app.client(), json!({ "refresh_token": token }));
        tokio::spawn(async move { client.post("/v1/sessions/refresh", body).await })
    });
    for answer in racing {
        let answer = answer.await.unwrap().expect(200);
        let me = client(&app, &answer).get("/v1/accounts/me").await;
        assert_eq!(me.expect(200).text("/id"), ada.id);
    }
    let fourth = next(&third).await;
    assert_eq!(next(&first).await, fourth);
    next(&fourth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_used_token_has_a_minute_of_its_own() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let next = async |token: &str| {
        refresh(&app, token)
            .await
            .expect(200)
            .text("/refresh_token")
    };
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let second = next(&first).await;
    pass(&app, vault::RETRY_SECONDS - 10).await;
    assert_eq!(next(&first).await, second);
    let third = next(&second).await;
    pass(&app, 20).await;
    // The first was used 70 seconds ago, the second 20.
    assert_eq!(next(&second).await, third);
    let ended = refresh(&app, &first).await;
    ended.problem(401, "session_ended");
    for token in [&second, &third] {
        refresh(&app, token).await.problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_signing_out_gives_nothing() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let second = refresh(&app, &first).await.expect(200);
    let here = client(&app, &second);
    here.delete("/v1/sessions/current").await.expect(204);
    for token in [&first, &second.text("/refresh_token")] {
        refresh(&app, token).await.problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_of_a_minute_are_noted_up_to_a_limit() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let vault = app.vault();
    let device = vault::Device::default();
    let next = async |token: &str| {
        let token = token.parse().unwrap();
        match vault.refresh_session(&token, &device).await.unwrap() {
            vault::Refreshed::Next { token, .. } => token.reveal(),
            other => panic!("{other:?}"),
        }
    };
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let mut last = first.clone();
    for _ in 0..vault::ROTATIONS_NOTED_MAX {
        let token = next(&last).await;
        assert_ne!(token, last);
        last = token;
    }
    // It stays what it is until some of them are a minute old.
    assert_eq!(next(&last).await, last);
    assert_eq!(next(&first).await, last);
    pass(&app, vault::RETRY_SECONDS + 1).await;
    assert_ne!(next(&last).await, last);
    let noted = "SELECT max(cardinality(rotated_before)) AS n FROM vault.sessions";
    let noted = sqlx::query(noted).fetch_one(app.database.get_postgres_connection_pool());
    assert_eq!(noted.await.unwrap().get::<i32, _>("n"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_uses_expires() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let first = sign_in(&app, &ada, "").await;
    let later = "UPDATE vault.sessions SET expires_at = now() - interval '1 second'";
    app.database.execute_unprepared(later).await.unwrap();
    refresh(&app, &first.text("/refresh_token"))
        .await
        .problem(401, "invalid_refresh_token");
    assert_eq!(sessions(&ada.client).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_is_final_on_every_process() {
    let app = App::start().await;
    let other = App::on(app.servers.clone()).await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let session = sign_in(&app, &ada, "").await;
    let (here, there) = (client(&app, &session), client(&other, &session));
    there.get("/v1/sessions").await.expect(200);

    here.delete("/v1/sessions/current").await.expect(204);
    here.get("/v1/sessions").await.problem(401, "session_ended");
    until("the other process knows", FINAL_SECONDS, || async {
        there.get("/v1/sessions").await.status == 401
    })
    .await;
    // Public reads do not serve a dead token as a stranger either.
    there
        .get("/v1/timelines/local")
        .await
        .problem(401, "session_ended");
    refresh(&other, &session.text("/refresh_token"))
        .await
        .problem(401, "session_ended");
    // A process that starts later knows it too.
    let third = App::on(app.servers.clone()).await;
    let there = client(&third, &session);
    let told = there.get("/v1/sessions").await;
    told.problem(401, "session_ended");
    ada.client.get("/v1/sessions").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ends_ones_own_sessions_elsewhere() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let (one, two) = (
        sign_in(&app, &ada, "one").await,
        sign_in(&app, &ada, "two").await,
    );
    let path = format!("/v1/sessions/{}", one.text("/session_id"));
    bob.client.delete(&path).await.problem(404, "not_found");
    client(&app, &one).get("/v1/sessions").await.expect(200);
    ada.client.delete(&path).await.expect(204);
    ada.client.delete(&path).await.problem(404, "not_found");
    let ended = client(&app, &one).get("/v1/sessions").await;
    ended.problem(401, "session_ended");

    let two = client(&app, &two);
    two.delete("/v1/sessions").await.expect(204);
    let left = sessions(&two).await;
    assert_eq!((left.len(), &left[0]["current"]), (1, &json!(true)));
    let ended = ada.client.get("/v1/sessions").await;
    ended.problem(401, "session_ended");
    assert_eq!(sessions(&bob.client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_hundred_sessions_and_the_oldest_gives_way() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let account = ada.id.parse().unwrap();
    let vault = app.vault();
    let device = vault::Device::default();
    for _ in 0..vault::SESSIONS_MAX {
        let account = kernel::AccountId(account);
        let begun = vault.begin_session(account, &device, None, false).await;
        assert!(begun.unwrap().is_some());
    }
    until("the first one ends", FINAL_SECONDS, || async {
        ada.client.get("/v1/sessions").await.status == 401
    })
    .await;
    let left = app.client_of(kernel::AccountId(account));
    assert_eq!(sessions(&left).await.len(), vault::SESSIONS_MAX as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_signs_out_everywhere_else() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let elsewhere = sign_in(&app, &ada, "elsewhere").await;
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        let client = ada.client.clone();
        async move {
            let path = "/v1/accounts/me/password";
            client.send(Method::PUT, path, Some(body), &[]).await
        }
    };
    let wrong = change("a wrong password", &secrets::password("a new one")).await;
    let wrong = wrong.problem(403, "wrong_password");
    assert_eq!(wrong.text("/errors/0/pointer"), "/current_password");
    change(&ada.password, "short")
        .await
        .problem(422, "invalid_field");
    client(&app, &elsewhere)
        .get("/v1/sessions")
        .await
        .expect(200);

    change(&ada.password, &secrets::password("a new one"))
        .await
        .expect(204);
    ada.client.get("/v1/sessions").await.expect(200);
    let ended = client(&app, &elsewhere).get("/v1/sessions").await;
    ended.problem(401, "session_ended");
    refresh(&app, &elsewhere.text("/refresh_token"))
        .await
        .problem(401, "session_ended");
    let old = json!({"login": ada.handle, "password": ada.password});
    let old = app.client().post("/v1/sessions", old).await;
    old.problem(401, "invalid_credentials");
    let new = json!({"login": ada.handle, "password": secrets::password("a new one")});
    app.client().post("/v1/sessions", new).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_a_new_password_overtakes_is_refused() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let (vault, device) = (app.vault(), vault::Device::default());
    let credentials = vault.by_account(account).await.unwrap().unwrap();
    let old = credentials.password_hash.unwrap();
    let body =
        json!({"current_password": ada.password, "new_password": secrets::password("a new one")});
    let path = "/v1/accounts/me/password";
    let changed = ada.client.send(Method::PUT, path, Some(body), &[]).await;
    changed.expect(204);
    let begun = vault
        .begin_session(account, &device, Some(&old), false)
        .await;
    assert!(begun.unwrap().is_none());
    // Nor does a hash of the old one with today's parameters come back.
    let rehash = "a rehash of the old one";
    let replaced = vault.replace_password_hash(account, &old, rehash).await;
    assert!(!replaced.unwrap());
    let body = json!({"login": ada.handle, "password": secrets::password("a new one")});
    app.client().post("/v1/sessions", body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refreshed_only_so_often() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let first = sign_in(&app, &ada, "").await.text("/refresh_token");
    let often = "UPDATE vault.sessions SET rotations = 8192";
    app.database.execute_unprepared(often).await.unwrap();
    refresh(&app, &first).await.problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_for_long_is_deleted_and_nothing_else() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    sign_in(&app, &ada, "").await;
    let over = "UPDATE vault.sessions SET ended_at = now() - interval '2 hours'
                WHERE device = ''; UPDATE vault.sessions SET ended_at = now() - interval '2 hours'
                WHERE device IS NULL";
    app.database.execute_unprepared(over).await.unwrap();
    let vault = app.vault();
    let left = sessions(&ada.client).await.len() as u64;
    let rows = async || {
        let sql = "SELECT count(*) AS n FROM vault.sessions";
        let row = sqlx::query(sql).fetch_one(app.database.get_postgres_connection_pool());
        row.await.unwrap().get::<i64, _>("n") as u64
    };
    assert_eq!(rows().await, 2);
    vault.purge().await.unwrap();
    assert_eq!(rows().await, left);
    assert_eq!(sessions(&ada.client).await.len() as u64, left);
}

/// As hashes were made when less was asked of them.
fn weak_hash(password: &str) -> String {
    let params = Params::new(1_024, 1, 1, None).unwrap();
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: phc::PasswordHash = hasher.hash_password(password.as_bytes()).unwrap();
    hash.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_hash_is_made_new_by_whoever_signs_in_and_by_many_at_once() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let vault = app.vault();
    let stored = async || {
        let credentials = vault.by_account(account).await.unwrap().unwrap();
        credentials.password_hash.unwrap()
    };
    let todays = stored().await;
    let params = todays.split('$').nth(3).unwrap().to_owned();
    for _ in 0..3 {
        let weak = weak_hash(&ada.password);
        let old = stored().await;
        assert!(
            vault
                .replace_password_hash(account, &old, &weak)
                .await
                .unwrap()
        );
        let body = json!({"login": ada.handle, "password": ada.password});
        let tries = (0..4).map(|_| {
            let (client, body) = (app.client(), body.clone());
            tokio::spawn(async move { client.post("/v1/sessions", body).await })
        });
        for tried in tries.collect::<Vec<_>>() {
            tried.await.unwrap().expect(201);
        }
        let new = stored().await;
        assert_ne!(new, weak);
        assert_eq!(new.split('$').nth(3), Some(params.as_str()));
    }
}

/// What ends sessions: of the one that asks, and of the one elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    One,
    Others,
    NewPassword,
    Reset,
    Deactivation,
    SecondFactor,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_session_is_final_on_every_process() {
    let app = App::start().await;
    let other = App::on(app.servers.clone()).await;
    for (number, ends) in [
        Ends::One,
        Ends::Others,
        Ends::NewPassword,
        Ends::Reset,
        Ends::Deactivation,
        Ends::SecondFactor,
    ]
    .into_iter()
    .enumerate()
    {
        let ada = app.client().register(&format!("ada_{number}")).await;
        app.verify_email(&ada).await;
        app.settle().await;
        let elsewhere = sign_in(&app, &ada, "elsewhere").await;
        let there = client(&other, &elsewhere);
        there.get("/v1/sessions").await.expect(200);
        end(&app, &ada, &elsewhere, ends).await;
        until(&format!("{ends:?}"), FINAL_SECONDS, || async {
            there.get("/v1/sessions").await.status == 401
        })
        .await;
        let ended = refresh(&other, &elsewhere.text("/refresh_token")).await;
        ended.problem(401, "session_ended");
        let own = ada.client.get("/v1/sessions").await.status;
        let lives = !matches!(ends, Ends::Reset | Ends::Deactivation);
        assert_eq!(own == 200, lives, "{ends:?}: {own}");
    }
}

async fn end(app: &App, ada: &Person, elsewhere: &Answer, ends: Ends) {
    let send = async |method, path: &str, body: Value| {
        let sent = ada.client.send(method, path, Some(body), &[]).await;
        assert!(sent.status.is_success(), "{ends:?}: {}", sent.body);
        sent
    };
    let current = json!({"current_password": ada.password});
    let new = secrets::password("another one");
    match ends {
        Ends::One => {
            let path = format!("/v1/sessions/{}", elsewhere.text("/session_id"));
            ada.client.delete(&path).await.expect(204);
        }
        Ends::Others => {
            ada.client.delete("/v1/sessions").await.expect(204);
        }
        Ends::NewPassword => {
            let body = json!({"current_password": ada.password, "new_password": new});
            send(Method::PUT, "/v1/accounts/me/password", body).await;
        }
        Ends::Reset => {
            let body = json!({"email": ada.email});
            send(Method::POST, "/v1/password-resets", body).await;
            let code = app.mailed_code(&ada.email).await;
            let body = json!({"email": ada.email, "one_time_code": code, "new_password": new});
            send(Method::POST, "/v1/password-resets/completion", body).await;
        }
        Ends::Deactivation => {
            send(Method::PUT, "/v1/accounts/me/deactivation", current).await;
        }
        Ends::SecondFactor => {
            let path = "/v1/accounts/me/second-factor";
            let added = send(Method::POST, path, current).await;
            let code = crate::identity::authenticator(&added.text("/secret"), 0);
            send(Method::PUT, path, json!({"one_time_code": code})).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_signed_out_a_moment_ago_is_not_told_that_others_are() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let (one, two) = (
        sign_in(&app, &ada, "one").await,
        sign_in(&app, &ada, "two").await,
    );
    // As another process does: this one does not know it yet.
    let vault = app.vault();
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let ended = one.text("/session_id").parse().unwrap();
    assert!(vault.end_session(account, ended).await.unwrap());
    let told = client(&app, &one).delete("/v1/sessions").await;
    told.problem(401, "session_ended");
    client(&app, &two).get("/v1/sessions").await.expect(200);
    // Nobody ended a session that the vault does not know.
    let unknown = app.client_of(account);
    unknown.delete("/v1/sessions").await.expect(204);
    let told = client(&app, &two).get("/v1/sessions").await;
    told.problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_deactivates_leaves_no_session_behind() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let elsewhere = sign_in(&app, &ada, "elsewhere").await;
    let asks = sign_in(&app, &ada, "asks").await;
    // While its password is looked at, the one that asks is signed out elsewhere.
    let locked = app.database.begin().await.unwrap();
    let lock = "LOCK TABLE vault.credentials IN ACCESS EXCLUSIVE MODE";
    locked.execute_unprepared(lock).await.unwrap();
    let body = json!({"current_password": ada.password});
    let asking = client(&app, &asks);
    let asked = tokio::spawn(async move {
        let path = "/v1/accounts/me/deactivation";
        asking.send(Method::PUT, path, Some(body), &[]).await
    });
    until("it is held up", 10, || async { held_up(&app).await > 0 }).await;
    let vault = app.vault();
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let ended = asks.text("/session_id").parse().unwrap();
    assert!(vault.end_session(account, ended).await.unwrap());
    locked.rollback().await.unwrap();
    asked.await.unwrap().expect(204);
    let told = client(&app, &elsewhere).get("/v1/sessions").await;
    told.problem(401, "session_ended");
    let told = refresh(&app, &elsewhere.text("/refresh_token")).await;
    told.problem(401, "session_ended");
}
