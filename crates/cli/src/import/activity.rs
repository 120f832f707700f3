//! What a line of activity says, and which ids it means.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use domain::posts::PostId;
use kernel::{AccountId, Route, Uuid, compose_id};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// 2020-01-01T00:00:00Z: ids of imported things sort before new ones, in the
/// order of their lines.
const EPOCH_UNIX_MILLISECONDS: u64 = 1_577_836_800_000;

/// A byte order mark, which files that were put together have inside too.
const MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Deserialize, Hash)]
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
    /// None where nothing is on the line. Zeros and blanks around it are padding.
    pub fn parse(line: &[u8]) -> Result<Option<Self>, String> {
        let line = line.strip_prefix(MARK).unwrap_or(line);
        let padding = |byte: &u8| *byte <= b' ';
        let Some(first) = line.iter().position(|byte| !padding(byte)) else {
            return Ok(None);
        };
        let last = line.iter().rposition(|byte| !padding(byte));
        let line = &line[first..=last.unwrap_or(first)];
        serde_json::from_slice(line).map(Some).map_err(|error| {
            // It counts lines and columns within this one line.
            let why = error.to_string();
            let why = why.split(" at line 1 column ").next();
            why.unwrap_or_default().to_owned()
        })
    }

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
    posts: HashMap<String, Post>,
}

struct Post {
    id: PostId,
    /// Tells the line that made it from others with the same name.
    content: u64,
}

/// Another line gave the name to another post.
pub struct NameTaken;

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

    /// `None` where its author was not registered before. A line that is there
    /// twice means the same post.
    pub fn publish(
        &mut self,
        operation: &Operation,
        name: &str,
        line: u64,
    ) -> Result<Option<PostId>, NameTaken> {
        let Some(author) = self.account(operation.user()) else {
            return Ok(None);
        };
        let mut hasher = DefaultHasher::new();
        operation.hash(&mut hasher);
        let content = hasher.finish();
        if let Some(post) = self.posts.get(name) {
            return match post.content == content {
                true => Ok(Some(post.id)),
                false => Err(NameTaken),
            };
        }
        let digest = self.digest("post", name);
        let id = PostId(self.compose(line, &digest, author.route()));
        self.posts.insert(name.to_owned(), Post { id, content });
        Ok(Some(id))
    }

    pub fn account(&self, user: &str) -> Option<AccountId> {
        self.accounts.get(user).copied()
    }

    pub fn post(&self, name: &str) -> Option<PostId> {
        self.posts.get(name).map(|post| post.id)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_marks_are_no_part_of_a_line() {
        let line = b"\xef\xbb\xbf {\"op\":\"register\",\"user\":\"ada\"}\t\0\0";
        let read = Operation::parse(line);
        assert!(matches!(&read, Ok(Some(Operation::Register { user })) if user == "ada"));
        for blank in [&b""[..], b"  ", b"\xef\xbb\xbf", b"\0\0\0"] {
            assert!(matches!(Operation::parse(blank), Ok(None)), "{blank:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_says_why() {
        let deep = "[".repeat(10_000);
        for (line, why) in [
            ("nonsense", "expected"),
            ("{\"op\":\"register\"}", "missing field `user`"),
            (
                "{\"op\":\"register\",\"user\":\"a\",\"user\":\"b\"}",
                "duplicate",
            ),
            ("{\"op\":\"like\",\"op\":\"like\"}", "duplicate"),
            (
                "{\"op\":\"register\",\"user\":\"a\0\"}",
                "control character",
            ),
            (
                &format!("{{\"op\":\"post\",\"text\":{deep}"),
                "recursion limit",
            ),
        ] {
            let read = Operation::parse(line.as_bytes());
            assert!(matches!(&read, Err(said) if said.contains(why)), "{read:?}");
        }
        assert!(Operation::parse(b"{\"op\":\"register\",\"user\":\"\xff\"}").is_err());
    }

    #[test]
    fn one_name_means_one_post() {
        let mut ids = Ids::new("source".to_owned());
        ids.register("ada", 1);
        let post = |text: &str| Operation::Post {
            user: "ada".to_owned(),
            id: "p".to_owned(),
            text: text.to_owned(),
        };
        let first = ids.publish(&post("one"), "p", 2);
        let again = ids.publish(&post("one"), "p", 3);
        assert!(matches!((&first, &again), (Ok(Some(a)), Ok(Some(b))) if a == b));
        assert!(ids.publish(&post("two"), "p", 4).is_err());
    }
}
