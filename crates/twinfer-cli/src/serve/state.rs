//! The state of a server: where it is kept, and what is said about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use twinfer::{Error, Result, err};
use twinfer_host::{HostConfig, KeyValue, Log, LogLevel};
use twinfer_package::Digest;
use twinfer_state::{
    Event, EventSink, MemoryState, RedisOptions, RedisState, Resilient, ResilientOptions,
    SqliteState, State, StateError,
};

/// The password of Redis, for who does not want it in an address or a file.
const PASSWORD: &str = "TWINFER_STATE_PASSWORD";

/// Where state is kept that outlives requests.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "State")]
pub struct StatePlaceArgs {
    /// Where state is kept that outlives requests: sqlite:FILE, for the servers of one machine;
    /// redis://HOST[:PORT][/DATABASE] or, with TLS, rediss://…, for those of several; memory
    /// [default: sqlite, in the user's state folder, one file for each registry]
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "TWINFER_STATE",
        hide_env_values = true
    )]
    state: Option<Place>,

    /// What all names in Redis begin with: one for each group of servers that belong together
    #[arg(long, global = true, value_name = "PREFIX", default_value = "twinfer:")]
    state_prefix: String,

    /// File with the password of Redis; or the variable TWINFER_STATE_PASSWORD has it
    #[arg(long, global = true, value_name = "FILE")]
    state_password_file: Option<PathBuf>,

    /// File (PEM) with the authorities that the certificate of Redis is to be signed by [default:
    /// those of the system]
    #[arg(long, global = true, value_name = "FILE")]
    state_authorities: Option<PathBuf>,
}

/// The same, and what of it the component sees.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "State")]
pub struct StateArgs {
    #[command(flatten)]
    place: StatePlaceArgs,

    /// Key-value stores for the component (wasi:keyvalue): a folder, or `state` for stores that
    /// all servers share [default: none]
    #[arg(long, value_name = "DIR|state")]
    key_value: Option<String>,
}

/// A place for state.
#[derive(Clone)]
enum Place {
    Memory,
    Sqlite(PathBuf),
    /// The address. There may be a password in it, so it is never shown as it is.
    Redis(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(file) = text.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
            return Ok(Self::Sqlite(file.into()));
        }
        if text.starts_with("redis://") || text.starts_with("rediss://") {
            // Whether it is one is looked at later: what is wrong here is printed, password and all.
            return Ok(Self::Redis(text.to_owned()));
        }
        Err("write memory, sqlite:FILE, redis://HOST[:PORT] or rediss://HOST[:PORT]".into())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Memory => "memory".to_owned(),
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Redis(_) => "redis".to_owned(),
        })
    }
}

impl StateArgs {
    /// Opens the state of a server of the registry with this identity, and hands it to the host.
    ///
    /// # Errors
    /// `storage` for a file that cannot be used. A Redis that does not answer is no error: the
    /// server begins with what it knew of it.
    pub fn apply(self, identity: &str, log: &Log, config: &mut HostConfig) -> Result<()> {
        config.key_value = self.key_value.as_deref().map(|place| match place {
            "state" => KeyValue::State,
            folder => KeyValue::Folder(folder.into()),
        });
        config.state = self.place.open(identity, log)?;
        Ok(())
    }
}

impl StatePlaceArgs {
    /// The same place for a command, which is done or fails at once: it keeps no copy, and does not
    /// go on without the place.
    ///
    /// # Errors
    /// `invalid_parameter`, `storage`.
    pub fn connect(&self, identity: &str) -> Result<Arc<dyn State>> {
        let sqlite = |file: &Path| -> Result<Arc<dyn State>> {
            Ok(Arc::new(SqliteState::open(file).map_err(storage)?))
        };
        match &self.state {
            Some(Place::Memory) => Err(err!(
                InvalidParameter,
                "the state `memory` is in the server itself: use --server"
            )),
            Some(Place::Sqlite(file)) => sqlite(file),
            Some(Place::Redis(address)) => Ok(Arc::new(self.redis_state(address)?)),
            None => {
                let home = home(identity).ok_or_else(|| {
                    err!(
                        Storage,
                        "there is no folder for the state: set XDG_STATE_HOME or HOME, or name a place with --state, or a server with --server"
                    )
                })?;
                sqlite(&home.join("state.sqlite"))
            }
        }
    }

