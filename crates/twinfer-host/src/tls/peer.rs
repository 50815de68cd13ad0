//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};

use super::names::Names;
use crate::cache::hex;

/// The other end of a connection. Each request has it among its extensions, where no client can
/// put anything.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it connects from: a client, or the proxy before it.
    pub(crate) address: SocketAddr,
    /// Its certificate, which one of our authorities vouches for.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

/// What a verified certificate says of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The whole name, such as `C=DE, O=Example, CN=robot`.
    pub(crate) subject: String,
    /// The common name, where it has exactly one.
    pub(crate) common_name: Option<String>,
    /// The alternative names with their kind: `dns:…`, `uri:…`, `email:…`.
    pub(crate) alternative_names: Vec<String>,
    /// SHA-256 of the certificate in hex, as `openssl x509 -fingerprint` has it without colons.
    pub(crate) fingerprint: String,
}

/// What the log says of a certificate.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) subject: String,
    pub(super) expires: String,
}

impl Peer {
    /// The subject of its certificate, which was verified.
    pub(crate) fn subject(&self) -> Option<&str> {
        let certificate = self.certificate.as_deref();
        certificate.map(|certificate| certificate.subject.as_str())
    }

    /// Without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            certificate: None,
        }
    }

    /// With TLS, after the handshake.
    ///
    /// # Errors
    /// A certificate that was verified and still cannot be read: its owner stays unknown, and so
    /// it is not let in.
    pub(crate) fn secured(
        address: SocketAddr,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Self, String> {
        let certificate = chain.and_then(|chain| chain.first());
        let certificate = certificate.map(|der| ClientCertificate::of(der));
        Ok(Self {
            address,
            certificate: certificate.transpose()?.map(Arc::new),
        })
    }
}

impl ClientCertificate {
    fn of(der: &[u8]) -> Result<Self, String> {
        let names = Names::of(der).map_err(|e| e.to_string())?;
        let common_name = match &names.common[..] {
            [name] => Some(name.clone()),
            _ => None,
        };
        Ok(Self {
            subject: names.subject,
            common_name,
            alternative_names: names.alternative,
            fingerprint: hex(&Sha256::digest(der)),
        })
    }
}

/// The first certificate of a file.
pub(super) fn describe(pem: &[u8]) -> Option<Described> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let names = Names::of(&der).ok()?;
    Some(Described {
        subject: names.subject,
        expires: names.expires,
    })
}
