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
use kernel::{AccountId, Command, Uuid};
use poem::FromRequest;
use poem::{Request, RequestBody, Result, web::Data};
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

    /// Sends a command that must not be done twice, as one that makes something.
    pub async fn execute_once<C>(&self, command: &C) -> Result<Receipt, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        let key = self.idempotency.of(self.account());
        (self.services)
            .execute_once(command, self.account(), self.request.0, key)
            .await
    }

    /// Draws the id of what the account makes.
    pub fn new_id(&self) -> Result<Uuid, Problem> {
        crate::services::new_id(self.account())
    }
}

/// A query by `W`: a [`Viewer`], who may be nobody, or an account.
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
    ($name:ty $(, of $who:ident)?, marked by [$($part:ty),+], |$request:ident, $body:ident| $make:expr) => {
        impl<'a $(, $who: ApiExtractor<'a, ParamType = ()> + Send)?> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                $(<$part as ApiExtractor>::register(registry);)+
            }

            fn security_schemes() -> Vec<&'static str> {
                let parts = [$(<$part as ApiExtractor>::security_schemes()),+];
                parts.concat()
            }

            fn has_security_fallback() -> bool {
                false $(|| <$part as ApiExtractor>::has_security_fallback())+
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
    let Data(services) = <Data<&Arc<Services>> as FromRequest>::from_request(request, body).await?;
    Ok(Self {
        services: services.clone(),
        me: extracted(request, body).await?,
        request: <RequestId as FromRequest>::from_request(request, body).await?,
        idempotency: extracted(request, body).await?,
    })
});

put_together!(Read<W>, of W, marked by [W, MinPosition], |request, body| {
    let Data(services) = <Data<&Arc<Services>> as FromRequest>::from_request(request, body).await?;
    Ok(Self {
        services: services.clone(),
        who: extracted(request, body).await?,
        min_position: extracted(request, body).await?,
        here: <Here as FromRequest>::from_request(request, body).await?,
    })
});

async fn extracted<'a, T: ApiExtractor<'a, ParamType = ()>>(
    request: &'a Request,
    body: &mut RequestBody,
) -> Result<T> {
    T::from_request(request, body, ExtractParamOptions::default()).await
}
