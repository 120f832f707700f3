//! Who asks. `Authenticated` refuses strangers; `Viewer` lets them look. Both
//! refuse a token that is forged or expired: such a caller is told, and never
//! served as a stranger.

use std::time::SystemTime;

use kernel::{AccountId, Timestamp};
use poem::{Request, RequestBody, Result, http::header::AUTHORIZATION};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use uuid::Uuid;
use vault::ServiceToken;

use crate::{
    language::Text,
    problem::{Code, Problem},
    request::Head,
    services::EdgeServices,
    text,
    tokens::{SigningFailed, TokenError},
};

/// The name of the security scheme in the contract.
pub const BEARER: &str = "bearer";

/// The account that asks, and the session that it asks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticated {
    pub account: AccountId,
    pub session: Uuid,
}

/// The account that looks, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer(pub Option<Authenticated>);

impl Viewer {
    pub fn account(&self) -> Option<AccountId> {
        self.0.map(|authenticated| authenticated.account)
    }
}

impl From<Authenticated> for Viewer {
    fn from(account: Authenticated) -> Self {
        Self(Some(account))
    }
}

/// Who asks for what members may not: an account with a role, or a service.
#[derive(Clone, Debug)]
pub enum Privileged {
    Account(Authenticated),
    Service(ServiceToken),
}

/// The time that tokens are checked at.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.unwrap_or_default().as_millis();
    Timestamp(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

/// Who asks, looked at once for each request: strangers, somebody, or a refusal.
#[derive(Clone)]
pub(crate) enum Asker {
    Nobody,
    Somebody(Authenticated),
    Service(ServiceToken),
    Refused(Code, Text),
}

impl Asker {
    /// The account of a token that counts; refusing others is for handlers.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Somebody(somebody) => Some(somebody.account),
            Self::Nobody | Self::Service(_) | Self::Refused(..) => None,
        }
    }
}

/// Looks who asks, before anything is done.
pub(crate) fn look(request: &Request) -> Asker {
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Asker::Nobody;
    };
    if headers.next().is_some() {
        let detail = text!(
            "Send one Authorization header.",
            "Senden Sie einen Authorization-Header."
        );
        return Asker::Refused(Code::InvalidToken, detail);
    }
    let Some(token) = header.to_str().ok().and_then(bearer) else {
        let detail = text!(
            "Send Authorization: Bearer, a space, and an access token.",
            "Senden Sie Authorization: Bearer, ein Leerzeichen und ein Zugangstoken."
        );
        return Asker::Refused(Code::InvalidToken, detail);
    };
    if let Some(token) = ServiceToken::parse(token) {
        return Asker::Service(token);
    }
    let Some(EdgeServices { tokens, ended, .. }) = EdgeServices::of(request) else {
        return refused(Code::Internal);
    };
    match tokens.verify(token, now()) {
        Err(TokenError::Expired) => refused(Code::TokenExpired),
        Err(TokenError::Invalid) => refused(Code::InvalidToken),
        Ok(_) if ended.is_unknown() => Asker::Refused(
            Code::Unavailable,
            text!(
                "Try again shortly: it is not known yet which sessions were ended.",
                "Versuchen Sie es gleich noch einmal: Noch ist nicht bekannt, welche Sitzungen beendet wurden."
            ),
        ),
        Ok(claims) if ended.has(&claims) => refused(Code::SessionEnded),
        Ok(claims) => Asker::Somebody(Authenticated {
            account: claims.account,
            session: claims.session,
        }),
    }
}

fn refused(code: Code) -> Asker {
    Asker::Refused(code, code.advice())
}

fn looked(request: &Request) -> Asker {
    let head = request.data::<Head>();
    head.map_or_else(|| look(request), |head| head.asker.clone())
}

fn authenticate(request: &Request) -> Result<Option<Authenticated>, Problem> {
    match looked(request) {
        Asker::Nobody => Ok(None),
        Asker::Somebody(somebody) => Ok(Some(somebody)),
        Asker::Service(_) => {
            let detail = text!(
                "Send the token of an account: a service's counts only where it has a scope.",
                "Senden Sie das Token eines Kontos: Das eines Dienstes gilt nur, wo es einen Scope hat."
            );
            Err(Problem::new(Code::InvalidToken, detail))
        }
        Asker::Refused(code, detail) => Err(Problem::new(code, detail)),
    }
}

fn stranger() -> Problem {
    Code::Unauthenticated.into()
}

/// The token in `Bearer <token>`; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl From<SigningFailed> for Problem {
    fn from(error: SigningFailed) -> Self {
        Self::internal(error)
    }
}

fn register_bearer(registry: &mut Registry) {
    let scheme = MetaSecurityScheme {
        ty: "http",
        description: Some(
            "An access token, as signing in gives it: a JWT, handled as RFC8725 asks. It lives 15 minutes, or until its session is ended.",
        ),
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        bearer_format: Some("JWT"),
        flows: None,
        openid_connect_url: None,
    };
    registry.create_security_scheme(BEARER, scheme);
}

/// An extractor of who asks: the contract's half is the same for all.
macro_rules! asks {
    ($who:ty, or_nobody: $or_nobody:literal, $of:expr) => {
        impl<'a> ApiExtractor<'a> for $who {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                register_bearer(registry);
            }

            fn security_schemes() -> Vec<&'static str> {
                vec![BEARER]
            }

            /// Puts the empty requirement beside the bearer's.
            fn has_security_fallback() -> bool {
                $or_nobody
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> Result<Self> {
                let of: fn(&Request) -> Result<Self, Problem> = $of;
                Ok(of(request)?)
            }
        }
    };
}

asks!(Authenticated, or_nobody: false, |request| {
    authenticate(request)?.ok_or_else(stranger)
});

asks!(Privileged, or_nobody: false, |request| match looked(request) {
    Asker::Service(token) => Ok(Self::Service(token)),
    _ => Ok(Self::Account(authenticate(request)?.ok_or_else(stranger)?)),
});

asks!(Viewer, or_nobody: true, |request| {
    authenticate(request).map(Self)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
