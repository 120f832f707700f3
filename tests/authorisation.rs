//! Who may do what: each operation of the contract, asked by everybody. An
//! operation that is not in the table fails the test, and so does a line of it
//! that no operation has.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, App, Client, Person, secrets};
use vault::Role;

/// What nobody but owners and followers may read.
const SECRET: &str = "for followers alone";
/// What everybody but those who are blocked may read.
const LISTED: &str = "for all who may come near";
const ROLES: [&str; 8] = [
    "anonymous",
    "owner",
    "follower",
    "stranger",
    "blocked",
    "operator",
    "moderator",
    "analyst",
];
const STRANGER: usize = 3;
const BLOCKED: usize = 4;
/// Of an account that everybody finds, and of a private one.
const OWNERS: [&str; 2] = ["public", "private"];

/// Statuses by role: of what belongs to a public account, and of what belongs to a
/// private one where that differs. `{post_id}` is a post of the owner's,
/// `{account_id}`, `{handle}`, `{session_id}` and `{folder_id}` are the owner's. The public owner's
/// posts are for followers, the private one's for all who may see its own. Bodies
/// are the contract's examples, so that a secret in one is a wrong one. Moderators and
/// analysts may do what strangers may: an operation that is for them has a line in
/// `OPENED`.
#[rustfmt::skip]
const TABLE: &[(&str, [u16; 6])] = &[
    // For all.
    ("getTokenKeys", [200; 6]),
    ("getLiveness", [200; 6]),
    ("getVersion", [200; 6]),
    ("listLimits", [200; 6]),
    ("listAccounts", [200; 6]),
    ("listPosts", [200; 6]),
    ("getLocalTimeline", [200; 6]),
    ("countLocalTimeline", [200; 6]),
    ("getReadiness", [200; 6]),
    // For all but those who are blocked.
    ("getAccount", [200, 200, 200, 200, 404, 200]),
    ("getAccountByHandle", [200, 200, 200, 200, 404, 200]),
    ("listAccountPosts", [200, 200, 200, 200, 404, 200]),
    ("countAccountPosts", [200, 200, 200, 200, 404, 200]),
    ("listFollowers", [200, 200, 200, 200, 404, 200]),
    ("listFollowing", [200, 200, 200, 200, 404, 200]),
    // The way in.
    ("registerAccount", [201; 6]),
    ("signIn", [401; 6]),
    ("refreshSession", [401; 6]),
    ("requestPasswordReset", [204; 6]),
    ("resetPassword", [403; 6]),
    // One's own.
    ("getMyAccount", [401, 200, 200, 200, 200, 200]),
    ("updateMyProfile", [401, 200, 200, 200, 200, 200]),
    ("deactivateAccount", [401, 403, 403, 403, 403, 403]),
    ("sendEmailCode", [401, 429, 429, 429, 429, 429]),
    ("changeEmail", [401, 403, 403, 403, 403, 403]),
    ("verifyEmail", [401, 403, 403, 403, 403, 403]),
    ("changePassword", [401, 403, 403, 403, 403, 403]),
    ("unpinPost", [401, 204, 204, 204, 204, 204]),
    ("pinPost", [401, 409, 409, 409, 409, 409]),
    ("listMyPosts", [401, 200, 200, 200, 200, 200]),
    ("countMyPosts", [401, 200, 200, 200, 200, 200]),
    ("getSecondFactor", [401, 200, 200, 200, 200, 200]),
    ("addSecondFactor", [401, 403, 403, 403, 403, 403]),
    ("enableSecondFactor", [401, 403, 403, 403, 403, 403]),
    ("removeSecondFactor", [401, 403, 403, 403, 403, 403]),
    ("publishPost", [401, 201, 201, 201, 201, 201]),
    ("endOtherSessions", [401, 204, 204, 204, 204, 204]),
    ("listSessions", [401, 200, 200, 200, 200, 200]),
    ("signOut", [401, 204, 204, 204, 204, 204]),
    ("getHomeTimeline", [401, 200, 200, 200, 200, 200]),
    ("countHomeTimeline", [401, 200, 200, 200, 200, 200]),
    ("listFollowRequests", [401, 200, 200, 200, 200, 200]),
    ("listBlocks", [401, 200, 200, 200, 200, 200]),
    ("listMutes", [401, 200, 200, 200, 200, 200]),
    ("listRelationships", [401, 200, 200, 200, 200, 200]),
    ("listBookmarks", [401, 200, 200, 200, 200, 200]),
    ("listMyLikes", [401, 200, 200, 200, 200, 200]),
    ("listBookmarkFolders", [401, 200, 200, 200, 200, 200]),
    ("makeBookmarkFolder", [401, 201, 201, 201, 201, 201]),
    // What one does to the owner.
    ("followAccount", [401, 409, 204, 204, 404, 204]),
    ("unfollowAccount", [401, 204, 204, 204, 404, 204]),
    ("acceptFollower", [401, 404, 404, 404, 404, 404]),
    ("removeFollower", [401, 204, 204, 204, 404, 204]),
    ("blockAccount", [401, 409, 204, 204, 204, 204]),
    ("unblockAccount", [401, 204, 204, 204, 204, 204]),
    ("muteAccount", [401, 409, 204, 204, 404, 204]),
    ("unmuteAccount", [401, 204, 204, 204, 404, 204]),
    // What is for followers.
    ("getPost", [404, 200, 200, 404, 404, 404]),
    ("listLikers", [404, 200, 200, 404, 404, 404]),
    ("listReposters", [404, 200, 200, 404, 404, 404]),
    ("listReplies", [404, 200, 200, 404, 404, 404]),
    ("listPostRevisions", [404, 200, 200, 404, 404, 404]),
    ("getThread", [404, 200, 200, 404, 404, 404]),
    ("likePost", [401, 204, 204, 404, 404, 404]),
    ("unlikePost", [401, 204, 204, 404, 404, 404]),
    ("bookmarkPost", [401, 204, 204, 404, 404, 404]),
    ("unbookmarkPost", [401, 204, 204, 404, 404, 404]),
    // The owner's alone.
    ("getBookmarkFolder", [401, 200, 404, 404, 404, 404]),
    ("renameBookmarkFolder", [401, 200, 404, 404, 404, 404]),
    ("deleteBookmarkFolder", [401, 204, 404, 404, 404, 404]),
    ("unrepostPost", [401, 204, 204, 404, 404, 404]),
    // The owner's alone.
    ("repostPost", [401, 204, 403, 404, 404, 404]),
    ("editPost", [401, 200, 403, 404, 404, 404]),
    ("deletePost", [401, 204, 403, 404, 404, 404]),
    ("endSession", [401, 204, 404, 404, 404, 404]),
    ("getSession", [401, 200, 404, 404, 404, 404]),
    // Operators'.
    ("listProjections", [401, 403, 403, 403, 403, 200]),
    ("endAccountSessions", [401, 403, 403, 403, 403, 204]),
];

