//! How often one may try to sign in, or register, and how many hashes that may cost. It
//! refuses to lock a victim out: whoever guesses at an account spends points of strangers,
//! and devices that were signed in from before have points of their own.

use edge::{caller::Caller, limits::too_many};
use kernel::{AccountId, Uuid};
use tokio::{runtime::Handle, task::JoinHandle};
use vault::{Budget, KnownDevice, Limits, Spend, Whose};

use crate::{logins::Login, problem::Problem, services::Services};

/// Sign-ins from one address, in points that it has for one login.
const LOGINS_PER_ADDRESS: u32 = 5;
/// Sign-ins with one login from devices that its account does not know, likewise; and with
/// all logins of one account.
const ADDRESSES_PER_LOGIN: u32 = 10;

/// Points of a try that is under way. They come back where it is right, and where it
/// comes to nothing: the fault is ours, or its client went away before it could learn
/// anything.
pub struct Try {
    limits: Limits,
    spent: Vec<Spend>,
    counts: bool,
}

/// As `GET /v1/limits` names what the points are of.
const SIGN_IN: &str = "sign_in";
const REGISTRATION: &str = "registration";
const CODES: &str = "codes";
const HASHES: &str = "password_hashes";

impl Try {
    /// Spends before the password is looked at, so that many tries at once are
    /// counted one by one. A device that the account knows has points of its own. All
    /// others are refused by the login, not by the account: whether there is one, and which
    /// other login it has, must not show.
    pub async fn to_sign_in(
        services: &Services,
        login: &Login,
        known: Option<KnownDevice>,
        caller: &Caller,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.sign_in;
        let household = &caller.household;
        let spends = match known {
            Some(device) => vec![named("sign-in with", device.id.to_string(), budget)],
            None => vec![
                named("sign-in", format!("{login} {household}"), budget),
                named(
                    "sign-in from",
                    household.clone(),
                    times(budget, LOGINS_PER_ADDRESS),
                ),
                named(
                    "sign-in to",
                    login.to_string(),
                    times(budget, ADDRESSES_PER_LOGIN),
                ),
            ],
        };
        Self::spend(services, SIGN_IN, spends).await
    }

    /// Of strangers who try all logins of one account: together they have as many points
    /// as one login has. Who finds none left here is told that the password is wrong,
    /// which is not looked at: 429 would say that both logins are one account's.
    /// Where there is no account the login stands for it, and runs out by itself first.
    pub async fn to_sign_in_to_account(
        services: &Services,
        login: &Login,
        account: Option<AccountId>,
    ) -> Option<Self> {
        let budget = times(services.limits.settings.sign_in, ADDRESSES_PER_LOGIN);
        let spend = named("sign-in to account", whom(login, account), budget);
        Self::spend(services, SIGN_IN, vec![spend]).await.ok()
    }

    /// A hash for somebody at an address, whatever comes of it.
    pub async fn to_hash(services: &Services, caller: &Caller) -> Result<(), Problem> {
        let budget = services.limits.settings.password_hashes;
        let spend = named("hash from", caller.household.clone(), budget);
        Self::spend(services, HASHES, vec![spend]).await?.counts();
        Ok(())
    }

    /// A hash of an account's password by who knows it: wrong ones are counted as tries, so
    /// that nobody else uses these points up.
    pub async fn to_hash_right(
        services: &Services,
        login: &Login,
        account: Option<AccountId>,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.password_hashes;
        let spend = named("hash of", whom(login, account), budget);
        Self::spend(services, HASHES, vec![spend]).await
    }

    /// By the session: a thief who has one of an account's leaves the others theirs.
    pub async fn to_show_password(services: &Services, session: Uuid) -> Result<Self, Problem> {
        let budget = services.limits.settings.sign_in;
        let whose = Whose::Named(session.to_string());
        Self::spend_one(services, (SIGN_IN, budget), "show password", whose).await
    }

