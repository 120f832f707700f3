//! Sessions: signing in, staying so, signing out. It refuses to tell an unknown
//! account from a wrong password, in words or in time.

mod shapes;

use std::sync::Arc;

use domain::accounts::{Accounts, ReactivateAccount, Standing};
use edge::{
    answers::{Changed, Created, Done, Found},
    body::Input,
    caller::Caller,
    identity::Authenticated,
    limits::OfAddress,
    request::RequestId,
    text,
    tokens::ACCESS_TOKEN_SECONDS,
    trace_context::TraceContext,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{OpenApi, param::Path};
use vault::{Begun, KnownDevice, Place, RefreshToken, Refreshed, SESSION_DAYS};

use crate::{
    emails,
    letters::{self, Change},
    logins::Login,
    passwords,
    problem::{Code, Problem},
    refusals, second_factors,
    services::Services,
    tags::Tag,
    throttle::Try,
};

pub(crate) use shapes::DEVICE_TOKEN;
use shapes::{Refresh, SessionDevice, SessionList};
pub use shapes::{Session, SignIn};

impl Session {
    /// None where `verified`, the password hash that was looked at, is another one
    /// meanwhile, or a second factor is asked for that was not shown.
    pub(crate) async fn begin(
        services: &Services,
        account: AccountId,
        caller: &Caller,
        verified: Option<&str>,
        factor_shown: bool,
    ) -> Result<Option<Self>, Problem> {
        let begun = services
            .vault
            .begin_session(account, &caller.device, verified, factor_shown)
            .await?;
        let session = begun.map(|begun| Self::begun(services, account, &begun));
        session.transpose()
    }

    fn begun(services: &Services, account: AccountId, begun: &Begun) -> Result<Self, Problem> {
        let session = Self::of(services, account, begun.session, &begun.token)?;
        Ok(Self {
            device_token: Some(begun.device.reveal()),
            ..session
        })
    }

    fn of(
        services: &Services,
        account: AccountId,
        session: Uuid,
        token: &RefreshToken,
    ) -> Result<Self, Problem> {
        Ok(Self {
            account_id: account.0,
            session_id: session,
            access_token: services.session_token(account, session)?,
            token_type: "Bearer".into(),
            expires_in: ACCESS_TOKEN_SECONDS,
            refresh_token: token.reveal(),
            refresh_expires_in: SESSION_DAYS * 24 * 60 * 60,
            device_token: None,
        })
    }
}

pub struct SessionsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl SessionsApi {
    /// Sign in
    ///
    /// With a handle or an e-mail address. Nobody learns whether an account
    /// exists: an unknown one and a wrong password give the same answer. After some
    /// wrong ones from the same address, 429 says when to try again, unless the device shows
    /// what it is known by. Where the account
    /// has a second factor, the right password alone gives `second_factor_required`, and
    /// with a code that is wrong or was used, `invalid_code`;
    /// where it is suspended, the right password gives `account_suspended`. One that
    /// was deactivated is back.
    #[oai(path = "/sessions", method = "post", operation_id = "signIn")]
    async fn sign_in(
        &self,
        services: Data<&Arc<Services>>,
        request_id: RequestId,
        caller: Caller,
        body: Input<SignIn>,
    ) -> Result<Created<Session>, Problem> {
        let login = Login::from(body.0.login.as_str());
        let session = async {
            let place = passwords::place(&services, &caller).await?;
            let who = (&login, login.find(&services).await?);
            try_to_sign_in(&services, who, body.0, place, &caller, request_id.0).await
        };
        let name = login.to_string();
        let session = session.await;
        let session = refusals::told(&services, &caller, Some(&name), request_id.0, session)?;
        let location = format!("/v1/sessions/{}", session.session_id);
        Ok(Created::new(&location, session))
    }

    /// Stay signed in
    ///
    /// Gives the next access token and the next refresh token; the one that was
    /// sent is used up. For a minute after its first use, a used token gives the
    /// session's current refresh token, however often the session was refreshed
    /// meanwhile: its reply may have been lost, or two tabs may have refreshed at once.
    /// A token that is used again later than that is in other hands: its session is
    /// ended.
    #[oai(
        path = "/sessions/refresh",
        method = "post",
        operation_id = "refreshSession"
    )]
    async fn refresh(
        &self,
        services: Data<&Arc<Services>>,
        request_id: RequestId,
        caller: Caller,
        of_address: OfAddress,
        body: Input<Refresh>,
    ) -> Result<Changed<Session>, Problem> {
        let refreshed = refresh(&services, &caller, of_address, body.0).await;
        refusals::told(&services, &caller, None, request_id.0, refreshed)
    }

    /// Where I am signed in
    ///
    /// Each session is a device, or a browser, that signed in and has not signed out, or
    /// a tool of the operators that acts as the account (`headwater token`).
    #[oai(path = "/sessions", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
    ) -> Result<Found<SessionList>, Problem> {
        let sessions = services.vault.sessions(me.account).await?;
        let items = sessions.into_iter();
        let items = items.map(|session| SessionDevice::of(session, me.session));
        Ok(Found::new(SessionList {
            items: items.collect(),
        }))
    }

    /// One of my sessions
    ///
    /// The one that signing in made, for instance: `Location` names it.
    #[oai(
        path = "/sessions/:session_id",
        method = "get",
        operation_id = "getSession"
    )]
    async fn get(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        session_id: Path<Uuid>,
    ) -> Result<Found<SessionDevice>, Problem> {
        let sessions = services.vault.sessions(me.account).await?;
        let mut sessions = sessions.into_iter();
        let session = sessions.find(|session| session.id == session_id.0);
        let session = session.ok_or_else(Problem::no_session)?;
        Ok(Found::new(SessionDevice::of(session, me.session)))
    }

    /// Sign out
    ///
    /// Its access token stops counting too: at once here, and within seconds
    /// wherever else the API is served.
    #[oai(
        path = "/sessions/current",
        method = "delete",
        operation_id = "signOut"
    )]
    async fn sign_out(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
    ) -> Result<Done, Problem> {
        services.vault.end_session(me.account, me.session).await?;
        services.ended.add([me.session]);
        Ok(Done::at(None))
    }

    /// Sign out everywhere else
    ///
    /// All sessions but the one that asks are ended: their tokens stop counting, and no
    /// other device is known any more.
    #[oai(
        path = "/sessions",
        method = "delete",
        operation_id = "endOtherSessions"
    )]
    async fn end_others(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
    ) -> Result<Done, Problem> {
        let ended = services.vault.end_other_sessions(me.account, me.session);
        let ended = ended.await?.ok_or_else(|| {
            // Elsewhere, a moment ago: whoever did so must not pass for ended.
            let detail = text!(
                "Sign in again: this session was ended, and the others were not.",
                "Melden Sie sich neu an: Diese Sitzung wurde beendet, die anderen nicht."
            );
            Problem::new(Code::SessionEnded, detail)
        })?;
        services.ended.add(ended);
        Ok(Done::at(None))
    }

    /// Sign out somewhere else
    ///
    /// Its tokens stop counting: at once here, and within seconds wherever else the API
    /// is served. The device that it began on is known no more.
    #[oai(
        path = "/sessions/:session_id",
        method = "delete",
        operation_id = "endSession"
    )]
    async fn end(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        session_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let session = session_id.0;
        let ended = match session == me.session {
            true => services.vault.end_session(me.account, session).await?,
            false => {
                let (account, kept) = (me.account, me.session);
                services
                    .vault
                    .end_session_elsewhere(account, session, kept)
                    .await?
            }
        };
        if !ended {
            return Err(Problem::no_session());
        }
        services.ended.add([session]);
        Ok(Done::at(None))
    }
}

