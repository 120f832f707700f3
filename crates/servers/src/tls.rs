//! Whose certificates count, and the one that shows who we are.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const PEM_LINE_BYTES: usize = 64;

/// What every encrypted connection is made with. The system's authorities always
/// count. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    authorities: Option<Vec<u8>>,
    identity: Option<Identity>,
}

struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_authorities", &self.0.authorities.is_some())
            .field("identity", &self.0.identity.is_some())
            .finish()
    }
}

impl Tls {
    pub fn new(authorities: Option<Vec<u8>>, identity: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        Self(Arc::new(Inner {
            authorities,
            identity: identity.map(|(certificate, key)| Identity { certificate, key }),
        }))
    }

    /// PEM of the authorities that count beside the system's.
    pub fn authorities(&self) -> Option<&[u8]> {
        self.0.authorities.as_deref()
    }

    /// PEM of a certificate and its key, for servers that ask who we are.
    pub fn identity(&self) -> Option<(&[u8], &[u8])> {
        let identity = self.0.identity.as_ref()?;
        Some((&identity.certificate, &identity.key))
    }

    /// What is wrong with a file of certificates.
    pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("is no PEM: {error}"))?;
            store
                .add(certificate)
                .map_err(|error| format!("holds what is no certificate: {error}"))?;
        }
        match store.is_empty() {
            true => Err("holds no certificate (-----BEGIN CERTIFICATE-----)".into()),
            false => Ok(()),
        }
    }

    /// What is wrong with a file of a private key.
    pub fn check_key(pem: &[u8]) -> Result<(), String> {
        match PrivateKeyDer::from_pem_slice(pem) {
            Ok(_) => Ok(()),
            Err(_) if pem.windows(9).any(|part| part == b"ENCRYPTED") => {
                Err("is encrypted with a password, which is not taken".into())
            }
            Err(error) => Err(format!("holds no private key in PEM: {error}")),
        }
    }

    /// None where a client does well with what the system says.
    pub(crate) fn for_redis(&self) -> Option<TlsCertificates> {
        let (own, identity) = (self.authorities(), self.identity());
        if own.is_none() && identity.is_none() {
            return None;
        }
        // What is given replaces the system's there.
        let root_cert = own.map(|own| [system_pem().as_bytes(), own].concat());
        let client_tls = identity.map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.to_vec(),
            client_key: key.to_vec(),
        });
        Some(TlsCertificates {
            client_tls,
            root_cert,
        })
    }

    /// As Redis connections use it.
    pub(crate) fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let own = self.authorities().unwrap_or_default();
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(own).flatten());
        let builder = ClientConfig::builder().with_root_certificates(store);
        let Some((certificate, key)) = self.identity() else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = CertificateDer::pem_slice_iter(certificate)
            .flatten()
            .collect();
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        builder.with_client_auth_cert(chain, key)
    }
}

/// Once a process, before the first connection: what is encrypted, aws-lc-rs does.
pub fn install_provider() {
    // Installed before: it is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn system_pem() -> String {
    let mut pem = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(&certificate);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE_BYTES));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_certificate_or_key_is_named() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert_eq!(Tls::check_certificates(certificate.as_bytes()), Ok(()));
        assert_eq!(Tls::check_key(key.as_bytes()), Ok(()));
        for bad in ["", "text", &key] {
            assert!(Tls::check_certificates(bad.as_bytes()).is_err(), "{bad}");
        }
        let cut = certificate.replace('A', "");
        assert!(Tls::check_certificates(cut.as_bytes()).is_err());
        for bad in ["", "text", &certificate] {
            assert!(Tls::check_key(bad.as_bytes()).is_err(), "{bad}");
        }
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let wrong = Tls::check_key(locked.as_bytes()).unwrap_err();
        assert!(wrong.contains("password"), "{wrong}");
    }
}
