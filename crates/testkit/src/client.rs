//! A client of the API that says what went wrong.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    contract,
    secrets::{self, EMAIL_MARK, PASSWORD_MARK},
};

static PEOPLE: AtomicU32 = AtomicU32::new(0);

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    /// Whether writes are answered with what they made, as clients are that say nothing.
    whole: bool,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null where there is no JSON.
    pub body: Value,
    what: String,
}

/// Somebody who registered, with a client signed in as them.
pub struct Person {
    pub id: String,
    pub handle: String,
    pub password: String,
    pub email: String,
    pub client: Client,
}

impl Client {
    pub fn new(url: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            url,
            token: None,
            whole: false,
        }
    }

    /// Writes are answered with what they made; they are answered shortly else.
    pub fn whole(&self) -> Self {
        let mut client = self.clone();
        client.whole = true;
        client
    }

    pub fn with_token(mut self, token: String) -> Self {
        secrets::remember(&token);
        self.token = Some(token);
        self
    }

    pub fn anonymous(&self) -> Self {
        let mut client = self.clone();
        client.token = None;
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    /// Whatever version there is.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        let any = [("If-Match", "*")];
        self.send(Method::PATCH, path, Some(body), &any).await
    }

    pub async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, None, &[]).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, &[]).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bytes = body.map(|body| body.to_string().into_bytes());
        self.send_bytes(method, path, bytes, headers).await
    }

    /// `path` may be a whole address, as a `Link` has it.
    pub async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let what = format!("{method} {path}");
        let marked = body.as_deref().is_none_or(is_marked);
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if !self.whole {
            request = request.header("Prefer", "return=minimal");
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request
            .send()
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_default();
        let answer = Answer {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            what,
        };
        if answer.status.is_success() {
            assert!(marked, "{}: what is taken has no mark", answer.what);
            secrets::remember_in(&answer.body);
        } else {
            self.check_refusal(&answer, &body);
            contract::check_refusal(&method, path, &answer.body);
        }
        answer
    }

    /// No refusal repeats what it refuses.
    fn check_refusal(&self, answer: &Answer, body: &[u8]) {
        let told = format!("{:?} {}", answer.headers, String::from_utf8_lossy(body));
        let marks = [PASSWORD_MARK, EMAIL_MARK].into_iter();
        for secret in marks.chain(self.token.as_deref()) {
            let what = &answer.what;
            assert!(!told.contains(secret), "{what}: {secret} is in {told}");
        }
        // Nor what this client does not know of; the path is the test's own.
        secrets::heard("a refusal", told.as_bytes());
    }

    /// A page to read, which is there.
    pub async fn text(&self, path: &str) -> String {
        let url = format!("{}{path}", self.url);
        let page = self.http.get(url).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        page.text().await.unwrap()
    }

    /// Registers somebody new, with a handle that begins with `name`.
    pub async fn register(&self, name: &str) -> Person {
        let number = PEOPLE.fetch_add(1, Ordering::Relaxed);
        let handle = format!("{name}_{number}");
        let email = secrets::email(&handle);
        let password = secrets::password(&handle);
        let answer = self
            .post(
                "/v1/accounts",
                json!({"handle": handle, "email": email, "password": password, "display_name": name}),
            )
            .await
            .expect(201);
        let token = answer.text("/session/access_token");
        Person {
            id: answer.text("/id"),
            handle,
            email,
            password,
            client: self.clone().with_token(token),
        }
    }

    /// Every item of a paged list, page by page to its end; back from there it is the same.
    pub async fn all(&self, path: &str, limit: u32) -> Vec<Value> {
        let join = if path.contains('?') { '&' } else { '?' };
        let first = format!("{path}{join}limit={limit}");
        let (mut next, mut items) = (first.clone(), Vec::new());
        loop {
            let answer = self.get(&next).await.expect(200);
            let page = answer.body["items"].as_array().expect("a page has items");
            assert!(page.len() <= limit as usize);
            items.extend(page.iter().cloned());
            match answer.body["next_cursor"].as_str() {
                Some(cursor) => {
                    assert_eq!(page.len(), limit as usize, "only the last page is short");
                    assert!(answer.header("link").contains("rel=\"next\""));
                    next = format!("{first}&cursor={cursor}");
                }
                None => {
                    let before = self.all_before(&first, answer.text("/prev_cursor")).await;
                    assert_eq!(before, items[..items.len() - page.len()], "{first}, back");
                    return items;
                }
            }
        }
    }

    /// What a list has before a cursor, page by page to its beginning.
    async fn all_before(&self, first: &str, mut cursor: String) -> Vec<Value> {
        let mut items = Vec::new();
        loop {
            let answer = self
                .get(&format!("{first}&cursor={cursor}"))
                .await
                .expect(200);
            assert!(answer.header("link").contains("rel=\"prev\""));
            let page = answer.body["items"].as_array().expect("a page has items");
            let further = answer.text("/prev_cursor");
            if page.is_empty() && further == cursor {
                return items;
            }
            drop(items.splice(0..0, page.iter().cloned()));
            cursor = further;
        }
    }
}

impl Person {
    pub fn token(&self) -> Option<&str> {
        self.client.token.as_deref()
    }

    /// Publishes a post and returns its id.
    pub async fn publish(&self, text: &str) -> String {
        let answer = self.client.post("/v1/posts", json!({"text": text})).await;
        answer.expect(201).text("/id")
    }

    pub async fn reply(&self, to: &str, text: &str) -> String {
        let body = json!({"text": text, "reply_to_id": to});
        let answer = self.client.post("/v1/posts", body).await;
        answer.expect(201).text("/id")
    }

    pub async fn follow(&self, other: &Person) -> Answer {
        let path = format!("/v1/accounts/{}/follow", other.id);
        self.client.put(&path).await.expect(204)
    }

    pub async fn unfollow(&self, other: &Person) -> Answer {
        let path = format!("/v1/accounts/{}/follow", other.id);
        self.client.delete(&path).await.expect(204)
    }

    pub async fn like(&self, post: &str) -> Answer {
        let path = format!("/v1/posts/{post}/like");
        self.client.put(&path).await.expect(204)
    }
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.body);
        self
    }

    /// A refusal: a problem document with `code`.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(
            answer.body["code"], code,
            "{}: {}",
            answer.what, answer.body
        );
        assert_eq!(answer.body["status"], status);
        answer
    }

    #[track_caller]
    pub fn text(&self, pointer: &str) -> String {
        let value = self.body.pointer(pointer).and_then(Value::as_str);
        let missing = || panic!("{}: no {pointer} in {}", self.what, self.body);
        value.unwrap_or_else(missing).to_owned()
    }

    #[track_caller]
    pub fn number(&self, pointer: &str) -> i64 {
        let value = self.body.pointer(pointer).and_then(Value::as_i64);
        value.unwrap_or_else(|| panic!("{}: no {pointer} in {}", self.what, self.body))
    }

    /// Empty where it is not there.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    pub fn ids(&self) -> Vec<String> {
        ids(self.body["items"].as_array().map_or(&[], Vec::as_slice))
    }
}

/// Whether passwords and addresses that others would keep can be told.
fn is_marked(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let marks = [
        ("password", PASSWORD_MARK),
        ("new_password", PASSWORD_MARK),
        ("email", EMAIL_MARK),
    ];
    marks.into_iter().all(|(name, mark)| {
        let text = body[name].as_str().unwrap_or(mark);
        text.to_lowercase().contains(mark)
    })
}

/// The ids of items.
pub fn ids(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap_or_default().to_owned())
        .collect()
}
