//! An address shown to be one's own, a forgotten password, second factors, and
//! tokens of services.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tempfile::tempdir;
use testkit::{Answer, App, Client, Person, Servers, secrets};
use vault::{Budget, Scope, Vault};

use crate::process::{self, Running};

async fn sign_in(client: &Client, person: &Person, password: &str, code: Option<&str>) -> Answer {
    let mut body = json!({"login": person.handle, "password": password});
    if let Some(code) = code {
        body["one_time_code"] = code.into();
    }
    client.post("/v1/sessions", body).await
}

async fn put(client: &Client, path: &str, body: Value) -> Answer {
    client.send(Method::PUT, path, Some(body), &[]).await
}

fn vault(app: &App) -> Vault {
    app.vault()
}

/// What an authenticator shows `steps` later.
pub fn authenticator(secret: &str, steps: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    totp.generate(since.unwrap().as_secs() + 30 * steps)
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_verified_by_a_code_that_counts_once() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body["email_verified"], false);
    let code = app.mailed_code(&ada.email).await;
    // A code was sent a moment ago.
    let soon = ada.client.post("/v1/accounts/me/email/codes", Value::Null);
    let soon = soon.await.problem(429, "too_many_requests");
    assert_eq!(soon.header("retry-after"), "60");

    let path = "/v1/accounts/me/email/verification";
    let verify = |code: &str| put(&ada.client, path, json!({"one_time_code": code}));
    verify("00000-00000").await.problem(403, "invalid_code");
    // Another account has no use of it.
    let bob = app.client().register("bob").await;
    let stolen = put(&bob.client, path, json!({"one_time_code": code}));
    stolen.await.problem(403, "invalid_code");
    verify(&code.to_lowercase()).await.expect(204);
    verify(&code).await.problem(403, "invalid_code");
    let me = ada.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body["email_verified"], true);
    let again = ada.client.post("/v1/accounts/me/email/codes", Value::Null);
    again.await.problem(409, "email_verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_codes_end_the_right_one_and_another_code_gives_no_more_tries() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let code = app.mailed_code(&ada.email).await;
    let path = "/v1/accounts/me/email/verification";
    let verify = |code: String| put(&ada.client, path, json!({"one_time_code": code}));
    for number in 0..5 {
        let wrong = verify(format!("WRONG-{number}0000"));
        wrong.await.problem(403, "invalid_code");
    }
    verify(code).await.problem(403, "invalid_code");
    let earlier = async |sql: &str| {
        app.database.execute_unprepared(sql).await.unwrap();
    };
    earlier("UPDATE vault.codes SET sent_at = sent_at - interval '1 minute'").await;
    let ask = || ada.client.post("/v1/accounts/me/email/codes", Value::Null);
    ask().await.expect(204);
    let code = app.mailed_code(&ada.email).await;
    verify(code).await.problem(403, "invalid_code");
    earlier(
        "UPDATE vault.codes SET sent_at = sent_at - interval '1 minute',
             tries_since = tries_since - interval '10 minutes'",
    )
    .await;
    ask().await.expect(204);
    let code = app.mailed_code(&ada.email).await;
    verify(code).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_by_whoever_reads_the_mail() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    app.mailed_code(&ada.email).await;
    let another = secrets::password("another one");
    let stranger = app.client();
    let ask = |email: &str| stranger.post("/v1/password-resets", json!({"email": email}));
    let known = ask(&ada.email.to_uppercase()).await.expect(204);
    let unknown = ask(&secrets::email("nobody")).await.expect(204);
    // Nothing tells the one from the other.
    let names = |answer: &Answer| {
        let names = answer.headers.keys().map(|name| name.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&known), names(&unknown));
    let code = app.mailed_code(&ada.email).await;

    let reset = |email: &str, code: &str, password: &str| {
        let body = json!({"email": email, "one_time_code": code, "new_password": password});
        stranger.post("/v1/password-resets/completion", body)
    };
    let wrong = reset(&ada.email, "00000-00000", &another).await;
    let nobody = reset(&secrets::email("nobody"), &code, &another).await;
    let wrong = wrong.problem(403, "invalid_code");
    let nobody = nobody.problem(403, "invalid_code");
    assert_eq!(wrong.body["detail"], nobody.body["detail"]);
    let short = reset(&ada.email, &code, "short").await;
    short.problem(422, "invalid_field");

    reset(&ada.email, &code, &another).await.expect(200);
    reset(&ada.email, &code, &secrets::password("a third one"))
        .await
        .problem(403, "invalid_code");
    let ended = ada.client.get("/v1/accounts/me").await;
    ended.problem(401, "session_ended");
    let old = sign_in(&stranger, &ada, &ada.password, None).await;
    old.problem(401, "invalid_credentials");
    let new = sign_in(&stranger, &ada, &another, None).await;
    let token = new.expect(201).text("/access_token");
    let me = stranger.with_token(token).get("/v1/accounts/me").await;
    assert_eq!(me.expect(200).body["email_verified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_leaked_elsewhere_is_refused() {
    const LEAKED: &str = "leaked elsewhere long ago";
    const ITS_HASH: &str = "677875CED5C4EA6180DFA80C2A681F103A6322B8";
    let (servers, folder) = (Servers::shared().await, tempdir().unwrap());
    let (first, last) = ("0".repeat(40), "F".repeat(40));
    let list = folder.path().join("list");
    std::fs::write(&list, format!("{first}:1\r\n{ITS_HASH}:21\r\n{last}:3\r\n")).unwrap();
    let mut environment = process::environment(&servers);
    environment.push(("BREACHED_PASSWORDS", list.display().to_string()));
    let serve = Running::start(&["serve"], &environment, folder.path(), "documentation").await;
    let client = Client::new(serve.api.clone());
    let ada = client.register("ada").await;
    let register = |password: &str| {
        let email = secrets::email("eve");
        let body = json!({"handle": "eve_again", "email": email, "password": password});
        client.post("/v1/accounts", body)
    };
    let change = |new: &str| {
        let body = json!({"current_password": ada.password, "new_password": new});
        put(&ada.client, "/v1/accounts/me/password", body)
    };
    for refused in [register(LEAKED).await, change(LEAKED).await] {
        let detail = refused
            .problem(422, "invalid_field")
            .text("/errors/0/detail");
        assert!(detail.contains("leaked elsewhere"), "{detail}");
    }
    change(&secrets::password("never leaked")).await.expect(204);

    // What is no such list is no list.
    std::fs::write(&list, "password\n").unwrap();
    let refused = process::run(&["serve"], &environment, folder.path()).await;
    assert_ne!(refused.status, 0);
    assert!(
        refused.err.contains("BREACHED_PASSWORDS"),
        "{}",
        refused.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_little_more_than_a_name_is_refused() {
    let app = App::start().await;
    let stranger = app.client();
    let refused = |answer: Answer, pointer: &str| {
        let answer = answer.problem(422, "invalid_field");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer);
        let detail = answer.text("/errors/0/detail");
        assert!(detail.contains("guessed first"), "{detail}");
    };
    let register = |password: &str| {
        let email = secrets::email("countess.lovelace");
        let body = json!({"handle": "augusta_ada", "email": email, "password": password});
        stranger.post("/v1/accounts", body)
    };
    for weak in [
        "Headwater1815",
        "augusta_ada",
        "AugustaAda!!",
        "countess.lovelace",
        "lovelace1815",
    ] {
        refused(register(weak).await, "/password");
    }
    let password = secrets::password("augusta_ada of headwater");
    let registered = register(&password).await.expect(201);
    let me = stranger
        .clone()
        .with_token(registered.text("/session/access_token"));
    app.settle().await;

    let change = |new: &str| {
        let body = json!({"current_password": password, "new_password": new});
        put(&me, "/v1/accounts/me/password", body)
    };
    refused(change("augusta-ada-1815").await, "/new_password");
    refused(change("countess.lovelace").await, "/new_password");

    let email = secrets::email("countess.lovelace");
    app.mailed_code(&email).await;
    let asked = stranger.post("/v1/password-resets", json!({"email": email}));
    asked.await.expect(204);
    let code = app.mailed_code(&email).await;
    let reset = |code: &str, new: &str| {
        let body = json!({"email": email, "one_time_code": code, "new_password": new});
        stranger.post("/v1/password-resets/completion", body)
    };
    // Whoever has no code does not learn whose the address is.
    reset("00000-00000", "augusta-ada-1815")
        .await
        .problem(403, "invalid_code");
    refused(reset(&code, "augusta-ada-1815").await, "/new_password");
    let long = secrets::password("augusta ada, a countess");
    reset(&code, &long).await.expect(200);
    let body = json!({"login": "augusta_ada", "password": long});
    stranger.post("/v1/sessions", body).await.expect(201);
}

/// Whoever knew the old password may have added it.
#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_that_is_not_enabled_goes_with_the_password() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.verify_email(&ada).await;
    let path = "/v1/accounts/me/second-factor";
    let current = json!({"current_password": ada.password});
    let added = ada.client.post(path, current).await.expect(200);
    let new = secrets::password("another one");
    let body = json!({"current_password": ada.password, "new_password": new});
    put(&ada.client, "/v1/accounts/me/password", body)
        .await
        .expect(204);
    let code = authenticator(&added.text("/secret"), 0);
    let enabled = put(&ada.client, path, json!({"one_time_code": code})).await;
    enabled.problem(403, "invalid_code");

    let current = json!({"current_password": new});
    let added = ada.client.post(path, current).await.expect(200);
    let ask = json!({"email": ada.email});
    let asked = app.client().post("/v1/password-resets", ask).await;
    asked.expect(204);
    let code = app.mailed_code(&ada.email).await;
    let body = json!({"email": ada.email, "one_time_code": code, "new_password": ada.password});
    let path_of_reset = "/v1/password-resets/completion";
    let reset = app.client().post(path_of_reset, body).await;
    reset.expect(200);
    let again = sign_in(&app.client(), &ada, &ada.password, None).await;
    let me = app
        .client()
        .with_token(again.expect(201).text("/access_token"));
    let code = authenticator(&added.text("/secret"), 0);
    let enabled = put(&me, path, json!({"one_time_code": code})).await;
    enabled.problem(403, "invalid_code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_no_code_counts_twice() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.verify_email(&ada).await;
    app.settle().await;
    let elsewhere = sign_in(&app.client(), &ada, &ada.password, None).await;
    let elsewhere = app
        .client()
        .with_token(elsewhere.expect(201).text("/access_token"));
    let path = "/v1/accounts/me/second-factor";
    let add = |password: &str| {
        let body = json!({"current_password": password});
        ada.client.post(path, body)
    };
    add("a wrong one").await.problem(403, "wrong_password");
    let added = add(&ada.password).await.expect(200);
    let secret = added.text("/secret");
    let uri = added.text("/otpauth_uri");
    assert!(uri.contains(&secret) && uri.contains(&ada.handle), "{uri}");
    // It is not asked for before it is enabled.
    let early = sign_in(&app.client(), &ada, &ada.password, None).await;
    early.expect(201);
    let enable = |code: String| put(&ada.client, path, json!({"one_time_code": code}));
    enable("000000".into()).await.problem(403, "invalid_code");
    let code = authenticator(&secret, 0);
    let enabled = enable(code.clone()).await.expect(200);
    let recovery = enabled.body["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(recovery.len(), 10);
    let gone = elsewhere.get("/v1/accounts/me").await;
    gone.problem(401, "session_ended");
    add(&ada.password)
        .await
        .problem(409, "second_factor_exists");

    let attempt = |code: Option<String>| {
        let (client, ada) = (app.client(), &ada);
        async move { sign_in(&client, ada, &ada.password, code.as_deref()).await }
    };
    attempt(None).await.problem(401, "second_factor_required");
    // The one that enabled it was taken already.
    let used = attempt(Some(code)).await.problem(403, "invalid_code");
    assert_eq!(used.text("/errors/0/pointer"), "/one_time_code");
    let wrong_password = sign_in(&app.client(), &ada, "wrong password", None).await;
    wrong_password.problem(401, "invalid_credentials");
    let next = authenticator(&secret, 1);
    attempt(Some(next.clone())).await.expect(201);
    attempt(Some(next)).await.problem(403, "invalid_code");
    // Nobody learns of a code without the password.
    let client = app.client();
    let wrong_password = sign_in(&client, &ada, "wrong password", Some("000000")).await;
    wrong_password.problem(401, "invalid_credentials");
    let one = recovery[0].as_str().unwrap().to_lowercase();
    attempt(Some(one.clone())).await.expect(201);
    attempt(Some(one)).await.problem(403, "invalid_code");
    let state = ada.client.get(path).await.expect(200);
    assert_eq!(
        state.body,
        json!({"enabled": true, "recovery_codes_left": 9})
    );

    let remove = |code: &Value| {
        let body = json!({"current_password": ada.password, "one_time_code": code});
        let path = "/v1/accounts/me/second-factor/removal";
        ada.client.post(path, body)
    };
    remove(&json!("000000")).await.problem(403, "invalid_code");
    remove(&recovery[1]).await.expect(204);
    attempt(None).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_sent_again_is_asked_for_a_second_factor() {
    let app = App::start().await;
    let (email, password) = (secrets::email("again"), secrets::password("again"));
    let body = json!({"handle": "again", "email": email, "password": password});
    let register = || {
        let (client, body) = (app.client(), body.clone());
        let key = [("Idempotency-Key", "register-it-again")];
        async move {
            client
                .send(Method::POST, "/v1/accounts", Some(body), &key)
                .await
        }
    };
    let token = register().await.expect(201).text("/session/access_token");
    app.settle().await;
    let ada = app.client().with_token(token);
    let code = json!({"one_time_code": app.mailed_code(&email).await});
    let verified = put(&ada, "/v1/accounts/me/email/verification", code);
    verified.await.expect(204);
    let path = "/v1/accounts/me/second-factor";
    let added = ada.post(path, json!({"current_password": password})).await;
    let code = authenticator(&added.expect(200).text("/secret"), 0);
    let enabled = put(&ada, path, json!({"one_time_code": code})).await;
    enabled.expect(200);
    register().await.problem(401, "second_factor_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_are_guessed_are_counted_by_address() {
    let mut limits = api::LimitSettings::NONE;
    limits.codes = Budget {
        points: 3,
        window: Duration::from_secs(3_600),
    };
    let app = App::limited(Servers::shared().await, limits).await;
    let stranger = app.client();
    let ask = || {
        stranger.post(
            "/v1/password-resets",
            json!({"email": secrets::email("nobody")}),
        )
    };
    for _ in 0..3 {
        ask().await.expect(204);
    }
    let refused = ask().await.problem(429, "too_many_requests");
    assert_ne!(refused.header("retry-after"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_does_what_its_token_says_until_it_is_revoked() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let api = Running::serve(&servers, folder.path()).await;
    let environment = process::environment(&servers);
    let run = async |arguments: &[&str]| {
        let output = process::run(arguments, &environment, folder.path()).await;
        assert_eq!(output.status, 0, "{}", output.err);
        output.out
    };
    let arguments = [
        "service-tokens",
        "make",
        "board",
        "--scope",
        "operations:read",
    ];
    let made = run(&arguments).await;
    let token = made.trim().to_owned();
    let service = Client::new(api.api.clone()).with_token(token.clone());
    let path = "/v1/operations/projections";
    service.get(path).await.expect(200);
    // It acts for nobody.
    for path in ["/v1/accounts/me", "/v1/timelines/local"] {
        service.get(path).await.problem(401, "invalid_token");
    }
    let listed = run(&["service-tokens", "list"]).await;
    assert!(!listed.contains(&token[8..]), "{listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["name"], "board");
    assert_eq!(listed["scopes"], json!(["operations:read"]));
    run(&["service-tokens", "revoke", listed["id"].as_str().unwrap()]).await;
    service.get(path).await.problem(401, "invalid_token");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let forged = Client::new(api.api.clone()).with_token(forged);
    forged.get(path).await.problem(401, "invalid_token");

    let member = Client::new(api.api.clone()).register("ada").await;
    member.client.get(path).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_only_where_it_is_for() {
    let servers = Servers::shared().await;
    let folder = tempdir().unwrap();
    let here = Running::serve(&servers, folder.path()).await;
    // The same key, the same issuer.
    let mut environment = process::environment(&servers);
    environment.push(("TOKEN_AUDIENCE", "another-api".into()));
    let there = Running::start(&["serve"], &environment, folder.path(), "documentation").await;
    let ada = Client::new(here.api.clone()).register("ada").await;
    ada.client.get("/v1/sessions").await.expect(200);
    let (here, there) = (
        Client::new(here.api.clone()),
        Client::new(there.api.clone()),
    );
    let signed_in = sign_in(&there, &ada, &ada.password, None).await;
    let foreign = signed_in.expect(201).text("/access_token");
    let own = sign_in(&here, &ada, &ada.password, None).await;
    let own = own.expect(201).text("/access_token");
    for (client, token, counts) in [
        (&here, &own, true),
        (&there, &foreign, true),
        (&here, &foreign, false),
        (&there, &own, false),
    ] {
        let answer = client
            .clone()
            .with_token(token.clone())
            .get("/v1/sessions")
            .await;
        match counts {
            true => answer.expect(200),
            false => answer.problem(401, "invalid_token"),
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_scope_is_refused() {
    let app = App::start().await;
    let made = vault(&app)
        .make_service_token("none", &[], 1, "a test")
        .await;
    let (_, token) = made.unwrap();
    let service = app.client().with_token(token.reveal());
    let refused = service.get("/v1/operations/projections").await;
    refused.problem(403, "forbidden");
    assert_eq!(Scope::ALL.len(), 1, "each scope is tried with and without");
}
