//! VAULT_SECRET: what the database keeps of keys opens with it alone, and it changes
//! without anybody noticing.

use reqwest::Method;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use tempfile::tempdir;
use testkit::{App, secrets};

use crate::{
    examination::{all_is_as_the_log_says, target},
    identity::authenticator,
    process::{Output, Running, environment, run},
};

const TEXT: &str = "said before the secret changed";
const NEXT: &str = "the vault secret of tests that comes after it";

/// The settings with another VAULT_SECRET, and those that count beside it.
fn with(app: &App, secret: &str, before: &str) -> Vec<(&'static str, String)> {
    let mut settings = environment(&app.servers);
    settings.retain(|(name, _)| *name != "VAULT_SECRET");
    settings.push(("VAULT_SECRET", secret.into()));
    settings.push(("VAULT_SECRETS_ACCEPTED", before.into()));
    settings
}

async fn headwater(arguments: &[&str], settings: &[(&str, String)]) -> Output {
    let folder = tempdir().unwrap();
    run(arguments, settings, folder.path()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_changes_and_the_one_before_it_counts_no_more() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    ada.publish(TEXT).await;
    app.verify_email(&ada).await;
    let (path, password) = ("/v1/accounts/me/second-factor", ada.password.as_str());
    let added = json!({"current_password": password});
    let added = ada.client.post(path, added).await.expect(200);
    let secret = added.text("/secret");
    let code = json!({"one_time_code": authenticator(&secret, 0)});
    let enabled = ada.client.send(Method::PUT, path, Some(code), &[]).await;
    enabled.expect(200);
    app.settle().await;

    // No key is there as it is.
    let rows = app.database.query_all_raw(Statement::from_string(
        app.database.get_database_backend(),
        "SELECT key AS wrapped FROM vault.account_keys
         UNION ALL SELECT secret FROM vault.second_factors",
    ));
    for row in rows.await.unwrap() {
        let wrapped: Vec<u8> = row.try_get("", "wrapped").unwrap();
        assert!(wrapped.len() > 60 && wrapped[0] == 1, "{wrapped:?}");
    }

    // Without the secret nothing begins, and it is said why.
    let wrong = with(&app, NEXT, "");
    for command in [&["serve"][..], &["work"], &["doctor"], &["vault", "wrap"]] {
        let told = headwater(command, &wrong).await;
        assert_ne!(told.status, 0, "{command:?}");
        let told = format!("{}{}", told.out, told.err);
        assert!(told.contains("VAULT_SECRET"), "{command:?}: {told}");
    }

    let both = with(&app, NEXT, secrets::VAULT_SECRET);
    let doctor = headwater(&["doctor"], &both).await;
    assert!(
        doctor.out.contains("headwater vault wrap"),
        "{}",
        doctor.out
    );
    let wrapped = headwater(&["vault", "wrap"], &both).await;
    assert_eq!(wrapped.status, 0, "{}", wrapped.err);
    assert!(wrapped.err.contains("2 of 2"), "{}", wrapped.err);

    // With the new secret alone all is as it was; with the old one, nothing.
    let tail = ["tail", "-o", "start", "-e", "--personal"];
    let read = headwater(&tail, &wrong).await;
    assert!(read.out.contains(TEXT), "{}", read.err);
    let old = with(&app, secrets::VAULT_SECRET, "");
    let read = headwater(&tail, &old).await;
    assert!(read.status != 0 && !read.out.contains(TEXT), "{}", read.out);
    let folder = tempdir().unwrap();
    let serve = Running::start(&["serve"], &wrong, folder.path(), "documentation").await;
    app.settle().await;
    let mut examined = target(&app.servers, serve.api.clone());
    examined.vault_secrets = vec![NEXT.into()];
    all_is_as_the_log_says(examined).await;
    let sign_in = json!({
        "login": ada.email,
        "password": password,
        "one_time_code": authenticator(&secret, 1),
    });
    let client = testkit::Client::new(serve.api.clone());
    client.post("/v1/sessions", sign_in).await.expect(201);
    serve.stop().await;

    // One that is damaged keeps nobody else from theirs.
    let damage = "UPDATE vault.account_keys SET key = sha256('other')";
    app.database.execute_unprepared(damage).await.unwrap();
    let serve = Running::start(&["serve"], &wrong, folder.path(), "documentation").await;
    serve.stop().await;
}
