//! How often what may be done: the settings of all limits, and how they are told.
//! Requests are counted by the edge, tries to sign in and the like by `throttle`.

use std::sync::Arc;

use edge::{
    limits::{Metering, WRITE_POINTS},
    system::Tag,
};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use vault::{Budget, Limits};

use crate::services::Services;

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
}

impl Limiting {
    pub fn new(settings: LimitSettings, counted: Limits) -> Self {
        Self { settings, counted }
    }

    /// What counts requests.
    pub(crate) fn metering(&self) -> Metering {
        let LimitSettings {
            anonymous, account, ..
        } = self.settings;
        Metering::new(anonymous, account, self.counted.clone())
    }
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
