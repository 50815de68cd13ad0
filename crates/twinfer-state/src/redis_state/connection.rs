//! The connection that all calls share, and what its errors mean.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates,
};
use tokio::time::timeout;

use super::RedisOptions;
use crate::runtime::{run, runtime};
use crate::{Result, StateError};

/// A server, connected to or not.
pub(super) struct Connection {
    manager: ConnectionManager,
    server: String,
    timeout: Duration,
}

impl Connection {
    pub(super) fn new(address: &str, options: RedisOptions) -> Result<Self> {
        // Not what was written: there may be a password in it.
        let malformed = |e: RedisError| {
            StateError::new(format!(
                "the address of Redis cannot be used: {}; write redis://HOST[:PORT][/DATABASE], or rediss:// for TLS",
                reason(&e)
            ))
        };
        // Unless the program has chosen one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let info = address.into_connection_info().map_err(malformed)?;
        let server = info.addr().to_string();
        let info = with_login(info, &options);
        let client = match options.authorities {
            Some(pem) => Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem),
                },
            ),
            None => Client::open(info),
        };
        let client = client.map_err(malformed)?;
        // Whoever asks again is soon enough: no call waits for several attempts.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(options.timeout))
            .set_response_timeout(Some(options.timeout));
        let manager = {
            let _inside = runtime()?.enter();
            ConnectionManager::new_lazy_with_config(client, config).map_err(malformed)?
        };
        Ok(Self {
            manager,
            server,
            timeout: options.timeout,
        })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Does something with the connection, on our threads.
    pub(super) async fn run<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(ConnectionManager) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let (manager, server) = (self.manager.clone(), self.server.clone());
        // For a connection, and for an answer.
        let limit = self.timeout * 2;
        run(async move {
            match timeout(limit, work(manager)).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) => Err(failed(&server, &error)),
                Err(_) => Err(StateError::unreachable(format!(
                    "Redis at {server} does not answer within {} ms",
                    limit.as_millis()
                ))),
            }
        })
        .await
    }
}

fn with_login(info: ConnectionInfo, options: &RedisOptions) -> ConnectionInfo {
    let mut settings = info.redis_settings().clone();
    if let (None, Some(user)) = (settings.username(), &options.user) {
        settings = settings.set_username(user);
    }
    if let (None, Some(password)) = (settings.password(), &options.password) {
        settings = settings.set_password(password);
    }
    info.set_redis_settings(settings)
}

/// What this error means for us. A server that is loading, full or a replica is as good as gone:
/// no call will do better until it is something else again.
fn failed(server: &str, error: &RedisError) -> StateError {
    let message = format!("Redis at {server}: {}", reason(error));
    let gone = match error.kind() {
        ErrorKind::Io | ErrorKind::AuthenticationFailed => true,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => true,
        _ => takes_nothing(error) || error.is_unrecoverable_error(),
    };
    match gone {
        true => StateError::unreachable(message),
        false => StateError::new(message),
    }
}

/// Errors of a server whose memory or disk is full, or that does not let us in. A script puts
/// their codes into its own text.
fn takes_nothing(error: &RedisError) -> bool {
    let codes = ["OOM", "MISCONF", "NOAUTH", "WRONGPASS", "NOREPLICAS"];
    let text = error.to_string();
    codes.iter().any(|code| text.contains(code))
}

fn reason(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (None, Some(detail)) => detail.to_owned(),
        (_, None) => error.to_string(),
    }
}
