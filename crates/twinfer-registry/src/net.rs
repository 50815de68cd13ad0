//! The HTTP client of every registry: limits, retries, redirects and timeouts in one place.

use std::fs;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};
use twinfer::{Error, Result, bail, err};

use crate::auth::{Auth, Scope};
use crate::error::{causes, shorten};

pub(crate) const USER_AGENT: &str = concat!("twinfer/", env!("CARGO_PKG_VERSION"));

/// Redirects that are followed. Registries send to their storage once, static hosts to https.
const MAX_REDIRECTS: usize = 5;
/// The longest that a server's `Retry-After` is obeyed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How many times the longest silence a small answer may take in all, and a request whose
/// content has to be sent first: a chunk of 8 MiB takes minutes on a slow line.
const PATIENCE: u32 = 5;

/// How registries on the network are reached.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// Allow HTTP without TLS to hosts that are not this machine.
    pub plain_http: bool,
    /// Certificates (PEM) of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub read_timeout: Duration,
    /// How often something is tried before it has failed.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles for each further one.
    pub backoff: Duration,
    /// Bytes that are uploaded at once, and held in memory until they have arrived.
    pub chunk_bytes: usize,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            attempts: 5,
            backoff: Duration::from_millis(250),
            chunk_bytes: 8 << 20,
        }
    }
}

impl NetOptions {
    /// The certificates of `ca_file`, in PEM.
    pub(crate) fn ca_pem(&self) -> Result<Option<Vec<u8>>> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let pem = fs::read(path)
            .map_err(|e| err!(Storage, "cannot read the CA file {}: {e}", path.display()))?;
        Ok(Some(pem))
    }
}

/// Whether an address is this machine: there plain HTTP is no danger.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// A request, in a form that can be sent again.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub url: Url,
    /// What it is about, for messages.
    pub what: &'a str,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Send it again after a failure. Not for requests that continue something.
    pub retry: bool,
}

impl<'a> Call<'a> {
    pub fn new(method: Method, url: Url, what: &'a str) -> Self {
        Self {
            method,
            url,
            what,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            retry: true,
        }
    }

    pub fn get(url: Url, what: &'a str) -> Self {
        Self::new(Method::GET, url, what)
    }
}

/// An answer that was read to its end.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// The value of a header, where it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The credentials for a request: of which registry, and for what.
pub(crate) type Access<'a> = Option<(&'a Auth, &'a Scope)>;

/// The client, and the runtime that it works on.
pub(crate) struct Net {
    runtime: Runtime,
    /// Follows redirects.
    reading: Client,
    /// Follows none: a request with content goes where it was sent, or fails.
    writing: Client,
    pub options: NetOptions,
}

impl Net {
    pub fn new(options: &NetOptions) -> Result<Arc<Self>> {
        // It is there already where somebody else in this process chose one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("twinfer-registry")
            .enable_all()
            .build()
            .map_err(|e| err!(Internal, "no runtime for the network: {e}"))?;
        let plain_http = options.plain_http;
        let redirects = || {
            Policy::custom(move |attempt| {
                let secure_before = attempt.previous().iter().any(|url| url.scheme() == "https");
                if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error(format!("more than {MAX_REDIRECTS} redirects"))
                } else if !plain_http
                    && attempt.url().scheme() != "https"
                    && (secure_before || !is_loopback(attempt.url()))
                {
                    let to = attempt.url().clone();
                    attempt.error(format!("a redirect to {to}, which has no TLS"))
                } else {
                    attempt.follow()
                }
            })
        };
        Ok(Arc::new(Self {
            runtime,
            reading: client(options, redirects)?,
            writing: client(
                &NetOptions {
                    read_timeout: options.read_timeout * PATIENCE,
                    ..options.clone()
                },
                Policy::none,
            )?,
            options: options.clone(),
        }))
    }

    /// Waits for something of the network.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Refuses addresses without TLS, but for this machine, or when they are allowed.
    pub fn check_address(&self, url: &Url) -> Result<()> {
        if url.scheme() == "https" || self.options.plain_http || is_loopback(url) {
            return Ok(());
        }
        bail!(
            InvalidParameter,
            "{} would be reached without TLS, where everybody on the way can read and change what is sent: use https, or allow it with --plain-http",
            url.host_str().unwrap_or_default()
        );
    }

    /// Sends a request and gives the answer, whatever its status; its body is not read yet.
    ///
    /// # Errors
    /// `network`, `unauthorized`.
    pub async fn send(&self, call: &Call<'_>, access: Access<'_>) -> Result<Response> {
        let mut failures = 0;
        let mut asked = false;
        loop {
            let sent = self.send_once(call, access).await;
            let (reason, wait) = match sent {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    let Some((auth, scope)) = access.filter(|(auth, _)| auth.covers(&call.url))
                    else {
                        return Err(refused(call, &response, None));
                    };
                    if asked {
                        return Err(refused(call, &response, Some(auth)));
                    }
                    asked = true;
                    auth.answer(response.headers(), scope).await?;
                    continue;
                }
                Ok(response) if response.status() == StatusCode::FORBIDDEN => {
                    return Err(refused(call, &response, access.map(|(auth, _)| auth)));
                }
                Ok(response) if !transient(response.status()) || !call.retry => {
                    return Ok(response);
                }
                Ok(response) => (
                    format!("it answered with status {}", response.status()),
                    retry_after(response.headers()),
                ),
                Err(error) if error.is_builder() || error.is_redirect() => {
                    return Err(failed(call, &causes(&error), 1));
                }
                Err(error) => (causes(&error), None),
            };
            failures += 1;
            if failures >= self.options.attempts || !call.retry {
                return Err(failed(call, &reason, failures));
            }
            self.pause(failures, wait).await;
        }
    }

    async fn send_once(
        &self,
        call: &Call<'_>,
        access: Access<'_>,
    ) -> Result<Response, reqwest::Error> {
        let client = match call.method {
            Method::GET | Method::HEAD => &self.reading,
            _ => &self.writing,
        };
        let mut request = client
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone())
            .body(call.body.clone());
        if let Some((auth, scope)) = access
            && auth.covers(&call.url)
            && let Some(value) = auth.header(scope)
        {
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await
    }

    /// Waits longer after each failure, and not all clients equally long.
    pub async fn pause(&self, failures: u32, wanted: Option<Duration>) {
        let doubled = self.options.backoff * 2u32.saturating_pow(failures.saturating_sub(1).min(7));
        let spread = u64::from(std::process::id()).wrapping_mul(2_654_435_761) % 256;
        let spread = doubled.mul_f64(spread as f64 / 1024.0);
        tokio::time::sleep(wanted.unwrap_or(doubled + spread).min(LONGEST_WAIT)).await;
    }

    /// Sends a request and reads the answer, of at most `limit` bytes, or the first
    /// `limit + 1` of a longer one.
    ///
    /// # Errors
    /// `network`, `unauthorized`.
    pub fn fetch(&self, call: &Call<'_>, access: Access<'_>, limit: u64) -> Result<Answer> {
        self.run(self.answer(call, access, limit))
    }

    /// The same, without waiting for it here.
    ///
    /// # Errors
    /// As [`Net::fetch`].
    pub async fn answer(&self, call: &Call<'_>, access: Access<'_>, limit: u64) -> Result<Answer> {
        let mut failures = 0;
        loop {
            let response = self.send(call, access).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let longest = self.options.read_timeout * PATIENCE;
            // A byte now and then must not hold us for ever.
            let body = tokio::time::timeout(longest, body(response, limit)).await;
            let body = match body {
                Ok(body) => body.map_err(|e| causes(&e)),
                Err(_) => Err(format!("the answer took longer than {longest:?}")),
            };
            match body {
                Ok(body) => {
                    return Ok(Answer {
                        status,
                        headers,
                        body,
                    });
                }
                Err(reason) => {
                    failures += 1;
                    if failures >= self.options.attempts || !call.retry {
                        return Err(failed(call, &reason, failures));
                    }
                    self.pause(failures, None).await;
                }
            }
        }
    }
}

