//! Who was refused when they wanted in: in the log, by pseudonyms, so that guesses at one
//! login can be told from somebody's typing errors, and counted for metrics. It refuses to
//! tell of people.

use std::collections::BTreeMap;

use edge::{caller::Caller, exposition::Exposition};
use kernel::Uuid;
use parking_lot::Mutex;
use poem::http::StatusCode;

use crate::{problem::Problem, services::Services};

/// In this process, by the problem's code.
static REFUSED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Passes on what `who` was answered, and tells of it where it is a refusal. `login` is in
/// the form that is compared; none where there is none.
pub(crate) fn told<T>(
    services: &Services,
    who: &Caller,
    login: Option<&str>,
    request_id: Uuid,
    answer: Result<T, Problem>,
) -> Result<T, Problem> {
    let Err(problem) = &answer else { return answer };
    let status = problem.code().status();
    if ![
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&status)
    {
        return answer;
    }
    let reason = problem.code().name();
    *REFUSED.lock().entry(reason).or_default() += 1;
    let household = services.pseudonyms.of("household", &who.household);
    let login = login.map(|login| services.pseudonyms.of("login", login));
    tracing::info!(
        reason, household, login, %request_id, "somebody who wanted in was refused"
    );
    answer
}

pub(crate) fn measure(text: &mut Exposition) {
    text.family_of(
        "counter",
        "headwater_sign_in_refused_total",
        "Sign-ins, resets of passwords and refreshes that were refused, by problem code.",
    );
    for (reason, count) in REFUSED.lock().iter() {
        text.sample(&[("reason", reason)], *count as f64);
    }
}
