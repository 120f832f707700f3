//! What a line of activity says, and which ids it means.

use std::collections::HashMap;

use domain::posts::PostId;
use kernel::{AccountId, Route, Uuid, compose_id};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// 2020-01-01T00:00:00Z: ids of imported things sort before new ones, in the
/// order of their lines.
const EPOCH_UNIX_MILLISECONDS: u64 = 1_577_836_800_000;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    Register {
        user: String,
    },
    Follow {
        user: String,
        target: String,
    },
    Post {
        user: String,
        id: String,
        text: String,
    },
    Reply {
        user: String,
        id: String,
        to: String,
        text: String,
    },
    Like {
        user: String,
        post: String,
    },
}

impl Operation {
    pub const NAMES: [&'static str; 5] = ["register", "follow", "post", "reply", "like"];

    /// Index into `NAMES`.
    pub fn kind(&self) -> usize {
        match self {
            Self::Register { .. } => 0,
            Self::Follow { .. } => 1,
            Self::Post { .. } => 2,
            Self::Reply { .. } => 3,
            Self::Like { .. } => 4,
        }
    }

    pub fn user(&self) -> &str {
        match self {
            Self::Register { user }
            | Self::Follow { user, .. }
            | Self::Post { user, .. }
            | Self::Reply { user, .. }
            | Self::Like { user, .. } => user,
        }
    }
}

/// The ids of one file: a function of the file, the name and its line.
pub struct Ids {
    source: String,
    accounts: HashMap<String, AccountId>,
    posts: HashMap<String, PostId>,
}

impl Ids {
    pub fn new(source: String) -> Self {
        Self {
            source,
            accounts: HashMap::new(),
            posts: HashMap::new(),
        }
    }

    pub fn register(&mut self, user: &str, line: u64) -> AccountId {
        let digest = self.digest("account", user);
        let route = Route(u16::from_be_bytes([digest[8], digest[9]]));
        let id = AccountId(self.compose(line, &digest, route));
        *self.accounts.entry(user.to_owned()).or_insert(id)
    }

    /// `None` where `user` was not registered before.
    pub fn publish(&mut self, user: &str, name: &str, line: u64) -> Option<PostId> {
        let author = self.account(user)?;
        let digest = self.digest("post", name);
        let id = PostId(self.compose(line, &digest, author.route()));
        Some(*self.posts.entry(name.to_owned()).or_insert(id))
    }

    pub fn account(&self, user: &str) -> Option<AccountId> {
        self.accounts.get(user).copied()
    }

    pub fn post(&self, name: &str) -> Option<PostId> {
        self.posts.get(name).copied()
    }

    /// Tells the requests of one line from those of all others.
    pub fn correlation(&self, line: u64) -> Uuid {
        let digest = self.digest("line", &line.to_string());
        self.compose(
            line,
            &digest,
            Route(u16::from_be_bytes([digest[8], digest[9]])),
        )
    }

    fn digest(&self, what: &str, name: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.source, what, name] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn compose(&self, line: u64, digest: &[u8; 32], route: Route) -> Uuid {
        let random = std::array::from_fn(|index| digest[index]);
        compose_id(EPOCH_UNIX_MILLISECONDS + line, random, route)
    }
}