/// A client for a server of ours, with these certificates and times. It follows no redirects: they
/// could lead keys anywhere.
///
/// # Errors
/// `invalid_parameter`, `storage` for the file of certificates; `network`.
pub fn server_client(options: &NetOptions) -> Result<Client> {
    // Fails only when there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    client(options, Policy::none)
}

fn client(options: &NetOptions, redirects: impl Fn() -> Policy) -> Result<Client> {
    let certificates = match options.ca_pem()? {
        Some(pem) => Certificate::from_pem_bundle(&pem)
            .map_err(|e| err!(InvalidParameter, "the CA file: {}", causes(&e)))?,
        None => Vec::new(),
    };
    if options.ca_file.is_some() && certificates.is_empty() {
        bail!(
            InvalidParameter,
            "the CA file has no certificate in it: it must be PEM"
        );
    }
    let builder = || {
        Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .redirect(redirects())
    };
    builder()
        .tls_certs_merge(certificates.clone())
        .build()
        // A system without any authorities, such as a small container: what needs no TLS, or
        // has a CA file, works there too.
        .or_else(|_| builder().tls_certs_only(certificates).build())
        .map_err(|e| err!(Network, "no HTTPS client: {}", causes(&e)))
}

async fn body(mut response: Response, limit: u64) -> Result<Vec<u8>, reqwest::Error> {
    let longest = usize::try_from(limit.saturating_add(1)).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = longest - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == longest {
            break;
        }
    }
    Ok(body)
}

/// Whether a later attempt may do better.
pub(crate) fn transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(crate) fn failed(call: &Call<'_>, reason: &str, attempts: u32) -> Error {
    let tried = match attempts {
        0 | 1 => String::new(),
        n => format!(", {n} times"),
    };
    err!(
        Network,
        "{}: {} {} failed{tried}: {reason}; check the address and the connection, and try again",
        call.what,
        call.method,
        shorten(call.url.as_str())
    )
}

fn refused(call: &Call<'_>, response: &Response, auth: Option<&Auth>) -> Error {
    let host = call.url.host_str().unwrap_or_default();
    let advice = match auth {
        Some(auth) => auth.advice(),
        None => "it wants credentials, which are only sent to OCI registries".into(),
    };
    err!(
        Unauthorized,
        "{}: {host} answered {} with status {}: {advice}",
        call.what,
        call.method,
        response.status()
    )
}

/// What a registry says about an error (OCI distribution specification, "Error Codes"), or the
/// beginning of its answer.
pub(crate) fn said(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Envelope>(&answer.body) {
        Ok(envelope) => envelope
            .errors
            .iter()
            .map(|e| format!("{} {}", e.code, e.message))
            .collect::<Vec<_>>()
            .join(", "),
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    format!("status {} {}", answer.status, shorten(&text))
}
