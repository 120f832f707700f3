//! Where a request comes from, as far as the network tells. It refuses to
//! believe a header that the client could have written: only proxies that the
//! settings name may say for whom they ask.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderName, HeaderValue, header::USER_AGENT},
    web::RemoteAddr,
};
use vault::Device;

use crate::services::EdgeServices;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Hops that are read of a header; whoever writes more gains nothing.
const HOPS_MAX: usize = 16;

/// Whoever asks.
#[derive(Clone)]
pub struct Caller {
    /// What limits count as one: an address, or of IPv6 a household.
    pub household: String,
    pub device: Device,
}

impl Caller {
    /// Whether a trusted proxy asks, for whomever.
    pub fn is_behind_proxy(request: &Request) -> bool {
        peer(request)
            .zip(EdgeServices::of(request))
            .is_some_and(|(peer, services)| services.proxies.has(peer))
    }

    pub fn address_of(request: &Request) -> Option<IpAddr> {
        let peer = peer(request)?;
        Some(match EdgeServices::of(request) {
            Some(services) => services.proxies.caller(peer, request),
            None => peer,
        })
    }
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let address = Self::address_of(request);
        let name = request.headers().get(USER_AGENT);
        let name = name.map(|name| String::from_utf8_lossy(name.as_bytes()));
        let shown = address.map(|address| address.to_string());
        let household = address.map(|address| network(address).to_string());
        Ok(Self {
            household: household.unwrap_or_default(),
            device: Device::new(name.as_deref(), shown),
        })
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    let RemoteAddr(peer) = request.remote_addr();
    Some(peer.as_socket_addr()?.ip().to_canonical())
}

/// An address; of IPv6 what one household has (RFC 6177 hands out a /64 or
/// more).
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let high = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(high))
        }
        v4 => v4,
    }
}

/// Addresses and networks with commas between, such as `10.0.0.0/8, ::1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no address and no network such as 10.0.0.0/8")]
pub struct InvalidProxy(String);

impl Proxies {
    /// The last hop that no trusted proxy is, from right to left: what stands
    /// left of it, anybody may have written.
    fn caller(&self, peer: IpAddr, request: &Request) -> IpAddr {
        let mut caller = peer;
        if !self.has(caller) {
            return caller;
        }
        let headers = request.headers().get_all(X_FORWARDED_FOR);
        let values: Vec<_> = headers.iter().map(HeaderValue::as_bytes).collect();
        let hops = values
            .iter()
            .rev()
            .flat_map(|value| value.rsplit(|byte| *byte == b','));
        for hop in hops.take(HOPS_MAX) {
            // What cannot be read ends it: nothing left of it counts.
            let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else {
                break;
            };
            caller = address;
            if !self.has(caller) {
                break;
            }
        }
        caller
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }
}

/// As proxies write it: with or without a port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let with_port = || Some(hop.parse::<std::net::SocketAddr>().ok()?.ip());
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&address))
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let (own, other, length) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        // All bits differ where none is compared.
        (own ^ other).checked_shr(length - self.bits).unwrap_or(0) == 0
    }
}

impl FromStr for Proxies {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let all = text.split(',').map(str::trim);
        let networks = all.filter(|one| !one.is_empty()).map(|one| {
            let invalid = || InvalidProxy(one.to_owned());
            let (address, bits) = match one.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (one, None),
            };
            let address: IpAddr = address.parse().map_err(|_| invalid())?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(longest), |bits| bits.parse().map_err(|_| invalid()))?;
            match bits <= longest {
                true => Ok(Network { address, bits }),
                false => Err(invalid()),
            }
        });
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, network) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{}/{}", network.address, network.bits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn only_a_trusted_proxy_says_for_whom_it_asks() -> TestResult {
        let proxies: Proxies = "10.0.0.0/8, 192.0.2.7, 2001:db8::/32".parse()?;
        assert_eq!(proxies.to_string().parse(), Ok(proxies.clone()));
        let caller = |peer: &str, forwarded: &[&str]| -> Result<String, std::net::AddrParseError> {
            let mut request = Request::builder();
            for value in forwarded {
                // Latin 1, as it comes.
                let bytes: Vec<u8> = value.chars().map(|c| c as u8).collect();
                let value = HeaderValue::from_bytes(&bytes);
                request = request.header(
                    X_FORWARDED_FOR,
                    value.unwrap_or(HeaderValue::from_static("")),
                );
            }
            Ok(proxies.caller(peer.parse()?, &request.finish()).to_string())
        };
        // A stranger may write what they like.
        assert_eq!(caller("198.51.100.1", &["203.0.113.5"])?, "198.51.100.1");
        assert_eq!(caller("10.1.2.3", &["203.0.113.5"])?, "203.0.113.5");
        // What stands left of the last stranger is a stranger's word.
        assert_eq!(
            caller("10.1.2.3", &["192.0.2.1, 203.0.113.5, 10.9.9.9"])?,
            "203.0.113.5"
        );
        assert_eq!(
            caller("10.1.2.3", &["203.0.113.5", "198.51.100.2:443"])?,
            "198.51.100.2"
        );
        assert_eq!(caller("2001:db8::1", &["[2001:db9::5]:80"])?, "2001:db9::5");
        assert_eq!(caller("10.1.2.3", &["nonsense"])?, "10.1.2.3");
        let odd = ["1.2.3.4", "\u{ff}, 203.0.113.5"];
        assert_eq!(caller("10.1.2.3", &odd)?, "203.0.113.5");
        assert_eq!(
            caller("10.1.2.3", &["1.2.3.4", "\u{ff}, 10.9.9.9"])?,
            "10.9.9.9"
        );
        assert_eq!(caller("10.1.2.3", &[])?, "10.1.2.3");
        assert_eq!(caller("192.0.2.8", &["203.0.113.5"])?, "192.0.2.8");
        let all: Proxies = "0.0.0.0/0".parse()?;
        assert!(all.has("198.51.100.1".parse()?) && !all.has("::1".parse()?));
        for wrong in ["10.0.0.0/33", "host", "10.0.0.0/x", "::1/129"] {
            assert_eq!(wrong.parse::<Proxies>(), Err(InvalidProxy(wrong.into())));
        }
        Ok(())
    }

    #[test]
    fn a_household_is_one_address() -> TestResult {
        let of = |address: &str| address.parse().map(network);
        assert_eq!(of("2001:db8::1")?, of("2001:db8::ffff:2")?);
        assert_ne!(of("2001:db8::1")?, of("2001:db8:0:1::1")?);
        assert_ne!(of("192.0.2.1")?, of("192.0.2.2")?);
        Ok(())
    }
}
