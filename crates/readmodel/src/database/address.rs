//! The address of PostgreSQL: what of it counts, what is left out, and what cannot
//! be kept, which is told in place of a connection that is not what was asked for.

use std::fmt;

use sea_orm::sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use servers::Tls;
use url::Url;

const WANTED: &str = "is such as postgres://user:password@host:5432/database?sslmode=verify-full";
const ENCODED: &str = "characters such as / ? # @ % in a user name or password are written \
                       percent-encoded: / is %2F, # is %23";
const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];
/// What other clients read of an address, and what changes nothing here.
const LEFT_OUT: [&str; 27] = [
    "connect_timeout",
    "client_encoding",
    "connection_limit",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "pgbouncer",
    "pool_max_conns",
    "pool_timeout",
    "prepareThreshold",
    "socket_timeout",
    "sslcertmode",
    "sslcompression",
    "ssl_max_protocol_version",
    // Asked for in either way, it is encrypted before anything is said.
    "sslnegotiation",
    "sslsni",
    "statement_cache_size",
    "supa",
    "tcp_user_timeout",
];
/// What the driver reads.
const KNOWN: [&str; 14] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "ssl-mode",
    "ssl-root-cert",
    "statement-cache-capacity",
];

/// Where PostgreSQL is, and with whose certificates.
#[derive(Clone)]
pub struct DatabaseAddress {
    url: String,
    tls: Tls,
    name: Option<String>,
}

impl fmt::Debug for DatabaseAddress {
    /// The URL holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseAddress")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Without an own authority.
impl<T: Into<String>> From<T> for DatabaseAddress {
    fn from(url: T) -> Self {
        Self {
            url: url.into(),
            tls: Tls::default(),
            name: None,
        }
    }
}

impl DatabaseAddress {
    /// What is wrong with the address, without its password.
    pub fn new(url: &str, tls: Tls) -> Result<Self, String> {
        let address = Self {
            url: url.to_owned(),
            tls,
            name: None,
        };
        address.options()?;
        Ok(address)
    }

    /// What its connections are called in `pg_stat_activity`.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        let name = Some(name);
        Self { name, ..self }
    }

    pub(crate) fn options(&self) -> Result<PgConnectOptions, String> {
        let options = read(&self.url, &self.tls)?;
        Ok(match &self.name {
            Some(name) => options.application_name(name),
            None => options,
        })
    }
}

/// As messages name the server.
pub(crate) fn server(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn read(url: &str, tls: &Tls) -> Result<PgConnectOptions, String> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Err(WANTED.into());
    }
    let mut parsed = Url::parse(url).map_err(|_| match has_many_hosts(url) {
        true => "names several hosts: one is taken".to_owned(),
        false => format!("cannot be read; it {WANTED}; {ENCODED}"),
    })?;
    if parsed.fragment().is_some() {
        return Err(format!("has a # in it; {ENCODED}"));
    }
    if parsed.path().trim_matches('/').contains('/') {
        return Err(format!("has a / in the database's name; {ENCODED}"));
    }
    let mut asked = Asked::default();
    let mut kept = Vec::new();
    for (name, value) in parsed.query_pairs() {
        if asked.takes(&name, &value)? {
            kept.push((name.into_owned(), value.into_owned()));
        }
    }
    match kept.is_empty() {
        true => parsed.set_query(None),
        false => {
            parsed.query_pairs_mut().clear().extend_pairs(kept);
        }
    }
    let options: PgConnectOptions = parsed
        .as_str()
        .parse()
        .map_err(|error| format!("cannot be used: {error}"))?;
    asked.encrypt(options, tls)
}

fn has_many_hosts(url: &str) -> bool {
    let after = url.split_once("://").map_or("", |(_, after)| after);
    let authority = after.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    hosts.contains(',')
}

/// What the parameters ask for that the driver does not do by itself.
#[derive(Default)]
struct Asked {
    root: Option<String>,
    certificate: bool,
    key: bool,
}

