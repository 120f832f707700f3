//! Every setting, declared once: its name, what it means, its default, whether
//! it is secret. It refuses to use any: `node.rs` does.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use api::LimitSettings;
use edge::{caller::Proxies, cors::Origins};
use eventlog::{PARTITIONS_DEFAULT, PARTITIONS_MAX};
use readmodel::{
    DATABASE_CONNECTIONS_DEFAULT, DatabaseAddress, timelines::TIMELINE_SECONDS_DEFAULT,
};
use reqwest::Url;
use servers::{Redis, Tls};
use vault::Budget;

use crate::{running::Running, secrets};

/// One line of `headwater config`.
pub struct Setting {
    pub name: &'static str,
    pub about: &'static str,
    pub default: Option<String>,
    pub secret: bool,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Environment,
    RunningUp,
    Default,
    Unset,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Environment => "environment",
            Self::RunningUp => "running up",
            Self::Default => "default",
            Self::Unset => "unset",
        })
    }
}

pub const DATABASE_URL: &str = "DATABASE_URL";
pub const REDIS_LOG_URL: &str = "REDIS_LOG_URL";
pub const REDIS_VIEWS_URL: &str = "REDIS_VIEWS_URL";
const TLS_CA_FILE: &str = "TLS_CA_FILE";
const TLS_CERTIFICATE_FILE: &str = "TLS_CERTIFICATE_FILE";
const TLS_KEY_FILE: &str = "TLS_KEY_FILE";
pub const TOKEN_SECRET: &str = "TOKEN_SECRET";
pub const CURSOR_SECRET: &str = "CURSOR_SECRET";
pub const LOG_SECRET: &str = "LOG_SECRET";
pub const VAULT_SECRET: &str = "VAULT_SECRET";
const VAULT_SECRETS_ACCEPTED: &str = "VAULT_SECRETS_ACCEPTED";
pub const LISTEN_ADDRESS: &str = "LISTEN_ADDRESS";
const METRICS_ADDRESS: &str = "METRICS_ADDRESS";
const TOKEN_ALGORITHM: &str = "TOKEN_ALGORITHM";
const TOKEN_PRIVATE_KEY_FILE: &str = "TOKEN_PRIVATE_KEY_FILE";
const TOKEN_SECRETS_ACCEPTED: &str = "TOKEN_SECRETS_ACCEPTED";
const TOKEN_PRIVATE_KEY_FILES_ACCEPTED: &str = "TOKEN_PRIVATE_KEY_FILES_ACCEPTED";
const TOKEN_ISSUER: &str = "TOKEN_ISSUER";
const TOKEN_AUDIENCE: &str = "TOKEN_AUDIENCE";
const LOG_PARTITIONS: &str = "LOG_PARTITIONS";
const LOG_ALLOW_UNSAFE: &str = "LOG_ALLOW_UNSAFE";
const KEY_PREFIX: &str = "KEY_PREFIX";
const DATABASE_CONNECTIONS: &str = "DATABASE_CONNECTIONS";
const PASSWORD_HASHES_AT_ONCE: &str = "PASSWORD_HASHES_AT_ONCE";
const BREACHED_PASSWORDS: &str = "BREACHED_PASSWORDS";
const TIMELINE_SECONDS: &str = "TIMELINE_SECONDS";
pub const ARCHIVE_URL: &str = "ARCHIVE_URL";
const ARCHIVE_HOT_EVENTS: &str = "ARCHIVE_HOT_EVENTS";
const ARCHIVE_HOT_BYTES: &str = "ARCHIVE_HOT_BYTES";
const ARCHIVE_SECONDS: &str = "ARCHIVE_SECONDS";
const PUSH_FOLLOWERS_MAX: &str = "PUSH_FOLLOWERS_MAX";
pub const CORS_ORIGINS: &str = "CORS_ORIGINS";
const LIMIT_ANONYMOUS: &str = "LIMIT_ANONYMOUS";
const LIMIT_ACCOUNT: &str = "LIMIT_ACCOUNT";
const LIMIT_ACCOUNT_BYTES: &str = "LIMIT_ACCOUNT_BYTES";
const LIMIT_SIGN_IN: &str = "LIMIT_SIGN_IN";
const LIMIT_REGISTRATION: &str = "LIMIT_REGISTRATION";
const LIMIT_CODES: &str = "LIMIT_CODES";
const LIMIT_PASSWORD_HASHES: &str = "LIMIT_PASSWORD_HASHES";
pub const MAIL_URL: &str = "MAIL_URL";
const MAIL_FROM: &str = "MAIL_FROM";
const TRUSTED_PROXIES: &str = "TRUSTED_PROXIES";
const OTEL_EXPORTER_OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const OTEL_TRACES_SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
pub const TRACE_FILTER: &str = "TRACE_FILTER";
pub const TRACE_FORMAT: &str = "TRACE_FORMAT";

