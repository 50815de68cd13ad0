//! The network of a guest: requests to the origins on a list, and to no other.

use std::error::Error as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::Uri;
use http_body_util::{BodyExt, Limited};
use reqwest::redirect::Policy;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use crate::config::HostConfig;
use crate::error::HostError;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of a request of the guest: it asks for files, and sends none.
const MAX_REQUEST: usize = 1 << 20;
/// Bytes of an answer. It is streamed: what the guest does not take is not read.
const MAX_ANSWER: usize = if usize::BITS > 32 { 16 << 30 } else { 1 << 30 };

/// Where requests may go: `scheme://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads an origin of the configuration.
    ///
    /// # Errors
    /// When it is none, or has a path.
    pub(crate) fn parse(text: &str) -> Result<Self, HostError> {
        let wrong = || {
            HostError::config(format!(
                "`{text}` is not an origin that a component could reach: write https://host[:port] or http://host[:port], without a path"
            ))
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let bare = text.ends_with(uri.authority().ok_or_else(wrong)?.as_str());
        if !bare || text.contains('@') {
            return Err(wrong());
        }
        Self::of(&uri).ok_or_else(wrong)
    }

    /// The origin of an address; `None` for what is not HTTP.
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let port = match (uri.port_u16(), scheme) {
            (Some(port), "http" | "https") => port,
            (None, "http") => 80,
            (None, "https") => 443,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            scheme: scheme.to_owned(),
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

/// What the guests of a host may reach. Clones share it.
#[derive(Clone)]
pub(crate) struct Network(Arc<RwLock<Allowed>>);

struct Allowed {
    origins: Vec<Origin>,
    /// `None` where nothing is allowed.
    client: Option<reqwest::Client>,
}

impl Allowed {
    fn of(config: &HostConfig) -> Result<Self, HostError> {
        let origins = config.outbound.iter().map(|text| Origin::parse(text));
        let origins = origins.collect::<Result<Vec<Origin>, _>>()?;
        let client = match origins.is_empty() {
            true => None,
            false => Some(client()?),
        };
        Ok(Self { origins, client })
    }
}

impl Network {
    pub(crate) fn new(config: &HostConfig) -> Result<Self, HostError> {
        Ok(Self(Arc::new(RwLock::new(Allowed::of(config)?))))
    }

    /// From now on guests may reach what this configuration says, those that run as well. What is
    /// on its way comes to its end.
    ///
    /// # Errors
    /// An origin that is none: nothing changes then.
    pub(crate) fn allow(&self, config: &HostConfig) -> Result<(), HostError> {
        let allowed = Allowed::of(config)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = allowed;
        Ok(())
    }

    /// The client, for an address that is allowed.
    fn client_for(&self, uri: &Uri) -> Option<reqwest::Client> {
        let origin = Origin::of(uri)?;
        let allowed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_allowed = allowed.origins.contains(&origin);
        is_allowed.then(|| allowed.client.clone()).flatten()
    }
}

pub(crate) fn client() -> Result<reqwest::Client, HostError> {
    // It is there already where somebody else in this process chose one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            // Each hop has to be on the list: the guest asks for it anew.
            .redirect(Policy::none())
    };
    builder()
        .build()
        // A system without any authorities, such as a small container: what needs no TLS works
        // there too.
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|e| HostError::internal(format!("no HTTPS client: {e}")))
}

/// Sends the requests of one instance.
pub(crate) struct Outbound {
    network: Network,
}

impl Outbound {
    pub(crate) fn new(network: Network) -> Self {
        Self { network }
    }
}

type Processed = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Processed), HttpError>;

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Processed,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let Some(client) = self.network.client_for(request.uri()) else {
            return Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)));
        };
        Box::new(async move {
            let first_byte = options.and_then(|options| options.first_byte_timeout);
            let limit = first_byte.unwrap_or(SILENCE).min(SILENCE) + CONNECT;
            let response = tokio::time::timeout(limit, send(&client, request))
                .await
                .map_err(|_| HttpError::HttpResponseTimeout)??;
            let nothing: Processed = Box::new(std::future::ready(Ok(())));
            Ok((response, nothing))
        })
    }
}

async fn send(
    client: &reqwest::Client,
    request: http::Request<WasiBody>,
) -> Result<http::Response<WasiBody>, HttpError> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST)
        .collect()
        .await
        .map_err(|_| HttpError::HttpRequestBodySize(Some(MAX_REQUEST as u64)))?
        .to_bytes();
    let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
        .map_err(|_| HttpError::HttpRequestUriInvalid)?;
    let response = client.execute(request).await.map_err(|e| failed(&e))?;
    let response = http::Response::<reqwest::Body>::from(response);
    Ok(response.map(|body| {
        Limited::new(body, MAX_ANSWER)
            .map_err(|error| match error.downcast::<reqwest::Error>() {
                Ok(error) => failed(&error),
                Err(_) => HttpError::HttpResponseBodySize(Some(MAX_ANSWER as u64)),
            })
            .boxed_unsync()
    }))
}

/// With its reason: the guest can say more than "it failed".
fn failed(error: &reqwest::Error) -> HttpError {
    if error.is_timeout() {
        return match error.is_connect() {
            true => HttpError::ConnectionTimeout,
            false => HttpError::ConnectionReadTimeout,
        };
    }
    HttpError::InternalError(Some(chain(error)))
}

/// What went wrong, with all that caused it.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = error.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let same = |a: &str, b: &str| {
            Origin::parse(a).unwrap() == Origin::of(&b.parse().unwrap()).unwrap()
        };
        assert!(same("https://a.example", "https://A.example:443/x?y"));
        assert!(same("http://127.0.0.1:8080", "http://127.0.0.1:8080/"));
        assert!(same("http://[::1]:8080", "http://[::1]:8080/x"));
        for other in [
            "http://a.example/",
            "https://a.example:444/",
            "https://b.a.example/",
            "https://a.example.org/",
        ] {
            assert!(!same("https://a.example", other), "{other}");
        }
        for text in [
            "",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://a.example?x",
            "https://me@a.example",
            "ftp://a.example",
            "*",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
