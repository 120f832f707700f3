//! The address of a Redis server, and the one way to a client of it.

use std::{fmt, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, RedisResult,
};
use tokio::time::timeout;

use crate::{Tls, Trouble, trouble};

const WANTED: &str = "is such as redis://user:password@host:6379/0, rediss://host:6379 with TLS, \
                      or unix:///path/redis.sock";
const ENCODED: &str = "characters such as / ? # @ % in a user name or password are written \
                       percent-encoded: / is %2F, # is %23";
/// Of each step that finds out why there is no connection.
const STEP: Duration = Duration::from_secs(2);

/// Where a Redis server is. Cheap enough to clone.
#[derive(Clone)]
pub struct Redis {
    url: String,
    tls: Tls,
}

impl fmt::Debug for Redis {
    /// The URL holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("tls", &self.tls).finish()
    }
}

/// Without an own authority.
impl<T: Into<String>> From<T> for Redis {
    fn from(url: T) -> Self {
        let (url, tls) = (url.into(), Tls::default());
        Self { url, tls }
    }
}

impl Redis {
    /// What is wrong with the address, without its password.
    pub fn new(url: &str, tls: Tls) -> Result<Self, String> {
        read(url)?;
        let url = url.to_owned();
        Ok(Self { url, tls })
    }

    pub fn client(&self) -> RedisResult<Client> {
        let wrong = |why: String| {
            let about = "the address cannot be used";
            RedisError::from((ErrorKind::InvalidClientConfig, about, why))
        };
        let info = read(&self.url).map_err(wrong)?;
        let encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match self.tls.for_redis().filter(|_| encrypted) {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        }
    }

    /// Whether the server is on this machine, so that its folders are ours.
    pub fn is_here(&self) -> bool {
        match read(&self.url).as_ref().map(ConnectionInfo::addr) {
            Ok(ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => {
                let address = host.parse::<std::net::IpAddr>();
                host == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
            Ok(ConnectionAddr::Unix(_)) => true,
            _ => false,
        }
    }

    /// Why there is no connection, where encryption has to do with it. Asks the server.
    pub async fn trouble(&self) -> Option<Trouble> {
        let info = read(&self.url).ok()?;
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let speaks_redis = timeout(STEP, trouble::answers_in_redis(host, *port)).await;
                if speaks_redis.is_ok_and(|speaks| speaks.unwrap_or(true)) {
                    return None;
                }
                let handshake = timeout(STEP, trouble::handshake(host, *port, &self.tls)).await;
                Some(match handshake.is_ok_and(|made| made.is_tls()) {
                    true => Trouble::new(
                        format!("{host}:{port} takes only connections with TLS"),
                        "write rediss:// in place of redis://",
                    ),
                    false => Trouble::new(
                        format!("what listens at {host}:{port} does not answer as Redis does"),
                        "correct the host or the port",
                    ),
                })
            }
            ConnectionAddr::TcpTls { host, port, .. } => {
                let handshake = timeout(STEP, trouble::handshake(host, *port, &self.tls)).await;
                if let Ok(made) = &handshake {
                    if let Some(trouble) = made.trouble(&format!("{host}:{port}")) {
                        return Some(trouble);
                    }
                    if made.is_tls() || made.is_nothing() {
                        return None;
                    }
                }
                let speaks_redis = timeout(STEP, trouble::answers_in_redis(host, *port)).await;
                Some(
                    match speaks_redis.is_ok_and(|speaks| speaks == Some(true)) {
                        true => Trouble::new(
                            format!("{host}:{port} takes no TLS"),
                            "write redis:// in place of rediss://, or the server's port for TLS",
                        ),
                        false => Trouble::new(
                            format!("what listens at {host}:{port} speaks neither TLS nor Redis"),
                            "correct the host or the port",
                        ),
                    },
                )
            }
            _ => None,
        }
    }
}

fn read(url: &str) -> Result<ConnectionInfo, String> {
    let Some(parsed) = redis::parse_redis_url(url) else {
        return Err(format!("{WANTED}; {ENCODED}"));
    };
    let unix = parsed.scheme().ends_with("unix");
    match parsed.fragment() {
        Some("insecure") => {
            return Err(
                "has #insecure, which is not taken: name the authority of the server's \
                        certificate with TLS_CA_FILE"
                    .into(),
            );
        }
        Some(_) => return Err(format!("has a # in it; {ENCODED}")),
        None => {}
    }
    for (name, _) in parsed.query_pairs() {
        match &*name {
            // RESP2 says all that is asked for here.
            "protocol" => {}
            "db" | "user" | "pass" if unix => {}
            name if name.starts_with("ssl") || name.starts_with("tls") => {
                return Err(format!(
                    "has {name}=…, which is not taken: rediss:// is Redis with TLS, TLS_CA_FILE \
                     an own authority, TLS_CERTIFICATE_FILE and TLS_KEY_FILE who we are"
                ));
            }
            name => return Err(format!("has {name}=…, which is not known: leave it out")),
        }
    }
    let number = match unix {
        true => "",
        false => parsed.path().trim_matches('/'),
    };
    if !number.is_empty() && number.parse::<u16>().is_err() {
        let kind = "may have the number of a database after the host, such as /0, and nothing else";
        return Err(format!("{kind}; {ENCODED}"));
    }
    let info = parsed
        .into_connection_info()
        .map_err(|error| match error.detail() {
            Some(detail) => format!("cannot be used: {detail}"),
            None => format!("cannot be used: {error}; it {WANTED}"),
        })?;
    let settings = info.redis_settings().clone();
    Ok(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Redis::new(url, Tls::default()).unwrap_err()
    }

    #[test]
    fn addresses_that_servers_are_reached_by_are_taken() {
        for url in [
            "redis://127.0.0.1",
            "redis://127.0.0.1:6379/",
            "redis://127.0.0.1:6379/0",
            "redis://[::1]:6379/3",
            "redis://:pass%2Fword@host",
            "rediss://someone:pass%23word@redis.example.org:6380/1",
            "redis://host?protocol=resp3",
            "valkey://host",
            "valkeys://host",
            "unix:///run/redis.sock",
            "redis+unix:///run/redis.sock?db=2&user=someone&pass=word",
        ] {
            let redis = Redis::new(url, Tls::default());
            assert!(redis.unwrap().client().is_ok(), "{url}");
        }
        let info = read("rediss://someone:pass%23word@redis.example.org:6380/1").unwrap();
        assert_eq!(info.redis_settings().username(), Some("someone"));
        assert_eq!(info.redis_settings().password(), Some("pass#word"));
        assert_eq!(info.redis_settings().db(), 1);
        assert!(matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn what_cannot_be_kept_of_an_address_is_named() {
        for (url, why) in [
            ("localhost:6379", "is such as redis://"),
            ("http://localhost:6379", "is such as redis://"),
            ("redis://:hid/den@host", "%2F"),
            ("redis://:hid#den@host", "%23"),
            ("rediss://host/#insecure", "TLS_CA_FILE"),
            ("rediss://host?ssl_cert_reqs=none", "ssl_cert_reqs"),
            ("redis://host?tls=true", "rediss://"),
            ("redis://host?timeout=5", "timeout"),
            ("redis://host/zero", "/0"),
            ("redis://host?protocol=resp7", "resp7"),
            ("redis://0.0.0.0:6379", "wildcard"),
        ] {
            let told = refused(url);
            assert!(told.contains(why), "{url}: {told}");
            assert!(!told.contains("hid"), "{url}: {told}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let redis = Redis::from("redis://:hidden@host");
        assert!(!format!("{redis:?}").contains("hidden"));
    }
}