impl Asked {
    /// Whether the driver is given the parameter.
    fn takes(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let refused = |why: &str| Err(format!("has {name}={value}: {why}"));
        match (name, value) {
            ("sslmode" | "ssl-mode", mode) if !MODES.contains(&mode) => {
                let modes = MODES.join(", ");
                return refused(&format!("it is one of {modes}"));
            }
            ("ssl" | "requiressl" | "tls" | "sslaccept", _) => {
                return refused("write sslmode=require, verify-ca or verify-full in its place");
            }
            ("sslrootcert" | "ssl-root-cert", path) => {
                self.root = Some(path.to_owned());
                return Ok(false);
            }
            ("sslcert", _) => self.certificate = true,
            ("sslkey", _) => self.key = true,
            ("channel_binding", "prefer" | "disable") => return Ok(false),
            ("channel_binding", _) => {
                return refused(
                    "channel binding is not known here. Leave it out: sslmode=verify-full \
                     keeps others from standing between as well",
                );
            }
            ("gssencmode", "disable" | "prefer") => return Ok(false),
            ("target_session_attrs", "any" | "read-write" | "primary") => return Ok(false),
            ("target_session_attrs", _) => {
                return refused("a server that takes writes is needed; leave it out");
            }
            ("schema", "public") => return Ok(false),
            ("schema", _) => return refused("tables are in schemas of their own; leave it out"),
            ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2") => return Ok(false),
            ("ssl_min_protocol_version", _) => {
                return refused("TLS 1.2 is spoken too; leave it out, and set it at the server");
            }
            ("gssencmode" | "require_auth" | "sslcrl" | "sslcrldir" | "sslpassword", _) => {
                return Err(format!(
                    "has {name}=…, which cannot be kept here: leave it out"
                ));
            }
            _ => {}
        }
        let known = KNOWN.contains(&name) || name.starts_with("options[");
        match (known, LEFT_OUT.contains(&name)) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => Err(format!("has {name}=…, which is not known: leave it out")),
        }
    }

    fn encrypt(self, options: PgConnectOptions, tls: &Tls) -> Result<PgConnectOptions, String> {
        if self.certificate != self.key {
            return Err("has one of sslcert and sslkey: both are needed".into());
        }
        let mut options = options
            .disable_statement_logging()
            // A pooler refuses it, and numbers come in binary.
            .extra_float_digits(None);
        if options.get_socket().is_some() {
            return Ok(options.ssl_mode(PgSslMode::Disable));
        }
        if matches!(options.get_ssl_mode(), PgSslMode::Allow) {
            // With the driver it would be never.
            options = options.ssl_mode(PgSslMode::Prefer);
        }
        match self.root.as_deref() {
            // As libpq has it: the system's, and a name that fits.
            Some("system") => options = options.ssl_mode(PgSslMode::VerifyFull),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| error.to_string());
                let pem = pem.and_then(|pem| Tls::check_certificates(&pem).map(|()| pem));
                let pem = pem.map_err(|why| format!("has sslrootcert={path}: {why}"))?;
                options = options.ssl_root_cert_from_pem(pem);
                if matches!(options.get_ssl_mode(), PgSslMode::Require) {
                    // As libpq has it where there is a root.
                    options = options.ssl_mode(PgSslMode::VerifyCa);
                }
            }
            None => {
                if let Some(own) = tls.authorities() {
                    options = options.ssl_root_cert_from_pem(own.to_vec());
                }
            }
        }
        if let (false, Some((certificate, key))) = (self.certificate, tls.identity()) {
            options = options
                .ssl_client_cert_from_pem(certificate)
                .ssl_client_key_from_pem(key);
        }
        Ok(options)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(url: &str) -> PgConnectOptions {
        read(url, &Tls::default()).unwrap()
    }

    #[test]
    fn addresses_of_hosting_consoles_are_taken() {
        for url in [
            "postgres://u:p@h/d?sslmode=require",
            "postgresql://u:p@h:6543/d?pgbouncer=true&connection_limit=1",
            "postgres://u:p@h/d?sslmode=require&connect_timeout=10&application_name=x",
            "postgres://u:p@h/d?target_session_attrs=read-write&keepalives=1",
            "postgres://u:p@h/d?options=endpoint%3Dsome-name-1&sslmode=verify-full",
            "postgres://u:p@h/d?sslmode=require&channel_binding=prefer&sslnegotiation=direct",
            "postgres://u:p@h/d?schema=public",
            "postgres:///d?host=/var/run/postgresql&user=u&sslmode=require",
        ] {
            assert_eq!(read(url, &Tls::default()).map(|_| ()), Ok(()), "{url}");
        }
        let encoded = options("postgres://some%40one:pa%2Fss%23@h/d");
        assert_eq!(encoded.get_username(), "some@one");
        assert_eq!(
            options("postgres://h/d?application_name=x").get_application_name(),
            Some("x")
        );
    }

    #[test]
    fn what_cannot_be_kept_of_an_address_is_named() {
        for (url, why) in [
            ("host=h dbname=d user=u", "postgres://"),
            ("mysql://h/d", "postgres://"),
            ("postgres://u:pa/ss@h/d", "%2F"),
            ("postgres://u:pa#ss@h/d", "%23"),
            ("postgres://u:pass@one:1,two:2/d", "several hosts"),
            ("postgres://u:pass@h/d?sslmode=no-verify", "verify-full"),
            ("postgres://u:pass@h/d?ssl=true", "sslmode=require"),
            (
                "postgres://u:pass@h/d?sslmode=require&channel_binding=require",
                "channel_binding",
            ),
            (
                "postgres://u:pass@h/d?target_session_attrs=standby",
                "takes writes",
            ),
            ("postgres://u:pass@h/d?schema=mine", "schema=mine"),
            (
                "postgres://u:pass@h/d?ssl_min_protocol_version=TLSv1.3",
                "ssl_min_protocol_version",
            ),
            (
                "postgres://u:pass@h/d?sslrootcert=/not/there.pem",
                "/not/there.pem",
            ),
            ("postgres://u:pass@h/d?sslcert=/c.pem", "sslkey"),
            ("postgres://u:pass@h/d?whatever=1", "whatever"),
        ] {
            let told = read(url, &Tls::default()).map(|_| ()).unwrap_err();
            assert!(told.contains(why), "{url}: {told}");
            assert!(!told.contains("u:pa"), "{url}: {told}");
        }
    }

    #[test]
    fn the_mode_is_never_weaker_than_asked_for() {
        use PgSslMode::{Disable, Prefer, Require, VerifyFull};
        let is = |url: &str, mode: PgSslMode| {
            let found = options(url).get_ssl_mode();
            assert_eq!(format!("{found:?}"), format!("{mode:?}"), "{url}");
        };
        is("postgres://h/d", Prefer);
        is("postgres://h/d?sslmode=allow", Prefer);
        is("postgres://h/d?sslmode=disable", Disable);
        is("postgres://h/d?sslmode=require", Require);
        is(
            "postgres://h/d?sslmode=require&sslrootcert=system",
            VerifyFull,
        );
        // Nobody listens on a socket's wire.
        is(
            "postgres:///d?host=/run/postgresql&sslmode=require",
            Disable,
        );
    }
}
