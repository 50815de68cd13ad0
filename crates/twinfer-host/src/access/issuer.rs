//! Fetching the keys of an issuer.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use twinfer_gateway::Gateway;

use crate::log::{Log, LogLevel};
use crate::outbound;

/// Time for the whole answer: requests may wait for it.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 256 << 10;

pub(super) struct Issuer {
    client: OnceLock<reqwest::Client>,
    fetching: Mutex<()>,
    log: Log,
}

impl Issuer {
    pub(super) fn new(log: Log) -> Self {
        Self {
            client: OnceLock::new(),
            fetching: Mutex::new(()),
            log,
        }
    }

    /// Fetches the keys, and hands them to the gateway. What fails is in the log.
    pub(super) async fn fetch(&self, gateway: &Gateway, address: &str) {
        let _busy = self.fetching.lock().await;
        let fetched = tokio::time::timeout(LIMIT, self.get(address)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("no answer in time".into()));
        let put = fetched.and_then(|keys| {
            let put = gateway.put_keys(&keys, super::now());
            put.map_err(|error| error.to_string())
        });
        match put {
            Ok(()) => self
                .log
                .event(LogLevel::Info, "issuer_keys", json!({"address": address})),
            Err(error) => self.log.event(
                LogLevel::Warn,
                "issuer_keys",
                json!({"address": address, "error": error}),
            ),
        }
    }

    /// Waits for whoever is fetching.
    pub(super) async fn wait(&self) {
        drop(self.fetching.lock().await);
    }

    async fn get(&self, address: &str) -> Result<Vec<u8>, String> {
        let client = match self.client.get() {
            Some(client) => client,
            None => {
                let made = outbound::client().map_err(|e| e.to_string())?;
                self.client.get_or_init(|| made)
            }
        };
        let mut answer = client.get(address).send().await.map_err(why)?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("the answer has the status {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(why)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("the answer has more than {MAX_ANSWER} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// An error with what is behind it.
fn why(error: reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        said.push_str(&format!(": {next}"));
        cause = next.source();
    }
    said
}