    fn open(self, identity: &str, log: &Log) -> Result<Arc<dyn State>> {
        let home = home(identity);
        match self.state.clone() {
            Some(Place::Memory) => in_memory(log, LogLevel::Info, "it was asked for"),
            Some(Place::Sqlite(file)) => sqlite(&file, log),
            Some(Place::Redis(address)) => self.redis(&address, home.as_deref(), log),
            None => match home {
                // Nobody asked for a file, so a machine without a place for one serves too.
                Some(home) => sqlite(&home.join("state.sqlite"), log)
                    .or_else(|error| in_memory(log, LogLevel::Warn, error.message())),
                None => {
                    let why = "there is no folder for it: set XDG_STATE_HOME or HOME, or name a place with --state";
                    in_memory(log, LogLevel::Warn, why)
                }
            },
        }
    }

    fn redis_state(&self, address: &str) -> Result<RedisState> {
        let password = match &self.state_password_file {
            Some(file) => Some(read(file, "password")?),
            None => std::env::var_os(PASSWORD)
                .map(|password| password.into_encoded_bytes())
                .filter(|password| !password.is_empty()),
        };
        let password = password.map(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            text.trim_end_matches(['\r', '\n']).to_owned()
        });
        let authorities = self.state_authorities.as_deref();
        let options = RedisOptions {
            prefix: self.state_prefix.clone(),
            password,
            authorities: authorities
                .map(|file| read(file, "authorities"))
                .transpose()?,
            ..RedisOptions::default()
        };
        RedisState::new(address, options)
            .map_err(|error| err!(InvalidParameter, "--state: {}", error.message()))
    }

    fn redis(self, address: &str, home: Option<&Path>, log: &Log) -> Result<Arc<dyn State>> {
        let redis = self.redis_state(address)?;
        // Another server or another prefix is another state.
        let same = Digest::of(format!("{}\n{}", redis.server(), self.state_prefix).as_bytes());
        let copy = home.map(|home| home.join(format!("copy-{}.sqlite", &same.hex()[..16])));
        let server = redis.server().to_owned();
        let state = Resilient::start(
            redis,
            ResilientOptions {
                copy,
                events: events(log),
            },
        );
        let state = state.map_err(storage)?;
        let fields =
            json!({"kind": "redis", "server": server, "connected": state.status().connected});
        log.event(LogLevel::Info, "state", fields);
        Ok(Arc::new(state))
    }
}

fn sqlite(file: &Path, log: &Log) -> Result<Arc<dyn State>> {
    let state = SqliteState::open(file).map_err(storage)?;
    // Its own file is its copy.
    let options = ResilientOptions {
        copy: None,
        events: events(log),
    };
    let state = Resilient::start(state, options).map_err(storage)?;
    log.event(
        LogLevel::Info,
        "state",
        json!({"kind": "sqlite", "file": file}),
    );
    Ok(Arc::new(state))
}

fn in_memory(log: &Log, level: LogLevel, why: &str) -> Result<Arc<dyn State>> {
    log.event(level, "state", json!({"kind": "memory", "why": why}));
    Ok(Arc::new(MemoryState::new()))
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|e| {
        err!(
            Storage,
            "the file with the {what} of the state, {}: {e}",
            file.display()
        )
    })
}

fn storage(error: StateError) -> Error {
    err!(Storage, "{}", error.message())
}

/// The folder for the state of the servers of a registry. It is the user's state, and no cache.
fn home(identity: &str) -> Option<PathBuf> {
    let folder = crate::user::folder("XDG_STATE_HOME", ".local/state")?;
    let digest = Digest::of(identity.as_bytes());
    Some(folder.join("twinfer/served").join(digest.hex()))
}

/// What happens to the state, in the log.
fn events(log: &Log) -> EventSink {
    let log = log.clone();
    EventSink::new(move |event| {
        let (level, fields) = match event {
            Event::Lost { reason } => (LogLevel::Warn, json!({"reason": reason})),
            Event::Back { after, merged } => {
                let seconds = after.as_secs_f64();
                (
                    LogLevel::Info,
                    json!({"after_seconds": seconds, "merged_counters": merged}),
                )
            }
            Event::CopyFailed { reason } => (LogLevel::Warn, json!({"reason": reason})),
            _ => (LogLevel::Info, json!({})),
        };
        log.event(level, event.name(), fields);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_passwords_not_shown() {
        for (text, shown) in [
            ("memory", "memory"),
            ("sqlite:a/b.sqlite", "sqlite:a/b.sqlite"),
            ("redis://:s3cret@host:6380/2", "redis"),
            ("rediss://user:s3cret@host", "redis"),
        ] {
            assert_eq!(format!("{:?}", text.parse::<Place>().unwrap()), shown);
        }
        for text in ["", "sqlite:", "postgres://host", "redis:host"] {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.contains("redis://HOST"), "{error}");
        }
    }
}
