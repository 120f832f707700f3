//! Bad input gets a clear problem and changes nothing.

use edge::positions::SealedPositions;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{
    Answer, App, Client, Person,
    secrets::{self, TOKEN_SECRET},
};

struct World {
    app: App,
    ada: Person,
    bob: Person,
    post: String,
}

impl World {
    async fn start() -> Self {
        let app = App::start().await;
        let (ada, bob) = (
            app.client().register("ada").await,
            app.client().register("bob").await,
        );
        let post = bob.publish("bob's").await;
        app.settle().await;
        Self {
            app,
            ada,
            bob,
            post,
        }
    }

    /// How many events there are.
    async fn events(&self) -> u64 {
        let heads = self.app.log.heads().await.unwrap();
        heads.iter().map(|head| head.seq).sum()
    }
}

/// What the schema cannot say is told as well: all of it at once.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_is_wrong_is_named() {
    let world = World::start().await;
    let before = world.events().await;
    let (ada, nobody) = (&world.ada.client, world.app.client());
    let edited = format!("/v1/posts/{}", world.post);
    for (client, method, path, body, pointers) in [
        (
            &nobody,
            Method::POST,
            "/v1/accounts",
            json!({
                "handle": "a b", "email": "nope", "password": "password",
                "display_name": "x\u{7}",
            }),
            vec!["/handle", "/email", "/password", "/display_name"],
        ),
        // What the schema says and what it does not, at once.
        (
            &nobody,
            Method::POST,
            "/v1/accounts",
            json!({"handle": "a!", "email": "nope", "password": "1"}),
            vec!["/password", "/email", "/handle"],
        ),
        (
            ada,
            Method::POST,
            "/v1/posts",
            json!({"text": "  ", "language": 7, "visibility": "nobody", "extra": 1}),
            vec!["/extra", "/language", "/visibility", "/text"],
        ),
        (
            &nobody,
            Method::POST,
            "/v1/password-resets/completion",
            json!({"email": "nope", "one_time_code": "1", "new_password": "password"}),
            vec!["/one_time_code", "/email", "/new_password"],
        ),
        (
            ada,
            Method::PATCH,
            "/v1/accounts/me",
            json!({"display_name": "x\u{7}", "bio": "\u{202e}"}),
            vec!["/display_name", "/bio"],
        ),
        (
            ada,
            Method::POST,
            "/v1/posts",
            json!({"text": "  ", "language": "english!", "metadata": {"a": "x".repeat(5_000)}}),
            vec!["/text", "/language", "/metadata"],
        ),
        (
            ada,
            Method::PATCH,
            &edited,
            json!({"text": "  ", "language": "english!"}),
            vec!["/text", "/language"],
        ),
        (
            &nobody,
            Method::POST,
            "/v1/password-resets/completion",
            json!({"email": "nope", "one_time_code": "00000-00000", "new_password": "password"}),
            vec!["/email", "/new_password"],
        ),
    ] {
        let any = [("If-Match", "*")];
        let refused = client.send(method, path, Some(body), &any).await;
        let refused = refused.problem(422, "invalid_field");
        let errors = refused.body["errors"].as_array().unwrap();
        let named: Vec<_> = errors.iter().map(|error| &error["pointer"]).collect();
        assert_eq!(named, pointers, "{path}");
    }
    assert_eq!(world.events().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_an_empty_part_is_none() {
    let app = App::start().await;
    for (method, path) in [
        (Method::GET, "/v1/accounts//followers"),
        (Method::DELETE, "/v1/accounts//followers"),
        (Method::GET, "/v1//limits"),
        (Method::GET, "/v1/posts/"),
        (Method::PUT, "/v1/posts//like"),
    ] {
        let answer = app.client().send(method, path, None, &[]).await;
        answer.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_refused_by_field() {
    let world = World::start().await;
    let before = world.events().await;
    let client = &world.ada.client;
    let raw = |body: &str| {
        let (client, body) = (client.clone(), body.as_bytes().to_vec());
        async move {
            client
                .send_bytes(Method::POST, "/v1/posts", Some(body), &[])
                .await
        }
    };
    raw("{\"text\": ").await.problem(400, "malformed_request");
    raw("").await.problem(400, "malformed_request");
    raw(&format!("{}1{}", "[".repeat(40), "]".repeat(40)))
        .await
        .problem(400, "malformed_request");
    for (body, pointer) in [
        (r#"{"text": "a", "text": "b"}"#, "/text"),
        (
            r#"{"text": "a", "metadata": {"k": [{"x": 1, "x": 1}]}}"#,
            "/metadata/k/0/x",
        ),
    ] {
        let refused = raw(body).await.problem(422, "invalid_field");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    }
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(300_000));
    raw(&long).await.problem(413, "payload_too_large");
    for (body, pointer) in [
        (json!({"text": 7}), "/text"),
        (json!({"text": ""}), "/text"),
        (json!({"text": "  "}), "/text"),
        (json!({"text": "a\u{0}b"}), "/text"),
        (json!({"text": "é".repeat(5_001)}), "/text"),
        (json!({}), "/text"),
        (json!({"text": "x", "unknown": 1}), "/unknown"),
        (json!({"text": "x", "visibility": "nobody"}), "/visibility"),
        (json!({"text": "x", "language": "english!"}), "/language"),
        (json!({"text": "x", "metadata": [1]}), "/metadata"),
        (
            json!({"text": "x", "metadata": {"a": "x".repeat(5_000)}}),
            "/metadata",
        ),
        (
            json!({"text": "x", "reply_to_id": "not-an-id"}),
            "/reply_to_id",
        ),
        (
            json!({"text": "x", "reply_to_id": crate::accounts::uuid()}),
            "/reply_to_id",
        ),
    ] {
        let refused = client.post("/v1/posts", body.clone()).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(
            refused.body["errors"][0]["pointer"], pointer,
            "{body}: {}",
            refused.body
        );
    }
    let refused = client
        .send_bytes(
            Method::POST,
            "/v1/posts",
            Some(b"{}".to_vec()),
            &[("Content-Type", "text/plain")],
        )
        .await;
    assert!(
        [415, 422].contains(&refused.status.as_u16()),
        "{}",
        refused.body
    );
    let registrations = [
        (
            json!({"handle": "a b", "email": secrets::email("a"), "password": secrets::password("anybody")}),
            "/handle",
        ),
        (
            json!({"handle": "x", "email": secrets::email("a"), "password": secrets::password("anybody")}),
            "/handle",
        ),
        (
            json!({"email": "nowhere", "password": secrets::password("anybody")}),
            "/email",
        ),
        (
            json!({"email": secrets::email("a"), "password": "short"}),
            "/password",
        ),
        (
            json!({"email": secrets::email("a"), "password": secrets::password("anybody"), "role": "operator"}),
            "/role",
        ),
    ];
    for (body, pointer) in registrations {
        let refused = world.app.client().post("/v1/accounts", body).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(
            refused.body["errors"][0]["pointer"], pointer,
            "{}",
            refused.body
        );
    }
    assert_eq!(world.events().await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_ones_own_is_refused() {
    let world = World::start().await;
    let before = world.events().await;
    let client = &world.ada.client;
    let unknown = crate::accounts::uuid();
    for path in [
        format!("/v1/posts/{unknown}"),
        format!("/v1/posts/{unknown}/thread"),
        format!("/v1/posts/{unknown}/likes"),
        format!("/v1/accounts/{unknown}"),
        format!("/v1/accounts/{unknown}/followers"),
        format!("/v1/accounts/{unknown}/posts"),
        "/v1/handles/nobody".into(),
        "/v1/nothing".into(),
    ] {
        client.get(&path).await.problem(404, "not_found");
    }
    client
        .get("/v1/posts/not-an-id")
        .await
        .problem(400, "invalid_parameter");
    client
        .get("/v1/timelines/local?limit=0")
        .await
        .problem(400, "invalid_parameter");
    client
        .get("/v1/timelines/local?limit=101")
        .await
        .problem(400, "invalid_parameter");
    let foreign = format!("/v1/posts/{}", world.post);
    client
        .patch(&foreign, json!({"text": "mine now"}))
        .await
        .problem(403, "not_author");
    client.delete(&foreign).await.problem(403, "not_author");
    client
        .put(&format!("/v1/posts/{unknown}/like"))
        .await
        .problem(404, "not_found");
    let own = format!("/v1/accounts/{}/follow", world.ada.id);
    client.put(&own).await.problem(409, "self_follow");
    let refused = client.send(Method::PUT, "/v1/posts", None, &[]).await;
    let refused = refused.problem(405, "method_not_allowed");
    assert!(refused.header("allow").contains("POST"));
    assert_eq!(world.events().await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_versions_and_unreadable_conditions_are_refused() {
    let world = World::start().await;
    let client = &world.bob.client;
    let path = format!("/v1/posts/{}", world.post);
    let before = world.events().await;
    let edit = |tag: &'static str| {
        let (client, path) = (client.clone(), path.clone());
        async move {
            let body = Some(json!({"text": "new"}));
            client
                .send(Method::PATCH, &path, body, &[("If-Match", tag)])
                .await
        }
    };
    edit("\"7\"").await.problem(412, "version_mismatch");
    let version = client
        .get(&path)
        .await
        .expect(200)
        .header("etag")
        .to_owned();
    let weak: &'static str = format!("W/{version}").leak();
    let told = edit(weak).await.problem(412, "version_mismatch");
    assert!(told.text("/detail").contains("W/"), "{}", told.body);
    for garbage in ["seven", "\"7\" \"8\"", "*, \"7\"", ","] {
        let refused = edit(garbage).await.problem(400, "malformed_request");
        assert_eq!(refused.text("/errors/0/parameter"), "If-Match", "{garbage}");
    }
    edit("\"7\", \"a,b\"")
        .await
        .problem(412, "version_mismatch");
    let body = Some(json!({"text": "new"}));
    let unguarded = client.send(Method::PATCH, &path, body, &[]).await;
    unguarded.problem(428, "precondition_required");
    let deleted = client
        .send(Method::DELETE, &path, None, &[("If-Match", "\"7\"")])
        .await;
    deleted.problem(412, "version_mismatch");
    let positions = SealedPositions::new(TOKEN_SECRET.as_bytes()).unwrap();
    let sealed = |plain: &str| positions.all(&plain.parse().unwrap(), 0).unwrap();
    let mut told = std::collections::BTreeSet::new();
    for value in [
        "somewhere",
        "0:1-0",
        sealed("99:1-1").to_str().unwrap(),
        // The log does not have it.
        sealed("0:1-999999999").to_str().unwrap(),
        sealed("0:9-0").to_str().unwrap(),
    ] {
        let headers = [("Min-Position", value)];
        let refused = client.send(Method::GET, &path, None, &headers).await;
        let refused = refused.problem(400, "unknown_position");
        told.insert(refused.text("/errors/0/detail"));
    }
    assert_eq!(
        told.len(),
        1,
        "it does not say where the log ends: {told:?}"
    );
    let body = Some(json!({"text": "x"}));
    let refused = client
        .send(
            Method::POST,
            "/v1/posts",
            body,
            &[("Idempotency-Key", "a b")],
        )
        .await;
    refused.problem(400, "malformed_request");
    assert_eq!(world.events().await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_and_foreign_cursors_are_refused() {
    let world = World::start().await;
    for number in 0..3 {
        world.bob.publish(&format!("{number}")).await;
    }
    world.app.settle().await;
    let client = world.app.client();
    let first = client.get("/v1/timelines/local?limit=1").await.expect(200);
    let cursor = first.text("/next_cursor");
    let mut tampered = cursor.clone().into_bytes();
    tampered[3] = if tampered[3] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for bad in [tampered.as_str(), "nonsense", ""] {
        let path = format!("/v1/timelines/local?cursor={bad}");
        client.get(&path).await.problem(400, "invalid_cursor");
    }
    let foreign = format!("/v1/accounts/{}/posts?cursor={cursor}", world.bob.id);
    client.get(&foreign).await.problem(400, "invalid_cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_expired_tokens_are_refused_even_where_none_is_needed() {
    let world = World::start().await;
    let post = format!("/v1/posts/{}", world.post);
    let with = |token: &str| world.app.client().with_token(token.to_owned());
    let forged =
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwMTg5MGE1ZC1hYzk2LTc3NGItYmNjZS1iMzAyMDk5YTgwNTcifQ.";
    for path in [post.as_str(), "/v1/accounts/me", "/v1/timelines/local"] {
        for token in [forged, "nonsense", "a.b.c"] {
            let refused = with(token).get(path).await.problem(401, "invalid_token");
            assert!(refused.header("www-authenticate").starts_with("Bearer"));
        }
    }
    let anonymous: Client = world.app.client();
    for (method, path) in [
        (Method::GET, "/v1/accounts/me"),
        (Method::POST, "/v1/posts"),
        (Method::PATCH, "/v1/accounts/me"),
    ] {
        let body: Option<Value> = (method != Method::GET).then(|| json!({"text": "x"}));
        let refused = anonymous.send(method, path, body, &[]).await;
        refused.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_known_origin_may_call_from_a_browser_and_no_others() {
    let app = App::start().await;
    let (known, other) = ("https://pages.example.org", "https://evil.example.org");
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin");
    let ask = |method: Method, path: &'static str, headers: Vec<(&'static str, &'static str)>| {
        let client = app.client();
        async move { client.send(method, path, None, &headers).await }
    };
    let preflight = |origin| {
        let headers = vec![
            ("Origin", origin),
            ("Access-Control-Request-Method", "PATCH"),
        ];
        ask(Method::OPTIONS, "/v1/accounts/me", headers)
    };
    let told = preflight(known).await.expect(204);
    assert_eq!(allowed(&told), known);
    let methods = told.header("access-control-allow-methods");
    assert!(methods.contains("PATCH"), "{methods}");
    let headers = told.header("access-control-allow-headers");
    assert!(headers.contains("Authorization"), "{headers}");
    let refused = preflight(other).await;
    assert_eq!(refused.headers.get("access-control-allow-origin"), None);

    let local = ask(Method::GET, "/v1/limits", vec![("Origin", known)]).await;
    assert_eq!(allowed(&local.expect(200)), known);
    // A refusal can be read too, with its headers.
    let missing = ask(Method::GET, "/v1/nothing", vec![("Origin", known)]).await;
    let missing = missing.problem(404, "not_found");
    assert_eq!(allowed(&missing), known);
    let seen = missing.header("access-control-expose-headers");
    assert!(seen.contains("X-Request-Id"), "{seen}");
    assert!(missing.header("vary").contains("Origin"));
    let plain = ask(Method::GET, "/v1/limits", vec![("Origin", other)]).await;
    let plain = plain.expect(200);
    assert_eq!(plain.headers.get("access-control-allow-origin"), None);
    assert_eq!(plain.headers.get("access-control-allow-credentials"), None);
    // Without a browser, OPTIONS is a method like others.
    let options = ask(Method::OPTIONS, "/v1/limits", vec![]).await;
    options.problem(405, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_here_is_json_alone() {
    let app = App::start().await;
    let client = app.client();
    let ask = |method, path, accept: &'static str| {
        let client = client.clone();
        async move { client.send(method, path, None, &[("Accept", accept)]).await }
    };
    for accept in [
        "text/csv",
        "application/xml, text/*",
        "application/json;q=0",
    ] {
        let refused = ask(Method::GET, "/v1/limits", accept).await;
        refused.problem(406, "not_acceptable");
        let refused = ask(Method::POST, "/v1/accounts", accept).await;
        refused.problem(406, "not_acceptable");
    }
    for accept in ["application/json", "text/html, */*;q=0.8", ""] {
        ask(Method::GET, "/v1/limits", accept).await.expect(200);
    }
    // What is no part of the contract is what it is.
    ask(Method::GET, "/docs", "text/html").await.expect(200);
    // Whoever only asks how the server is says what it likes.
    let live = ask(Method::GET, "/health/live", "text/plain").await;
    live.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_browsers_what_they_must_not_do() {
    let app = App::start().await;
    for path in ["/docs", "/v1/limits", "/v1/nothing"] {
        let answer = app.client().get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let policy = answer.header("cross-origin-resource-policy");
        assert_eq!(policy, "same-origin", "{path}");
        if path != "/docs" {
            let policy = answer.header("content-security-policy");
            let nothing = "default-src 'none'; frame-ancestors 'none'";
            assert_eq!(policy, nothing, "{path}");
        }
        // Told to ten milliseconds.
        let timing = answer.header("server-timing");
        let took = timing.strip_prefix("total;dur=").unwrap();
        assert_eq!(took.parse::<u64>().unwrap() % 10, 0, "{timing}");
    }
    let page = app.client().get("/docs").await.expect(200);
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
}
