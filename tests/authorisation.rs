//! Who may do what: each operation of the contract, asked by everybody. An
//! operation that is not in the table fails the test, and so does a line of it
//! that no operation has.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{App, Client, Person, secrets};
use vault::{Role, Vault};

/// What nobody but the owner and followers may read.
const SECRET: &str = "for followers alone";
const ROLES: [&str; 5] = ["anonymous", "owner", "follower", "stranger", "operator"];

/// Statuses by role. `{post_id}` is a post for followers, `{account_id}`,
/// `{handle}` and `{session_id}` are its owner's. Bodies are the contract's
/// examples, so that a secret in one is a wrong one.
#[rustfmt::skip]
const TABLE: [(&str, [u16; 5]); 49] = [
    // For all.
    ("getTokenKeys", [200; 5]),
    ("getLiveness", [200; 5]),
    ("getVersion", [200; 5]),
    ("listLimits", [200; 5]),
    ("listAccounts", [200; 5]),
    ("listPosts", [200; 5]),
    ("getAccount", [200; 5]),
    ("getAccountByHandle", [200; 5]),
    ("listFollowers", [200; 5]),
    ("listFollowing", [200; 5]),
    ("listAccountPosts", [200; 5]),
    ("getLocalTimeline", [200; 5]),
    ("getReadiness", [200; 5]),
    // The way in.
    ("registerAccount", [201; 5]),
    ("signIn", [401; 5]),
    ("refreshSession", [401; 5]),
    ("requestPasswordReset", [204; 5]),
    ("resetPassword", [403; 5]),
    // One's own.
    ("getMyAccount", [401, 200, 200, 200, 200]),
    ("updateMyProfile", [401, 200, 200, 200, 200]),
    ("sendEmailCode", [401, 429, 429, 429, 429]),
    ("verifyEmail", [401, 403, 403, 403, 403]),
    ("changePassword", [401, 403, 403, 403, 403]),
    ("unpinPost", [401, 204, 204, 204, 204]),
    ("pinPost", [401, 409, 409, 409, 409]),
    ("listMyPosts", [401, 200, 200, 200, 200]),
    ("getSecondFactor", [401, 200, 200, 200, 200]),
    ("addSecondFactor", [401, 403, 403, 403, 403]),
    ("enableSecondFactor", [401, 403, 403, 403, 403]),
    ("removeSecondFactor", [401, 403, 403, 403, 403]),
    ("publishPost", [401, 201, 201, 201, 201]),
    ("endOtherSessions", [401, 204, 204, 204, 204]),
    ("listSessions", [401, 200, 200, 200, 200]),
    ("signOut", [401, 204, 204, 204, 204]),
    ("getHomeTimeline", [401, 200, 200, 200, 200]),
    ("followAccount", [401, 409, 204, 204, 204]),
    ("unfollowAccount", [401, 204, 204, 204, 204]),
    // What is for followers.
    ("getPost", [404, 200, 200, 404, 404]),
    ("listLikers", [404, 200, 200, 404, 404]),
    ("listReplies", [404, 200, 200, 404, 404]),
    ("listPostRevisions", [404, 200, 200, 404, 404]),
    ("getThread", [404, 200, 200, 404, 404]),
    ("likePost", [401, 204, 204, 404, 404]),
    ("unlikePost", [401, 204, 204, 404, 404]),
    // The owner's alone.
    ("editPost", [401, 200, 403, 404, 404]),
    ("deletePost", [401, 204, 403, 404, 404]),
    ("endSession", [401, 204, 404, 404, 404]),
    // Operators'.
    ("listProjections", [401, 403, 403, 403, 200]),
    ("endAccountSessions", [401, 403, 403, 403, 204]),
];

struct World {
    app: App,
    document: Value,
    owner: Person,
    /// By role.
    people: Vec<Option<Person>>,
}

