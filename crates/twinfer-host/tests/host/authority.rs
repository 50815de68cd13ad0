//! Certificates for tests, and clients that speak TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::support::{Answer, connect, parse};

/// Whoever vouches for certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// How a client of TLS is.
#[derive(Default)]
pub struct Client<'a> {
    pub pair: Option<&'a Pair>,
    pub versions: Option<&'static SupportedProtocolVersion>,
    pub alpn: &'a [&'a str],
}

pub type Stream = StreamOwned<ClientConnection, std::net::TcpStream>;

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `localhost`, with this name of its owner.
    pub fn vouch(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("spiffe://example/{name}").try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let email = format!("{name}@lab.example").try_into().unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name(email));
        let address = SanType::IpAddress([10, 1, 2, 3].into());
        params.subject_alt_names.push(address);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The authority's own certificate as a file.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("authority.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path
    }

    fn config(&self, client: &Client<'_>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(own).unwrap();
        let versions = match client.versions {
            Some(version) => vec![version],
            None => rustls::ALL_VERSIONS.to_vec(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
                builder
                    .with_client_auth_cert(vec![chain.unwrap()], key.unwrap())
                    .unwrap()
            }
        };
        let alpn = client.alpn.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = alpn.collect();
        config
    }

    /// A connection whose handshake is done.
    pub fn connect(&self, address: SocketAddr, client: &Client<'_>) -> io::Result<Stream> {
        let config = Arc::new(self.config(client));
        let mut tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut tcp = connect(address);
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(tls, tcp))
    }

    /// One request on a connection of its own.
    pub fn get(&self, address: SocketAddr, path: &str, client: &Client<'_>) -> io::Result<Answer> {
        let mut stream = self.connect(address, client)?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(parse(&bytes))
    }
}

impl Pair {
    /// As `certificate.pem` and `key.pem`.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let paths = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&paths.0, &self.certificate).unwrap();
        std::fs::write(&paths.1, &self.key).unwrap();
        paths
    }
}

impl Authority {
    /// Requests of HTTP/2 on one connection, one after the other; their bodies.
    pub fn get_h2(&self, address: SocketAddr, paths: &[&str], client: &Client<'_>) -> Vec<String> {
        let config = Arc::new(self.config(client));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = "localhost".try_into().unwrap();
            let connector = tokio_rustls::TlsConnector::from(config);
            let tls = connector.connect(name, tcp).await.unwrap();
            get_h2(TokioIo::new(tls), paths).await
        })
    }
}

async fn get_h2<S>(stream: S, paths: &[&str]) -> Vec<String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = shaken.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for path in paths {
        let request = http::Request::get(format!("https://localhost{path}"));
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        answers.push(String::from_utf8(body.to_vec()).unwrap());
    }
    answers
}
