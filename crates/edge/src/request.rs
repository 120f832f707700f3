//! What the edge found out about a request, for the layers and handlers inside: its
//! id, who asks, and for which operation.

use std::sync::Arc;

use poem::{
    Request, Result,
    http::{HeaderName, Uri},
};
use uuid::{Builder, Uuid};

use crate::{
    identity::{Asker, now},
    problem::Problem,
    surface::Operation,
};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the request in the log line and in the events it makes. It is always
/// drawn here: it scopes the receipts of commands without a key, so a client
/// must not choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

impl RequestId {
    pub(crate) fn draw() -> Self {
        let milliseconds = u64::try_from(now().0).unwrap_or_default();
        let random = rand::random();
        Self(Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }
}

impl<'a> poem::FromRequest<'a> for RequestId {
    async fn from_request(request: &'a Request, _: &mut poem::RequestBody) -> Result<Self> {
        let head = request.data::<Head>();
        let head = head.ok_or_else(|| Problem::internal("no head in the request's data"))?;
        Ok(head.id)
    }
}

/// In the data of the request.
#[derive(Clone)]
pub(crate) struct Head {
    pub id: RequestId,
    pub asker: Asker,
    /// With its path in its one spelling, and whole: routers cut the request's own.
    pub uri: Uri,
    pub operation: Option<Arc<Operation>>,
}
