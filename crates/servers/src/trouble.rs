//! Why a server gives no encrypted connection, in words that say what mends it.

use std::{fmt, io, sync::Arc};

use rustls::{AlertDescription, CertificateError, Error, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::Tls;

/// What is in the way of a connection, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub seen: String,
    pub mend: String,
}

impl Trouble {
    pub fn new(seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            seen: seen.into(),
            mend: mend.into(),
        }
    }

    /// Where the error is one of TLS. `server`: as it is named in the address.
    pub fn of_io(error: &io::Error, server: &str) -> Option<Self> {
        of_tls(error.get_ref()?.downcast_ref()?, server)
    }

    /// The same of an error that may hold another.
    pub fn of_error(error: &(dyn std::error::Error + 'static), server: &str) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let trouble = match error.downcast_ref::<io::Error>() {
                Some(io) => Self::of_io(io, server),
                None => error.downcast_ref().and_then(|tls| of_tls(tls, server)),
            };
            if trouble.is_some() {
                return trouble;
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.seen, self.mend)
    }
}

fn of_tls(error: &Error, server: &str) -> Option<Trouble> {
    use AlertDescription as Alert;
    let certificate = match error {
        Error::InvalidCertificate(certificate) => certificate,
        Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::HandshakeFailure,
        ) => {
            return Some(Trouble::new(
                format!("{server} does not accept who we are ({error})"),
                "name a certificate that it knows with TLS_CERTIFICATE_FILE and TLS_KEY_FILE",
            ));
        }
        Error::AlertReceived(Alert::ProtocolVersion) | Error::PeerIncompatible(_) => {
            return Some(Trouble::new(
                format!("{server} speaks no TLS that is safe today ({error})"),
                "let it speak TLS 1.2 or 1.3",
            ));
        }
        _ => return None,
    };
    let trouble = match certificate {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::new(
            format!("the certificate of {server} is of an authority that is not known here"),
            "name its authority's certificate with TLS_CA_FILE",
        ),
        CertificateError::NotValidForName => Trouble::new(
            format!("the certificate of {server} is for another name"),
            "write the address with a name that the certificate has, or give it this one",
        ),
        CertificateError::NotValidForNameContext { presented, .. } => Trouble::new(
            match presented.is_empty() {
                true => format!("the certificate of {server} names no host (subjectAltName)"),
                false => format!(
                    "the certificate of {server} is for other names: {}",
                    presented.join(", ")
                ),
            },
            "write the address with a name that the certificate has, or give it this one",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trouble::new(
            format!("the certificate of {server} has expired"),
            "renew it (or set this machine's clock)",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Trouble::new(
                format!("the certificate of {server} is not valid yet"),
                "set this machine's clock, or wait",
            )
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Trouble::new(
                format!("the certificate of {server} is an authority's own (CA:TRUE)"),
                "sign one for the server with it, and name the authority's with TLS_CA_FILE",
            )
        }
        other => Trouble::new(
            format!("the certificate of {server} cannot be accepted: {other}"),
            "give it another one",
        ),
    };
    Some(trouble)
}

/// How a handshake ended.
pub(crate) enum Handshake {
    Made,
    Nothing,
    Failed(io::Error),
}

impl Handshake {
    /// Whether the other side speaks TLS.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Made => true,
            Self::Nothing => false,
            Self::Failed(error) => matches!(
                error.get_ref().and_then(|tls| tls.downcast_ref()),
                Some(Error::InvalidCertificate(_) | Error::AlertReceived(_))
            ),
        }
    }

    /// Whether nothing listens there.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub fn trouble(&self, server: &str) -> Option<Trouble> {
        match self {
            Self::Failed(error) => Trouble::of_io(error, server),
            Self::Made | Self::Nothing => None,
        }
    }
}

/// Greets with TLS and asks something: who we are is judged after the greeting.
pub(crate) async fn handshake(host: &str, port: u16, tls: &Tls) -> Handshake {
    let Ok(stream) = TcpStream::connect((host, port)).await else {
        return Handshake::Nothing;
    };
    let made = async {
        let config = tls.config().map_err(io::Error::other)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read(&mut [0; 1]).await.map(|_| ())
    };
    match made.await {
        Ok(()) => Handshake::Made,
        Err(error) => Handshake::Failed(error),
    }
}

/// Whether what listens there answers as Redis does; none where nothing listens.
pub(crate) async fn answers_in_redis(host: &str, port: u16) -> Option<bool> {
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    let mut first = [0; 1];
    let asked = async {
        stream.write_all(b"PING\r\n").await?;
        stream.read_exact(&mut first).await
    };
    Some(asked.await.is_ok() && matches!(first[0], b'+' | b'-'))
}
