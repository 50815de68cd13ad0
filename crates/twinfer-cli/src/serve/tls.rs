//! `--tls-…`: certificates of the server, and of its clients.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use twinfer_host::{Handle, TlsFiles};

/// Files of certificates. They are looked at every ten seconds, and on SIGHUP.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Certificate in PEM, followed by those that lead to its authority: serves HTTPS (TLS 1.2 and
    /// 1.3) in the place of HTTP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// Key of the certificate in PEM, not encrypted
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Authorities in PEM whose clients are let in (mutual TLS)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_client_ca: Option<PathBuf>,

    /// Whether a client must have a certificate
    #[arg(
        long,
        value_enum,
        default_value_t = ClientAuth::Required
    )]
    tls_client_auth: ClientAuth,
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClientAuth {
    /// Without one there is no connection
    Required,
    /// Without one the client is nobody; with a wrong one there is no connection
    Optional,
}

impl TlsArgs {
    /// The files, where HTTPS is served.
    pub fn files(self) -> Option<TlsFiles> {
        let mut files = TlsFiles::new(self.tls_certificate?, self.tls_key?);
        files.client_ca = self.tls_client_ca;
        files.client_optional = self.tls_client_auth == ClientAuth::Optional;
        Some(files)
    }
}

/// Looks at the certificates now. What is wrong is in the log of the host, which goes on with
/// those that it has.
pub fn reload(host: &Handle) {
    let _ = host.reload_tls();
}