/// Above this many followers an author's posts are pulled.
const PUSH_FOLLOWERS_DEFAULT: i64 = 5_000;

pub fn all() -> Vec<Setting> {
    let setting = |name, about, default: &str| Setting {
        name,
        about,
        default: (!default.is_empty()).then(|| default.to_owned()),
        secret: false,
    };
    let secret = |name, about| Setting {
        name,
        about,
        default: None,
        secret: true,
    };
    vec![
        secret(
            DATABASE_URL,
            "PostgreSQL: postgres://user:password@host:port/database?sslmode=verify-full",
        ),
        secret(
            REDIS_LOG_URL,
            "Redis of the log (durable): redis://:password@host:port, rediss:// with TLS",
        ),
        secret(
            REDIS_VIEWS_URL,
            "Redis of the views (rebuildable): redis://:password@host:port, rediss:// with TLS",
        ),
        setting(
            TLS_CA_FILE,
            "certificates (PEM) of authorities that count beside the system's, for all three servers",
            "",
        ),
        setting(
            TLS_CERTIFICATE_FILE,
            "certificate (PEM) for servers that ask who we are, with TLS_KEY_FILE",
            "",
        ),
        setting(
            TLS_KEY_FILE,
            "private key (PEM) of TLS_CERTIFICATE_FILE",
            "",
        ),
        setting(LISTEN_ADDRESS, "where the API listens", "127.0.0.1:8080"),
        setting(
            METRICS_ADDRESS,
            "where /metrics is for Prometheus, such as 127.0.0.1:9090; unset: nowhere",
            "",
        ),
        secret(
            TOKEN_SECRET,
            "signs access tokens (HS256), 32 bytes or more",
        ),
        secret(
            CURSOR_SECRET,
            "seals page cursors and positions, binds sessions to accounts; 32 bytes or more",
        ),
        secret(
            LOG_SECRET,
            "signs the events of the log, 32 bytes or more; whatever reads or writes the log has it, \
             the log server does not, and it never changes",
        ),
        secret(
            VAULT_SECRET,
            "wraps the database's keys of personal fields and secrets of authenticators, 32 bytes \
             or more; no personal text can be read without it",
        ),
        secret(
            VAULT_SECRETS_ACCEPTED,
            "those before it, with commas between, until `headwater vault wrap` is done",
        ),
        setting(TOKEN_ALGORITHM, "HS256, or EdDSA with a key file", "HS256"),
        setting(
            TOKEN_PRIVATE_KEY_FILE,
            "Ed25519 private key (PKCS#8 PEM), for EdDSA",
            "",
        ),
        secret(
            TOKEN_SECRETS_ACCEPTED,
            "other HS256 secrets whose tokens count, with commas between: for a change of keys",
        ),
        setting(
            TOKEN_PRIVATE_KEY_FILES_ACCEPTED,
            "other Ed25519 key files whose tokens count and whose public keys are shown",
            "",
        ),
        setting(TOKEN_ISSUER, "the iss of access tokens", "headwater"),
        setting(
            TOKEN_AUDIENCE,
            "the aud of access tokens, and the only one that is taken; unset: TOKEN_ISSUER's",
            "",
        ),
        setting(
            LOG_PARTITIONS,
            "partitions of a log that is made anew; fixed from then on",
            &PARTITIONS_DEFAULT.to_string(),
        ),
        setting(
            LOG_ALLOW_UNSAFE,
            "true: take a log server that may lose acknowledged writes",
            "false",
        ),
        setting(
            ARCHIVE_URL,
            "where what the log need not keep goes: file:///folder or s3://bucket/prefix",
            "",
        ),
        setting(
            ARCHIVE_HOT_EVENTS,
            "archived events that a partition keeps in Redis",
            "100000",
        ),
        setting(
            ARCHIVE_HOT_BYTES,
            "bytes of memory that those may take; where they take more, fewer are kept",
            "134217728",
        ),
        setting(
            ARCHIVE_SECONDS,
            "how long an event waits at most until it is archived",
            "300",
        ),
        setting(KEY_PREFIX, "before every Redis key", "hw"),
        setting(
            DATABASE_CONNECTIONS,
            "database connections of one process, at most; to serve takes a quarter more, to sign in; \
             fewer where the server has not so many left",
            &DATABASE_CONNECTIONS_DEFAULT.to_string(),
        ),
        setting(
            PASSWORD_HASHES_AT_ONCE,
            "argon2id runs at once, 19 MiB each",
            "2",
        ),
        setting(
            BREACHED_PASSWORDS,
            "file of SHA-1 hashes of passwords that nobody may choose, sorted, a line each, \
             as Pwned Passwords has them; unset: the common ones alone",
            "",
        ),
        setting(
            TIMELINE_SECONDS,
            "how long a home timeline in Redis outlives its last read",
            &TIMELINE_SECONDS_DEFAULT.to_string(),
        ),
        setting(
            PUSH_FOLLOWERS_MAX,
            "above this many followers an author's posts are pulled, not pushed",
            &PUSH_FOLLOWERS_DEFAULT.to_string(),
        ),
        setting(
            CORS_ORIGINS,
            "pages that may call from a browser, such as https://example.org; loopback for all of this \
             machine, as under `up`; * for any",
            "",
        ),
        setting(
            LIMIT_ANONYMOUS,
            "points of an address without a token, and the seconds they come back in; or off",
            "100/60",
        ),
        setting(
            LIMIT_ACCOUNT,
            "points of an account: a read spends 1, a write 5 and 1 more for each further KiB; or \
             off",
            "600/60",
        ),
        setting(
            LIMIT_ACCOUNT_BYTES,
            "bytes/seconds that an account writes: bodies, and 256 a write; or off",
            "20000000/86400",
        ),
        setting(
            LIMIT_SIGN_IN,
            "failed sign-ins to one account from one address, and the seconds they count; or off",
            "5/300",
        ),
        setting(
            LIMIT_REGISTRATION,
            "registrations from one address, and the seconds they count; or off",
            "20/3600",
        ),
        setting(
            LIMIT_CODES,
            "codes sent or tried from one address, and the seconds they count; or off",
            "20/3600",
        ),
        setting(
            LIMIT_PASSWORD_HASHES,
            "passwords that are looked at or set, right or wrong, from one address or of one account; \
             or off",
            "30/60",
        ),
        secret(
            MAIL_URL,
            "smtps://user:password@host:465, smtp://host:587?tls=required or file:///folder; \
             unset: no mail is sent",
        ),
        setting(
            MAIL_FROM,
            "who letters are from",
            "Headwater <no-reply@localhost>",
        ),
        setting(
            TRUSTED_PROXIES,
            "proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8, ::1",
            "",
        ),
        setting(
            TRACE_FILTER,
            "what is logged, such as info or api=debug (each request)",
            "info,sqlx=warn,sea_orm_migration=warn,poem=warn",
        ),
        setting(TRACE_FORMAT, "text or json", "text"),
        setting(
            OTEL_EXPORTER_OTLP_ENDPOINT,
            "where spans go (OTLP over HTTP), such as http://127.0.0.1:4318; unset: nowhere",
            "",
        ),
        setting(
            OTEL_TRACES_SAMPLER_ARG,
            "share of requests that spans are made of, where the client does not say: 0 to 1",
            "1",
        ),
    ]
}

