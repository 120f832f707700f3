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
    body::RawBody,
    caller::{Caller, network},
    header_text::HeaderText,
    problem::{Code, Problem},
    services::EdgeServices,
    text,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The name of a policy and two numbers.
const RATE_LIMIT_CHARACTERS: usize = 64;
/// Points that a request spends which changes something, with a body of up to
/// `BODY_BYTES_PER_POINT`.
pub const WRITE_POINTS: i32 = 5;
/// Each further so many bytes of its body that are begun cost a point more.
pub const BODY_BYTES_PER_POINT: usize = 1_024;
/// What a write leaves in the log beside what its body says, about: an envelope, a
/// state, a receipt.
pub const WRITE_BYTES: usize = 256;
const READ_POINTS: i32 = 1;
/// What only tells how the server is may always be asked.
const UNLIMITED: [&str; 3] = ["/health/live", "/health/ready", "/version"];

/// What counts requests.
pub struct Metering {
    counted: Limits,
    anonymous: Policed,
    account: Policed,
    /// Bytes that an account writes.
    account_bytes: Policed,
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
    /// Points of an address, for requests of nobody, and of an account; bytes that an
    /// account writes.
    pub fn new(anonymous: Budget, account: Budget, account_bytes: Budget, counted: Limits) -> Self {
        Self {
            anonymous: Policed::new("anonymous", anonymous),
            account: Policed::new("account", account),
            account_bytes: Policed::new("account_bytes", account_bytes),
            counted,
        }
    }
}

/// What a request of `account` spent.
#[derive(Clone)]
pub(crate) struct Metered {
    policy: &'static str,
    header: Option<HeaderValue>,
    standing: Standing,
    spend: Spend,
}

/// What a request spent of its address, or would have, for handlers that find out whose
/// it is (`Rules::pays_later`): they see the request though the address has no points
/// left, and say who pays. One network may have many users.
#[derive(Clone)]
pub struct OfAddress(Option<Metered>);

impl<'a> FromRequest<'a> for OfAddress {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let metered = request.data::<Metered>().cloned();
        let of_address = |metered: &Metered| matches!(metered.spend.whose, Whose::Address(_));
        Ok(Self(metered.filter(of_address)))
    }
}

impl OfAddress {
    /// Whether the address has no points for the request.
    pub fn is_spent(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|metered| !metered.standing.enough)
    }

    /// The account pays instead, and the address has its points back. Returns what the
    /// account has left, as answers tell it.
    pub async fn charge_account(
        self,
        services: &EdgeServices,
        account: AccountId,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        let (Some(metering), Some(of_address)) = (&services.metering, self.0) else {
            return Ok(Vec::new());
        };
        if of_address.standing.enough {
            metering.counted.give_back(&of_address.spend);
        }
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

    /// The address pays for what is refused. Where it has no points left, the refusal is
    /// that of the limit.
    pub fn charge_address(&self, refusal: Problem) -> Problem {
        match self.0.as_ref().filter(|metered| !metered.standing.enough) {
            Some(metered) => later(&metered.standing),
            None => refusal,
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
        let points = match reads(request.method()) {
            true => READ_POINTS,
            false => WRITE_POINTS,
        };
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

/// What a write costs by the length of its body, once that is read and before anything is
/// done: points of the policy that the request spent of, and bytes of its account.
pub(crate) async fn charge_body(
    request: &Request,
    account: Option<AccountId>,
    metered: Option<&mut Metered>,
) -> Result<(), Problem> {
    let metering = EdgeServices::of(request).and_then(|services| services.metering.as_ref());
    let Some(metering) = metering.filter(|_| !reads(request.method())) else {
        return Ok(());
    };
    let bytes = request.data::<RawBody>().map_or(0, |body| body.0.len());
    let more = bytes.saturating_sub(1) / BODY_BYTES_PER_POINT;
    if let Some(metered) = metered.filter(|_| more > 0) {
        // Whatever is allowed at all can be done once.
        let whole = i32::try_from(metered.spend.budget.points).unwrap_or(i32::MAX);
        let most = whole.saturating_sub(WRITE_POINTS).max(0);
        let spend = Spend {
            points: i32::try_from(more).unwrap_or(i32::MAX).min(most),
            ..metered.spend.clone()
        };
        metered.standing = metering.counted.meter(spend).await;
        metered.check()?;
    }
    let Policed { name, budget, .. } = metering.account_bytes;
    let Some(account) = account.filter(|_| budget.points > 0) else {
        return Ok(());
    };
    let whole = i32::try_from(budget.points).unwrap_or(i32::MAX);
    let spend = Spend {
        budget,
        purpose: name,
        whose: Whose::Account(account),
        points: i32::try_from(WRITE_BYTES + bytes)
            .unwrap_or(i32::MAX)
            .min(whole),
    };
    let standing = metering.counted.meter(spend).await;
    match standing.enough {
        true => Ok(()),
        false => Err(too_many(name, budget, &standing)),
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
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
    let detail = text!(
        "Try again in {0} seconds.",
        "Versuchen Sie es in {0} Sekunden noch einmal."
    );
    let detail = detail.with([(seconds as u64).into()]);
    Problem::new(Code::TooManyRequests, detail).retry_after(seconds as u32)
}