/// Gives what comes next, and its account pays; or says why not, and the address does.
async fn refresh(
    services: &Services,
    caller: &Caller,
    of_address: OfAddress,
    body: Refresh,
) -> Result<Changed<Session>, Problem> {
    match look_at(services, caller, &of_address, body).await? {
        Ok((account, session, token)) => {
            let left = of_address.charge_account(&services.edge, account).await?;
            let session = Session::of(services, account, session, &token)?;
            Ok(Changed::new(session).with(left))
        }
        Err(refusal) => Err(of_address.charge_address(refusal).into()),
    }
}

/// What a refresh token gives, or why it gives nothing.
async fn look_at(
    services: &Services,
    caller: &Caller,
    of_address: &OfAddress,
    body: Refresh,
) -> Result<Result<(AccountId, Uuid, RefreshToken), edge::problem::Problem>, Problem> {
    let unknown = || Ok(Err(Code::InvalidRefreshToken.into()));
    let Ok(token) = body.refresh_token.parse::<RefreshToken>() else {
        return unknown();
    };
    // From an address without points, only a few look-ups run at once, so that a flood of
    // invalid tokens leaves the database to others.
    let _place = match of_address.is_spent() {
        true => Some(services.anonymous_place().await?),
        false => None,
    };
    let refreshed = services.vault.refresh_session(&token, &caller.device);
    match refreshed.await? {
        Refreshed::Next {
            account,
            session,
            token,
        } => Ok(Ok((account, session, token))),
        Refreshed::Unknown => unknown(),
        Refreshed::Ended => Ok(Err(Code::SessionEnded.into())),
        Refreshed::Reused { session } => {
            services.ended.add([session]);
            tracing::warn!(
                %session,
                "a refresh token was used again after a minute: its session is ended"
            );
            let detail = text!(
                "Sign in again: this refresh token was used before, by you or by a thief, and \
                 the session is ended.",
                "Melden Sie sich neu an: Dieses Erneuerungstoken wurde schon verwendet, von Ihnen \
                 oder von einem Dieb, und die Sitzung ist beendet."
            );
            Ok(Err(edge::problem::Problem::new(Code::SessionEnded, detail)))
        }
    }
}

