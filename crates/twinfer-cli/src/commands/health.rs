//! `twinfer health`

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use reqwest::{Certificate, Client, Url};
use serde_json::{Value as Json, json};
use twinfer::{Result, bail, err};

use crate::output::Output;

/// Ask a server whether requests should come to it
///
/// For the health checks of container engines. It asks `/readyz` and prints what the server says of
/// itself; the exit code is 0 when the server is ready.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer health
      the server of this machine or container, where TWINFER_LISTEN or AIP_HTTP_PORT say it is
  twinfer health https://models.example --json")]
pub struct HealthArgs {
    /// The server [default: this machine's, at the address that TWINFER_LISTEN or AIP_HTTP_PORT say,
    /// or port 8080]
    #[arg(value_name = "URL")]
    pub server: Option<Url>,

    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// # Errors
/// `network` when nothing answers there, `overloaded` when the server says that it is not ready,
/// `invalid_parameter` for an address that is none, `storage` for a file of authorities that cannot
/// be read.
pub fn run(args: &HealthArgs, ca_file: Option<&Path>, output: &Output) -> Result<()> {
    let server = match &args.server {
        Some(server) => server.clone(),
        None => own(
            std::env::var("TWINFER_LISTEN").ok().as_deref(),
            std::env::var("AIP_HTTP_PORT").ok().as_deref(),
        )?,
    };
    if !matches!(server.scheme(), "http" | "https") {
        bail!(
            InvalidParameter,
            "{server} is no address of a server: write http://HOST:PORT"
        );
    }
    let url = server
        .join("/readyz")
        .map_err(|e| err!(InvalidParameter, "{server}: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| err!(Internal, "no runtime: {e}"))?;
    let (status, body) = runtime.block_on(asked(&url, args, ca_file))?;
    if status != 200 {
        bail!(Overloaded, "{url} answered {status}: {}", body.trim());
    }
    let said: Json = serde_json::from_str(&body).unwrap_or_else(|_| json!({"ready": true}));
    output.print(&said, || said.to_string())
}

async fn asked(url: &Url, args: &HealthArgs, ca_file: Option<&Path>) -> Result<(u16, String)> {
    let (seconds, is_own) = (args.timeout, args.server.is_none());
    let failed = |e: reqwest::Error| err!(Network, "{url} does not answer: {}", e.without_url());
    // Fails only when there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = match ca_file {
        Some(path) => authorities(path)?,
        None => Vec::new(),
    };
    let builder = || {
        let client = Client::builder().timeout(Duration::from_secs(seconds));
        // A proxy does not lead to this machine.
        if is_own { client.no_proxy() } else { client }
    };
    let client = builder()
        .tls_certs_merge(certificates.clone())
        .build()
        // A system without any authorities: what needs no TLS, or has a CA file, works there too.
        .or_else(|_| builder().tls_certs_only(certificates).build())
        .map_err(failed)?;
    let answer = client.get(url.clone()).send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await.map_err(failed)?))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let pem = std::fs::read(path).map_err(|e| err!(Storage, "{}: {e}", path.display()))?;
    Certificate::from_pem_bundle(&pem).map_err(|e| {
        err!(
            InvalidParameter,
            "{} has no certificates: {e}",
            path.display()
        )
    })
}

/// The server of this machine, as `twinfer serve` is told where to listen.
fn own(listen: Option<&str>, port: Option<&str>) -> Result<Url> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    if let Some(listen) = listen {
        let mut found = listen
            .to_socket_addrs()
            .map_err(|e| err!(InvalidParameter, "TWINFER_LISTEN is `{listen}`: {e}"))?;
        address = found.next().ok_or_else(|| {
            err!(
                InvalidParameter,
                "TWINFER_LISTEN is `{listen}`, which has no address"
            )
        })?;
    }
    if let Some(port) = port {
        let port = port
            .parse()
            .map_err(|e| err!(InvalidParameter, "AIP_HTTP_PORT is `{port}`: {e}"))?;
        address.set_port(port);
    }
    // Who listens on all addresses is asked on that of the machine itself.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Url::parse(&format!("http://{address}")).map_err(|e| err!(Internal, "{address}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_server_is_where_serve_is_told_to_listen() {
        let of = |listen, port| own(listen, port).map(|url| url.to_string());
        assert_eq!(of(None, None).unwrap(), "http://127.0.0.1:8080/");
        assert_eq!(of(Some("0.0.0.0:80"), None).unwrap(), "http://127.0.0.1/");
        assert_eq!(of(Some("[::]:81"), None).unwrap(), "http://[::1]:81/");
        assert_eq!(
            of(Some("10.0.0.7:82"), Some("9000")).unwrap(),
            "http://10.0.0.7:9000/"
        );
        assert_eq!(
            of(None, Some("many")).unwrap_err().code().as_str(),
            "invalid_parameter"
        );
    }
}
