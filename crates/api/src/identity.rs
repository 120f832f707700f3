//! Who asks. `Authenticated` refuses strangers; `Viewer` lets them look. Both
//! refuse a token that is forged or expired: such a caller is told, and never
//! served as a stranger.

use std::{sync::Arc, time::SystemTime};

use kernel::{AccountId, Timestamp};
use poem::{Request, RequestBody, Result, http::header::AUTHORIZATION};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use uuid::Uuid;

use crate::{
    ended::EndedSessions,
    problem::{Code, Problem},
    tokens::{SigningFailed, TokenError, Tokens},
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

/// The time that tokens are checked at.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.unwrap_or_default().as_millis();
    Timestamp(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

async fn authenticate(request: &Request) -> Result<Option<Authenticated>, Problem> {
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Ok(None);
    };
    if headers.next().is_some() {
        return Err(Problem::new(
            Code::InvalidToken,
            "Send one Authorization header.",
        ));
    }
    let token = header.to_str().ok().and_then(bearer).ok_or_else(|| {
        let detail = "Send Authorization: Bearer, a space, and an access token.";
        Problem::new(Code::InvalidToken, detail)
    })?;
    let tokens = request
        .data::<Arc<Tokens>>()
        .ok_or_else(|| Problem::internal("no Tokens in the requests' data"))?;
    let claims = tokens.verify(token, now())?;
    let ended = request
        .data::<Arc<EndedSessions>>()
        .ok_or_else(|| Problem::internal("no EndedSessions in the requests' data"))?;
    if ended.has(claims.session) {
        return Err(Problem::new(Code::SessionEnded, "Sign in again."));
    }
    Ok(Some(Authenticated {
        account: claims.account,
        session: claims.session,
    }))
}

/// The account of a token that counts; refusing others is for handlers.
pub(crate) fn account_of(request: &Request) -> Option<AccountId> {
    let header = request.headers().get(AUTHORIZATION)?;
    let token = header.to_str().ok().and_then(bearer)?;
    let claims = request.data::<Arc<Tokens>>()?.verify(token, now()).ok()?;
    let ended = request.data::<Arc<EndedSessions>>()?;
    (!ended.has(claims.session)).then_some(claims.account)
}

/// The token in `Bearer <token>`; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => {
                Self::new(Code::TokenExpired, "Refresh it: POST /v1/sessions/refresh.")
            }
            TokenError::Invalid => Self::new(Code::InvalidToken, "Sign in again."),
        }
    }
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

impl<'a> ApiExtractor<'a> for Authenticated {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_bearer(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let detail = "Send an access token: Authorization: Bearer.";
        let stranger = || Problem::new(Code::Unauthenticated, detail);
        Ok(authenticate(request).await?.ok_or_else(stranger)?)
    }
}

impl<'a> ApiExtractor<'a> for Viewer {
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
        true
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(authenticate(request).await?))
    }
}

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
