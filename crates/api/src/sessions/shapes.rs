//! What sessions look like on the wire. It refuses to ask anybody.

use domain::handles::Handle;
use edge::{
    instant::{self, Instant},
    tokens::ACCESS_TOKEN_SECONDS,
};
use kernel::Uuid;
use poem_openapi::{Object, types::Example};
use vault::SESSION_DAYS;

use crate::examples::ACCOUNT_ID;

/// Who signs in.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct SignIn {
    /// A handle, with or without `@` before it, or an e-mail address. Neither case nor
    /// blanks around it count.
    #[oai(validator(min_length = 1, max_length = 254))]
    pub(super) login: String,
    /// Composed (NFC), and with a space for every blank, before it is compared.
    #[oai(validator(min_length = 1, max_length = 512))]
    pub(super) password: String,
    /// Of the second factor, where the account has one: what the authenticator
    /// shows, or a recovery code.
    #[oai(validator(min_length = 6, max_length = 32))]
    pub(super) one_time_code: Option<String>,
    /// What the device is known by: what the last sign-in from it, or a reset of the
    /// password, gave. However many guess from elsewhere, who sends it has tries of their
    /// own. One that is not known counts as none.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub(super) device_token: Option<String>,
}

pub(crate) const DEVICE_TOKEN: &str = "b1o0mW5n0Xl6Y0q3T9vUu2cJ8s4Rk7GdAeZhQxPyN_w";

impl SignIn {
    pub(crate) fn with(login: &Handle, password: String) -> Self {
        Self {
            login: login.to_string(),
            password,
            one_time_code: None,
            device_token: None,
        }
    }
}

impl Example for SignIn {
    fn example() -> Self {
        Self {
            login: "ada".into(),
            password: "correct horse battery".into(),
            one_time_code: None,
            device_token: None,
        }
    }
}

/// What keeps one signed in.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct Refresh {
    #[oai(validator(min_length = 1, max_length = 128))]
    pub(super) refresh_token: String,
}

impl Example for Refresh {
    fn example() -> Self {
        Self {
            refresh_token: Session::example().refresh_token,
        }
    }
}

/// What signing in gives.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Session {
    pub account_id: Uuid,
    pub session_id: Uuid,
    /// Send it as `Authorization: Bearer <access_token>`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds that the access token lives.
    pub expires_in: i64,
    /// Gives the next access token, and the next refresh token, once. Keep it
    /// as you keep a password.
    pub refresh_token: String,
    /// Seconds that the refresh token lives.
    pub refresh_expires_in: i64,
    /// What the device is known by: keep it, after signing out too, and send it with the
    /// next sign-in. It signs nobody in. The owner gets a letter of sign-ins without one
    /// that is known. Refreshes leave it out.
    pub device_token: Option<String>,
}

impl Example for Session {
    fn example() -> Self {
        Self {
            account_id: ACCOUNT_ID,
            session_id: Uuid::from_u128(0x0198_b5a2_9c11_7a02_8d3e_2b1c_0f9e_8d7c),
            access_token: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTk4In0.c2lnbmF0dXJl".into(),
            token_type: "Bearer".into(),
            expires_in: ACCESS_TOKEN_SECONDS,
            refresh_token: "AZi1opwRegKNPisc".repeat(4),
            refresh_expires_in: SESSION_DAYS * 24 * 60 * 60,
            device_token: Some(DEVICE_TOKEN.into()),
        }
    }
}

/// Where one is signed in.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct SessionDevice {
    id: Uuid,
    /// Whether it is the one that asks.
    current: bool,
    /// As the client names itself: its User-Agent.
    device: Option<String>,
    /// Where it was seen last.
    address: Option<String>,
    created_at: Instant,
    /// When it signed in or refreshed last.
    last_seen_at: Instant,
    expires_at: Instant,
}

impl SessionDevice {
    pub(super) fn of(session: vault::Session, current: Uuid) -> Self {
        Self {
            current: session.id == current,
            id: session.id,
            device: session.device,
            address: session.address,
            created_at: session.began_at.into(),
            last_seen_at: session.seen_at.into(),
            expires_at: session.expires_at.into(),
        }
    }
}

impl Example for SessionDevice {
    fn example() -> Self {
        Self {
            id: Session::example().session_id,
            current: true,
            device: Some("Mozilla/5.0 (X11; Linux x86_64)".into()),
            address: Some("192.0.2.1".into()),
            created_at: instant::EXAMPLE,
            last_seen_at: instant::EXAMPLE,
            expires_at: instant::EXAMPLE,
        }
    }
}

/// Where one is signed in: at most 100, the one seen last first.
#[derive(Object)]
#[oai(example)]
pub struct SessionList {
    pub(super) items: Vec<SessionDevice>,
}

impl Example for SessionList {
    fn example() -> Self {
        Self {
            items: vec![SessionDevice::example()],
        }
    }
}
