//! Text of the world: addresses, handles, passwords, names, and what is read out of posts.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{
    Answer, App, Client,
    secrets::{EMAIL_MARK, email, password},
};

use crate::process::{environment, run};

const TRIES_MAX: usize = 100;

async fn register(app: &App, handle: &str, email: &str, password: &str) -> Answer {
    let body = json!({"handle": handle, "email": email, "password": password});
    calmly(async || app.client().post("/v1/accounts", body.clone()).await).await
}

async fn sign_in(app: &App, login: &str, password: &str) -> Answer {
    let body = json!({"login": login, "password": password});
    calmly(async || app.client().post("/v1/sessions", body.clone()).await).await
}

/// A busy machine refuses to hash passwords for a moment, and says so.
async fn calmly(ask: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..TRIES_MAX {
        let answer = ask().await;
        if answer.status != 503 {
            return answer;
        }
    }
    ask().await
}

async fn ask_for_a_code(app: &App, email: &str) -> Answer {
    let body = json!({"email": email});
    app.client().post("/v1/password-resets", body).await
}

fn pointers(answer: &Answer) -> Vec<String> {
    let errors = answer.body["errors"].as_array().unwrap();
    let pointer = |error: &Value| error["pointer"].as_str().unwrap_or_default().to_owned();
    errors.iter().map(pointer).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_no_letter_reaches_is_refused() {
    let app = App::start().await;
    let long = format!("{}@{EMAIL_MARK}", "x".repeat(65));
    let label = format!("x@{}.{EMAIL_MARK}", "y".repeat(64));
    let bad = [
        format!("x@{EMAIL_MARK}@{EMAIL_MARK}"),
        format!("x@{EMAIL_MARK}/"),
        format!("x@{EMAIL_MARK}."),
        format!("x@{EMAIL_MARK}:25"),
        format!("x@[127.0.0.1].{EMAIL_MARK}"),
        format!("\"x y\"@{EMAIL_MARK}"),
        format!("x(y)@{EMAIL_MARK}"),
        format!(".x@{EMAIL_MARK}"),
        format!("x..y@{EMAIL_MARK}"),
        format!("X <x@{EMAIL_MARK}>"),
        format!("x＠{EMAIL_MARK}"),
        format!("é@{EMAIL_MARK}"),
        format!("x@\u{200b}{EMAIL_MARK}"),
        format!("x\u{200d}@{EMAIL_MARK}"),
        format!("x@{EMAIL_MARK}\u{202e}"),
        format!("x@ex\u{ad}ample.{EMAIL_MARK}"),
        format!("x@ex\u{3164}ample.{EMAIL_MARK}"),
        format!("x@{EMAIL_MARK}\r\nBcc: y"),
        long,
        label,
    ];
    for email in &bad {
        let refused = register(&app, "kim", email, &password("kim")).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(pointers(&refused), ["/email"], "{email:?}");
        let refused = ask_for_a_code(&app, email).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(pointers(&refused), ["/email"], "{email:?}");
    }
    // What is taken is one address however it is written, and gets its letter.
    let written = format!(" Kim@Bücher.{EMAIL_MARK}\u{a0}");
    let kept = format!("Kim@xn--bcher-kva.{EMAIL_MARK}");
    let kim = register(&app, "kim", &written, &password("kim"))
        .await
        .expect(201);
    app.settle().await;
    let client = app.client().with_token(kim.text("/session/access_token"));
    let me = client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.text("/email"), kept);
    let code = json!({"one_time_code": app.mailed_code(&kept).await});
    let path = "/v1/accounts/me/email/verification";
    let verified = client.send(Method::PUT, path, Some(code), &[]);
    verified.await.expect(204);
    for same in [
        kept.clone(),
        format!("kim@BU\u{308}CHER.{EMAIL_MARK}"),
        kept.to_uppercase(),
    ] {
        let taken = register(&app, "kim_too", &same, &password("kim")).await;
        taken.problem(409, "email_taken");
        sign_in(&app, &same, &password("kim")).await.expect(201);
        ask_for_a_code(&app, &same).await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signs_in_with_a_handle_or_an_address_as_it_is_typed() {
    let app = App::start().await;
    let kim = app.client().register("kim").await;
    app.settle().await;
    let wide: String = kim.handle.chars().map(widened).collect();
    for login in [
        format!("{} ", kim.handle),
        format!("\u{a0}{}\u{3000}", kim.handle.to_uppercase()),
        format!("\n@{}\t", kim.handle),
        format!("＠{wide}"),
        format!("{} ", kim.email),
        format!("\u{2003}{}\u{feff}", kim.email.to_uppercase()).replace('\u{feff}', "\u{85}"),
    ] {
        sign_in(&app, &login, &kim.password).await.expect(201);
    }
    for login in [
        format!("@@{}", kim.handle),
        format!("{}\u{200b}", kim.handle),
    ] {
        let refused = sign_in(&app, &login, &kim.password).await;
        refused.problem(401, "invalid_credentials");
    }
    for path in [
        format!("/v1/handles/%20{}", kim.handle),
        format!("/v1/handles/@{}", kim.handle),
        format!("/v1/handles/{}%C2%A0", kim.handle.to_uppercase()),
    ] {
        let found = app.client().get(&path).await.expect(200);
        assert_eq!(found.text("/id"), kim.id);
    }
}

fn widened(c: char) -> char {
    let wide = u32::from(c) - 0x21 + 0xff01;
    char::from_u32(wide).unwrap_or(c)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_the_same_on_every_keyboard() {
    let app = App::start().await;
    let composed = password("Zoë für alle");
    let decomposed = composed.replace('ë', "e\u{308}").replace('ü', "u\u{308}");
    let blanks = composed.replace(' ', "\u{a0}");
    let forms = [&composed, &decomposed, &blanks];
    for (number, set) in forms.iter().enumerate() {
        let handle = format!("zoe_{number}");
        let address = email(&handle);
        let zoe = register(&app, &handle, &address, set).await.expect(201);
        for typed in forms {
            sign_in(&app, &handle, typed).await.expect(201);
        }
        let client = app.client().with_token(zoe.text("/session/access_token"));
        change(&client, forms[(number + 1) % 3], &password("e\u{301}tude"))
            .await
            .expect(204);
        sign_in(&app, &handle, &password("étude")).await.expect(201);
        change(&client, &password("étude"), set).await.expect(204);
        for typed in forms {
            // A second factor and a deactivation ask for it too.
            let body = json!({"current_password": typed});
            let path = "/v1/accounts/me/second-factor";
            client.post(path, body).await.expect(200);
        }
        app.mailed_code(&address).await;
        ask_for_a_code(&app, &address).await.expect(204);
        let code = app.mailed_code(&address).await;
        let body = json!({"email": address, "one_time_code": code, "new_password": decomposed});
        let stranger = app.client();
        let reset = stranger.post("/v1/password-resets/completion", body);
        reset.await.expect(200);
        for typed in forms {
            sign_in(&app, &handle, typed).await.expect(201);
        }
        let other = sign_in(&app, &handle, &composed.replace('ë', "e")).await;
        other.problem(401, "invalid_credentials");
    }
    // As long as it is allowed to be, and typed in more characters than that.
    let room = 128 - password("").chars().count();
    let longest = password(&"é".repeat(room));
    let typed = password(&"e\u{301}".repeat(room));
    register(&app, "long", &email("long"), &typed)
        .await
        .expect(201);
    sign_in(&app, "long", &longest).await.expect(201);
    for bad in [
        "a\u{0}b",
        "a\nb",
        "a\u{200b}b",
        "a\u{85}b",
        &"é".repeat(room + 1),
    ] {
        let refused = register(&app, "nobody", &email("nobody"), &password(bad)).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(pointers(&refused), ["/password"], "{bad:?}");
    }
}

async fn change(client: &Client, old: &str, new: &str) -> Answer {
    let body = json!({"current_password": old, "new_password": new});
    let path = "/v1/accounts/me/password";
    calmly(async || {
        client
            .send(Method::PUT, path, Some(body.clone()), &[])
            .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_seen_or_controls_is_refused() {
    let app = App::start().await;
    let kim = app.client().register("kim").await;
    let patch = |field: &str, text: &str| {
        let body = json!({field: text});
        let client = kim.client.clone();
        async move { client.patch("/v1/accounts/me", body).await }
    };
    for unseen in [
        "\u{3164}",
        "\u{200b}",
        "\u{2800}\u{2800}",
        "\u{ad}\u{2060}\u{feff}",
        "\u{301}",
        "\u{fe0f}\u{e0020}",
    ] {
        for field in ["display_name", "bio"] {
            let refused = patch(field, unseen).await.problem(422, "invalid_field");
            assert_eq!(pointers(&refused), [format!("/{field}")], "{unseen:?}");
        }
        let refused = kim.client.post("/v1/posts", json!({"text": unseen})).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(pointers(&refused), ["/text"], "{unseen:?}");
    }
    for bad in [
        "Ada\nAdministrator",
        "Ada\rAdministrator",
        "Ada\u{2028}Administrator",
        "Ada\tb",
        "Ada\u{1b}[31m",
        "Ada\u{202e}",
        "Ada\u{2066}",
        &format!("Ada{}", "\u{300}".repeat(11)),
    ] {
        let refused = patch("display_name", bad)
            .await
            .problem(422, "invalid_field");
        assert_eq!(pointers(&refused), ["/display_name"], "{bad:?}");
        let body = json!({
            "handle": "ada", "email": email("ada"), "password": password("ada"), "display_name": bad,
        });
        let refused = app.client().post("/v1/accounts", body).await;
        let refused = refused.problem(422, "invalid_field");
        assert_eq!(pointers(&refused), ["/display_name"], "{bad:?}");
    }
    for bad in [
        "a\u{0}",
        "a\u{1b}[31m",
        "a\u{9b}",
        "a\u{202e}b",
        "a\u{2067}\nb\u{2069}",
    ] {
        let refused = kim.client.post("/v1/posts", json!({"text": bad})).await;
        refused.problem(422, "invalid_field");
    }
    let half = br#"{"text": "half \ud83d of a sign"}"#.to_vec();
    let refused = kim
        .client
        .send_bytes(Method::POST, "/v1/posts", Some(half), &[])
        .await;
    refused.problem(400, "malformed_request");

    patch("display_name", "\u{3000}می\u{200c}خواهم 👩🏽‍💻 ")
        .await
        .expect(200);
    patch("bio", "one\r\n\ttwo").await.expect(200);
    let post = kim.publish("e\u{301}\r\n\u{2067}שלום\u{2069}\t神").await;
    app.settle().await;
    let me = kim.client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.text("/display_name"), "می\u{200c}خواهم 👩🏽‍💻");
    assert_eq!(me.text("/bio"), "one\n\ttwo");
    let post = kim
        .client
        .get(&format!("/v1/posts/{post}"))
        .await
        .expect(200);
    assert_eq!(post.text("/text"), "e\u{301}\n\u{2067}שלום\u{2069}\t神");

    // Operators' words too.
    let (settings, folder) = (environment(&app.servers), tempfile::tempdir().unwrap());
    for arguments in [
        ["accounts", "suspend", &kim.handle, "--reason", "\u{3164}"],
        ["accounts", "sign-out", &kim.handle, "--reason", "one\ntwo"],
        [
            "service-tokens",
            "make",
            "a\u{202e}b",
            "--scope",
            "operations:read",
        ],
    ] {
        let done = run(&arguments, &settings, folder.path()).await;
        assert_eq!(done.status, 2, "{}", done.err);
        assert!(done.err.contains("with something to see"), "{}", done.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hashtags_and_mentions_are_read_out_of_any_script() {
    let app = App::start().await;
    let kim = app.client().register("kim").await;
    let at = format!("@{}", kim.handle);
    let tag = |text: &str| (text.replace("@kim", &at), vec!["tag".to_owned()]);
    let none = |text: &str| (text.replace("@kim", &at), Vec::new());
    // A text, its hashtags, and whether it mentions kim.
    let texts = [
        (
            none("https://example.org/#about https://example.org/@kim/1"),
            false,
        ),
        (
            none("@kim@social.example @kim.example x@kim.example"),
            false,
        ),
        (none("@kimé 我@kim@example.org"), false),
        (tag("你好@kim你好#tag"), true),
        (tag("สวัสดี@kimครับ#tag"), true),
        (tag("❤️@kim 1️⃣#tag #️⃣tag"), true),
        (tag("https://example.org/#about #tag .@kim"), true),
    ];
    for ((text, tags), mentioned) in texts {
        let post = kim.publish(&text).await;
        app.settle().await;
        let post = kim
            .client
            .get(&format!("/v1/posts/{post}"))
            .await
            .expect(200);
        assert_eq!(post.body["hashtags"], json!(tags), "{text}");
        let expected = if mentioned {
            json!([kim.id])
        } else {
            json!([])
        };
        assert_eq!(post.body["mention_ids"], expected, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_says_how_many_hashtags_and_mentions_count() {
    let app = App::start().await;
    let contract = app.client().get("/openapi.json").await.expect(200);
    let most = |field: &str| {
        let pointer = format!("/components/schemas/Post/properties/{field}/maxItems");
        contract
            .body
            .pointer(&pointer)
            .and_then(Value::as_u64)
            .unwrap() as usize
    };
    let (tags, names) = (most("hashtags"), most("mention_ids"));
    let mut people = Vec::new();
    for number in 0..names + 2 {
        people.push(app.client().register(&format!("person{number}")).await);
    }
    let author = &people[0];
    let hashes: String = (0..tags + 10)
        .map(|number| format!("#tag{number} "))
        .collect();
    let ats: String = people
        .iter()
        .map(|person| format!("@{} ", person.handle))
        .collect();
    // The text is kept whole; the first so many count.
    let text = format!("{hashes}{ats}");
    let post = author.publish(&text).await;
    app.settle().await;
    let post = author
        .client
        .get(&format!("/v1/posts/{post}"))
        .await
        .expect(200);
    assert_eq!(post.text("/text"), text);
    let expected: Vec<_> = (0..tags).map(|number| format!("tag{number}")).collect();
    assert_eq!(post.body["hashtags"], json!(expected));
    let expected: Vec<_> = people[..names].iter().map(|person| &person.id).collect();
    assert_eq!(post.body["mention_ids"], json!(expected));
    let described = &contract.body["paths"]["/v1/posts"]["post"]["description"];
    let described = described.as_str().unwrap();
    let said = format!("first {tags} different hashtags and the first {names} different");
    assert!(described.replace('\n', " ").contains(&said), "{described}");
}
