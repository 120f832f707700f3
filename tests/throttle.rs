//! Guessing: whom it stops, and whom it must not keep out.

use std::time::Duration;

use api::LimitSettings;
use reqwest::Method;
use sea_orm::{
    ConnectionTrait, TransactionTrait,
    sqlx::{self, Row},
};
use serde_json::json;
use testkit::{Answer, App, Servers, secrets, until};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::identity::authenticator;

/// Three failed sign-ins in five minutes, and five registrations.
async fn limited() -> App {
    let limits = LimitSettings {
        sign_in: "3/300".parse().unwrap(),
        registration: "5/300".parse().unwrap(),
        ..LimitSettings::NONE
    };
    App::limited(Servers::shared().await, limits).await
}

/// As a trusted proxy asks for somebody at `address`.
async fn sign_in_from(app: &App, address: &str, login: &str, password: &str) -> Answer {
    let body = json!({"login": login, "password": password});
    let headers = [("X-Forwarded-For", address)];
    let client = app.client();
    let signed_in = client.send(Method::POST, "/v1/sessions", Some(body), &headers);
    signed_in.await
}

async fn guess_until_strangers_are_kept_out(app: &App, handle: &str) {
    let mut refused = 0;
    for number in 0..40 {
        let address = format!("203.0.113.{number}");
        let guess = sign_in_from(app, &address, handle, "guess it").await;
        refused += u32::from(guess.status == 429);
    }
    assert!((8..=12).contains(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_stopped_and_locks_nobody_else_out() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let (thief, home, cafe) = ("203.0.113.66", "198.51.100.7", "198.51.100.99");
    let right = || ada.password.as_str();
    // Right ones cost nothing.
    for _ in 0..5 {
        sign_in_from(&app, home, &ada.handle, right())
            .await
            .expect(201);
    }
    let guesses = (0..12).map(|number| {
        let (client, login) = (app.client(), ada.email.clone());
        tokio::spawn(async move {
            let body = json!({"login": login, "password": format!("guess {number}")});
            let headers = [("X-Forwarded-For", thief)];
            client
                .send(Method::POST, "/v1/sessions", Some(body), &headers)
                .await
                .status
                .as_u16()
        })
    });
    let mut statuses = Vec::new();
    for guess in guesses.collect::<Vec<_>>() {
        statuses.push(guess.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[..3], [401; 3], "{statuses:?}");
    assert_eq!(statuses[3..], [429; 9], "{statuses:?}");
    // Not even the right one, and however it is written.
    let written = format!(" {} ", ada.email.to_uppercase());
    let refused = sign_in_from(&app, thief, &written, right()).await;
    let refused = refused.problem(429, "too_many_requests");
    let seconds: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=100).contains(&seconds), "{seconds}");
    // By the policy that refuses, and not by that of all requests.
    assert_eq!(refused.header("ratelimit-policy"), "\"sign_in\";q=3;w=300");
    let left = refused.header("ratelimit");
    assert!(left.starts_with("\"sign_in\";r=0;t="), "{left}");
    for address in [home, cafe] {
        sign_in_from(&app, address, &ada.handle, right())
            .await
            .expect(201);
    }
    // An unknown account looks the same.
    let unknown = |address: &'static str| sign_in_from(&app, address, "nobody_at_all", "guess it");
    for _ in 0..3 {
        let wrong = unknown("203.0.113.67").await;
        wrong.problem(401, "invalid_credentials");
    }
    let refused = unknown("203.0.113.67").await;
    refused.problem(429, "too_many_requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_guess_together_keep_out_strangers_only() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let home = "2001:db8:7::1";
    sign_in_from(&app, home, &ada.handle, &ada.password)
        .await
        .expect(201);
    // Another address of the same household tomorrow.
    let home = "2001:db8:7::abcd";
    guess_until_strangers_are_kept_out(&app, &ada.handle).await;
    sign_in_from(&app, home, &ada.handle, &ada.password)
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_tries_only_so_many_accounts_and_registers_only_so_many() {
    let app = limited().await;
    // A household of IPv6 is one address.
    let mut refused = 0;
    for number in 0..30 {
        let address = format!("2001:db8::{number:x}");
        let login = format!("somebody_{number}");
        let guess = sign_in_from(&app, &address, &login, "guess it").await;
        refused += u32::from(guess.status == 429);
    }
    assert!((13..=15).contains(&refused), "{refused}");
    let mut statuses = Vec::new();
    for number in 0..7 {
        let body = json!({
            "email": secrets::email(&number.to_string()),
            "password": secrets::password("anybody"),
        });
        let registered = app.client().post("/v1/accounts", body).await;
        statuses.push(registered.status.as_u16());
    }
    assert_eq!(statuses, [201, 201, 201, 201, 201, 429, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_with_a_token_cannot_guess_the_password_by_changing_it() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let mut statuses = Vec::new();
    for number in 0..5 {
        let body = json!({
            "current_password": format!("guess {number}"), "new_password": secrets::password("a new one"),
        });
        let path = "/v1/accounts/me/password";
        let changed = ada.client.send(Method::PUT, path, Some(body), &[]).await;
        statuses.push(changed.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 429, 429]);
}

/// Who got in once gets in from there again, though the session is long forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_is_known_after_its_sessions_are_gone() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let home = "198.51.100.7";
    let session = sign_in_from(&app, home, &ada.handle, &ada.password).await;
    // Another network, where it was only refreshed.
    let train = "198.51.100.8";
    let body = json!({"refresh_token": session.expect(201).text("/refresh_token")});
    let headers = [("X-Forwarded-For", train)];
    let client = app.client();
    let moved = client.send(Method::POST, "/v1/sessions/refresh", Some(body), &headers);
    moved.await.expect(200);
    let over = "UPDATE vault.sessions SET ended_at = now() - interval '2 hours'";
    app.database.execute_unprepared(over).await.unwrap();
    let vault = app.vault();
    vault.purge().await.unwrap();
    guess_until_strangers_are_kept_out(&app, &ada.handle).await;
    for known in [home, train] {
        sign_in_from(&app, known, &ada.handle, &ada.password)
            .await
            .expect(201);
    }
    // Not for ever.
    let over = "UPDATE vault.households SET seen_at = now() - interval '181 days'";
    app.database.execute_unprepared(over).await.unwrap();
    vault.purge().await.unwrap();
    // What came back meanwhile.
    for stranger in ["203.0.113.50", "203.0.113.51"] {
        sign_in_from(&app, stranger, &ada.handle, "guess it").await;
    }
    sign_in_from(&app, home, &ada.handle, &ada.password)
        .await
        .problem(429, "too_many_requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_mail_is_let_in_though_others_guess() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    app.mailed_code(&ada.email).await;
    guess_until_strangers_are_kept_out(&app, &ada.handle).await;
    let hotel = "198.51.100.9";
    let new = secrets::password("another one");
    sign_in_from(&app, hotel, &ada.handle, &ada.password)
        .await
        .problem(429, "too_many_requests");
    let ask = json!({"email": ada.email});
    app.client()
        .post("/v1/password-resets", ask)
        .await
        .expect(204);
    let code = app.mailed_code(&ada.email).await;
    let body = json!({"email": ada.email, "one_time_code": code, "new_password": new});
    let (client, headers) = (app.client(), [("X-Forwarded-For", hotel)]);
    let path = "/v1/password-resets/completion";
    let reset = client.send(Method::POST, path, Some(body), &headers).await;
    reset.expect(204);
    sign_in_from(&app, hotel, &ada.handle, &new)
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_homes_are_known_and_the_oldest_is_forgotten() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let many = format!(
        "INSERT INTO vault.households (account_id, household, seen_at)
         SELECT '{}', 'home ' || n, now() - make_interval(days => n)
         FROM generate_series(1, 40) AS n",
        ada.id
    );
    app.database.execute_unprepared(&many).await.unwrap();
    let new = "198.51.100.7";
    sign_in_from(&app, new, &ada.handle, &ada.password)
        .await
        .expect(201);
    let vault = app.vault();
    let account = kernel::AccountId(ada.id.parse().unwrap());
    // This one, where she registered, and the thirty that were seen last.
    for (home, known) in [(new, true), ("home 30", true), ("home 31", false)] {
        let knows = vault.knows_household(account, home).await.unwrap();
        assert_eq!(knows, known, "{home}");
    }
}

/// A thief with a token, and one with the password, each spends points of their own.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_codes_keeps_no_owner_from_their_second_factor() {
    let limits = LimitSettings {
        codes: "3/300".parse().unwrap(),
        ..LimitSettings::NONE
    };
    let app = App::limited(Servers::shared().await, limits).await;
    let ada = app.client().register("ada").await;
    app.verify_email(&ada).await;
    let (home, thief) = ("198.51.100.7", "203.0.113.66");
    let path = "/v1/accounts/me/second-factor";
    let current = json!({"current_password": ada.password});
    let added = ada.client.post(path, current).await.expect(200);
    let code = authenticator(&added.text("/secret"), 0);
    let put = async |client: &testkit::Client, code: &str| {
        let body = json!({"one_time_code": code});
        client.send(Method::PUT, path, Some(body), &[]).await
    };
    let enabled = put(&ada.client, &code).await.expect(200);
    let recovery = |number: usize| enabled.text(&format!("/recovery_codes/{number}"));
    let sign_in = async |address: &str, code: &str| {
        let body = json!({"login": ada.handle, "password": ada.password, "one_time_code": code});
        let headers = [("X-Forwarded-For", address)];
        let client = app.client();
        let sent = client.send(Method::POST, "/v1/sessions", Some(body), &headers);
        sent.await
    };
    sign_in(home, &recovery(0)).await.expect(201);
    // Whoever reads the mail makes an address known, and gains no tries there.
    let (vault, device) = (
        app.vault(),
        vault::Device::new(None, None, Some(thief.into())),
    );
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let ask = json!({"email": ada.email});
    let asked = app.client().post("/v1/password-resets", ask).await;
    asked.expect(204);
    let code = app.mailed_code(&ada.email).await;
    let stored = vault.by_account(account).await.unwrap().unwrap();
    let (hash, email) = (stored.password_hash.unwrap(), ada.email.parse().unwrap());
    let reset = vault.reset_password(&email, &code, Some(&hash), &device);
    assert!(matches!(reset.await.unwrap(), vault::Reset::Done(_)));
    assert!(vault.knows_household(account, thief).await.unwrap());
    assert!(!vault.has_seen_second_factor(account, thief).await.unwrap());
    assert!(vault.has_seen_second_factor(account, home).await.unwrap());

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(sign_in(thief, "000000").await.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 429, 429]);
    let stolen = app.client_of(account);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(put(&stolen, "000000").await.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 429, 429]);

    let signed_in = sign_in(home, &recovery(1)).await.expect(201);
    let me = app.client().with_token(signed_in.text("/access_token"));
    let removal = json!({"current_password": ada.password, "one_time_code": recovery(2)});
    let removed = me.post(&format!("{path}/removal"), removal).await;
    removed.expect(204);
}

/// Looks at password hashes that wait for a lock of somebody.
pub async fn held_up(app: &App) -> i64 {
    let sql = "SELECT count(*) AS n FROM pg_stat_activity
         WHERE wait_event_type = 'Lock' AND datname = current_database()
           AND query LIKE '%password_hash%'";
    let row = sqlx::query(sql).fetch_one(app.database.get_postgres_connection_pool());
    row.await.unwrap().get("n")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_before_the_answer_has_guessed_nothing() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let home = "198.51.100.7";
    // Passwords cannot be looked at meanwhile.
    let locked = app.database.begin().await.unwrap();
    let lock = "LOCK TABLE vault.credentials IN ACCESS EXCLUSIVE MODE";
    locked.execute_unprepared(lock).await.unwrap();
    let body = json!({"login": ada.handle, "password": ada.password}).to_string();
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {home}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut connection = TcpStream::connect(app.address()).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        connections.push(connection);
    }
    let sign_in = || sign_in_from(&app, home, &ada.handle, &ada.password);
    until("all points are spent", 10, || async {
        held_up(&app).await >= 3
    })
    .await;
    sign_in().await.problem(429, "too_many_requests");
    drop(connections);
    // Whoever has points waits for the lock now.
    until("the points are back", 10, || async {
        timeout(Duration::from_millis(300), sign_in())
            .await
            .is_err()
    })
    .await;
    locked.rollback().await.unwrap();
    until("who asks again is let in", 10, || async {
        sign_in().await.status == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_guess_the_code_of_a_reset_its_owner_is_heard_at_home() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let home = "198.51.100.7";
    sign_in_from(&app, home, &ada.handle, &ada.password)
        .await
        .expect(201);
    app.mailed_code(&ada.email).await;
    let ask = json!({"email": ada.email});
    let asked = app.client().post("/v1/password-resets", ask).await;
    asked.expect(204);
    let code = app.mailed_code(&ada.email).await;
    let many = "UPDATE vault.codes SET tries = 1000 WHERE purpose = 'reset_password'";
    app.database.execute_unprepared(many).await.unwrap();
    let new = secrets::password("another one");
    let reset_from = async |address: &str| {
        let body = json!({"email": ada.email, "one_time_code": code, "new_password": new});
        let (client, headers) = (app.client(), [("X-Forwarded-For", address)]);
        let path = "/v1/password-resets/completion";
        client.send(Method::POST, path, Some(body), &headers).await
    };
    let elsewhere = reset_from("203.0.113.66").await;
    elsewhere.problem(403, "invalid_code");
    reset_from(home).await.expect(204);
    sign_in_from(&app, home, &ada.handle, &new)
        .await
        .expect(201);
}