/// What the program runs with.
#[derive(Clone)]
pub struct Settings {
    pub database: DatabaseAddress,
    pub redis_log: Redis,
    pub redis_views: Redis,
    pub listen_address: std::net::SocketAddr,
    pub metrics_address: Option<std::net::SocketAddr>,
    pub token_key: TokenKey,
    /// Verify, and do not sign.
    pub token_keys_accepted: Vec<TokenKey>,
    pub cursor_secret: String,
    pub log_secret: String,
    pub vault_secret: String,
    pub vault_secrets_accepted: Vec<String>,
    pub token_issuer: String,
    pub token_audience: String,
    pub log_partitions: u16,
    pub log_allow_unsafe: bool,
    /// Empty: nothing is archived.
    pub archive_url: String,
    pub archive_hot_events: u64,
    pub archive_hot_bytes: u64,
    pub archive_seconds: u64,
    pub key_prefix: String,
    pub database_connections: u32,
    pub password_hashes_at_once: usize,
    pub breached_passwords: Option<PathBuf>,
    pub timeline_seconds: u64,
    pub push_followers_max: i64,
    pub limits: LimitSettings,
    /// Empty: no mail is sent.
    pub mail_url: String,
    pub mail_from: String,
    pub trusted_proxies: Proxies,
    pub cors_origins: Origins,
    /// None: no spans are made.
    pub spans_url: Option<Url>,
    /// Of requests whose client does not say whether their trace is recorded.
    pub spans_share: f64,
}

