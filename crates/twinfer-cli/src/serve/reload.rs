//! Settings of a running server, read again on SIGHUP.
//!
//! Each file by itself: settings, access, trust policy. What is wrong with one keeps the others
//! from nothing, and changes nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgMatches;
use serde_json::json;
use twinfer::Result;
use twinfer_host::{Handle, HostConfig, Log, LogLevel};

use super::follow::Follower;
use super::releases::Releases;
use super::secrets::Secrets;
use super::{ServeArgs, config, hand_over, repository};
use crate::host_error::host_error;
use crate::settings::{self, Change};
use crate::trust::Trust;

/// What a server began with, and keeps.
pub struct Begun {
    secrets: Secrets,
    /// The folder of the registry's content.
    content: PathBuf,
    /// The settings of metrics and traces.
    observe: super::ObserveArgs,
    /// Seconds between two looks at the registry, where nobody says how many.
    poll: f64,
    listen: SocketAddr,
}

impl Begun {
    /// A server of these settings, of the registry whose content is in this folder.
    ///
    /// # Errors
    /// `internal` where the system has no random numbers.
    pub fn new(args: &ServeArgs, content: &Path, poll: f64) -> Result<Self> {
        Ok(Self {
            secrets: Secrets::new()?,
            content: content.to_owned(),
            observe: args.observe.clone(),
            poll,
            listen: config(args.clone(), content).listen,
        })
    }

    /// What the host is told by these settings and this policy; but for access, state and the
    /// observer.
    ///
    /// # Errors
    /// `storage` for a file of counters that cannot be read.
    pub fn config(&self, args: &ServeArgs, trust: &Trust) -> Result<HostConfig> {
        let mut config = config(args.clone(), &self.content);
        args.together.apply(&self.secrets, &mut config);
        repository::apply(args.repository, &self.secrets, &mut config);
        self.observe.tell(&mut config);
        hand_over(trust, &mut config)?;
        Ok(config)
    }
}

/// Takes settings again.
pub struct Reload {
    begun: Begun,
    /// The settings of the start, and those that were taken last.
    start: ArgMatches,
    given: ArgMatches,
    args: ServeArgs,
    /// The file of the policy, where one was named last.
    policy: Option<PathBuf>,
    trust: Trust,
    handle: Handle,
    releases: Arc<Releases>,
    log: Log,
}

impl Reload {
    /// Of a server that began with these, and of who follows its releases.
    pub fn new(
        begun: Begun,
        args: ServeArgs,
        given: ArgMatches,
        trust: Trust,
        handle: Handle,
        releases: Arc<Releases>,
        log: Log,
    ) -> Self {
        Self {
            begun,
            start: given.clone(),
            policy: settings::policy_file(&given),
            given,
            args,
            trust,
            handle,
            releases,
            log,
        }
    }

    /// Reads everything again, and says in the log what came of it. Gives the seconds between two
    /// looks at the registry.
    pub fn run(&mut self, follower: &mut Follower) -> f64 {
        // Each of them, whatever the others say.
        let settings = self.take_settings();
        let policy = self.take_policy(follower);
        let access = self.args.access.reload(&self.handle, &self.log);
        self.handle.set_reloaded(settings && policy && access);
        self.args.poll.unwrap_or(self.begun.poll)
    }

    fn take_settings(&mut self) -> bool {
        let arguments = std::env::args_os().collect();
        let change = match Change::read(&self.given, arguments) {
            Ok(None) => return true,
            Ok(Some(change)) => change,
            Err(error) => {
                return self.failed("settings_reload_failed", "invalid_parameter", &error);
            }
        };
        let taken = self
            .checked(&change.serve)
            .and_then(|config| self.handle.reload(config).map_err(host_error));
        let reloaded = match taken {
            Ok(reloaded) => reloaded,
            Err(error) => {
                let code = error.code().as_str();
                return self.failed("settings_reload_failed", code, error.message());
            }
        };
        let since_start = settings::changed(&self.start, &change.given);
        for later in since_start.iter().filter(|changed| !changed.reloaded) {
            self.later(&later.name, "it counts from the next start");
        }
        if let Some(most) = reloaded.most_instances {
            let help = format!("{most} until the next start: there is room for no more");
            self.later("instances", &help);
        }
        let changed = settings::changed(&self.given, &change.given);
        let names = changed.iter().filter(|changed| changed.reloaded);
        let names: Vec<&str> = names.map(|changed| changed.name.as_str()).collect();
        let fields = json!({"changed": names, "instances_replaced": reloaded.instances});
        self.log.change(
            change.serve.log_level.into(),
            change.serve.observe.log_format(),
        );
        self.log.event(LogLevel::Info, "settings_reloaded", fields);
        self.releases.set_surface(change.serve.surface());
        self.policy = change.trust;
        (self.given, self.args) = (change.given, change.serve);
        true
    }

    /// What the host is told by other settings, with the policy of now.
    fn checked(&self, args: &ServeArgs) -> Result<HostConfig> {
        let config = self.begun.config(args, &self.trust)?;
        repository::check(args.repository, args.access.is_given(), self.begun.listen)?;
        Ok(config)
    }

    fn take_policy(&mut self, follower: &mut Follower) -> bool {
        match self.other_policy() {
            Ok(None) => true,
            Ok(Some(trust)) => {
                follower.trust(&trust);
                self.trust = trust;
                let fields = json!({"file": self.policy});
                self.log.event(LogLevel::Info, "trust_reloaded", fields);
                true
            }
            Err(error) => {
                let code = error.code().as_str();
                self.failed("trust_reload_failed", code, error.message())
            }
        }
    }

    /// The policy that the file has now, handed over, where it is not that of before.
    fn other_policy(&self) -> Result<Option<Trust>> {
        let trust = self.trust.again(self.policy.as_deref())?;
        let json = |trust: &Trust| trust.policy().map(|policy| policy.json().to_owned());
        if json(&trust) == json(&self.trust) {
            return Ok(None);
        }
        let config = self.begun.config(&self.args, &trust)?;
        self.handle.reload(config).map_err(host_error)?;
        Ok(Some(trust))
    }

    fn later(&self, setting: &str, help: &str) {
        let fields = json!({"setting": setting, "help": help});
        self.log
            .event(LogLevel::Warn, "setting_not_reloaded", fields);
    }

    fn failed(&self, event: &str, code: &str, error: &str) -> bool {
        let fields = json!({"code": code, "error": error, "kept": "what was there before"});
        self.log.event(LogLevel::Error, event, fields);
        false
    }
}