/// Where a private account's differ.
#[rustfmt::skip]
const PRIVATE: &[(&str, [u16; 6])] = &[
    ("listFollowers", [403, 200, 200, 403, 404, 403]),
    ("listFollowing", [403, 200, 200, 403, 404, 403]),
    ("listAccountPosts", [403, 200, 200, 403, 404, 403]),
    ("countAccountPosts", [403, 200, 200, 403, 404, 403]),
];

/// For moderators, and for analysts.
const OPENED: &[(&str, [u16; 2])] = &[];

fn wanted(id: &str, owner: &str) -> Vec<u16> {
    let private = PRIVATE.iter().filter(|_| owner == "private");
    let line = private.chain(TABLE).find(|(known, _)| *known == id);
    let Some((_, wanted)) = line else {
        panic!("{id} is not in the table: who may do it?");
    };
    let opened = OPENED.iter().find(|(known, _)| *known == id);
    let others = opened.map_or([wanted[STRANGER]; 2], |(_, wanted)| *wanted);
    [wanted.as_slice(), &others].concat()
}

/// An owner, and the others as that owner knows them.
struct World {
    app: App,
    document: Value,
    owner: Person,
    is_private: bool,
    /// By role.
    people: Vec<Option<Person>>,
}

impl World {
    async fn new(is_private: bool) -> Self {
        let app = App::start().await;
        let document = app.client().get("/openapi.json").await.expect(200).body;
        let mut people = vec![None];
        for role in &ROLES[1..] {
            people.push(Some(app.client().register(role).await));
        }
        let person = |place: usize| people[place].as_ref().unwrap();
        person(2).follow(person(1)).await;
        let block = format!("/v1/accounts/{}/block", person(4).id);
        person(1).client.put(&block).await.expect(204);
        if is_private {
            let private = json!({"private": true});
            let made = person(1).client.patch("/v1/accounts/me", private).await;
            made.expect(200);
        }
        let vault = app.vault();
        for (place, role) in [
            (5, Role::Operator),
            (6, Role::Moderator),
            (7, Role::Analyst),
        ] {
            let account = kernel::AccountId(person(place).id.parse().unwrap());
            assert!(vault.grant(account, role, "a test").await.unwrap());
        }
        let owner = people[1].take().unwrap();
        Self {
            app,
            document,
            owner,
            is_private,
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
        let body = match self.is_private {
            true => json!({"text": SECRET}),
            false => json!({"text": SECRET, "visibility": "followers"}),
        };
        let made = self.client(1).post("/v1/posts", body).await;
        made.expect(201).text("/id")
    }

    async fn folder(&self) -> String {
        let body = json!({"folder_name": SECRET});
        let made = self.client(1).post("/v1/bookmark-folders", body).await;
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
    let mut wrong = Vec::new();
    for owner in OWNERS {
        let world = World::new(owner == "private").await;
        let asked = world.ask_everything(owner, &mut wrong).await;
        let gone = TABLE.iter().filter(|(id, _)| !asked.contains(*id));
        let gone: Vec<_> = gone.collect();
        assert!(gone.is_empty(), "no operation has {gone:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

impl World {
    /// Every operation as everybody; returns which there are.
    async fn ask_everything(&self, owner: &str, wrong: &mut Vec<String>) -> BTreeSet<String> {
        self.post().await;
        if !self.is_private {
            let listed = json!({"text": LISTED});
            let made = self.client(1).post("/v1/posts", listed).await;
            made.expect(201);
        }
        let mut asked = BTreeSet::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                asked.insert(id.to_owned());
                for (role, wanted) in wanted(id, owner).into_iter().enumerate() {
                    let answer = self.ask(id, path, method, operation, role).await;
                    let (got, role) = (answer.status.as_u16(), ROLES[role]);
                    let what = format!("{id} as {role} of a {owner} account");
                    if got != wanted {
                        wrong.push(format!("{what}: {got}, not {wanted}: {}", answer.body));
                    }
                    let body = answer.body.to_string();
                    if body.contains(SECRET) && !["owner", "follower"].contains(&role) {
                        wrong.push(format!("{what} tells what is for followers"));
                    }
                    if body.contains(LISTED) && role == "blocked" {
                        wrong.push(format!("{what} tells what the owner publishes"));
                    }
                    // The short answer is not listed for each operation.
                    let is_short = got == 204 && !answer.header("preference-applied").is_empty();
                    let told = if is_short { 200 } else { got };
                    if operation["responses"][told.to_string()].is_null() {
                        wrong.push(format!("{what}: {got} is not in the contract"));
                    }
                    if method != "get" {
                        self.put_back().await;
                    }
                }
            }
        }
        asked
    }

    async fn ask(
        &self,
        id: &str,
        path: &str,
        method: &str,
        operation: &Value,
        role: usize,
    ) -> Answer {
        let mut path = path
            .replace("{account_id}", &self.owner.id)
            .replace("{handle}", &self.owner.handle);
        match id {
            "listAccounts" | "listRelationships" => path += &format!("?ids={}", self.owner.id),
            "listPosts" => path += "?ids={post_id}",
            id if id.starts_with("count") => {
                let newer_than = self.newer_than(&path, role).await;
                path += &newer_than;
            }
            _ => {}
        }
        if path.contains("{post_id}") {
            path = path.replace("{post_id}", &self.post().await);
        }
        if path.contains("{session_id}") {
            path = path.replace("{session_id}", &self.session().await);
        }
        if path.contains("{folder_id}") {
            path = path.replace("{folder_id}", &self.folder().await);
        }
        self.app.settle().await;
        let body = self.body(operation, &format!("new_{role}"));
        let method: Method = method.to_ascii_uppercase().parse().unwrap();
        let any_version = [("If-Match", "*")];
        (self.client(role))
            .send(method, &path, body, &any_version)
            .await
    }

    /// What is counted from: of the list that is counted. Cursors of lists that are not
    /// the reader's own are the same for all.
    async fn newer_than(&self, path: &str, role: usize) -> String {
        let list = path.trim_end_matches("/count");
        let is_own = list.contains("/me/") || list.ends_with("/home");
        let client = self.client(if is_own { role } else { 1 });
        let page = client.get(list).await;
        let cursor = page.body["prev_cursor"].as_str().unwrap_or("none");
        format!("?newer_than={cursor}")
    }

    /// What one makes to an account by PUT and ends by DELETE, but for follows.
    fn edges(&self) -> Vec<&String> {
        let paths = self.document["paths"].as_object().unwrap().iter();
        let edges = paths.filter(|(path, methods)| {
            path.starts_with("/v1/accounts/{account_id}/")
                && !path.ends_with("/follow")
                && ["put", "delete"]
                    .iter()
                    .all(|method| !methods[method].is_null())
        });
        edges.map(|(path, _)| path).collect()
    }

    /// Who follows, asks, blocks, mutes … is as it was before.
    async fn put_back(&self) {
        let owner = &self.owner.id;
        for path in self.edges() {
            let path = path.replace("{account_id}", owner);
            for other in 2..ROLES.len() {
                self.client(other).delete(&path).await;
            }
        }
        let follow = format!("/v1/accounts/{owner}/follow");
        self.client(2).put(&follow).await.expect(204);
        if self.is_private {
            let private = json!({"private": true});
            let own = self.client(1);
            own.patch("/v1/accounts/me", private).await.expect(200);
            let follower = &self.people[2].as_ref().unwrap().id;
            let path = format!("/v1/accounts/me/followers/{follower}");
            own.put(&path).await.expect(204);
        }
        for other in (STRANGER..ROLES.len()).filter(|role| *role != BLOCKED) {
            self.client(other).delete(&follow).await.expect(204);
        }
    }
}
