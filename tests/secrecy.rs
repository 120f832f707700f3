//! Personal fields stand readable in no file of Redis, and what one signs in
//! with in no file at all, no log line, no metric and no problem. Each story sees
//! to the latter where it ends (`testkit::Watch`); these go where no other does.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use devservices::{Programs, Stack};
use reqwest::Method;
use serde_json::json;
use tempfile::tempdir;
use testkit::{Answer, App, Client, Servers, secrets, until};

use crate::process::{Running, environment, run};

const NAME: &str = "Marked Display Name";
const BIO: &str = "markedbiomarkedbio";
const TEXT: &str = "markedposttext";
const TAG: &str = "markedhashtag";
const METADATA: &str = "markedmetadata";
const EMAIL: &str = "canary@marked-mail.example";
const PASSWORD: &str = "markedpassphrase of the canary";

#[tokio::test(flavor = "multi_thread")]
async fn no_name_bio_or_text_stands_readable_in_the_files_of_redis() {
    let programs = Programs::find().unwrap();
    let mut stack = Stack::throwaway(&programs).await.unwrap();
    let app = App::on(Servers::on(stack.urls()).await).await;
    let body = json!({
        "handle": "canary", "email": EMAIL, "password": PASSWORD, "display_name": NAME,
    });
    let registered = app.client().post("/v1/accounts", body).await.expect(201);
    let first = registered.text("/session/refresh_token");
    let refresh = json!({ "refresh_token": first });
    let path = "/v1/sessions/refresh";
    let refreshed = app.client().post(path, refresh).await.expect(200);
    let (second, token) = (
        refreshed.text("/refresh_token"),
        refreshed.text("/access_token"),
    );
    let client = app.client().with_token(token.clone());
    client
        .patch("/v1/accounts/me", json!({"bio": BIO}))
        .await
        .expect(200);
    let text = format!("{TEXT} #{TAG}");
    let body = json!({"text": text, "metadata": {"note": METADATA}});
    let post = client.post("/v1/posts", body).await.expect(201).text("/id");
    let path = format!("/v1/posts/{post}");
    client
        .patch(&path, json!({"text": format!("{text} edited")}))
        .await
        .expect(200);
    app.settle().await;
    client.get("/v1/timelines/home").await.expect(200);
    let shown = client.get(&path).await.expect(200);
    assert!(shown.text("/text").contains(TEXT), "people do read it");

    let secrets = [PASSWORD, &first, &second, &token];
    let personal = [NAME, BIO, TEXT, TAG, METADATA, EMAIL];
    let marks = [secrets.as_slice(), &personal].concat();
    let mut read = 0;
    for server in [
        stack.log().options().directory.clone(),
        stack.views().options().directory.clone(),
    ] {
        read += search(&server, &marks);
    }
    assert!(read > 1_000, "the log's files were read: {read} bytes");
    let database = stack.postgres().directory().to_owned();
    let read = search(&database, &secrets);
    assert!(read > 1_000_000, "the database was read: {read} bytes");
}

