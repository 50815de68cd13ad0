//! The admin API of a server.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue, IF_MATCH};
use reqwest::{Client, Method, Url};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_deploy::DeploymentSpec;
use twinfer_registry::{NetOptions, server_client};

use super::ChangeArgs;
use super::place::How;

/// Largest answer in bytes: far more than a record has.
const MAX_ANSWER: usize = 16 << 20;

/// A server.
pub struct Server {
    client: Client,
    base: Url,
    authorization: Option<HeaderValue>,
    runtime: Runtime,
}

impl Server {
    /// At this address, for who has this key.
    ///
    /// # Errors
    /// `invalid_parameter` for an address that is none; `network` where a key would go over the
    /// network without TLS.
    pub fn new(
        address: &str,
        key: Option<String>,
        net: &NetOptions,
        runtime: Runtime,
    ) -> Result<Self> {
        let mut base = Url::parse(address).map_err(|e| err!(InvalidParameter, "--server: {e}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            bail!(
                InvalidParameter,
                "--server {address}: write https://HOST[:PORT]"
            );
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let local = base.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        if key.is_some() && base.scheme() == "http" && !local && !net.plain_http {
            bail!(
                Network,
                "{address} is another machine without TLS: whoever is in between can read the key. Use https:, or --plain-http in a network that you trust"
            );
        }
        let authorization = key
            .map(|key| HeaderValue::from_str(&format!("Bearer {key}")))
            .transpose()
            .map_err(|_| err!(InvalidParameter, "the API key cannot be sent in a header"))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let client = server_client(net)?;
        Ok(Self {
            client,
            base,
            authorization,
            runtime,
        })
    }

    /// What is at a path below `/admin/`.
    ///
    /// # Errors
    /// `network`; those that the server answers with.
    pub fn get(&self, path: &str) -> Result<Json> {
        self.ask(Method::GET, path, None, None)
    }

    /// Begins a release.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub fn put(&self, name: &str, spec: &DeploymentSpec, how: &How<'_>) -> Result<Json> {
        let body = serde_json::to_value(spec)
            .map_err(|e| err!(Internal, "a deployment has no JSON form: {e}"))?;
        let mut path = format!("deployments/{name}?breaking={}", how.breaking);
        if !how.reason.is_empty() {
            let reason = utf8_percent_encode(how.reason, NON_ALPHANUMERIC);
            path += &format!("&reason={reason}");
        }
        self.ask(Method::PUT, &path, how.if_revision, Some(&body))
    }

    /// Changes one.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub fn turn(
        &self,
        action: &str,
        name: &str,
        variant: Option<&str>,
        change: &ChangeArgs,
    ) -> Result<Json> {
        let mut body = json!({"reason": change.reason});
        if let Some(variant) = variant {
            body["variant"] = variant.into();
        }
        let path = format!("deployments/{name}/{action}");
        self.ask(Method::POST, &path, change.if_revision, Some(&body))
    }

    /// Takes one away.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub fn delete(&self, name: &str, revision: Option<u64>) -> Result<()> {
        let path = format!("deployments/{name}");
        self.ask(Method::DELETE, &path, revision, None).map(drop)
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        revision: Option<u64>,
        body: Option<&Json>,
    ) -> Result<Json> {
        let address = self.base.join(&format!("admin/{path}"));
        let address = address.map_err(|e| err!(InvalidParameter, "{path}: {e}"))?;
        let mut request = self.client.request(method, address);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(revision) = revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let failed = |e: reqwest::Error| err!(Network, "{}: {e}", self.base);
        self.runtime.block_on(async {
            let mut answer = request.send().await.map_err(failed)?;
            let status = answer.status();
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(failed)? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > MAX_ANSWER {
                    bail!(Network, "{}: the answer is too large", self.base);
                }
            }
            let json: Json = serde_json::from_slice(&bytes).unwrap_or_default();
            match status.is_success() {
                true => Ok(json),
                false => Err(refused(status.as_u16(), &json)),
            }
        })
    }
}

/// The error of a server, with its code where it is one that we know.
fn refused(status: u16, answer: &Json) -> Error {
    let known = |code: &&ErrorCode| answer["code"] == code.as_str();
    let code = ErrorCode::ALL.iter().find(known).copied();
    let message = answer["error"].as_str().map(str::to_owned);
    Error::new(
        code.unwrap_or(ErrorCode::Network),
        message.unwrap_or_else(|| format!("the server answered with the status {status}")),
    )
}
