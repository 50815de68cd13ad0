//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};
use twinfer_gateway::Certificate;

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
    secured: bool,
}

/// What a verified certificate says of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The whole name, such as `C=DE, O=Example, CN=robot`.
    pub(crate) subject: String,
    /// The common name, where it has exactly one.
    pub(crate) common_name: Option<String>,
    /// The alternative names with their kind: `dns:…`, `uri:…`, `email:…`, `ip:…`.
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
    /// The names in its certificate, which was verified.
    pub(crate) fn names(&self) -> Option<Certificate<'_>> {
        let certificate = self.certificate.as_deref()?;
        Some(Certificate {
            subject: &certificate.subject,
            common_name: certificate.common_name.as_deref(),
            alternative_names: &certificate.alternative_names,
        })
    }

    /// What is spoken with it.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secured { "https" } else { "http" }
    }

    /// Without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            certificate: None,
            secured: false,
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
            secured: true,
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
