//! What handlers take: `Write` for a command, `Read` for a query. Each is put together
//! from extractors that a feature would otherwise name one by one, and carries their
//! marks into the contract.

use std::sync::{Arc, LazyLock, OnceLock};

use edge::{
    answers::{Changed, Done},
    identity::{Authenticated, Viewer},
    paging::Here,
    preconditions::{Idempotency, IfMatch, MinPosition, MustMatch},
    request::RequestId,
};
use eventlog::Receipt;
use kernel::{AccountId, Command, Uuid};
use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, registry::Registry, types::Example,
};
use readmodel::{PgPool, withheld::Withheld};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    examples::ACCOUNT_ID,
    freshness::{Moment, View},
    problem::Problem,
    services::Services,
};

/// Ids of one batch.
const BATCH_MAX: usize = 100;

/// A changed thing, and its version after the change.
#[derive(Object)]
#[oai(example)]
pub struct Version {
    pub id: Uuid,
    pub version: u64,
}

impl From<&Receipt> for Version {
    fn from(receipt: &Receipt) -> Self {
        Self {
            id: receipt.aggregate.id,
            version: receipt.version,
        }
    }
}

impl Example for Version {
    fn example() -> Self {
        Self {
            id: ACCOUNT_ID,
            version: 2,
        }
    }
}

/// A command of an account: who sends it, the request, and its Idempotency-Key.
/// `Write<IfMatch>` and `Write<MustMatch>` take the version that is expected, too.
pub(crate) struct Write<E = ()> {
    pub services: Arc<Services>,
    pub me: Authenticated,
    pub request: RequestId,
    pub expected: E,
    pub idempotency: Idempotency,
}

impl<E> Write<E> {
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

    /// Sends a command that must not be done twice.
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

    /// The same, for a change of what has a version.
    pub async fn change<C>(&self, command: &C) -> Result<Changed<Version>, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        let receipt = self.execute_once(command).await?;
        Ok(Changed::new(Version::from(&receipt))
            .at(receipt.position)
            .version(receipt.version))
    }
}

/// A query by `W`: a [`Viewer`], which may be anonymous, or an account.
pub(crate) struct Read<W> {
    pub services: Arc<Services>,
    pub who: W,
    pub min_position: MinPosition,
    pub here: Here,
    /// A place among those who read without an account, until it is answered.
    place: OnceLock<OwnedSemaphorePermit>,
    withheld: OnceLock<Arc<Withheld>>,
}

impl<W: Copy + Into<Viewer>> Read<W> {
    pub fn viewer(&self) -> Viewer {
        self.who.into()
    }

    pub fn pool(&self) -> &PgPool {
        self.services.pool()
    }

    /// What is left out of what the views have, as of the moment that was observed.
    pub fn withheld(&self) -> &Withheld {
        static NOTHING: LazyLock<Withheld> = LazyLock::new(Withheld::default);
        self.withheld.get().map_or(&NOTHING, |withheld| withheld)
    }

    /// Waits until the reader's own writes are visible; an anonymous reader also waits for
    /// a place.
    pub async fn observe(&self) -> Result<Moment, Problem> {
        let reader = self.viewer().account();
        let observed = (self.services.freshness)
            .wait(View::SOCIAL, reader, &self.min_position.0)
            .await?;
        let _ = self.withheld.set(observed.withheld.clone());
        if reader.is_none() {
            let place = self.services.anonymous_place().await?;
            let _ = self.place.set(place);
        }
        Ok(observed)
    }

    /// The same, for an answer about `aggregate`.
    pub async fn observe_of(&self, aggregate: Uuid) -> Result<Moment, Problem> {
        let observed = self.observe().await?;
        observed.refuse_parked(aggregate)?;
        Ok(observed)
    }

    /// The same, for a batch, with its ids as they are in the query parameter `ids`.
    pub async fn observe_batch<I>(
        &self,
        ids: &str,
        id: fn(Uuid) -> I,
    ) -> Result<(Moment, Vec<I>), Problem> {
        let ids = parse_ids(ids)?.into_iter().map(id).collect();
        Ok((self.observe().await?, ids))
    }
}

/// Ids of a batch, in a query parameter named `ids`.
fn parse_ids(text: &str) -> Result<Vec<Uuid>, Problem> {
    let wrong = || {
        let detail = format!("Send 1 to {BATCH_MAX} ids with commas between.");
        Problem::invalid_parameter("ids", detail)
    };
    let ids: Vec<Uuid> = text
        .split(',')
        .take(BATCH_MAX + 1)
        .map(|id| id.trim().parse().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    match ids.len() <= BATCH_MAX {
        true => Ok(ids),
        false => Err(wrong()),
    }
}

/// Extractors put together, whose marks are those of the parts, in their order.
macro_rules! put_together {
    ($name:ty { $($field:ident: $part:ty),+ $(; $($constant:ident: $value:expr),+)? }) => {
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
                request: &'a Request,
                body: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> Result<Self> {
                let services = request.data::<Arc<Services>>().cloned();
                let missing = || Problem::internal("no Services in the requests' data");
                Ok(Self {
                    services: services.ok_or_else(missing)?,
                    $($field: {
                        let options = ExtractParamOptions::default();
                        <$part as ApiExtractor<'a>>::from_request(request, body, options).await?
                    },)+
                    $($($constant: $value),+)?
                })
            }
        }
    };
}

put_together!(Write {
    me: Authenticated,
    request: RequestId,
    idempotency: Idempotency;
    expected: ()
});
put_together!(Write<IfMatch> {
    me: Authenticated,
    request: RequestId,
    expected: IfMatch,
    idempotency: Idempotency
});
put_together!(Write<MustMatch> {
    me: Authenticated,
    request: RequestId,
    expected: MustMatch,
    idempotency: Idempotency
});
put_together!(Read<Viewer> {
    who: Viewer,
    min_position: MinPosition,
    here: Here;
    place: OnceLock::new(),
    withheld: OnceLock::new()
});
put_together!(Read<Authenticated> {
    who: Authenticated,
    min_position: MinPosition,
    here: Here;
    place: OnceLock::new(),
    withheld: OnceLock::new()
});
