//! Personal fields stand readable in no file of Redis, and what one signs in
//! with in no file at all.

use std::path::Path;

use devservices::{Programs, Stack};
use serde_json::json;
use testkit::{App, Servers};

const NAME: &str = "Marked Display Name";
const BIO: &str = "markedbiomarkedbio";
const TEXT: &str = "markedposttext";
const TAG: &str = "markedhashtag";
const METADATA: &str = "markedmetadata";
const EMAIL: &str = "marked@mail.example";
const PASSWORD: &str = "markedpassword";

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
fn search(folder: &Path, marks: &[&str]) -> usize {
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read += search(&path, marks);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        for mark in marks {
            let found = memchr::memmem::find(&bytes, mark.as_bytes());
            assert_eq!(found, None, "{mark} stands in {}", path.display());
        }
        read += bytes.len();
    }
    read
}
