//! How often what may be done: how it is told. Requests are counted by the edge, tries to
//! sign in and the like by `throttle`.

mod settings;

use std::sync::Arc;

use edge::{limits::WRITE_POINTS, system::Tag};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};

use crate::services::Services;

pub use settings::{LimitSettings, Limiting};

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
    /// Points that a request spends which changes something, with a body of up to 1,024
    /// bytes; each further 1,024 that are begun cost one more. Others spend one.
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