/// Fails where a file below `folder` holds one of the marks; returns how many
/// bytes were looked at.
fn search<M: AsRef<[u8]>>(folder: &Path, marks: &[M]) -> usize {
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read += search(&path, marks);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        for mark in marks {
            let mark = mark.as_ref();
            let found = memchr::memmem::find(&bytes, mark);
            let mark = String::from_utf8_lossy(mark);
            assert_eq!(found, None, "{mark} stands in {}", path.display());
        }
        read += bytes.len();
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_one_signs_in_with_is_in_logs_metrics_problems_or_the_archive() {
    let programs = Programs::find().unwrap();
    let mut stack = Stack::throwaway(&programs).await.unwrap();
    let servers = Servers::on(stack.urls()).await;
    let folder = tempdir().unwrap();
    let place = |name: &str| format!("file://{}", folder.path().join(name).display());
    let mut settings = environment(&servers);
    settings.extend([
        ("METRICS_ADDRESS", "127.0.0.1:0".to_owned()),
        ("ARCHIVE_URL", place("archive")),
        ("MAIL_URL", place("mail")),
        ("LIMIT_SIGN_IN", "off".to_owned()),
        ("LIMIT_CODES", "off".to_owned()),
    ]);
    let serve = Running::start(&["serve"], &settings, folder.path(), "documentation").await;
    let work = Running::start(&["work"], &settings, folder.path(), "works on").await;
    let client = Client::new(serve.api.clone());

    // The client itself sees to it that no refusal repeats a secret.
    let refused = |answer: Answer| {
        assert!(answer.status.is_client_error(), "{answer:?}");
    };
    let body = json!({
        "handle": "canary", "email": EMAIL, "password": PASSWORD, "display_name": NAME,
    });
    let registered = client.post("/v1/accounts", body.clone()).await.expect(201);
    let access = registered.text("/session/access_token");
    let refresh = registered.text("/session/refresh_token");
    let me = client.clone().with_token(access.clone());
    // Refusals of all kinds, with secrets where they belong and where not.
    refused(client.post("/v1/accounts", body).await);
    let bodies = [
        json!({"login": EMAIL, "password": format!("{PASSWORD}!")}),
        json!({"login": PASSWORD, "password": EMAIL}),
        json!({"login": EMAIL, "password": {"is": PASSWORD}}),
        json!({"login": EMAIL, "password": PASSWORD, "passwort": PASSWORD}),
        json!([EMAIL, PASSWORD]),
    ];
    for body in bodies {
        refused(client.post("/v1/sessions", body).await);
    }
    let broken = format!("{{\"login\": \"{EMAIL}\", \"password\": \"{PASSWORD}\"");
    let path = "/v1/sessions";
    let broken = Some(broken.into_bytes());
    refused(client.send_bytes(Method::POST, path, broken, &[]).await);
    refused(client.get(&format!("/v1/accounts?ids={access}")).await);
    refused(
        client
            .get(&format!("/v1/posts/{refresh}?token={access}"))
            .await,
    );
    let forged = client.clone().with_token(format!("{access}x"));
    refused(forged.get("/v1/accounts/me").await);
    let wrong = json!({"current_password": format!("{PASSWORD}?"), "new_password": PASSWORD});
    let path = "/v1/accounts/me/password";
    refused(me.send(Method::PUT, path, Some(wrong), &[]).await);

    let session = json!({"login": EMAIL, "password": PASSWORD});
    client.post("/v1/sessions", session).await.expect(201);
    let used = json!({"refresh_token": refresh});
    let next = client.post("/v1/sessions/refresh", used).await.expect(200);
    let next = next.text("/refresh_token");
    let factor = json!({"current_password": PASSWORD});
    let factor = me.post("/v1/accounts/me/second-factor", factor).await;
    factor.expect(200);
    let forgotten = json!({"email": EMAIL});
    client
        .post("/v1/password-resets", forgotten)
        .await
        .expect(204);
    me.post("/v1/posts", json!({"text": TEXT}))
        .await
        .expect(201);
    let arguments = [
        "service-tokens",
        "make",
        "board",
        "--scope",
        "operations:read",
    ];
    let made = run(&arguments, &settings, folder.path()).await;
    let service = made.out.trim().to_owned();
    let operator = client.clone().with_token(service.clone());
    operator.get("/v1/operations/projections").await.expect(200);
    let mail = folder.path().join("mail");
    let letters = || async { std::fs::read_dir(&mail).map_or(0, Iterator::count) >= 2 };
    until("both codes are sent", 10, letters).await;
    for letter in std::fs::read_dir(&mail).unwrap() {
        let letter = std::fs::read_to_string(letter.unwrap().path()).unwrap();
        let (_, text) = letter.split_once("\r\n\r\n").unwrap();
        secrets::remember(text.lines().next().unwrap());
    }
    let archived = run(&["log", "archive"], &settings, folder.path()).await;
    assert_eq!(archived.status, 0, "{}", archived.err);
    let measured = reqwest::get(&serve.metrics).await.unwrap();
    let measured = measured.text().await.unwrap();
    assert!(measured.contains("headwater_"), "{measured}");
    secrets::heard("metrics", measured.as_bytes());
    let said = serve.said() + &work.said();
    assert!(
        said.contains("/v1/accounts/me/second-factor"),
        "requests are logged"
    );
    for personal in [NAME, TEXT] {
        assert!(!said.contains(personal), "{personal} is logged");
    }
    drop((serve, work));

    let marks = [EMAIL, PASSWORD, &access, &refresh, &next, &service];
    for server in [
        stack.log().options().directory.clone(),
        stack.views().options().directory.clone(),
    ] {
        search(&server, &[marks.as_slice(), &[NAME, TEXT]].concat());
    }
    // Nor as bytes: what a token is made of behind its session.
    let raw = |token: &str| URL_SAFE_NO_PAD.decode(token).unwrap()[16..].to_vec();
    let raw = [raw(&refresh), raw(&next), raw(&service[4..])];
    for folder in [
        stack.log().options().directory.clone(),
        stack.views().options().directory.clone(),
        stack.postgres().directory().to_owned(),
    ] {
        search(&folder, &raw);
    }
}
