//! Guessing: whom it stops, and whom it must not keep out.

use std::time::Duration;

use api::LimitSettings;
use reqwest::Method;
use sea_orm::{
    ConnectionTrait, TransactionTrait,
    sqlx::{self, Row},
};
use serde_json::{Value, json};
use testkit::{Answer, App, Person, Servers, secrets, until};
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
    send_from(app, address, body).await
}

/// The same, from a device that shows what it is known by.
async fn sign_in_with(app: &App, (address, device): (&str, &str), ada: &Person) -> Answer {
    let body = json!({"login": ada.handle, "password": ada.password, "device_token": device});
    send_from(app, address, body).await
}

async fn send_from(app: &App, address: &str, body: Value) -> Answer {
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
    let device = sign_in_from(&app, home, &ada.handle, &ada.password).await;
    let device = device.expect(201).text("/device_token");
    guess_until_strangers_are_kept_out(&app, &ada.handle).await;
    // Wherever she is, and as often as she likes.
    for address in [home, "198.51.100.99", home] {
        let signed_in = sign_in_with(&app, (address, &device), &ada).await;
        assert_eq!(signed_in.expect(201).text("/device_token"), device);
    }
    // Of another account, or of none, it is none.
    let bob = app.client().register("bob").await;
    let theirs = sign_in_from(&app, home, &bob.handle, &bob.password).await;
    for stranger in [&theirs.expect(201).text("/device_token"), "nonsense"] {
        let refused = sign_in_with(&app, (home, stranger), &ada).await;
        refused.problem(429, "too_many_requests");
    }
    // Whoever has the device guesses no more than others.
    let mut statuses = Vec::new();
    for number in 0..5 {
        let body = json!({
            "login": ada.email, "password": format!("guess {number}"), "device_token": device,
        });
        statuses.push(send_from(&app, home, body).await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
}

/// Who shares an address with somebody learns nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_signed_in_from_is_as_any_other() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let office = "198.51.100.7";
    sign_in_from(&app, office, &ada.email, &ada.password)
        .await
        .expect(201);
    let nobody = secrets::email("nobody");
    for login in [&ada.email, &nobody] {
        guess_until_strangers_are_kept_out(&app, login).await;
        let guess = sign_in_from(&app, office, login, "guess it").await;
        guess.problem(429, "too_many_requests");
    }
}

/// Handle and address have so many tries together, and whose they are does not show.
#[tokio::test(flavor = "multi_thread")]
async fn all_logins_of_one_account_share_their_tries_and_do_not_say_so() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    guess_until_strangers_are_kept_out(&app, &ada.handle).await;
    let elsewhere = "198.51.100.7";
    let hashed = app.services.passwords.computed();
    let nobody = secrets::email("nobody");
    let guesses = [
        sign_in_from(&app, elsewhere, &nobody, "guess it").await,
        // Even the right one: it is not looked at.
        sign_in_from(&app, elsewhere, &ada.email, &ada.password).await,
    ];
    let told = guesses.map(|guess| {
        let mut told = guess.problem(401, "invalid_credentials").body;
        told["request_id"] = Value::Null;
        told
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(app.services.passwords.computed() - hashed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_are_paid_for_too() {
    let limits = LimitSettings {
        password_hashes: "4/300".parse().unwrap(),
        ..LimitSettings::NONE
    };
    let app = App::limited(Servers::shared().await, limits).await;
    let ada = app.client().register("ada").await;
    let (one, other) = ("198.51.100.7", "198.51.100.8");
    let sign_in = |address: &'static str| sign_in_from(&app, address, &ada.handle, &ada.password);
    let refused = |answer: Answer| {
        let refused = answer.problem(429, "too_many_requests");
        let policy = refused.header("ratelimit-policy");
        assert_eq!(policy, "\"password_hashes\";q=4;w=300");
    };
    // Wrong ones by the address alone: nobody uses up an account's.
    for number in 0..4 {
        let address = format!("203.0.113.{number}");
        for _ in 0..2 {
            sign_in_from(&app, &address, &ada.handle, "guess it")
                .await
                .problem(401, "invalid_credentials");
        }
    }
    for _ in 0..4 {
        sign_in(one).await.expect(201);
    }
    refused(sign_in(one).await);
    // By the account, wherever it is.
    refused(sign_in(other).await);
    // By the address, whoever it is.
    let bob = app.client().register("bob").await;
    refused(sign_in_from(&app, one, &bob.handle, &bob.password).await);
    sign_in_from(&app, other, &bob.handle, &bob.password)
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
async fn a_device_is_known_after_its_sessions_are_gone() {
    let app = limited().await;
    let ada = app.client().register("ada").await;
    let home = "198.51.100.7";
    let device = sign_in_from(&app, home, &ada.handle, &ada.password).await;
    let device = device.expect(201).text("/device_token");
    let over = "UPDATE vault.sessions SET ended_at = now() - interval '2 hours'";
    app.database.execute_unprepared(over).await.unwrap();
    let vault = app.vault();
    vault.purge().await.unwrap();
    guess_until_strangers_are_kept_out(&app, &ada.handle).await;
    sign_in_with(&app, (home, &device), &ada).await.expect(201);
    // Not for ever.
    let over = "UPDATE vault.devices SET seen_at = now() - interval '181 days'";
    app.database.execute_unprepared(over).await.unwrap();
    vault.purge().await.unwrap();
    // What came back meanwhile.
    for stranger in ["203.0.113.50", "203.0.113.51"] {
        sign_in_from(&app, stranger, &ada.handle, "guess it").await;
    }
    sign_in_with(&app, (home, &device), &ada)
        .await
        .problem(429, "too_many_requests");
}

/// A device is known no more where its session is ended from elsewhere, or the password
/// is another one; signing out leaves it known.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_goes_with_the_session_that_its_owner_ends() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let vault = app.vault();
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let knows = async |device: &str| {
        let token = device.parse().unwrap();
        let known = vault.known_device(account, Some(&token)).await.unwrap();
        known.is_some()
    };
    let sign_in = async || {
        let session = sign_in_from(&app, "198.51.100.7", &ada.handle, &ada.password).await;
        session.expect(201)
    };
    let out = sign_in().await;
    let client = app.client().with_token(out.text("/access_token"));
    client.delete("/v1/sessions/current").await.expect(204);
    assert!(knows(&out.text("/device_token")).await);
    let ended = sign_in().await;
    let path = format!("/v1/sessions/{}", ended.text("/session_id"));
    ada.client.delete(&path).await.expect(204);
    assert!(!knows(&ended.text("/device_token")).await);
    let kept = sign_in().await;
    // The same device twice: what it is known by stays with the one that is left.
    let again = sign_in_with(&app, ("198.51.100.7", &kept.text("/device_token")), &ada).await;
    let me = app
        .client()
        .with_token(again.expect(201).text("/access_token"));
    let path = format!("/v1/sessions/{}", kept.text("/session_id"));
    me.delete(&path).await.expect(204);
    assert!(knows(&kept.text("/device_token")).await);
    let new = secrets::password("another one");
    let body = json!({"current_password": ada.password, "new_password": new});
    let path = "/v1/accounts/me/password";
    let changed = me.send(Method::PUT, path, Some(body), &[]).await;
    changed.expect(204);
    assert!(knows(&kept.text("/device_token")).await);
    assert!(!knows(&out.text("/device_token")).await);
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
    let device = reset.expect(200).text("/device_token");
    sign_in_from(&app, hotel, &ada.handle, &new)
        .await
        .problem(429, "too_many_requests");
    let body = json!({"login": ada.handle, "password": new, "device_token": device});
    send_from(&app, hotel, body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_devices_are_known_and_the_oldest_is_forgotten() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let many = format!(
        "INSERT INTO vault.devices (id, account_id, token_hash, seen_at)
         SELECT gen_random_uuid(), '{}', '\\x00', now() - make_interval(days => n)
         FROM generate_series(1, 40) AS n",
        ada.id
    );
    app.database.execute_unprepared(&many).await.unwrap();
    sign_in_from(&app, "198.51.100.7", &ada.handle, &ada.password)
        .await
        .expect(201);
    // This one, where she registered, and the thirty that were seen last.
    let sql = "SELECT count(*) AS n, max(extract(day FROM now() - seen_at))::bigint AS oldest
               FROM vault.devices";
    let row = sqlx::query(sql).fetch_one(app.database.get_postgres_connection_pool());
    let row = row.await.unwrap();
    let (count, oldest): (i64, i64) = (row.get("n"), row.get("oldest"));
    assert_eq!((count, oldest), (vault::DEVICES_MAX, 30));
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
    let sign_in = async |device: Option<&str>, code: &str| {
        let mut body =
            json!({"login": ada.handle, "password": ada.password, "one_time_code": code});
        if let Some(device) = device {
            body["device_token"] = device.into();
        }
        send_from(&app, "198.51.100.7", body).await
    };
    let home = sign_in(None, &recovery(0)).await.expect(201);
    let home = home.text("/device_token");
    // Whoever reads the mail makes a device known, and gains no tries with it.
    let vault = app.vault();
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let thief = {
        let stored = vault.by_account(account).await.unwrap().unwrap();
        let ask = json!({"email": ada.email});
        let asked = app.client().post("/v1/password-resets", ask).await;
        asked.expect(204);
        let code = app.mailed_code(&ada.email).await;
        let (hash, email) = (stored.password_hash.unwrap(), ada.email.parse().unwrap());
        let device = vault::Device::default();
        let reset = vault.reset_password(&email, &code, Some(&hash), &device);
        match reset.await.unwrap() {
            vault::Reset::Done { device, .. } => device.reveal(),
            _ => panic!("the code is right"),
        }
    };
    // A reset leaves no other device known: the owner's is known again.
    let gone = sign_in(Some(&home), &recovery(1)).await.expect(201);
    let home = gone.text("/device_token");

    let mut statuses = Vec::new();
    for _ in 0..5 {
        let guess = sign_in(Some(&thief), "000000").await;
        statuses.push(guess.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 429, 429]);
    let stranger = sign_in(None, &recovery(2)).await;
    stranger.problem(429, "too_many_requests");
    let stolen = app.client_of(account);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(put(&stolen, "000000").await.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 429, 429]);

    let signed_in = sign_in(Some(&home), &recovery(2)).await.expect(201);
    let me = app.client().with_token(signed_in.text("/access_token"));
    let removal = json!({"current_password": ada.password, "one_time_code": recovery(3)});
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
async fn however_many_guess_the_code_of_a_reset_its_owner_is_heard_with_a_known_device() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let home = "198.51.100.7";
    let device = sign_in_from(&app, home, &ada.handle, &ada.password).await;
    let device = device.expect(201).text("/device_token");
    app.mailed_code(&ada.email).await;
    let ask = json!({"email": ada.email});
    let asked = app.client().post("/v1/password-resets", ask).await;
    asked.expect(204);
    let code = app.mailed_code(&ada.email).await;
    let many = "UPDATE vault.codes SET tries = 1000 WHERE purpose = 'reset_password'";
    app.database.execute_unprepared(many).await.unwrap();
    let new = secrets::password("another one");
    let reset = async |device: Option<&str>| {
        let mut body = json!({"email": ada.email, "one_time_code": code, "new_password": new});
        if let Some(device) = device {
            body["device_token"] = device.into();
        }
        let (client, headers) = (app.client(), [("X-Forwarded-For", home)]);
        let path = "/v1/password-resets/completion";
        client.send(Method::POST, path, Some(body), &headers).await
    };
    reset(None).await.problem(403, "invalid_code");
    reset(Some(&device)).await.expect(200);
    sign_in_from(&app, home, &ada.handle, &new)
        .await
        .expect(201);
}
