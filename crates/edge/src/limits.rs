//! How much one may ask for: points that every request spends, those of writes
//! more, counted by account or, for strangers, by address. Each answer says how
//! many are left (draft-ietf-httpapi-ratelimit-headers-10).

use std::net::{IpAddr, Ipv4Addr};

use kernel::AccountId;
use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
};
use vault::{Budget, Limits, Spend, Standing, Whose};

use crate::{
    caller::{Caller, network},
    header_text::HeaderText,
    problem::{Code, Problem},
    services::EdgeServices,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The name of a policy and two numbers.
const RATE_LIMIT_CHARACTERS: usize = 64;
/// Points that a request spends which changes something.
pub const WRITE_POINTS: i32 = 5;
const READ_POINTS: i32 = 1;
/// What only tells how the server is may always be asked.
const UNLIMITED: [&str; 3] = ["/health/live", "/health/ready", "/version"];

/// What counts requests.
pub struct Metering {
    counted: Limits,
    anonymous: Policed,
    account: Policed,
}

/// What requests are metered by, as answers tell it.
struct Policed {
    name: &'static str,
    budget: Budget,
    header: Option<HeaderValue>,
}

impl Policed {
    fn new(name: &'static str, budget: Budget) -> Self {
        Self {
            name,
            budget,
            // Lives as long as the process, so that no answer counts who holds it.
            header: Some(HeaderValue::from_static(described(name, budget).leak())),
        }
    }
}

impl Metering {
    /// Points of an address, for requests of nobody, and of an account.
    pub fn new(anonymous: Budget, account: Budget, counted: Limits) -> Self {
        Self {
            anonymous: Policed::new("anonymous", anonymous),
            account: Policed::new("account", account),
            counted,
        }
    }
}

/// What a request of `account` spent.
pub(crate) struct Metered {
    policy: &'static str,
    header: Option<HeaderValue>,
    standing: Standing,
    spend: Spend,
}

/// What a request spent of its address, for handlers that find out whose it is.
#[derive(Clone)]
pub struct OfAddress(Option<Spend>);

impl<'a> FromRequest<'a> for OfAddress {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let spend = request.data::<Spend>().cloned();
        Ok(Self(
            spend.filter(|spend| matches!(spend.whose, Whose::Address(_))),
        ))
    }
}

impl OfAddress {
    /// The account pays instead, and the address has its points back: one network may
    /// have many users. Returns what the account has left, as answers tell it.
    pub async fn charge_account(
        self,
        services: &EdgeServices,
        account: AccountId,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        let (Some(metering), Some(of_address)) = (&services.metering, self.0) else {
            return Ok(Vec::new());
        };
        metering.counted.give_back(&of_address);
        let Policed { name, budget, .. } = metering.account;
        if budget.points == 0 {
            return Ok(Vec::new());
        }
        let spend = Spend {
            budget,
            purpose: name,
            whose: Whose::Account(account),
            points: WRITE_POINTS.min(i32::try_from(budget.points).unwrap_or(i32::MAX)),
        };
        let standing = metering.counted.meter(spend).await;
        match standing.enough {
            true => Ok(headers(name, budget, &standing)),
            false => Err(too_many(name, budget, &standing)),
        }
    }
}

impl Metered {
    /// None where nothing is limited.
    pub async fn spend(request: &Request, account: Option<AccountId>) -> Option<Self> {
        let path = request.uri().path();
        if always_answered(path) {
            return None;
        }
        let metering = EdgeServices::of(request)?.metering.as_ref()?;
        let (policed, whose) = match account {
            Some(account) => (&metering.account, Whose::Account(account)),
            None => {
                let address = Caller::address_of(request).map(network);
                let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                (&metering.anonymous, Whose::Address(address))
            }
        };
        let budget = policed.budget;
        if budget.points == 0 {
            return None;
        }
        let reads = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let points = if reads { READ_POINTS } else { WRITE_POINTS };
        let spend = Spend {
            budget,
            purpose: policed.name,
            whose,
            // Whatever is allowed at all can be done once.
            points: points.min(i32::try_from(budget.points).unwrap_or(i32::MAX)),
        };
        let standing = metering.counted.meter(spend.clone()).await;
        Some(Self {
            policy: policed.name,
            header: policed.header.clone(),
            standing,
            spend,
        })
    }

    /// For the data of the request.
    pub fn spent(&self) -> Spend {
        self.spend.clone()
    }

    pub fn check(&self) -> Result<(), Problem> {
        match self.standing.enough {
            true => Ok(()),
            // `dress` says by which policy.
            false => Err(later(&self.standing)),
        }
    }

    pub fn dress(&self, headers: &mut HeaderMap) {
        // Another policy may have refused: that one counts then.
        if headers.contains_key(RATE_LIMIT) {
            return;
        }
        let (policy, left) = (self.header.clone(), left(self.policy, &self.standing));
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }
}

/// A policy, as `RateLimit-Policy` has it.
fn described(name: &str, budget: Budget) -> String {
    let (points, window) = (budget.points, budget.window.as_secs());
    format!("\"{name}\";q={points};w={window}")
}

/// What is left of it, as `RateLimit` has it.
fn left(name: &str, standing: &Standing) -> Option<HeaderValue> {
    let full_in = standing.full_in;
    let seconds = full_in.as_secs() + u64::from(full_in.subsec_nanos() > 0);
    let now = HeaderText::<RATE_LIMIT_CHARACTERS>::new("\"").text(name);
    let now = now.text("\";r=").number(standing.remaining.into());
    now.text(";t=").number(seconds).value()
}

/// Whether it is neither counted nor refused, however much is going on.
pub(crate) fn always_answered(path: &str) -> bool {
    UNLIMITED.contains(&path)
}

/// The refusal by a policy that some operations have beside that of all requests.
pub fn too_many(name: &str, budget: Budget, standing: &Standing) -> Problem {
    later(standing).limited(headers(name, budget, standing))
}

fn headers(name: &str, budget: Budget, standing: &Standing) -> Vec<(HeaderName, HeaderValue)> {
    let policy = HeaderValue::try_from(described(name, budget)).ok();
    let left = left(name, standing);
    let headers = [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)];
    let there = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    there.collect()
}

fn later(standing: &Standing) -> Problem {
    let seconds = standing.enough_in.as_secs_f64().ceil().max(1.0);
    let detail = format!("Try again in {seconds} seconds.");
    Problem::new(Code::TooManyRequests, detail).retry_after(seconds as u32)
}
