//! What the edge works with, in the requests' data as `Arc<EdgeServices>`: layers and
//! extractors find it there.

use std::sync::Arc;

use kernel::Spans;
use poem::Request;

use crate::{
    caller::Proxies,
    cors::Origins,
    ended::EndedSessions,
    limits::Metering,
    paging::{CursorSecretError, Cursors},
    positions::SealedPositions,
    problem::Problem,
    tokens::Tokens,
};

pub struct EdgeServices {
    pub tokens: Arc<Tokens>,
    pub ended: Arc<EndedSessions>,
    pub cursors: Arc<Cursors>,
    pub positions: Arc<SealedPositions>,
    /// What counts requests; none: nothing is limited.
    pub metering: Option<Metering>,
    /// Who may say for whom they ask.
    pub proxies: Proxies,
    /// Whose pages may call from a browser.
    pub origins: Origins,
    /// Where traces are recorded; none: nowhere.
    pub spans: Option<Arc<dyn Spans>>,
}

impl EdgeServices {
    /// Without limits, proxies, other origins and traces.
    pub fn new(
        tokens: Arc<Tokens>,
        ended: Arc<EndedSessions>,
        cursor_secret: &[u8],
    ) -> Result<Self, CursorSecretError> {
        Ok(Self {
            tokens,
            ended,
            cursors: Arc::new(Cursors::new(cursor_secret)?),
            positions: Arc::new(SealedPositions::new(cursor_secret)?),
            metering: None,
            proxies: Proxies::default(),
            origins: Origins::default(),
            spans: None,
        })
    }

    /// None where whoever put the layers together left it out.
    pub(crate) fn of(request: &Request) -> Option<&Self> {
        request.data::<Arc<Self>>().map(Arc::as_ref)
    }

    pub(crate) fn missing() -> Problem {
        Problem::internal("no EdgeServices in the requests' data")
    }
}
