//! How often one may try to sign in, or register. It refuses to lock a victim
//! out: whoever guesses at an account spends their own points, and those who
//! signed in from an address before are not asked for the account's.

use kernel::{AccountId, Uuid};
use vault::{Budget, Limits, Spend, Whose};

use crate::{
    caller::Caller, limits::too_many, problem::Problem, services::Services, sessions::Login,
};

/// Sign-ins from one address, in points that it has for one login.
const LOGINS_PER_ADDRESS: u32 = 5;
/// Sign-ins with one login from addresses that its account does not know, likewise.
const ADDRESSES_PER_LOGIN: u32 = 10;

/// Points of a try that is under way: given back where it succeeds.
pub struct Try<'a> {
    limits: &'a Limits,
    spent: Vec<Spend>,
}

impl<'a> Try<'a> {
    /// Spends before the password is looked at, so that many tries at once are
    /// counted one by one. By the login, not by the account: whether there is one,
    /// and which other login it has, must not show.
    pub async fn to_sign_in(
        services: &'a Services,
        login: &Login,
        account: Option<AccountId>,
        caller: &Caller,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.sign_in;
        let household = &caller.household;
        let times = |times| Budget {
            points: budget.points.saturating_mul(times),
            ..budget
        };
        let spend = |purpose, whose, budget| Spend {
            budget,
            purpose,
            whose: Whose::Named(whose),
            points: 1,
        };
        let whom = login.to_string();
        let mut spends = vec![
            spend("sign-in", format!("{whom} {household}"), budget),
            spend("sign-in from", household.clone(), times(LOGINS_PER_ADDRESS)),
        ];
        // Asked for whether there is an account or not: it takes as long.
        let id = account.unwrap_or(AccountId(Uuid::nil()));
        if !services.vault.knows_household(id, household).await? {
            spends.push(spend("sign-in to", whom, times(ADDRESSES_PER_LOGIN)));
        }
        Self::spend(services, spends).await
    }

    /// By the session: a thief who has one of an account's leaves the others theirs.
    pub async fn to_show_password(services: &'a Services, session: Uuid) -> Result<Self, Problem> {
        let budget = services.limits.settings.sign_in;
        let whose = Whose::Named(session.to_string());
        Self::spend_one(services, budget, "show password", whose).await
    }

    /// Whoever tries knows the password already.
    pub async fn to_show_second_factor(
        services: &'a Services,
        account: AccountId,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.codes;
        Self::spend_one(services, budget, "second factor", Whose::Account(account)).await
    }

    pub async fn to_register(services: &'a Services, caller: &Caller) -> Result<Self, Problem> {
        let budget = services.limits.settings.registration;
        let whose = Whose::Named(caller.household.clone());
        Self::spend_one(services, budget, "register from", whose).await
    }

    /// Letters that are sent, and codes that are tried.
    pub async fn to_use_codes(services: &'a Services, caller: &Caller) -> Result<Self, Problem> {
        let budget = services.limits.settings.codes;
        let whose = Whose::Named(caller.household.clone());
        Self::spend_one(services, budget, "codes from", whose).await
    }

    async fn spend_one(
        services: &'a Services,
        budget: Budget,
        purpose: &'static str,
        whose: Whose,
    ) -> Result<Self, Problem> {
        let spend = Spend {
            budget,
            purpose,
            whose,
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

    /// It was right, or the fault is ours: nothing was spent.
    pub async fn give_back(self) {
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