/// Signs the account of a login in, as often as that may be tried.
pub(crate) async fn try_to_sign_in(
    services: &Arc<Services>,
    (login, account): (&Login, Option<AccountId>),
    shown: SignIn,
    place: Place,
    caller: &Caller,
    request_id: Uuid,
) -> Result<Session, Problem> {
    let token = shown.device_token.as_deref();
    let token = token.and_then(|token| token.parse().ok());
    // Asked for whether there is an account or not: it takes as long.
    let id = account.unwrap_or(AccountId(Uuid::nil()));
    let known = services.vault.known_device(id, token.as_ref()).await?;
    let mut attempt = Try::to_sign_in(services, login, known, caller).await?;
    let mut of_account = match known {
        Some(_) => None,
        None => Some(Try::to_sign_in_to_account(services, login, account).await),
    };
    let mut hash = Try::to_hash_right(services, login, account).await?;
    let who = Who {
        // Nobody, where so many tried that nothing is looked at.
        account: account.filter(|_| !matches!(of_account, Some(None))),
        known,
        caller: Caller {
            device: caller.device.clone().showing(token),
            ..caller.clone()
        },
    };
    let signed_in = sign_in(services, who, shown, place, request_id).await;
    let code = signed_in.as_ref().err().map(|problem| problem.code());
    let is_wrong = code == Some(Code::InvalidCredentials);
    if is_wrong || code == Some(Code::InvalidCode) {
        attempt.counts();
        if let Some(Some(of_account)) = &mut of_account {
            of_account.counts();
        }
    } else {
        attempt.give_back().await;
        if let Some(Some(of_account)) = of_account {
            of_account.give_back().await;
        }
    }
    let is_ours = code.is_some_and(|code| code.status().is_server_error());
    if !is_wrong && !is_ours {
        hash.counts();
    }
    signed_in
}

/// Who wants to sign in.
struct Who {
    account: Option<AccountId>,
    known: Option<KnownDevice>,
    caller: Caller,
}

async fn sign_in(
    services: &Arc<Services>,
    who: Who,
    shown: SignIn,
    place: Place,
    request_id: Uuid,
) -> Result<Session, Problem> {
    let wrong = || Problem::from(Code::InvalidCredentials);
    let id = who.account.unwrap_or(AccountId(Uuid::nil()));
    let verified = passwords::verified(services, id, &who.caller, shown.password, place).await?;
    let verified = verified.ok_or_else(wrong)?;
    let state = services.log.state::<Accounts>(Accounts::id(id)).await?;
    match state.state.standing {
        Standing::Registered | Standing::Deactivated => {}
        Standing::Unknown | Standing::Abandoned => return Err(wrong()),
    }
    if services.vault.barred(id).await?.is_some() {
        return Err(Code::AccountSuspended.into());
    }
    let asked = services.vault.second_factor(id).await?.enabled;
    if asked {
        let code = shown.one_time_code.ok_or_else(second_factors::required)?;
        let mut attempt = Try::to_sign_in_with_second_factor(services, id, who.known).await?;
        let now = second_factors::seconds();
        if !services.vault.check_second_factor(id, &code, now).await? {
            attempt.counts();
            // Whoever is told of the code has shown the password.
            return Err(emails::wrong_code());
        }
        attempt.give_back().await;
    }
    let (services, caller) = (Arc::clone(services), who.caller);
    // Though the client goes away: what has begun is told, and the account is back.
    let begun = TraceContext::spawn(async move {
        let device = &caller.device;
        // It may have been changed while it was looked at.
        let begun = services
            .vault
            .begin_session(id, device, Some(&verified), asked)
            .await?;
        let Some(begun) = begun else { return Ok(None) };
        // Asked of all, and after the session has begun: whoever deactivates meanwhile
        // ends it, or is back.
        let back = ReactivateAccount { account: id };
        services.execute_step(&back, id, request_id).await?;
        tracing::info!(account = %id, session = %begun.session, "signed in");
        if begun.is_new_device {
            letters::tell(&services, id, Change::NewDevice, &caller).await;
        }
        Session::begun(&services, id, &begun).map(Some)
    });
    let session = begun.await.map_err(Problem::internal)??;
    session.ok_or_else(wrong)
}