    /// Of whoever signs in and knows the password already: a device on which the owner
    /// showed the second factor before has points that no thief elsewhere spends.
    pub async fn to_sign_in_with_second_factor(
        services: &Services,
        account: AccountId,
        known: Option<KnownDevice>,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.codes;
        let whose = match known.filter(|known| known.second_factor_shown) {
            Some(device) => Whose::Named(device.id.to_string()),
            None => Whose::Account(account),
        };
        Self::spend_one(services, (CODES, budget), "second factor", whose).await
    }

    /// Of whoever is signed in: by the session, as with passwords.
    pub async fn to_show_second_factor(
        services: &Services,
        session: Uuid,
    ) -> Result<Self, Problem> {
        let budget = services.limits.settings.codes;
        let whose = Whose::Named(session.to_string());
        Self::spend_one(services, (CODES, budget), "show second factor", whose).await
    }

    pub async fn to_register(services: &Services, caller: &Caller) -> Result<Self, Problem> {
        let budget = services.limits.settings.registration;
        let whose = Whose::Named(caller.household.clone());
        Self::spend_one(services, (REGISTRATION, budget), "register from", whose).await
    }

    /// Letters that are sent, and codes that are tried.
    pub async fn to_use_codes(services: &Services, caller: &Caller) -> Result<Self, Problem> {
        let budget = services.limits.settings.codes;
        let whose = Whose::Named(caller.household.clone());
        Self::spend_one(services, (CODES, budget), "codes from", whose).await
    }

    async fn spend_one(
        services: &Services,
        (policy, budget): (&'static str, Budget),
        purpose: &'static str,
        whose: Whose,
    ) -> Result<Self, Problem> {
        let spend = Spend {
            budget,
            purpose,
            whose,
            points: 1,
        };
        Self::spend(services, policy, vec![spend]).await
    }

    async fn spend(
        services: &Services,
        policy: &'static str,
        mut spends: Vec<Spend>,
    ) -> Result<Self, Problem> {
        let limits = services.limits.counted.clone();
        spends.retain(|spend| spend.budget.points > 0);
        // Goes on though the client goes away: what is spent then comes back.
        let spent = tokio::spawn(async move {
            let standings = match spends.is_empty() {
                true => Vec::new(),
                false => limits.spend(&spends).await,
            };
            let short = spends.iter().zip(&standings);
            let short = short.filter(|(_, standing)| !standing.enough);
            match short.max_by_key(|(_, standing)| standing.enough_in) {
                Some((spend, standing)) => Err(too_many(policy, spend.budget, standing).into()),
                None => Ok(Self {
                    limits,
                    spent: spends,
                    counts: false,
                }),
            }
        });
        spent.await.map_err(Problem::internal)?
    }

    /// It was wrong, or each one counts: the points stay spent unless they are given
    /// back.
    pub fn counts(&mut self) {
        self.counts = true;
    }

    /// It was right, and whoever asks next finds the points.
    pub async fn give_back(mut self) {
        if let Some(given) = self.begin_to_give_back() {
            // Though it is not seen: it goes on by itself.
            let _ = given.await;
        }
    }

    fn begin_to_give_back(&mut self) -> Option<JoinHandle<()>> {
        let back = |spend| Spend {
            points: -1,
            ..spend
        };
        let back: Vec<_> = std::mem::take(&mut self.spent)
            .into_iter()
            .map(back)
            .collect();
        // Outside of a runtime everything ends.
        let runtime = Handle::try_current().ok().filter(|_| !back.is_empty())?;
        let limits = self.limits.clone();
        Some(runtime.spawn(async move { drop(limits.spend(&back).await) }))
    }
}

fn named(purpose: &'static str, whose: String, budget: Budget) -> Spend {
    Spend {
        budget,
        purpose,
        whose: Whose::Named(whose),
        points: 1,
    }
}

fn times(budget: Budget, times: u32) -> Budget {
    Budget {
        points: budget.points.saturating_mul(times),
        ..budget
    }
}

/// The account of a login, or the login itself.
fn whom(login: &Login, account: Option<AccountId>) -> String {
    account.map_or_else(|| login.to_string(), |account| account.to_string())
}

impl Drop for Try {
    fn drop(&mut self) {
        if !self.counts {
            self.begin_to_give_back();
        }
    }
}
