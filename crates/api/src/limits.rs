//! How much one may ask for: points that every request spends, those of writes
//! more, counted by account or, for strangers, by address. Each answer says how
//! many are left (draft-ietf-httpapi-ratelimit-headers-10).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use kernel::AccountId;
use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    web::Data,
};
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use vault::{Budget, Limits, Spend, Standing, Whose};

use crate::{
    caller::{Caller, network},
    header_text::HeaderText,
    problem::{Code, Problem},
    services::Services,
    system::Tag,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The name of a policy and two numbers.
const RATE_LIMIT_CHARACTERS: usize = 64;
/// Points that a request spends which changes something.
pub(crate) const WRITE_POINTS: i32 = 5;
const READ_POINTS: i32 = 1;
/// What only tells how the server is may always be asked.
const UNLIMITED: [&str; 3] = ["/health/live", "/health/ready", "/version"];

/// What one may do how often.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Points of an address, for requests of nobody.
    pub anonymous: Budget,
    /// Points of an account.
    pub account: Budget,
    /// Failed sign-ins to one account from one address.
    pub sign_in: Budget,
    /// Registrations from one address.
    pub registration: Budget,
    /// Codes that are sent to e-mail addresses or tried, from one address, and codes of
    /// second factors that are tried with one account from addresses that it does not
    /// know, from one that it knows, or by one session.
    pub codes: Budget,
}

impl LimitSettings {
    /// Nothing is limited: for tools that measure.
    pub const NONE: Self = Self {
        anonymous: Budget::NONE,
        account: Budget::NONE,
        sign_in: Budget::NONE,
        registration: Budget::NONE,
        codes: Budget::NONE,
    };

    fn all(&self) -> [(&'static str, Budget, &'static str); 5] {
        [
            (
                "anonymous",
                self.anonymous,
                "Requests without an access token, by address; a refresh with a good token \
                 counts for its account.",
            ),
            (
                "account",
                self.account,
                "Requests with an access token, by account.",
            ),
            (
                "sign_in",
                self.sign_in,
                "Failed sign-ins with one login from one address; five times as many with all logins \
                 from one address, ten times as many with one login from addresses it does not know. Wrong \
                 current passwords, by session.",
            ),
            (
                "registration",
                self.registration,
                "Registrations from one address, those that are refused too.",
            ),
            (
                "codes",
                self.codes,
                "Codes sent by e-mail, and wrong ones tried, from one address; wrong codes of a \
                 second factor, by account from addresses that it does not know, by address from \
                 those that it knows, and by session.",
            ),
        ]
    }
}

/// How often what may be done, and what counts it.
pub struct Limiting {
    pub(crate) settings: LimitSettings,
    pub(crate) counted: Limits,
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

impl Limiting {
    pub fn new(settings: LimitSettings, counted: Limits) -> Self {
        Self {
            anonymous: Policed::new("anonymous", settings.anonymous),
            account: Policed::new("account", settings.account),
            settings,
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
        services: &Services,
        account: AccountId,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        let limiting = &services.limits;
        let Some(of_address) = self.0 else {
            return Ok(Vec::new());
        };
        limiting.counted.give_back(&of_address);
        let Policed { name, budget, .. } = limiting.account;
        if budget.points == 0 {
            return Ok(Vec::new());
        }
        let spend = Spend {
            budget,
            purpose: name,
            whose: Whose::Account(account),
            points: WRITE_POINTS.min(i32::try_from(budget.points).unwrap_or(i32::MAX)),
        };
        let standing = limiting.counted.meter(spend).await;
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
        let limiting = &request.data::<Arc<Services>>()?.limits;
        let (policed, whose) = match account {
            Some(account) => (&limiting.account, Whose::Account(account)),
            None => {
                let address = Caller::address_of(request).map(network);
                let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                (&limiting.anonymous, Whose::Address(address))
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
        let standing = limiting.counted.meter(spend.clone()).await;
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
pub(crate) fn too_many(name: &str, budget: Budget, standing: &Standing) -> Problem {
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

/// A limit.
#[derive(Object)]
#[oai(example)]
struct Policy {
    /// As in RateLimit-Policy.
    name: String,
    /// What is counted, and by what.
    description: String,
    /// Within the window; they come back evenly.
    points: u32,
    window_seconds: u64,
}

impl Example for Policy {
    fn example() -> Self {
        Self {
            name: "account".into(),
            description: "Requests with an access token, by account.".into(),
            points: 600,
            window_seconds: 60,
        }
    }
}

/// What is limited here.
#[derive(Object)]
#[oai(example)]
struct PolicyList {
    items: Vec<Policy>,
    /// Points that a request spends which changes something; others spend one.
    write_points: i32,
}

impl Example for PolicyList {
    fn example() -> Self {
        Self {
            items: vec![Policy::example()],
            write_points: WRITE_POINTS,
        }
    }
}

pub struct LimitsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::System")]
impl LimitsApi {
    /// What is limited
    ///
    /// The policies that requests are counted by. What is off is not listed.
    #[oai(path = "/limits", method = "get", operation_id = "listLimits")]
    async fn list(&self, services: Data<&Arc<Services>>) -> Json<PolicyList> {
        let all = services.limits.settings.all().into_iter();
        let limited = all.filter(|(_, budget, _)| budget.points > 0);
        let items = limited.map(|(name, budget, description)| Policy {
            name: name.into(),
            description: description.into(),
            points: budget.points,
            window_seconds: budget.window.as_secs(),
        });
        Json(PolicyList {
            items: items.collect(),
            write_points: WRITE_POINTS,
        })
    }
}
