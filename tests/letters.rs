//! Letters: what an owner is told, how many a mailbox gets, and another address.

use api::LimitSettings;
use reqwest::Method;
use sea_orm::{
    ConnectionTrait,
    sqlx::{self, Row},
};
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Answer, App, Client, Person, Servers, secrets};

use crate::{
    identity::authenticator,
    process::{Running, environment, run},
};

const DEVICE: &str = "Story/1.0 (see https://evil.example/x)";

async fn put(client: &Client, path: &str, body: Value) -> Answer {
    let headers = [("User-Agent", DEVICE)];
    client.send(Method::PUT, path, Some(body), &headers).await
}

async fn post(client: &Client, path: &str, body: Value) -> Answer {
    let headers = [("User-Agent", DEVICE)];
    client.send(Method::POST, path, Some(body), &headers).await
}

/// Somebody whose address is verified.
async fn verified(app: &App, name: &str) -> Person {
    let person = app.client().register(name).await;
    app.verify_email(&person).await;
    person
}

async fn ask_for_a_reset(app: &App, email: &str) {
    let client = app.client();
    let asked = client.post("/v1/password-resets", json!({"email": email}));
    asked.await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_told_of_each_change_of_what_they_sign_in_with() {
    let app = App::start().await;
    let ada = verified(&app, "ada").await;
    let told = async |subject: &str| {
        let letter = app.mailed_words(&ada.email, subject).await;
        // Long lines are folded (RFC 2045, 6.7).
        let letter = letter.replace("=\r\n", "");
        let first = ada.handle.chars().next().unwrap();
        for words in [
            format!("Subject: headwater: {subject}"),
            "\r\nWhen: 20".into(),
            "\r\nDevice: Story/1.0 (see https evil example x)".into(),
            "Was it not you? ".into(),
            format!("the account {first}... at headwater"),
            "will ever ask you for a code".into(),
        ] {
            assert!(letter.contains(&words), "{words}:\n{letter}");
        }
        let (_, text) = letter.split_once("\r\n\r\n").unwrap();
        assert!(
            !text.contains("://") && !text.contains(&ada.handle),
            "{letter}"
        );
    };
    let second = secrets::password("a second one");
    let body = json!({"current_password": ada.password, "new_password": second});
    let path = "/v1/accounts/me/password";
    put(&ada.client, path, body).await.expect(204);
    told("Your password was changed").await;

    let path = "/v1/accounts/me/second-factor";
    let current = json!({"current_password": second});
    let added = ada.client.post(path, current).await.expect(200);
    let code = authenticator(&added.text("/secret"), 0);
    let enabled = put(&ada.client, path, json!({"one_time_code": code})).await;
    let recovery = enabled.expect(200).text("/recovery_codes/0");
    told("A second factor was enabled").await;
    let body = json!({"current_password": second, "one_time_code": recovery});
    let removed = post(&ada.client, &format!("{path}/removal"), body).await;
    removed.expect(204);
    told("Your second factor was removed").await;

    let sign_in = async |device: Option<&str>, password: &str| {
        let mut body = json!({"login": ada.handle, "password": password});
        if let Some(device) = device {
            body["device_token"] = device.into();
        }
        let signed_in = post(&app.client(), "/v1/sessions", body).await;
        signed_in.expect(201).text("/device_token")
    };
    let device = sign_in(None, &second).await;
    told("A new device signed in").await;
    assert_eq!(sign_in(Some(&device), &second).await, device);

    ask_for_a_reset(&app, &ada.email).await;
    let code = app.mailed_code(&ada.email).await;
    let third = secrets::password("a third one");
    let body = json!({"email": ada.email, "one_time_code": code, "new_password": third});
    let path = "/v1/password-resets/completion";
    let device = post(&app.client(), path, body).await.expect(200);
    told("Your password was replaced").await;
    sign_in(Some(&device.text("/device_token")), &third).await;
    // Of known devices nobody is told, and of new ones only so often.
    assert_eq!(app.letters(&ada.email).len(), 0);
    for _ in 0..6 {
        sign_in(None, &third).await;
    }
    for _ in 0..4 {
        told("A new device signed in").await;
    }
    assert_eq!(app.letters(&ada.email).len(), 0);
    // Who has not shown that the address is theirs has it sent nothing of devices.
    let bob = app.client().register("bob").await;
    app.mailed_code(&bob.email).await;
    let body = json!({"login": bob.handle, "password": bob.password});
    app.client().post("/v1/sessions", body).await.expect(201);
    assert_eq!(app.letters(&bob.email).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_registrations_leaves_a_mailbox_its_resets() {
    let app = App::start().await;
    let ada = verified(&app, "ada").await;
    let (name, host) = ada.email.split_once('@').unwrap();
    let addresses: Vec<_> = (0..7).map(|n| format!("{name}+{n}@{host}")).collect();
    for (number, address) in addresses.iter().enumerate() {
        let body = json!({
            "handle": format!("flood_{number}"), "email": address,
            "password": secrets::password("a flood"),
        });
        app.client().post("/v1/accounts", body).await.expect(201);
    }
    // One was of her own registration.
    for address in &addresses[..4] {
        app.mailed_code(address).await;
    }
    ask_for_a_reset(&app, &ada.email).await;
    app.mailed_code(&ada.email).await;
    for address in &addresses[4..] {
        assert_eq!(app.letters(address).len(), 0, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_another_reset_ends_no_code() {
    let app = App::start().await;
    let ada = verified(&app, "ada").await;
    ask_for_a_reset(&app, &ada.email).await;
    let code = app.mailed_code(&ada.email).await;
    // Six of its ten minutes are over.
    let earlier = "UPDATE vault.codes SET sent_at = sent_at - interval '6 minutes',
         expires_at = expires_at - interval '6 minutes'";
    app.database.execute_unprepared(earlier).await.unwrap();
    for _ in 0..7 {
        ask_for_a_reset(&app, &ada.email).await;
    }
    let new = secrets::password("another one");
    let body = json!({"email": ada.email, "one_time_code": code, "new_password": new});
    let path = "/v1/password-resets/completion";
    app.client().post(path, body).await.expect(200);
    // What sent nothing cost the mailbox nothing.
    ask_for_a_reset(&app, &ada.email).await;
    app.mailed_code(&ada.email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_is_ones_own_when_its_reader_says_so() {
    let app = App::start().await;
    let ada = verified(&app, "ada").await;
    let path = "/v1/accounts/me/email";
    let new = secrets::email("lovelace");
    let body = |email: &str, password: &str| json!({"email": email, "current_password": password});
    let wrong = put(&ada.client, path, body(&new, "a wrong one")).await;
    wrong.problem(403, "wrong_password");
    let wrong = put(&ada.client, path, body("nope", &ada.password)).await;
    wrong.problem(422, "invalid_field");
    let same = put(&ada.client, path, body(&ada.email, &ada.password)).await;
    same.problem(409, "email_verified");
    put(&ada.client, path, body(&new, &ada.password))
        .await
        .expect(204);
    let soon = put(&ada.client, path, body(&new, &ada.password)).await;
    soon.problem(429, "too_many_requests");
    // Nothing has changed yet.
    app.settle().await;
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body["email"], ada.email);
    ask_for_a_reset(&app, &ada.email).await;
    let reset = app.mailed_code(&ada.email).await;

    let code = app.mailed_code(&new).await;
    let verification = "/v1/accounts/me/email/verification";
    let body_of = |code: &str| json!({"one_time_code": code});
    put(&ada.client, verification, body_of(&code))
        .await
        .expect(204);
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body["email"], new);
    assert_eq!(me.body["email_verified"], true);
    for address in [&ada.email, &new] {
        let letter = app
            .mailed_words(address, "Your e-mail address was changed")
            .await;
        assert!(!letter.contains("://"), "{letter}");
    }
    let sign_in = async |login: &str| {
        let body = json!({"login": login, "password": ada.password});
        app.client().post("/v1/sessions", body).await
    };
    sign_in(&new).await.expect(201);
    sign_in(&ada.email)
        .await
        .problem(401, "invalid_credentials");
    let late = json!({
        "email": ada.email, "one_time_code": reset, "new_password": secrets::password("late"),
    });
    let late = app
        .client()
        .post("/v1/password-resets/completion", late)
        .await;
    late.problem(403, "invalid_code");

    // The one before is free; one that somebody verified is not taken from them, which
    // only its reader learns.
    let bob = verified(&app, "bob").await;
    let wanted = body(&new, &bob.password);
    put(&bob.client, path, wanted).await.expect(204);
    let code = app.mailed_code(&new).await;
    let taken = put(&bob.client, verification, body_of(&code)).await;
    taken.problem(409, "email_taken");
    let wait = "UPDATE vault.codes SET sent_at = sent_at - interval '1 minute'";
    app.database.execute_unprepared(wait).await.unwrap();
    let wanted = body(&ada.email, &bob.password);
    put(&bob.client, path, wanted).await.expect(204);
    let code = app.mailed_code(&ada.email).await;
    put(&bob.client, verification, body_of(&code))
        .await
        .expect(204);
    let signed_in = json!({"login": ada.email, "password": bob.password});
    let signed_in = app.client().post("/v1/sessions", signed_in).await;
    assert_eq!(signed_in.expect(201).text("/account_id"), bob.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_wants_the_second_factor_where_there_is_one() {
    let app = App::start().await;
    let ada = verified(&app, "ada").await;
    let path = "/v1/accounts/me/second-factor";
    let current = json!({"current_password": ada.password});
    let added = ada.client.post(path, current).await.expect(200);
    let code = authenticator(&added.text("/secret"), 0);
    let enabled = put(&ada.client, path, json!({"one_time_code": code})).await;
    let recovery = enabled.expect(200).text("/recovery_codes/0");
    let new = secrets::email("lovelace");
    let change = async |code: Option<&str>| {
        let mut body = json!({"email": new, "current_password": ada.password});
        if let Some(code) = code {
            body["one_time_code"] = code.into();
        }
        put(&ada.client, "/v1/accounts/me/email", body).await
    };
    change(None).await.problem(401, "second_factor_required");
    change(Some("000000")).await.problem(403, "invalid_code");
    assert_eq!(app.letters(&new).len(), 0);
    change(Some(&recovery)).await.expect(204);
    app.mailed_code(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_verified_in_a_week_goes_and_may_be_set_again() {
    let app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        verified(&app, "bob").await,
    );
    app.mailed_code(&ada.email).await;
    let vault = app.vault();
    let emails = async || {
        let sql = "SELECT email FROM vault.credentials ORDER BY email NULLS FIRST";
        let rows = sqlx::query(sql).fetch_all(app.database.get_postgres_connection_pool());
        let rows = rows.await.unwrap();
        let emails = rows.iter().map(|row| row.get::<Option<String>, _>("email"));
        emails.collect::<Vec<_>>()
    };
    let older = async |days: u32| {
        let sql = format!(
            "UPDATE vault.credentials SET created_at = created_at - interval '{days} days'"
        );
        app.database.execute_unprepared(&sql).await.unwrap();
        vault.purge().await.unwrap();
    };
    older(6).await;
    assert_eq!(
        emails().await,
        [Some(ada.email.clone()), Some(bob.email.clone())]
    );
    older(2).await;
    assert_eq!(emails().await, [None, Some(bob.email.clone())]);
    // The account is there, and may have the address yet.
    let body = json!({"login": ada.handle, "password": ada.password});
    app.client().post("/v1/sessions", body).await.expect(201);
    let wait = "UPDATE vault.codes SET sent_at = sent_at - interval '1 minute'";
    app.database.execute_unprepared(wait).await.unwrap();
    let body = json!({"email": ada.email, "current_password": ada.password});
    put(&ada.client, "/v1/accounts/me/email", body)
        .await
        .expect(204);
    app.verify_email(&ada).await;
    older(30).await;
    assert_eq!(
        emails().await,
        [Some(ada.email.clone()), Some(bob.email.clone())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_resets_a_second_factor_for_a_reason_that_is_kept() {
    let app = App::start().await;
    let ada = verified(&app, "ada").await;
    let path = "/v1/accounts/me/second-factor";
    let current = json!({"current_password": ada.password});
    let added = ada.client.post(path, current).await.expect(200);
    let code = authenticator(&added.text("/secret"), 0);
    let enabled = put(&ada.client, path, json!({"one_time_code": code})).await;
    enabled.expect(200);
    let sign_in = async || {
        let body = json!({"login": ada.handle, "password": ada.password});
        app.client().post("/v1/sessions", body).await
    };
    sign_in().await.problem(401, "second_factor_required");
    let (settings, folder) = (environment(&app.servers), tempdir().unwrap());
    let reset = ["accounts", "reset-second-factor", &ada.handle];
    let refused = run(&reset, &settings, folder.path()).await;
    assert_ne!(refused.status, 0, "it wants a reason");
    sign_in().await.problem(401, "second_factor_required");
    let with_reason = [&reset[..], &["--reason", "a lost telephone"]].concat();
    let done = run(&with_reason, &settings, folder.path()).await;
    assert_eq!(done.status, 0, "{}", done.err);
    sign_in().await.expect(201);
    let again = run(&with_reason, &settings, folder.path()).await;
    assert!(again.err.contains("has no second factor"), "{}", again.err);
    let tail = ["tail", "-o", "start", "-e", "-t", "OperatorActed"];
    let told = run(&tail, &settings, folder.path()).await.out;
    let told: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(told["data"]["action"], "accounts reset-second-factor");
    assert_eq!(told["data"]["target"], ada.id);
    assert_eq!(told["data"]["reason"], "a lost telephone");
}

/// Those who watch over it tell guesses at one login from many typing errors, and learn
/// no names.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_who_was_refused_by_pseudonyms() {
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let serve = Running::start(
        &["serve"],
        &environment(&servers),
        folder.path(),
        "documentation",
    )
    .await;
    let client = Client::new(serve.api.clone());
    let ada = client.register("ada").await;
    let guess = async |login: &str| {
        let body = json!({"login": login, "password": "guess it"});
        let refused = client.post("/v1/sessions", body).await;
        refused.problem(401, "invalid_credentials");
    };
    guess(&ada.handle).await;
    guess(&ada.handle.to_uppercase()).await;
    guess("nobody_at_all").await;
    let refresh = json!({"refresh_token": "none"});
    let refused = client.post("/v1/sessions/refresh", refresh).await;
    refused.problem(401, "invalid_refresh_token");
    let said = serve.said();
    let lines = said
        .lines()
        .filter(|line| line.contains("somebody who wanted in was refused"));
    let told = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}="))?;
        let value = rest.split([' ', '\u{1b}']).next()?;
        Some(value.trim_matches('"').to_owned())
    };
    let lines: Vec<_> = lines.collect();
    let logins: Vec<_> = lines.iter().map(|line| told(line, "login")).collect();
    assert_eq!(logins.len(), 4, "{said}");
    assert_eq!(logins[0], logins[1]);
    assert_ne!(logins[0], logins[2]);
    assert_eq!(logins[0].as_ref().map(String::len), Some(16), "{lines:?}");
    assert_eq!(logins[3], None, "{lines:?}");
    let household = told(lines[0], "household");
    assert_eq!(household.as_ref().map(String::len), Some(16), "{lines:?}");
    for line in &lines {
        assert_eq!(told(line, "household"), household);
        assert!(
            !line.contains(&ada.handle) && !line.contains("127.0.0.1"),
            "{line}"
        );
    }
}

/// With every limit on as it is by default, an owner signs in as often as people do.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_signs_in_under_the_limits_that_are_set_by_default() {
    let limits = LimitSettings {
        anonymous: "100/60".parse().unwrap(),
        account: "600/60".parse().unwrap(),
        sign_in: "5/300".parse().unwrap(),
        registration: "20/3600".parse().unwrap(),
        codes: "20/3600".parse().unwrap(),
        password_hashes: "30/60".parse().unwrap(),
        ..LimitSettings::NONE
    };
    let app = App::limited(Servers::shared().await, limits).await;
    let ada = verified(&app, "ada").await;
    for _ in 0..8 {
        let body = json!({"login": ada.email, "password": ada.password});
        app.client().post("/v1/sessions", body).await.expect(201);
    }
}
