//! What is asked about the server itself: whether it lives, what it runs, and
//! the keys that its tokens are checked with. It refuses to say how the
//! servers behind it are: that is for operators.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi, Tags, payload::Json, types::Example};

use crate::{services::EdgeServices, tokens::PublicKey};

#[derive(Tags)]
pub enum Tag {
    /// The server itself.
    System,
}

pub struct System;

/// Sent by a process that serves.
#[derive(Object)]
#[oai(example)]
struct Life {
    /// Always `live`.
    status: String,
}

/// What runs here.
#[derive(Object)]
#[oai(example)]
struct Release {
    name: String,
    version: String,
}

/// A JWK set (RFC 7517).
#[derive(Object)]
#[oai(example)]
struct TokenKeys {
    keys: Vec<PublicKey>,
}

impl Example for TokenKeys {
    fn example() -> Self {
        Self {
            keys: vec![PublicKey::example()],
        }
    }
}

impl Example for Life {
    fn example() -> Self {
        Self {
            status: "live".into(),
        }
    }
}

impl Example for Release {
    fn example() -> Self {
        Self {
            name: "headwater".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

#[OpenApi(tag = "Tag::System")]
impl System {
    /// Whether this process serves
    ///
    /// It asks no other server, so that a restart is wanted only where it helps.
    #[oai(path = "/health/live", method = "get", operation_id = "getLiveness")]
    async fn liveness(&self) -> Json<Life> {
        Json(Life::example())
    }

    /// What runs here
    ///
    /// The release that answers, for bug reports.
    #[oai(path = "/version", method = "get", operation_id = "getVersion")]
    async fn version(&self) -> Json<Release> {
        Json(Release::example())
    }

    /// The keys of access tokens
    ///
    /// Empty where the server signs with a secret.
    #[oai(
        path = "/.well-known/jwks.json",
        method = "get",
        operation_id = "getTokenKeys"
    )]
    async fn token_keys(&self, services: Data<&Arc<EdgeServices>>) -> Json<TokenKeys> {
        Json(TokenKeys {
            keys: services.tokens.public_keys().collect(),
        })
    }
}
