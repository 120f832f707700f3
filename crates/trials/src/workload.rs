//! What clients do, drawn from a seed: publish, reply, like, follow, let in, block,
//! mute, edit, delete, register, read. It refuses to send anything.

use kernel::Uuid;
use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::{
    client::{Answer, Request},
    load::Load,
};

/// Posts that are liked, edited and replied to are among so many last ones.
const RECENT_POSTS: usize = 60;
/// One write in so many is by another account than the client's own, so that
/// two clients act as one.
const OTHER_ONE_IN: u32 = 8;
/// Each client begins with so many follows.
const FIRST_FOLLOWS: u64 = 3;

/// What an edge leads to.
#[derive(Clone, Copy)]
enum Far {
    Account,
    Post,
}

/// Edges: what each leads to, the end of its path, and of how many among a hundred
/// operations it is made and ended. `draw` shares out the rest.
const EDGES: &[(Far, &str, u32, u32)] = &[
    (Far::Post, "like", 18, 6),
    (Far::Account, "follow", 8, 4),
    (Far::Account, "block", 2, 2),
    (Far::Account, "mute", 1, 1),
];

/// Posts that were published, with their authors, and not deleted since.
#[derive(Default)]
pub struct Posts(Vec<(Uuid, Option<Uuid>)>);

pub enum Operation {
    Write {
        request: Request,
        account: Option<Uuid>,
    },
    Read(Request),
}

impl Posts {
    pub fn note(&mut self, request: &Request, answer: &Answer, account: Option<Uuid>) {
        if request.path == "/v1/posts" && answer.status == 201 {
            self.0.extend(answer.id.map(|id| (id, account)));
        }
        if request.method == "DELETE" && request.path.starts_with("/v1/posts/") {
            self.0
                .retain(|(id, _)| !request.path.ends_with(&id.to_string()));
        }
    }

    fn recent(&self) -> &[(Uuid, Option<Uuid>)] {
        &self.0[self.0.len().saturating_sub(RECENT_POSTS)..]
    }

    pub fn last(&self) -> Option<Uuid> {
        self.0.last().map(|(id, _)| *id)
    }

    fn any(&self, random: &mut ChaCha8Rng) -> Option<Uuid> {
        self.recent().choose(random).map(|(id, _)| *id)
    }

    fn of(&self, author: Uuid, random: &mut ChaCha8Rng) -> Option<Uuid> {
        let own = self.recent().iter().filter(|(_, by)| *by == Some(author));
        let own: Vec<_> = own.collect();
        own.choose(random).map(|(id, _)| *id)
    }
}

/// The `turn`th operation of client `who`.
pub fn draw(load: &Load, who: usize, turn: u64, random: &mut ChaCha8Rng) -> Operation {
    let mut who = who % load.accounts.len();
    if random.random_range(0..OTHER_ONE_IN) == 0 {
        who = random.random_range(0..load.accounts.len());
    }
    let (account, token) = load.accounts[who].clone();
    let key = Uuid::from_u128(random.random()).to_string();
    let write = |method: &str, path: String, body: Option<serde_json::Value>| Operation::Write {
        request: Request {
            method: method.into(),
            path,
            body: body.map(|body| body.to_string()),
            key: Some(key.clone()),
            token: Some(token.clone()),
        },
        account: Some(account),
    };
    let read = |path: String| {
        Operation::Read(Request {
            method: "GET".into(),
            path,
            token: Some(token.clone()),
            ..Request::default()
        })
    };
    let other = |random: &mut ChaCha8Rng| {
        let step = random.random_range(1..load.accounts.len());
        load.accounts[(who + step) % load.accounts.len()].0
    };
    if turn < FIRST_FOLLOWS {
        let path = format!("/v1/accounts/{}/follow", other(random));
        return write("PUT", path, None);
    }
    if random.random_range(0..100) < load.registrations {
        return register(key);
    }
    let publish = |text: &str, reply_to: Option<Uuid>| {
        let mut body = json!({"text": format!("{text} #trial {key}")});
        if let Some(id) = reply_to {
            body["reply_to_id"] = json!(id);
        }
        write("POST", "/v1/posts".into(), Some(body))
    };
    let posts = load.posts.lock();
    let (any, own) = (posts.any(random), posts.of(account, random));
    drop(posts);
    let mut drawn = random.random_range(0..100);
    for (far, edge, makes, ends) in EDGES {
        if drawn < makes + ends {
            let method = if drawn < *makes { "PUT" } else { "DELETE" };
            let path = match far {
                Far::Account => Some(format!("/v1/accounts/{}/{edge}", other(random))),
                Far::Post => any.map(|post| format!("/v1/posts/{post}/{edge}")),
            };
            let edge = path.map(|path| write(method, path, None));
            return edge.unwrap_or_else(|| publish("a post", None));
        }
        drawn -= makes + ends;
    }
    match (drawn, any, own) {
        (0..10, Some(post), _) => publish("a reply", Some(post)),
        (10..17, _, Some(post)) => {
            let body = json!({"text": format!("edited {key}")});
            write("PATCH", format!("/v1/posts/{post}"), Some(body))
        }
        (17..21, _, Some(post)) => write("DELETE", format!("/v1/posts/{post}"), None),
        (21..23, ..) => {
            let private = random.random_range(0..3) == 0;
            let body = json!({"bio": format!("changed by {key}"), "private": private});
            write("PATCH", "/v1/accounts/me".into(), Some(body))
        }
        (23..25, ..) => {
            let path = format!("/v1/accounts/me/followers/{}", other(random));
            write("PUT", path, None)
        }
        (25..30, ..) => read("/v1/timelines/home?limit=20".into()),
        (30..34, Some(post), _) => read(format!("/v1/posts/{post}")),
        (34..36, ..) => read("/v1/timelines/local".into()),
        _ => publish("a post", None),
    }
}

fn register(key: String) -> Operation {
    let name = &key.replace('-', "")[..20];
    let body = json!({
        "handle": format!("new_{name}"),
        "email": format!("{name}@example.org"),
        "password": "a password of trials",
    });
    Operation::Write {
        request: Request {
            method: "POST".into(),
            path: "/v1/accounts".into(),
            body: Some(body.to_string()),
            key: Some(key),
            token: None,
        },
        account: None,
    }
}
