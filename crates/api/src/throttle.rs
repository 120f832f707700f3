//! How often one may try to sign in, or register. It refuses to lock a victim
//! out: whoever guesses at an account spends their own points, and those who
//! signed in from an address before are not asked for the account's.

use kernel::AccountId;
use vault::{Budget, Limits, Spend};

use crate::{caller::Caller, limits::too_many, problem::Problem, services::Services};

/// Sign-ins from one address, of the points that it has for one account.
const ACCOUNTS_PER_ADDRESS: u32 = 5;
/// Sign-ins to one account from addresses that it does not know, likewise.
const ADDRESSES_PER_ACCOUNT: u32 = 10;

/// Points of a try that is under way: given back where it succeeds.
pub struct Try<'a> {
    limits: &'a Limits,
    spent: Vec<Spend>,
}

impl<'a> Try<'a> {
    /// Spends before the password is looked at, so that many tries at once are
    /// counted one by one.
    pub async fn to_sign_in(
        services: &'a Services,
        login: &str,
        account: Option<AccountId>,
        caller: &Caller,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.sign_in;
        let address = caller.household();
        // Whether there is such an account must not show.
        let whom = match account {
            Some(account) => account.to_string(),
            None => login.to_lowercase(),
        };
        let times = |times| Budget {
            points: budget.points.saturating_mul(times),
            ..budget
        };
        let spend = |purpose, whose, budget| Spend {
            budget,
            purpose,
            whose,
            points: 1,
        };
        let both = format!("{whom} {address}");
        let mut spends = vec![
            spend("sign-in", both, budget),
            spend("sign-in from", address.clone(), times(ACCOUNTS_PER_ADDRESS)),
        ];
        let known = match (account, &caller.address) {
            (Some(account), Some(address)) => {
                let address = address.to_string();
                services.vault.knows_address(account, &address).await?
            }
            _ => false,
        };
        if !known {
            spends.push(spend("sign-in to", whom, times(ADDRESSES_PER_ACCOUNT)));
        }
        Self::spend(services, spends).await
    }

    pub async fn to_register(services: &'a Services, caller: &Caller) -> Result<Self, Problem> {
        let spend = Spend {
            budget: services.limits.settings.registration,
            purpose: "register from",
            whose: caller.household(),
            points: 1,
        };
        Self::spend(services, vec![spend]).await
    }

    async fn spend(services: &'a Services, mut spends: Vec<Spend>) -> Result<Self, Problem> {
        let limits = &services.limits.counted;
        spends.retain(|spend| spend.budget.points > 0);
        if !spends.is_empty() {
            let standings = limits.spend(&spends).await;
            let short = standings.iter().filter(|standing| !standing.enough);
            if let Some(standing) = short.max_by_key(|standing| standing.enough_in) {
                return Err(too_many(standing));
            }
        }
        let spent = spends;
        Ok(Self { limits, spent })
    }

    /// It was right: nothing was spent.
    pub async fn succeeded(self) {
        let back = |spend| Spend {
            points: -1,
            ..spend
        };
        let back: Vec<_> = self.spent.into_iter().map(back).collect();
        if !back.is_empty() {
            self.limits.spend(&back).await;
        }
    }
}
