//! What handlers take: `Write` for a command, `Read` for a query. Each is put together
//! from extractors that a feature would otherwise name one by one, and carries their
//! marks into the contract.

use std::sync::{Arc, LazyLock, OnceLock};

use edge::{
    answers::Done,
    identity::{Authenticated, Viewer},
    paging::Here,
    preconditions::{Idempotency, IfMatch, MinPosition, MustMatch},
    preferences::Return,
    request::RequestId,
    text,
};
use eventlog::Receipt;
use kernel::{AccountId, Command, Positions, Uuid};
use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, registry::Registry, types::Example,
};
use readmodel::{PgPool, withheld::Withheld};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    examples::ACCOUNT_ID,
    freshness::{Moment, View},
    problem::{FieldCode, Problem},
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

/// A command of an account: who sends it, the request, its Idempotency-Key, and whether
/// it is answered shortly.
/// `Write<IfMatch>` and `Write<MustMatch>` take the version that is expected, too.
pub(crate) struct Write<E = ()> {
    pub services: Arc<Services>,
    pub me: Authenticated,
    pub request: RequestId,
    pub expected: E,
    pub idempotency: Idempotency,
    prefers: Return,
    here: Here,
}

impl<E> Write<E> {
    pub fn account(&self) -> AccountId {
        self.me.account
    }

    /// Sends a command that does the same however often it is sent.
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

    /// An answer without a body.
    pub fn done(&self, receipt: &Receipt) -> Done {
        Done::at(receipt.position).replayed(receipt.again)
    }

    /// The views with what was written. None where the client prefers the short answer,
    /// and where they do not show it in time: it was written all the same, so that nothing
    /// that fails from here on is a refusal.
    pub async fn read_back(&self, receipts: &[Receipt]) -> Option<Read<Authenticated>> {
        if self.prefers == Return::Minimal {
            return None;
        }
        let written: Positions = receipts.iter().filter_map(|r| r.position).collect();
        let moment = (self.services.freshness)
            .reach(View::SOCIAL, &written)
            .await;
        let moment = moment.ok()?;
        for receipt in receipts {
            moment.refuse_parked(receipt.aggregate.id).ok()?;
        }
        let read = Read {
            services: self.services.clone(),
            who: self.me,
            min_position: MinPosition::default(),
            here: self.here.clone(),
            place: OnceLock::new(),
            moment: OnceLock::from(moment),
        };
        Some(read)
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
    moment: OnceLock<Moment>,
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
        (self.moment.get()).map_or(&NOTHING, |moment| &moment.withheld)
    }

    /// Waits until the reader's own writes are visible; an anonymous reader also waits for
    /// a place.
    pub async fn observe(&self) -> Result<Moment, Problem> {
        if let Some(moment) = self.moment.get() {
            return Ok(moment.clone());
        }
        let reader = self.viewer().account();
        let observed = (self.services.freshness)
            .wait(View::SOCIAL, reader, &self.min_position.0)
            .await?;
        let _ = self.moment.set(observed.clone());
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
        let detail = text!(
            "Send 1 to {0} ids with commas between.",
            "Senden Sie 1 bis {0} Kennungen mit Kommas dazwischen."
        );
        let detail = detail.with([(BATCH_MAX as u64).into()]);
        Problem::invalid_parameter("ids", FieldCode::InvalidFormat.saying(detail))
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
    idempotency: Idempotency,
    prefers: Return,
    here: Here;
    expected: ()
});
put_together!(Write<IfMatch> {
    me: Authenticated,
    request: RequestId,
    expected: IfMatch,
    idempotency: Idempotency,
    prefers: Return,
    here: Here
});
put_together!(Write<MustMatch> {
    me: Authenticated,
    request: RequestId,
    expected: MustMatch,
    idempotency: Idempotency,
    prefers: Return,
    here: Here
});
put_together!(Read<Viewer> {
    who: Viewer,
    min_position: MinPosition,
    here: Here;
    place: OnceLock::new(),
    moment: OnceLock::new()
});
put_together!(Read<Authenticated> {
    who: Authenticated,
    min_position: MinPosition,
    here: Here;
    place: OnceLock::new(),
    moment: OnceLock::new()
});