/// What signs access tokens.
#[derive(Clone)]
pub enum TokenKey {
    /// HS256.
    Secret(String),
    /// EdDSA: a private key in PKCS#8 PEM.
    PrivateKey(String),
}

/// Everything that is wrong, by name.
#[derive(Debug)]
pub struct BadSettings(pub Vec<(&'static str, String)>);

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these settings cannot be used:")?;
        for (name, reason) in &self.0 {
            write!(f, "\n  {name}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadSettings {}

/// Values by name, with where they came from.
pub struct Values {
    values: BTreeMap<&'static str, (Option<String>, Source)>,
}

impl Values {
    /// The environment first, then what a running `up` wrote down, then the
    /// default. An empty variable counts as unset.
    pub fn gather(environment: impl Fn(&str) -> Option<String>, running: Option<&Running>) -> Self {
        let values = all().into_iter().map(|setting| {
            let name = setting.name;
            let given = environment(name).filter(|value| !value.is_empty());
            let noted = running.and_then(|running| running.value(name));
            let value = match (given, noted, setting.default) {
                (Some(value), _, _) => (Some(value), Source::Environment),
                (None, Some(value), _) => (Some(value), Source::RunningUp),
                (None, None, Some(value)) => (Some(value), Source::Default),
                (None, None, None) => (None, Source::Unset),
            };
            (name, value)
        });
        Self {
            values: values.collect(),
        }
    }

    pub fn get(&self, name: &str) -> (Option<&str>, Source) {
        let (value, source) = self
            .values
            .get(name)
            .map_or((&None, Source::Unset), |(value, source)| (value, *source));
        (value.as_deref(), source)
    }

    /// Every bad setting at once.
    pub fn read(&self) -> Result<Settings, BadSettings> {
        let mut bad = Vec::new();
        let tls = self.tls(&mut bad);
        let database = |url: &str| DatabaseAddress::new(url, tls.clone());
        let redis = |url: &str| Redis::new(url, tls.clone());
        let settings = Settings {
            database: self.address(DATABASE_URL, &mut bad, database),
            redis_log: self.address(REDIS_LOG_URL, &mut bad, redis),
            redis_views: self.address(REDIS_VIEWS_URL, &mut bad, redis),
            listen_address: self.parsed(LISTEN_ADDRESS, &mut bad, ([127, 0, 0, 1], 0).into()),
            metrics_address: (self.get(METRICS_ADDRESS).0)
                .map(|_| self.parsed(METRICS_ADDRESS, &mut bad, ([127, 0, 0, 1], 0).into())),
            token_key: self.token_key(&mut bad),
            token_keys_accepted: self.token_keys_accepted(&mut bad),
            cursor_secret: self.secret(CURSOR_SECRET, &mut bad),
            log_secret: self.secret(LOG_SECRET, &mut bad),
            vault_secret: self.secret(VAULT_SECRET, &mut bad),
            vault_secrets_accepted: self.secrets(VAULT_SECRETS_ACCEPTED, &mut bad),
            token_issuer: self.text(TOKEN_ISSUER, &mut bad),
            token_audience: match self.get(TOKEN_AUDIENCE).0 {
                Some(audience) => audience.to_owned(),
                None => self.text(TOKEN_ISSUER, &mut bad),
            },
            log_partitions: self.between(LOG_PARTITIONS, &mut bad, 1, PARTITIONS_MAX),
            log_allow_unsafe: self.parsed(LOG_ALLOW_UNSAFE, &mut bad, false),
            archive_url: self.get(ARCHIVE_URL).0.unwrap_or_default().to_owned(),
            archive_hot_events: self.between(ARCHIVE_HOT_EVENTS, &mut bad, 1, u64::MAX),
            archive_hot_bytes: self.between(ARCHIVE_HOT_BYTES, &mut bad, 1, u64::MAX),
            archive_seconds: self.between(ARCHIVE_SECONDS, &mut bad, 1, 24 * 60 * 60),
            key_prefix: self.text(KEY_PREFIX, &mut bad),
            database_connections: self.between(DATABASE_CONNECTIONS, &mut bad, 4, 1_000),
            password_hashes_at_once: self.between(PASSWORD_HASHES_AT_ONCE, &mut bad, 1, 64),
            breached_passwords: self.get(BREACHED_PASSWORDS).0.map(PathBuf::from),
            timeline_seconds: self.between(TIMELINE_SECONDS, &mut bad, 1, 365 * 24 * 60 * 60),
            push_followers_max: self.between(PUSH_FOLLOWERS_MAX, &mut bad, 0, i64::MAX),
            limits: LimitSettings {
                anonymous: self.parsed(LIMIT_ANONYMOUS, &mut bad, Budget::NONE),
                account: self.parsed(LIMIT_ACCOUNT, &mut bad, Budget::NONE),
                account_bytes: self.parsed(LIMIT_ACCOUNT_BYTES, &mut bad, Budget::NONE),
                sign_in: self.parsed(LIMIT_SIGN_IN, &mut bad, Budget::NONE),
                registration: self.parsed(LIMIT_REGISTRATION, &mut bad, Budget::NONE),
                codes: self.parsed(LIMIT_CODES, &mut bad, Budget::NONE),
                password_hashes: self.parsed(LIMIT_PASSWORD_HASHES, &mut bad, Budget::NONE),
            },
            mail_url: self.get(MAIL_URL).0.unwrap_or_default().to_owned(),
            mail_from: self.text(MAIL_FROM, &mut bad),
            trusted_proxies: self.parsed(TRUSTED_PROXIES, &mut bad, Proxies::default()),
            cors_origins: self.parsed(CORS_ORIGINS, &mut bad, Origins::default()),
            spans_url: self.spans_url(&mut bad),
            spans_share: self.between(OTEL_TRACES_SAMPLER_ARG, &mut bad, 0.0, 1.0),
        };
        if settings.key_prefix.contains(['{', '}', ' ']) {
            bad.push((KEY_PREFIX, "has no braces and no blanks".into()));
        }
        match bad.is_empty() {
            true => Ok(settings),
            false => Err(BadSettings(bad)),
        }
    }

    fn text(&self, name: &'static str, bad: &mut Vec<(&'static str, String)>) -> String {
        match self.get(name).0 {
            Some(value) => value.to_owned(),
            None => {
                let hint = "is not set, and no `headwater up` runs in this folder";
                bad.push((name, hint.into()));
                String::new()
            }
        }
    }

    fn address<T: From<String>>(
        &self,
        name: &'static str,
        bad: &mut Vec<(&'static str, String)>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let url = self.text(name, bad);
        if url.is_empty() {
            return url.into();
        }
        read(&url).unwrap_or_else(|why| {
            bad.push((name, why));
            url.into()
        })
    }

    fn tls(&self, bad: &mut Vec<(&'static str, String)>) -> Tls {
        let mut file = |name, check: fn(&[u8]) -> Result<(), String>| {
            let path = self.get(name).0?;
            let pem = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"));
            match pem.and_then(|pem| check(&pem).map(|()| pem)) {
                Ok(pem) => Some(pem),
                Err(why) => {
                    bad.push((name, format!("{path} {why}")));
                    None
                }
            }
        };
        let authorities = file(TLS_CA_FILE, Tls::check_certificates);
        let certificate = file(TLS_CERTIFICATE_FILE, Tls::check_certificates);
        let key = file(TLS_KEY_FILE, Tls::check_key);
        let is_set = |name| self.get(name).0.is_some();
        match (is_set(TLS_CERTIFICATE_FILE), is_set(TLS_KEY_FILE)) {
            (true, false) => bad.push((TLS_KEY_FILE, "belongs to TLS_CERTIFICATE_FILE".into())),
            (false, true) => bad.push((TLS_CERTIFICATE_FILE, "belongs to TLS_KEY_FILE".into())),
            _ => {}
        }
        Tls::new(authorities, certificate.zip(key))
    }

    fn secret(&self, name: &'static str, bad: &mut Vec<(&'static str, String)>) -> String {
        let secret = self.text(name, bad);
        if !secret.is_empty()
            && let Some(why) = self.weakness(&secret)
        {
            bad.push((name, why));
        }
        secret
    }

    /// What an example holds is enough for the private servers of an `up`.
    fn weakness(&self, secret: &str) -> Option<String> {
        let private = self.get(DATABASE_URL).1 == Source::RunningUp;
        match private {
            true => secrets::is_too_short(secret),
            false => secrets::weakness(secret),
        }
    }

    fn token_key(&self, bad: &mut Vec<(&'static str, String)>) -> TokenKey {
        match self.get(TOKEN_ALGORITHM).0 {
            Some("HS256") => TokenKey::Secret(self.secret(TOKEN_SECRET, bad)),
            Some("EdDSA") => {
                let path = self.text(TOKEN_PRIVATE_KEY_FILE, bad);
                key_file(TOKEN_PRIVATE_KEY_FILE, &path, bad)
            }
            _ => {
                bad.push((TOKEN_ALGORITHM, "is HS256 or EdDSA".into()));
                TokenKey::Secret(String::new())
            }
        }
    }

    /// What stands between commas.
    fn list(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let all = self.get(name).0.unwrap_or_default().split(',');
        all.map(str::trim).filter(|one| !one.is_empty())
    }

    fn secrets(&self, name: &'static str, bad: &mut Vec<(&'static str, String)>) -> Vec<String> {
        let secrets = self.list(name).map(|secret| {
            if let Some(why) = self.weakness(secret) {
                bad.push((name, format!("one of them {why}")));
            }
            secret.to_owned()
        });
        secrets.collect()
    }

    fn token_keys_accepted(&self, bad: &mut Vec<(&'static str, String)>) -> Vec<TokenKey> {
        let secrets = self.secrets(TOKEN_SECRETS_ACCEPTED, bad);
        let mut keys: Vec<_> = secrets.into_iter().map(TokenKey::Secret).collect();
        for path in self.list(TOKEN_PRIVATE_KEY_FILES_ACCEPTED) {
            keys.push(key_file(TOKEN_PRIVATE_KEY_FILES_ACCEPTED, path, bad));
        }
        keys
    }

    /// Where a collector takes traces below the endpoint, by the specification.
    fn spans_url(&self, bad: &mut Vec<(&'static str, String)>) -> Option<Url> {
        let endpoint = self.get(OTEL_EXPORTER_OTLP_ENDPOINT).0?;
        let url = Url::parse(&format!("{}/v1/traces", endpoint.trim_end_matches('/')));
        // What it held beyond an address would be shown by `config`.
        let plain = |url: &Url| {
            let known = matches!(url.scheme(), "http" | "https") && url.has_host();
            known && url.username().is_empty() && url.password().is_none() && url.query().is_none()
        };
        let url = url.ok().filter(plain);
        if url.is_none() {
            let why = "is such as http://127.0.0.1:4318, without user and password";
            bad.push((OTEL_EXPORTER_OTLP_ENDPOINT, why.into()));
        }
        url
    }

    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
        bad: &mut Vec<(&'static str, String)>,
        otherwise: T,
    ) -> T {
        match self.get(name).0.unwrap_or_default().parse() {
            Ok(value) => value,
            Err(error) => {
                bad.push((name, format!("cannot be read: {error}")));
                otherwise
            }
        }
    }

    fn between<T: std::str::FromStr<Err: fmt::Display> + PartialOrd + fmt::Display + Copy>(
        &self,
        name: &'static str,
        bad: &mut Vec<(&'static str, String)>,
        least: T,
        most: T,
    ) -> T {
        let value = self.parsed(name, bad, least);
        if !(least..=most).contains(&value) {
            bad.push((name, format!("is between {least} and {most}")));
        }
        value
    }
}

fn key_file(name: &'static str, path: &str, bad: &mut Vec<(&'static str, String)>) -> TokenKey {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        bad.push((name, format!("{path} cannot be read: {error}")));
        String::new()
    });
    TokenKey::PrivateKey(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str) -> Vec<String> {
        let name = |line: &str| {
            let line = line.trim().trim_start_matches(['#', ' ']);
            let end = line.find(['=', ':'])?;
            let name = &line[..end];
            let shouted = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            (name.contains('_') && name.chars().all(shouted)).then(|| name.to_owned())
        };
        file.lines().filter_map(name).collect()
    }

    #[test]
    fn the_example_and_the_compose_file_name_only_settings_that_exist() {
        let known: Vec<_> = all().iter().map(|setting| setting.name).collect();
        let example = names(include_str!("../../../.env.example"));
        let compose = names(include_str!("../../../compose.yaml"));
        // What the official PostgreSQL image itself wants.
        let foreign = ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];
        for name in example.iter().chain(&compose) {
            let fine = known.contains(&name.as_str()) || foreign.contains(&name.as_str());
            assert!(fine, "{name} is no setting");
        }
        for name in known {
            assert!(
                example.iter().any(|n| n == name),
                "{name} is missing in .env.example"
            );
        }
        assert!(compose.len() > 3, "the compose file sets something");
    }

    #[test]
    fn all_bad_settings_are_told_at_once_by_name() {
        let environment = |name: &str| match name {
            LISTEN_ADDRESS => Some("nowhere".to_owned()),
            LOG_PARTITIONS => Some("0".to_owned()),
            TOKEN_SECRET => Some("short".to_owned()),
            OTEL_EXPORTER_OTLP_ENDPOINT => Some("http://user:password@collector".to_owned()),
            OTEL_TRACES_SAMPLER_ARG => Some("NaN".to_owned()),
            _ => None,
        };
        let bad = Values::gather(environment, None).read().err();
        let names: Vec<_> = bad.iter().flat_map(|bad| &bad.0).map(|bad| bad.0).collect();
        for name in [
            DATABASE_URL,
            REDIS_LOG_URL,
            REDIS_VIEWS_URL,
            LISTEN_ADDRESS,
            TOKEN_SECRET,
            CURSOR_SECRET,
            LOG_SECRET,
            VAULT_SECRET,
            LOG_PARTITIONS,
            OTEL_EXPORTER_OTLP_ENDPOINT,
            OTEL_TRACES_SAMPLER_ARG,
        ] {
            assert!(names.contains(&name), "{name} is not told: {names:?}");
        }
    }
}
