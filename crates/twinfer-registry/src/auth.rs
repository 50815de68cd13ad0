//! Credentials: from Docker's configuration, sent as basic authentication or exchanged for a
//! token (distribution specification, "Token Authentication"), which `oci-client` does.
//!
//! Nothing is looked up or sent before the registry asked for it with status 401.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use tokio::task::spawn_blocking;
use twinfer::{Result, bail, err};

use crate::error::{causes, shorten};
use crate::net::{NetOptions, USER_AGENT, is_loopback};

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub repository: String,
    pub push: bool,
}

/// The credentials of one registry.
pub(crate) struct Auth {
    /// `scheme://host:port/`
    base: Url,
    host: String,
    options: NetOptions,
    credentials: OnceLock<Credentials>,
    headers: Mutex<HashMap<Scope, HeaderValue>>,
}

/// What Docker's configuration has for a registry.
enum Credentials {
    None,
    Password(String, String),
    /// There should be some, but they could not be had.
    Failed(String),
}

impl Auth {
    pub fn new(base: &Url, host: &str, options: &NetOptions) -> Self {
        Self {
            base: base.clone(),
            host: host.into(),
            options: options.clone(),
            credentials: OnceLock::new(),
            headers: Mutex::default(),
        }
    }

    /// What fetches tokens; made for the few times that it is needed.
    fn client(&self) -> Result<Client> {
        let pem = self.options.ca_pem()?.into_iter().map(|data| Certificate {
            encoding: CertificateEncoding::Pem,
            data,
        });
        let config = ClientConfig {
            protocol: match self.base.scheme() {
                "http" => ClientProtocol::Http,
                _ => ClientProtocol::Https,
            },
            extra_root_certificates: pem.collect(),
            read_timeout: Some(self.options.read_timeout),
            connect_timeout: Some(self.options.connect_timeout),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        Client::try_from(config).map_err(|e| err!(Network, "no HTTPS client: {}", causes(&e)))
    }

    /// Whether credentials may be sent to this address: to the registry itself, and not in
    /// the clear where it has TLS. Uploads may go elsewhere (CVE-2020-15157).
    pub fn covers(&self, url: &Url) -> bool {
        url.scheme() == self.base.scheme()
            && url.host_str() == self.base.host_str()
            && url.port_or_known_default() == self.base.port_or_known_default()
    }

    /// The header to send, once there is one.
    pub fn header(&self, scope: &Scope) -> Option<HeaderValue> {
        self.lock().get(scope).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, HeaderValue>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do about a refusal.
    pub fn advice(&self) -> String {
        match self.credentials.get() {
            Some(Credentials::Password(user, _)) => format!(
                "the user `{}` may not do this, or the password is wrong: `docker login {}` changes it",
                shorten(user),
                self.host
            ),
            Some(Credentials::Failed(why)) => why.clone(),
            _ => format!(
                "it wants credentials, and there are none for {0} in Docker's config.json: `docker login {0}` makes them",
                self.host
            ),
        }
    }

    /// Answers a challenge: afterwards there is another header, or an error.
    ///
    /// # Errors
    /// `unauthorized`; `network` when the token server cannot be reached.
    pub async fn answer(&self, headers: &HeaderMap, scope: &Scope) -> Result<()> {
        let challenge = Challenge::of(headers);
        self.look_up().await?;
        let value = match &challenge {
            Challenge::Basic => match self.credentials.get() {
                Some(Credentials::Password(user, password)) => basic(user, password),
                _ => bail!(Unauthorized, "{}: {}", self.host, self.advice()),
            },
            Challenge::Bearer { realm } => {
                self.check_realm(realm)?;
                self.token(scope).await?
            }
            Challenge::None => bail!(
                Unauthorized,
                "{} answered with status 401, but does not say which credentials it takes",
                self.host
            ),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            err!(
                Unauthorized,
                "{} gave a token that no header can hold",
                self.host
            )
        })?;
        value.set_sensitive(true);
        self.lock().insert(scope.clone(), value);
        Ok(())
    }

    /// Passwords go to a token server only as safely as to the registry.
    fn check_realm(&self, realm: &str) -> Result<()> {
        let url = Url::parse(realm).map_err(|e| {
            err!(
                Unauthorized,
                "{} names the token server `{}`: {e}",
                self.host,
                shorten(realm)
            )
        })?;
        let allowed = match url.scheme() {
            "https" => true,
            "http" => self.options.plain_http || (is_loopback(&url) && is_loopback(&self.base)),
            _ => false,
        };
        if !allowed {
            bail!(
                Unauthorized,
                "{} wants the password to be sent to {} without TLS; --plain-http allows it",
                self.host,
                shorten(realm)
            );
        }
        Ok(())
    }

    async fn token(&self, scope: &Scope) -> Result<String> {
        let auth = match self.credentials.get() {
            Some(Credentials::Password(user, password)) => {
                RegistryAuth::Basic(user.clone(), password.clone())
            }
            Some(Credentials::Failed(why)) => bail!(Unauthorized, "{}: {why}", self.host),
            _ => RegistryAuth::Anonymous,
        };
        let image =
            Reference::with_tag(self.host.clone(), scope.repository.clone(), "latest".into());
        let operation = match scope.push {
            true => RegistryOperation::Push,
            false => RegistryOperation::Pull,
        };
        let token = self.client()?.auth(&image, &auth, operation).await;
        match token {
            Ok(Some(token)) => Ok(format!("Bearer {token}")),
            Ok(None) => bail!(
                Unauthorized,
                "{} wants a token, but gives none: {}",
                self.host,
                self.advice()
            ),
            Err(OciDistributionError::RequestError(e)) => {
                bail!(Network, "the token server of {}: {}", self.host, causes(&e))
            }
            Err(OciDistributionError::AuthenticationFailure(reason)) => bail!(
                Unauthorized,
                "the token server of {} refused ({}): {}",
                self.host,
                shorten(&reason),
                self.advice()
            ),
            Err(e) => bail!(
                Unauthorized,
                "the token server of {}: {}",
                self.host,
                causes(&e)
            ),
        }
    }

    /// Looks into Docker's configuration, once.
    async fn look_up(&self) -> Result<()> {
        if self.credentials.get().is_some() {
            return Ok(());
        }
        let host = self.host.clone();
        // It may run a helper, which may ask a person.
        let found = spawn_blocking(move || from_docker(&host))
            .await
            .map_err(|e| err!(Internal, "the credential helper: {e}"))?;
        let _ = self.credentials.set(found);
        Ok(())
    }
}

fn from_docker(host: &str) -> Credentials {
    use CredentialRetrievalError as Failure;
    match docker_credential::get_credential(host) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Credentials::Password(user, password)
        }
        Ok(DockerCredential::IdentityToken(_)) => Credentials::Failed(format!(
            "Docker's configuration has an identity token for {host}, which is not supported: log in with a user name and an access token"
        )),
        Err(Failure::NoCredentialConfigured | Failure::ConfigNotFound) => Credentials::None,
        // Also when there is no such file.
        Err(Failure::ConfigReadError) if !config_exists() => Credentials::None,
        // What helpers say when they have nothing for a registry.
        Err(Failure::HelperFailure { stdout, stderr, .. })
            if format!("{stdout}{stderr}").contains("not found") =>
        {
            Credentials::None
        }
        Err(error) => Credentials::Failed(format!(
            "the credentials in Docker's config.json cannot be had: {}",
            shorten(&error.to_string())
        )),
    }
}

fn config_exists() -> bool {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    folder.is_some_and(|folder| folder.join("config.json").exists())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What a registry wants.
enum Challenge {
    Basic,
    Bearer { realm: String },
    None,
}

impl Challenge {
    fn of(headers: &HeaderMap) -> Self {
        let texts = headers.get_all(WWW_AUTHENTICATE).into_iter();
        let challenges = texts
            .filter_map(|value| http_auth::parse_challenges(value.to_str().ok()?).ok())
            .flatten()
            .map(|c| {
                let realm = c
                    .params
                    .iter()
                    .find(|(k, _)| k.eq_ignore_ascii_case("realm"));
                let realm = realm.map(|(_, value)| value.to_unescaped());
                (c.scheme.to_ascii_lowercase(), realm.unwrap_or_default())
            });
        let mut basic = Self::None;
        for (scheme, realm) in challenges {
            match scheme.as_str() {
                "bearer" => return Self::Bearer { realm },
                "basic" => basic = Self::Basic,
                _ => {}
            }
        }
        basic
    }
}
