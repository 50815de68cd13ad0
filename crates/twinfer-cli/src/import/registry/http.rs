//! Requests to an MLflow server.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value as Json;
use tokio::runtime::Runtime;
use twinfer::{Error, ErrorCode, Result, bail, err};

use crate::import::args::ImportArgs;
use crate::import::files::MAX_TEXT_BYTES;

/// A server that says nothing for so long is taken for dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// An answer that is an error of MLflow: `{"error_code": …, "message": …}`.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

/// The server, and how it is asked.
pub struct Http {
    client: Client,
    runtime: Runtime,
    base: Url,
    authorization: Option<HeaderValue>,
}

impl Http {
    /// # Errors
    /// `invalid_reference` for an address that is none; `network` for one without TLS that
    /// is not on this machine, unless that is allowed.
    pub fn new(address: &str, args: &ImportArgs) -> Result<Self> {
        let mut base =
            Url::parse(address).map_err(|e| err!(InvalidReference, "the tracking address: {e}"))?;
        let loopback = match base.host_str() {
            Some("localhost") => true,
            Some(host) => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                host.parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
            None => false,
        };
        if base.scheme() == "http" && !loopback && !args.plain_http {
            bail!(
                Network,
                "the MLflow server is not on this machine and its address has no TLS (http:): whoever is in between can read passwords and exchange the model. Use https:, or --plain-http in a network that you trust"
            );
        }
        let authorization = authorization(&base)?;
        // Not in error messages.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        // Fails only when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // A redirect could lead credentials and requests anywhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("twinfer/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(&e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| err!(Internal, "no runtime: {e}"))?;
        Ok(Self {
            client,
            runtime,
            base,
            authorization,
        })
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    /// An address of the server: path segments (escaped here) and query.
    fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| err!(InvalidReference, "the tracking address has no path"))?
            .pop_if_empty()
            .extend(segments);
        url.set_query(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// A JSON answer; an error of MLflow is given back as such.
    pub fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Result<Json, Refusal>> {
        let url = self.url(segments, query)?;
        self.json(self.request(Method::GET, url))
    }

    /// As [`Self::get`], with a body.
    pub fn post(&self, segments: &[&str], body: &Json) -> Result<Result<Json, Refusal>> {
        let url = self.url(segments, &[])?;
        let request = self.request(Method::POST, url);
        self.json(
            request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string()),
        )
    }

    fn json(&self, request: RequestBuilder) -> Result<Result<Json, Refusal>> {
        self.runtime.block_on(async {
            let response = request.send().await.map_err(|e| failed(&e))?;
            let status = check(&response)?;
            let kind = content_type(&response);
            let bytes = limited(response).await?;
            let Ok(json) = serde_json::from_slice::<Json>(&bytes) else {
                bail!(
                    Network,
                    "the answer (status {}, {kind}) is not JSON: is this the address of an MLflow server?",
                    status.as_u16()
                );
            };
            if status.is_success() {
                return Ok(Ok(json));
            }
            let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
            let refusal = Refusal {
                status: status.as_u16(),
                code: text("error_code"),
                message: text("message").chars().take(300).collect(),
            };
            match status.is_server_error() {
                true => Err(refusal.into_error()),
                false => Ok(Err(refusal)),
            }
        })
    }

    /// Writes a file of the server to `target`; gives its size.
    ///
    /// # Errors
    /// `model_too_large` beyond the limit; as for all requests.
    pub fn download(&self, segments: &[&str], target: &Path, limit: u64) -> Result<u64> {
        let url = self.url(segments, &[])?;
        let storage = |e: std::io::Error| err!(Storage, "cannot write {}: {e}", target.display());
        self.runtime.block_on(async {
            let request = self.request(Method::GET, url).send();
            let mut response = request.await.map_err(|e| failed(&e))?;
            let status = check(&response)?;
            if !status.is_success() {
                bail!(
                    Network,
                    "the server answers {status} for a file of the model"
                );
            }
            let mut file = File::create_new(target).map_err(storage)?;
            let mut size = 0;
            while let Some(chunk) = response.chunk().await.map_err(|e| failed(&e))? {
                size += chunk.len() as u64;
                if size > limit {
                    bail!(
                        ModelTooLarge,
                        "a file of the model has more than {limit} bytes"
                    );
                }
                file.write_all(&chunk).map_err(storage)?;
            }
            Ok(size)
        })
    }
}

impl Refusal {
    pub fn into_error(self) -> Error {
        err!(
            Network,
            "the MLflow server answers {} {}: {}",
            self.status,
            self.code,
            self.message
        )
    }
}

/// As MLflow's client: a token, or user and password, from the environment or the address.
fn authorization(base: &Url) -> Result<Option<HeaderValue>> {
    use base64::Engine as _;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pair = match (variable("MLFLOW_TRACKING_USERNAME"), base.username()) {
        (Some(user), _) => Some((
            user,
            variable("MLFLOW_TRACKING_PASSWORD").unwrap_or_default(),
        )),
        (None, "") => None,
        (None, user) => Some((decoded(user), decoded(base.password().unwrap_or_default()))),
    };
    let value = match (pair, variable("MLFLOW_TRACKING_TOKEN")) {
        (Some((user, password)), _) => {
            let text =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {text}")
        }
        (None, Some(token)) => format!("Bearer {token}"),
        (None, None) => return Ok(None),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        err!(
            Unauthorized,
            "the credentials have characters that HTTP cannot carry"
        )
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What is the same for all answers: credentials, redirects.
fn check(response: &Response) -> Result<StatusCode> {
    let status = response.status();
    if matches!(status.as_u16(), 401 | 403) {
        bail!(
            Unauthorized,
            "the MLflow server answers {status}: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        );
    }
    if status.is_redirection() {
        bail!(
            Network,
            "the server answers {status}, a redirect, which is not followed: give the final address"
        );
    }
    Ok(status)
}

fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE);
    let text = value
        .and_then(|v| v.to_str().ok())
        .unwrap_or("no content type");
    text.chars().take(60).collect()
}

async fn limited(mut response: Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| failed(&e))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_TEXT_BYTES {
            bail!(Network, "the answer has more than {MAX_TEXT_BYTES} bytes");
        }
    }
    Ok(bytes)
}

/// The innermost cause says most; the address may have secrets in it.
fn failed(error: &reqwest::Error) -> Error {
    let code = match error.is_timeout() {
        true => ErrorCode::Timeout,
        false => ErrorCode::Network,
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Error::new(code, format!("the MLflow server: {cause}"))
}
