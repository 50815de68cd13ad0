//! TLS: certificates from files, exchanged while connections go on.

mod names;
mod peer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(crate) use self::peer::Peer;
use crate::error::HostError;
use crate::log::{Log, LogLevel};

/// Files of certificates, all PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The host's certificate, and after it those that lead to its authority.
    pub certificate: PathBuf,
    /// The key of it: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// Authorities whose clients are known. `None`: no client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate may connect all the same. One with a wrong
    /// certificate may not.
    pub client_optional: bool,
    /// How often the files are looked at.
    pub poll: Duration,
}

impl TlsFiles {
    /// A certificate and its key, looked at every ten seconds; no client is asked for one.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            client_optional: false,
            poll: Duration::from_secs(10),
        }
    }
}

/// The certificates of a running host.
pub(crate) struct Tls {
    files: TlsFiles,
    log: Log,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// What the files were when they were looked at last.
struct Seen {
    /// Digest of those that are used.
    used: [u8; 32],
    /// What was wrong, so that it is said once.
    complaint: Option<String>,
}

/// The files' bytes.
struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One that cannot be read, has no certificate or key in it, or a key that is not the
    /// certificate's.
    pub(crate) fn load(files: TlsFiles, log: &Log) -> Result<Self, HostError> {
        let read = Read::of(&files)?;
        let config = read.config(&files)?;
        let tls = Self {
            files,
            log: log.clone(),
            current: RwLock::new(Arc::new(config)),
            seen: Mutex::new(Seen {
                used: read.digest(),
                complaint: None,
            }),
        };
        tls.tell(&read);
        Ok(tls)
    }

    /// What a new connection gets.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the files again if they changed. Says whether they are used now.
    ///
    /// # Errors
    /// As for [`Tls::load`]; what was used before goes on being used.
    pub(crate) fn look(&self) -> Result<bool, HostError> {
        // Held all the while: of two that look, one waits.
        let mut seen = self.seen();
        match self.read_if_new(&seen.used) {
            Ok(None) => {
                seen.complaint = None;
                Ok(false)
            }
            Ok(Some((read, config))) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(config);
                drop(current);
                *seen = Seen {
                    used: read.digest(),
                    complaint: None,
                };
                self.tell(&read);
                Ok(true)
            }
            Err(error) => {
                let text = error.to_string();
                if seen.complaint.as_ref() != Some(&text) {
                    let fields = json!({"error": text});
                    self.log.event(LogLevel::Error, "tls_not_reloaded", fields);
                    seen.complaint = Some(text);
                }
                Err(error)
            }
        }
    }

    fn read_if_new(&self, used: &[u8; 32]) -> Result<Option<(Read, ServerConfig)>, HostError> {
        let read = Read::of(&self.files)?;
        if read.digest() == *used {
            return Ok(None);
        }
        let config = read.config(&self.files)?;
        Ok(Some((read, config)))
    }

    fn tell(&self, read: &Read) {
        let described = peer::describe(&read.certificate).unwrap_or_default();
        let fields = json!({
            "certificate": self.files.certificate, "subject": described.subject, "expires": described.expires,
            "clients": match (&self.files.client_ca, self.files.client_optional) {
                (None, _) => "not asked",
                (Some(_), true) => "optional",
                (Some(_), false) => "required",
            },
        });
        self.log.event(LogLevel::Info, "tls_loaded", fields);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the files now and then, until nobody needs them.
pub(crate) async fn watch(tls: Weak<Tls>) {
    loop {
        let Some(period) = tls.upgrade().map(|tls| tls.files.poll) else {
            return;
        };
        tokio::time::sleep(period).await;
        let Some(tls) = tls.upgrade() else { return };
        // What is wrong is in the log.
        let _ = tokio::task::spawn_blocking(move || tls.look()).await;
    }
}

impl Read {
    fn of(files: &TlsFiles) -> Result<Self, HostError> {
        let read = |path: &Path| std::fs::read(path).map_err(|e| wrong(path, e));
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let parts = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_ca.as_ref(),
        ];
        for part in parts.into_iter().flatten() {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, HostError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|e| {
            let help = "it must have a key in PEM that is not encrypted";
            wrong(&files.key, format!("{e}; {help}"))
        })?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| HostError::internal(format!("TLS cannot be set up: {e}")))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(bytes), Some(path)) => builder.with_client_cert_verifier(verifier(
                bytes,
                path,
                files.client_optional,
                provider,
            )?),
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| {
            HostError::config(format!(
                "the certificate {} and the key {} do not work together: {e}",
                files.certificate.display(),
                files.key.display()
            ))
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn verifier(
    bytes: &[u8],
    path: &Path,
    optional: bool,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, HostError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bytes, path)? {
        roots.add(certificate).map_err(|e| wrong(path, e))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder.build().map_err(|e| wrong(path, e))
}

/// All of a file, at least one.
fn certificates(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, HostError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|e| wrong(path, e))?;
    if all.is_empty() {
        return Err(wrong(path, "there is no certificate in PEM in it"));
    }
    Ok(all)
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> HostError {
    HostError::config(format!("{} cannot be used for TLS: {why}", path.display()))
}
