//! What operators do to those who sign in: end their sessions, suspend accounts and
//! restore them.

use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use testkit::{Answer, App, secrets, until};
use time::format_description::well_known::Rfc3339;

use crate::{
    process::{environment, run},
    sessions::{FINAL_SECONDS, client, refresh, sign_in},
};

#[tokio::test(flavor = "multi_thread")]
async fn operators_sign_accounts_out_on_every_process() {
    let app = App::start().await;
    let other = App::on(app.servers.clone()).await;
    let (ada, bob, eve) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
        app.client().register("eve").await,
    );
    let vault = app.vault();
    let operator = kernel::AccountId(eve.id.parse().unwrap());
    let granted = vault.grant(operator, vault::Role::Operator, "a test").await;
    assert!(granted.unwrap());
    let everywhere_out = async |sessions: &[&Answer]| {
        for session in sessions {
            for app in [&app, &other] {
                let client = client(app, session);
                until("every process knows", FINAL_SECONDS, || async {
                    let answer = client.get("/v1/sessions").await;
                    answer.status == 401 && answer.body["code"] == "session_ended"
                })
                .await;
            }
            refresh(&other, &session.text("/refresh_token"))
                .await
                .problem(401, "session_ended");
        }
    };

    // Over the API: at once where it was asked.
    let (one, two) = (
        sign_in(&app, &ada, "one").await,
        sign_in(&other, &ada, "two").await,
    );
    let path = format!("/v1/operations/accounts/{}/sessions", ada.id);
    eve.client.delete(&path).await.expect(204);
    let ended = client(&app, &one).get("/v1/sessions").await;
    ended.problem(401, "session_ended");
    everywhere_out(&[&one, &two]).await;
    let nobody = format!(
        "/v1/operations/accounts/{}/sessions",
        crate::accounts::uuid()
    );
    eve.client.delete(&nobody).await.problem(404, "not_found");

    // From the command line.
    let again = sign_in(&app, &ada, "again").await;
    let (settings, folder) = (environment(&app.servers), tempfile::tempdir().unwrap());
    let arguments = [
        "accounts",
        "sign-out",
        &ada.handle,
        "--reason",
        "a stolen telephone",
    ];
    let done = run(&arguments, &settings, folder.path()).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(
        done.err.contains("signed out of 1 sessions"),
        "{}",
        done.err
    );
    everywhere_out(&[&again]).await;

    // Nobody else is, and the owner may come back.
    bob.client.get("/v1/sessions").await.expect(200);
    let back = sign_in(&app, &ada, "back").await;
    client(&other, &back).get("/v1/sessions").await.expect(200);
    // Who did it, and to whom, stands in the log.
    let arguments = ["tail", "-o", "start", "-e", "-t", "OperatorActed"];
    let told = run(&arguments, &settings, folder.path()).await.out;
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for event in &told {
        assert_eq!(event["data"]["action"], "accounts sign-out");
        assert_eq!(event["data"]["target"], ada.id);
    }
    assert_eq!(told[0]["data"]["operator"], eve.id);
    assert_eq!(told[1]["data"]["reason"], "a stolen telephone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_to_a_suspended_account_until_it_is_restored() {
    let app = App::start().await;
    let other = App::on(app.servers.clone()).await;
    let ada = app.client().register("ada").await;
    let bob = app.client().register("bob").await;
    app.mailed_code(&ada.email).await;
    let session = sign_in(&app, &ada, "one").await;
    // A code for another password, drawn before, and a tool's token.
    let forgotten = json!({"email": ada.email});
    let stranger = app.client();
    let asked = stranger.post("/v1/password-resets", forgotten.clone());
    asked.await.expect(204);
    let code = app.mailed_code(&ada.email).await;
    let (settings, folder) = (environment(&app.servers), tempfile::tempdir().unwrap());
    let headwater = async |arguments: &[&str]| run(arguments, &settings, folder.path()).await;
    let tool = headwater(&["token", &ada.handle]).await;
    let tool = other.client().with_token(tool.out.trim().to_owned());
    tool.get("/v1/sessions").await.expect(200);
    let attempt = async |password: &str| {
        let body = json!({"login": ada.handle, "password": password});
        app.client().post("/v1/sessions", body).await
    };
    let without_id = |answer: Answer| {
        let mut body = answer.problem(401, "invalid_credentials").body;
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    let wrong_before = without_id(attempt("a wrong one").await);

    let reason = "sends advertisements";
    let done = headwater(&["accounts", "suspend", &ada.handle, "--reason", reason]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    // Registering was a session too, and the tool has one.
    assert!(
        done.err.contains("signed out of 3 sessions"),
        "{}",
        done.err
    );
    let devices = [client(&app, &session), client(&other, &session), tool];
    for device in &devices {
        until("every process knows", FINAL_SECONDS, || async {
            let answer = device.get("/v1/sessions").await;
            answer.status == 401 && answer.body["code"] == "session_ended"
        })
        .await;
    }
    refresh(&other, &session.text("/refresh_token"))
        .await
        .problem(401, "session_ended");
    attempt(&ada.password)
        .await
        .problem(403, "account_suspended");
    // Whoever does not know the password learns nothing.
    assert_eq!(without_id(attempt("a wrong one").await), wrong_before);
    let new = secrets::password("another one");
    let reset = json!({"email": ada.email, "one_time_code": code, "new_password": new});
    let reset = stranger.post("/v1/password-resets/completion", reset);
    reset.await.problem(403, "invalid_code");
    let asked = stranger.post("/v1/password-resets", forgotten);
    asked.await.expect(204);
    let token = headwater(&["token", &ada.handle]).await;
    assert_eq!(token.status, 1);
    assert!(token.err.contains(reason), "{}", token.err);
    let again = headwater(&["accounts", "suspend", &ada.handle, "--reason", "again"]).await;
    assert!(again.err.contains("already"), "{}", again.err);
    bob.client.get("/v1/sessions").await.expect(200);

    let done = headwater(&["accounts", "restore", &ada.handle]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    let back = sign_in(&app, &ada, "back").await;
    client(&app, &back).get("/v1/sessions").await.expect(200);
    // What was ended stays so.
    refresh(&app, &session.text("/refresh_token"))
        .await
        .problem(401, "session_ended");
    for device in &devices {
        let old = device.get("/v1/sessions").await;
        old.problem(401, "session_ended");
    }
    let told = headwater(&["tail", "-o", "start", "-e", "-t", "OperatorActed"]).await;
    let told: Vec<Value> = told
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let actions: Vec<_> = told.iter().map(|event| &event["data"]["action"]).collect();
    assert_eq!(
        actions,
        [
            "token",
            "accounts suspend",
            // What was refused was wanted.
            "token",
            "accounts suspend",
            "accounts restore"
        ]
    );
    assert_eq!(told[1]["data"]["target"], ada.id);
    assert_eq!(told[1]["data"]["reason"], reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tools_session_stands_among_the_others_and_ends_with_them() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let (settings, folder) = (environment(&app.servers), tempfile::tempdir().unwrap());
    let tool = async || {
        let made = run(&["token", &ada.handle], &settings, folder.path()).await;
        assert_eq!(made.status, 0, "{}", made.err);
        app.client().with_token(made.out.trim().to_owned())
    };
    let own = sign_in(&app, &ada, "own").await;
    let listed = async || {
        let told = client(&app, &own).get("/v1/sessions").await.expect(200);
        let sessions = told.body["items"].as_array().unwrap().clone();
        let of_tools = |session: &Value| session["device"] == "headwater token";
        sessions.into_iter().filter(of_tools).collect::<Vec<_>>()
    };
    // Any number of tokens are one session, which lives as long as the last one.
    let first = tool().await;
    let alone = listed().await;
    let second = tool().await;
    let before = listed().await;
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(alone[0]["id"], before[0]["id"]);
    let expires = |session: &Value| {
        let text = session["expires_at"].as_str().unwrap().to_owned();
        time::OffsetDateTime::parse(&text, &Rfc3339).unwrap()
    };
    assert!(expires(&alone[0]) < expires(&before[0]));
    let left = expires(&before[0]) - time::OffsetDateTime::now_utc();
    let wanted = time::Duration::minutes(15)..time::Duration::minutes(17);
    assert!(wanted.contains(&left), "{left}");
    for tool in [&first, &second] {
        tool.get("/v1/sessions").await.expect(200);
    }
    client(&app, &own).delete("/v1/sessions").await.expect(204);
    for tool in [&first, &second] {
        let told = tool.get("/v1/sessions").await;
        told.problem(401, "session_ended");
    }
    assert!(listed().await.is_empty());

    // The next one is another session, and a new password ends it.
    let third = tool().await;
    let after = listed().await;
    assert_ne!(before[0]["id"], after[0]["id"]);
    let new = secrets::password("another one");
    let body = json!({"current_password": ada.password, "new_password": new});
    let path = "/v1/accounts/me/password";
    let own = client(&app, &own);
    let changed = own.send(Method::PUT, path, Some(body), &[]).await;
    changed.expect(204);
    let told = third.get("/v1/sessions").await;
    told.problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_acts_as_an_account_that_has_nothing_to_sign_in_with() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let forget = "DELETE FROM vault.credentials";
    app.database.execute_unprepared(forget).await.unwrap();
    let (settings, folder) = (environment(&app.servers), tempfile::tempdir().unwrap());
    let headwater = async |arguments: &[&str]| run(arguments, &settings, folder.path()).await;
    let made = headwater(&["token", &ada.handle]).await;
    assert_eq!(made.status, 0, "{}", made.err);
    let tool = app.client().with_token(made.out.trim().to_owned());
    tool.get("/v1/sessions").await.expect(200);
    let reason = ["--reason", "a test"];
    let suspended = headwater(&["accounts", "suspend", &ada.handle, reason[0], reason[1]]).await;
    assert_eq!(suspended.status, 0, "{}", suspended.err);
    until("every process knows", FINAL_SECONDS, || async {
        tool.get("/v1/sessions").await.status == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_while_its_account_is_barred_does_not() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let account = kernel::AccountId(ada.id.parse().unwrap());
    let (vault, device) = (app.vault(), vault::Device::default());
    // The password was right a moment ago.
    let begin = || vault.begin_session(account, &device, None, false);
    let lifetime = time::Duration::MINUTE;
    let begin_tool = || vault.begin_tool_session(account, &device, lifetime);
    let bar = vault.bar(account, "a test");
    let (barred, racing, tool) = tokio::join!(bar, begin(), begin_tool());
    racing.unwrap();
    tool.unwrap();
    assert!(barred.unwrap().is_some());
    assert!(begin().await.unwrap().is_none());
    assert!(begin_tool().await.unwrap().is_none());
    assert!(vault.sessions(account).await.unwrap().is_empty());
    assert!(vault.unbar(account).await.unwrap());
    assert!(!vault.unbar(account).await.unwrap());
    assert!(begin().await.unwrap().is_some());
}
