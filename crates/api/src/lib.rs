#![doc = include_str!("../README.md")]

// Features.
mod accounts;
mod blocks;
mod deactivation;
mod emails;
mod follows;
mod health;
mod likes;
mod mutes;
mod operations;
mod operators;
mod passwords;
mod posts;
mod registration;
mod relationships;
mod second_factors;
mod sessions;
mod shown;
mod timelines;

// Once for all.
mod acceptance;
mod admission;
mod answers;
mod asked;
mod assembly;
mod body;
mod caller;
mod causes;
mod compression;
pub mod contract;
mod contract_bounds;
mod contract_links;
mod contract_parts;
mod cors;
mod counted;
mod docs;
mod ended;
mod freshness;
mod header_text;
mod identity;
mod instant;
mod json;
mod limits;
mod metrics;
mod pages;
mod paging;
mod preconditions;
mod problem;
mod query;
mod repeated;
mod request;
mod schema;
mod seen;
mod server;
mod services;
mod standing;
mod surface;
mod system;
mod target;
mod throttle;
mod tokens;
mod trace_context;

pub use answers::{AS_OF, Changed, Created, Done, EVENT_POSITION, Found};
pub use assembly::{assemble, service};
pub use body::{BODY_BYTES_MAX, Input, JSON_DEPTH_MAX, RawBody};
pub use caller::{InvalidProxy, Proxies};
pub use cors::{LOOPBACK, Origins};
pub use ended::EndedSessions;
pub use identity::{Authenticated, Checks, Viewer, now};
pub use limits::{LimitSettings, Limiting};
pub use metrics::{Measured, serve_metrics};
pub use operations::{LookError, look};
pub use paging::{CursorSecretError, Cursors, Here, LIMIT_DEFAULT, LIMIT_MAX, Limit};
pub use preconditions::{Idempotency, IfMatch, IfNoneMatch, MinPosition, etag};
pub use problem::{Code, FieldError, PROBLEM_MEDIA_TYPE, Problem};
pub use request::{Edge, REQUEST_SECONDS_MAX, RequestId, X_REQUEST_ID};
pub use server::{accept_until, document, listen, serve};
pub use services::{Rooms, Services, ServicesError};
pub use surface::{Operation, Surface};
pub use system::{System, Tag};
pub use tokens::{
    ACCESS_TOKEN_SECONDS, Claims, SECRET_BYTES_MIN, SigningFailed, SigningKey, TokenError,
    TokenSettings, TokenSettingsError, Tokens,
};