impl World {
    async fn new() -> Self {
        let app = App::start().await;
        let document = app.client().get("/openapi.json").await.expect(200).body;
        let mut people = vec![None];
        for role in &ROLES[1..] {
            people.push(Some(app.client().register(role).await));
        }
        let person = |place: usize| people[place].as_ref().unwrap();
        person(2).follow(person(1)).await;
        let operator = kernel::AccountId(person(4).id.parse().unwrap());
        let vault = Vault::new(app.database.clone());
        let granted = vault.grant(operator, Role::Operator, "a test").await;
        assert!(granted.unwrap());
        let owner = people[1].take().unwrap();
        Self {
            app,
            document,
            owner,
            people,
        }
    }

    /// With a token of its own: whoever signs out signs nobody else out.
    fn client(&self, role: usize) -> Client {
        let person = match role {
            0 => return self.app.client(),
            1 => &self.owner,
            _ => self.people[role].as_ref().unwrap(),
        };
        let account = kernel::AccountId(person.id.parse().unwrap());
        self.app.client_of(account)
    }

    async fn post(&self) -> String {
        let body = json!({"text": SECRET, "visibility": "followers"});
        let made = self.client(1).post("/v1/posts", body).await;
        made.expect(201).text("/id")
    }

    async fn session(&self) -> String {
        let body = json!({"login": self.owner.handle, "password": self.owner.password});
        let made = self.app.client().post("/v1/sessions", body).await;
        made.expect(201).text("/session_id")
    }

    /// The example of the operation's body, with what is unique made so.
    fn body(&self, operation: &Value, unique: &str) -> Option<Value> {
        let content = &operation["requestBody"]["content"]["application/json"]["schema"];
        let name = content["$ref"].as_str()?.rsplit('/').next()?;
        let mut body = self.document["components"]["schemas"][name]["example"].clone();
        if name == "Registration" {
            body["handle"] = unique.into();
        }
        // What is taken is marked; what is refused may be.
        for (field, marked) in [
            ("email", secrets::email(unique)),
            ("password", secrets::password(unique)),
            ("new_password", secrets::password(unique)),
        ] {
            if body.get(field).is_some() {
                body[field] = marked.into();
            }
        }
        if name == "NewPost" {
            body = json!({"text": "a post"});
        }
        Some(body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_lets_in_whom_it_should() {
    let world = World::new().await;
    world.post().await;
    let mut asked = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, methods) in world.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let Some((_, wanted)) = TABLE.iter().find(|(known, _)| *known == id) else {
                panic!("{id} is not in the table: who may do it?");
            };
            asked.insert(id);
            for (role, wanted) in wanted.iter().enumerate() {
                let mut path = path
                    .replace("{account_id}", &world.owner.id)
                    .replace("{handle}", &world.owner.handle);
                match id {
                    "listAccounts" => path += &format!("?ids={}", world.owner.id),
                    "listPosts" => path += "?ids={post_id}",
                    _ => {}
                }
                if path.contains("{post_id}") {
                    path = path.replace("{post_id}", &world.post().await);
                }
                if path.contains("{session_id}") {
                    path = path.replace("{session_id}", &world.session().await);
                }
                world.app.settle().await;
                let unique = format!("new_{role}");
                let body = world.body(operation, &unique);
                let method: Method = method.to_ascii_uppercase().parse().unwrap();
                let client = world.client(role);
                let answer = client.send(method, &path, body, &[]).await;
                let (got, role) = (answer.status.as_u16(), ROLES[role]);
                if got != *wanted {
                    wrong.push(format!(
                        "{id} as {role}: {got}, not {wanted}: {}",
                        answer.body
                    ));
                }
                let told = answer.body.to_string().contains(SECRET);
                if told && !["owner", "follower"].contains(&role) {
                    wrong.push(format!("{id} tells a {role} what is for followers"));
                }
            }
            // Who follows is as it was before.
            let follow = format!("/v1/accounts/{}/follow", world.owner.id);
            world.client(2).put(&follow).await.expect(204);
            for other in [3, 4] {
                world.client(other).delete(&follow).await.expect(204);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let gone: Vec<_> = TABLE.iter().filter(|(id, _)| !asked.contains(id)).collect();
    assert!(gone.is_empty(), "no operation has {gone:?}");
}
