//! What handlers take: `Write` for a command, `Read` for a query. Each is put together
//! from extractors that a feature would otherwise name one by one, and carries their
//! marks into the contract.

use std::sync::Arc;

use edge::{
    answers::Done,
    identity::{Authenticated, Viewer},
    paging::{Here, Limit},
    preconditions::{Idempotency, MinPosition},
    request::RequestId,
};
use eventlog::Receipt;
use kernel::{AccountId, Command};
use poem::FromRequest;
use poem::{Request, RequestBody, Result};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, registry::Registry};
use readmodel::PgPool;

use crate::{pages::EdgePage, problem::Problem, services::Services};

/// A command of an account: who sends it, the request, and its Idempotency-Key.
pub(crate) struct Write {
    pub services: Arc<Services>,
    pub me: Authenticated,
    pub request: RequestId,
    pub idempotency: Idempotency,
}

impl Write {
    pub fn account(&self) -> AccountId {
        self.me.account
    }

    /// Sends a command that does the same however often it is sent, and of whose outcome
    /// there is nothing more to tell than its position.
    pub async fn send<C>(&self, command: &C) -> Result<Done, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        Ok(Done::at(self.execute(command).await?.position))
    }

    /// The same, with the receipt.
    pub async fn execute<C>(&self, command: &C) -> Result<Receipt, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        (self.services)
            .execute(command, self.account(), self.request.0, &self.idempotency)
            .await
    }
}

/// A query by `W`: a [`Viewer`], which may be anonymous, or an account.
pub(crate) struct Read<W> {
    pub services: Arc<Services>,
    pub who: W,
    pub min_position: MinPosition,
    pub here: Here,
}

impl<W: Clone + Into<Viewer>> Read<W> {
    pub fn viewer(&self) -> Viewer {
        self.who.clone().into()
    }

    pub fn pool(&self) -> &PgPool {
        self.services.pool()
    }

    /// A page of edges; `scope` is what its cursor is bound to.
    pub async fn edges(
        &self,
        scope: String,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<EdgePage, Problem> {
        let position = &self.min_position;
        EdgePage::begin(
            &self.services,
            self.viewer(),
            position,
            scope,
            limit,
            cursor,
        )
        .await
    }
}

/// Extractors put together, whose marks are those of the parts.
macro_rules! put_together {
    ($name:ty, marked by [$($part:ty),+], |$request:ident, $body:ident| $make:expr) => {
        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                $(<$part as ApiExtractor<'a>>::register(registry);)+
            }

            fn security_schemes() -> Vec<&'static str> {
                let parts = [$(<$part as ApiExtractor<'a>>::security_schemes()),+];
                parts.concat()
            }

            fn has_security_fallback() -> bool {
                false $(|| <$part as ApiExtractor<'a>>::has_security_fallback())+
            }

            async fn from_request(
                $request: &'a Request,
                $body: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> Result<Self> {
                $make
            }
        }
    };
}

put_together!(Write, marked by [Authenticated, Idempotency], |request, body| {
    Ok(Self {
        services: services(request)?,
        me: <Authenticated as ApiExtractor<'a>>::from_request(request, body, ExtractParamOptions::default()).await?,
        request: <RequestId as FromRequest<'a>>::from_request(request, body).await?,
        idempotency: <Idempotency as ApiExtractor<'a>>::from_request(request, body, ExtractParamOptions::default()).await?,
    })
});

put_together!(Read<Viewer>, marked by [Viewer, MinPosition], |request, body| {
    Ok(Self {
        services: services(request)?,
        who: <Viewer as ApiExtractor<'a>>::from_request(request, body, ExtractParamOptions::default()).await?,
        min_position: <MinPosition as ApiExtractor<'a>>::from_request(request, body, ExtractParamOptions::default()).await?,
        here: <Here as FromRequest<'a>>::from_request(request, body).await?,
    })
});

put_together!(Read<Authenticated>, marked by [Authenticated, MinPosition], |request, body| {
    Ok(Self {
        services: services(request)?,
        who: <Authenticated as ApiExtractor<'a>>::from_request(request, body, ExtractParamOptions::default()).await?,
        min_position: <MinPosition as ApiExtractor<'a>>::from_request(request, body, ExtractParamOptions::default()).await?,
        here: <Here as FromRequest<'a>>::from_request(request, body).await?,
    })
});

fn services(request: &Request) -> Result<Arc<Services>, Problem> {
    let services = request.data::<Arc<Services>>().cloned();
    services.ok_or_else(|| Problem::internal("no Services in the requests' data"))
}
