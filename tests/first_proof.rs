//! Whoever registers with an address that is not theirs: what they set up is gone when its
//! owner shows that it is theirs, and keeps nobody out.

use std::collections::BTreeSet;

use reqwest::Method;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;
use testkit::{App, Client, Person, secrets};
use vault::{FIRST_PROOF, Fate};

use crate::identity::authenticator;

async fn texts(app: &App, sql: &str) -> BTreeSet<String> {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let rows = app.database.query_all_raw(statement).await.unwrap();
    let texts = rows.iter().map(|row| row.try_get("", "text").unwrap());
    texts.collect()
}

/// What the account has in a table of the vault.
async fn rows(app: &App, table: &str, account: &str) -> BTreeSet<String> {
    let sql = format!(
        "SELECT to_jsonb(t)::text AS text FROM vault.{table} t WHERE account_id = '{account}'"
    );
    texts(app, &sql).await
}

/// Somebody with something in each table: what no request of theirs can set, as if it could.
async fn somebody(app: &App) -> Person {
    let mallory = app.client().register("mallory").await;
    let id = &mallory.id;
    let sql = format!(
        "INSERT INTO vault.second_factors VALUES ('{id}', '\\x01', now(), 0);
         INSERT INTO vault.recovery_codes VALUES ('{id}', '\\x01'), ('{id}', '\\x02');
         INSERT INTO vault.roles VALUES ('{id}', 'moderator', 'a test', now());"
    );
    app.database.execute_unprepared(&sql).await.unwrap();
    mallory
}

async fn reset(app: &App, email: &str, new: &str) {
    let client = app.client();
    let asked = client.post("/v1/password-resets", json!({"email": email}));
    asked.await.expect(204);
    let code = app.mailed_code(email).await;
    let body = json!({"email": email, "one_time_code": code, "new_password": new});
    let path = "/v1/password-resets/completion";
    client.post(path, body).await.expect(200);
}

async fn sign_in(client: &Client, email: &str, password: &str) -> testkit::Answer {
    let body = json!({"login": email, "password": password});
    client.post("/v1/sessions", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_the_vault_says_what_a_first_proof_does_to_it() {
    let app = App::start().await;
    let tables = "SELECT table_name::text AS text FROM information_schema.tables
                  WHERE table_schema = 'vault'";
    let listed: BTreeSet<_> = FIRST_PROOF.map(|(table, _)| table.to_owned()).into();
    assert_eq!(texts(&app, tables).await, listed);
    let of_accounts = "SELECT table_name::text AS text FROM information_schema.columns
                       WHERE table_schema = 'vault' AND column_name = 'account_id'";
    let of_accounts = texts(&app, of_accounts).await;
    for (table, fate) in FIRST_PROOF {
        assert_eq!(
            of_accounts.contains(table),
            fate != Fate::OfNoAccount,
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_is_the_first_proof_wipes_what_was_set_before_it() {
    let app = App::start().await;
    let mallory = somebody(&app).await;
    app.mailed_code(&mallory.email).await;
    let mut before = Vec::new();
    for (table, fate) in FIRST_PROOF {
        if fate != Fate::OfNoAccount {
            let rows = rows(&app, table, &mallory.id).await;
            assert!(!rows.is_empty(), "something stands in {table}");
            before.push((table, fate, rows));
        }
    }
    let new = secrets::password("the owner");
    reset(&app, &mallory.email, &new).await;
    for (table, fate, before) in before {
        let after = rows(&app, table, &mallory.id).await;
        match fate {
            Fate::Kept => assert_eq!(after, before, "{table}"),
            Fate::Deleted(_) | Fate::Ended | Fate::Replaced => {
                assert!(after.is_disjoint(&before), "{table}: {after:?}");
            }
            Fate::OfNoAccount => {}
        }
    }
    let id = &mallory.id;
    let left = format!(
        "SELECT id::text AS text FROM vault.sessions WHERE account_id = '{id}' AND ended_at IS NULL
         UNION ALL SELECT purpose FROM vault.codes WHERE account_id = '{id}'
         UNION ALL SELECT 'a second factor' FROM vault.second_factors WHERE account_id = '{id}'
         UNION ALL SELECT 'a code' FROM vault.recovery_codes WHERE account_id = '{id}'"
    );
    assert_eq!(texts(&app, &left).await, BTreeSet::new());
    let ended = mallory.client.get("/v1/accounts/me").await;
    ended.problem(401, "session_ended");
    // The owner is in, and nothing asks for what they do not have.
    sign_in(&app.client(), &mallory.email, &new)
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_by_who_is_signed_in_ends_pending_codes_alone() {
    let app = App::start().await;
    let ada = somebody(&app).await;
    let mut before = Vec::new();
    for (table, fate) in FIRST_PROOF {
        if fate != Fate::OfNoAccount && !["codes", "credentials"].contains(&table) {
            before.push((table, rows(&app, table, &ada.id).await));
        }
    }
    let code = app.mailed_code(&ada.email).await;
    let ask = json!({"email": ada.email});
    let asked = app.client().post("/v1/password-resets", ask).await;
    asked.expect(204);
    app.mailed_code(&ada.email).await;
    assert_eq!(rows(&app, "codes", &ada.id).await.len(), 2);
    let path = "/v1/accounts/me/email/verification";
    let body = json!({"one_time_code": code});
    let verified = ada.client.send(Method::PUT, path, Some(body), &[]).await;
    verified.expect(204);
    assert_eq!(rows(&app, "codes", &ada.id).await, BTreeSet::new());
    for (table, before) in before {
        assert_eq!(rows(&app, table, &ada.id).await, before, "{table}");
    }
    // No first proof any more: the second factor is asked for after a reset.
    let new = secrets::password("another one");
    reset(&app, &ada.email, &new).await;
    let asked = sign_in(&app.client(), &ada.email, &new).await;
    asked.problem(401, "second_factor_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_wants_a_verified_address() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    let path = "/v1/accounts/me/second-factor";
    let current = json!({"current_password": ada.password});
    let added = ada.client.post(path, current).await.expect(200);
    let enable = async || {
        let code = authenticator(&added.text("/secret"), 0);
        let body = json!({"one_time_code": code});
        ada.client.send(Method::PUT, path, Some(body), &[]).await
    };
    enable().await.problem(403, "email_unverified");
    app.verify_email(&ada).await;
    enable().await.expect(200);
}
