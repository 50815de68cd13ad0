//! `twinfer serve`: the component on the wasmtime host, following a registry.

mod access;
mod approved;
mod change;
mod edge;
mod follow;
mod observe;
mod polling;
mod releases;
mod reload;
mod repository;
mod secrets;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod together;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args, ValueEnum};
use serde_json::json;
use twinfer::err;
use twinfer_gateway::Surface;
use twinfer_host::{Announcement, Host, HostConfig, Instances, Log, LogLevel, LogSink};
use twinfer_package::{Decision, Digest, FolderStore, Reference, Tagged, Verdict};

use self::access::AccessArgs;
use self::edge::EdgeArgs;
use self::follow::Follower;
use self::observe::ObserveArgs;
use self::polling::Polling;
use self::releases::{Controller, Releases};
use self::reload::{Begun, Reload};
use self::source::Source;
pub use self::source::identity;
use self::state::StateArgs;
pub use self::state::StatePlaceArgs;
use self::tls::TlsArgs;
use self::together::TogetherArgs;
use self::values::{address, instances, poll, route, seconds};
use crate::host_error::host_error;
use crate::registry::Registry;
use crate::trust::Trust;

/// Where `cargo xtask build` puts the component, seen from the project's folder.
const BUILT_COMPONENT: &str = "target/wasm32-wasip2/wasm-dev/twinfer_worker.wasm";
/// Where `cargo xtask build` puts the demo page.
const BUILT_PAGE: &str = "web/dist/demo";

const EXAMPLES: &str = "\
Examples:
  twinfer serve
      serve ./registry on http://127.0.0.1:8080, with the demo page if it was built
  twinfer serve --listen 0.0.0.0:80 --registry /srv/models --cors https://app.example
      for everybody, and for the pages of one other site
  twinfer serve --trust policy.json
      load only what the trust policy admits
  twinfer serve --listen 0.0.0.0:80 --access access.toml --open page
      only for those who have a key (twinfer api-key), but for the page
  twinfer serve --registry https://models.example/registry
      models of a static host; it goes on when that cannot be reached
  twinfer serve --registry oci://registry.example/models --model face-detector:stable
      one alias of an OCI registry, wherever it is moved to
  twinfer serve --instances 2 --memory 256 --timeout 5
      on a small machine
  twinfer serve --listen 0.0.0.0:443 --tls-certificate chain.pem --tls-key key.pem
      HTTPS; the files are taken again when they change
  twinfer serve --state redis://state.example
      one of several servers that share their state; they go on when Redis is gone
  twinfer serve --config twinfer.toml
      settings of a file, by the names of the flags; read again on SIGHUP
  twinfer serve --component face-detector.wasm
      a fused component (twinfer fuse), with a fresh instance for each request

The registry is followed: what changes there is fetched, verified, tested on its
golden examples and in the component, and only then served. What fails is not served,
and the log says why.

It ends on Ctrl-C or SIGTERM, after the requests in flight. Its log is JSON lines
on the standard error stream.";

/// Serve the models of a registry: Open Inference Protocol v2, packages, page
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// A file of settings (TOML): what flags and variables do not say is taken from it, by the
    /// names of the flags
    #[arg(long, value_name = "FILE", env = "TWINFER_CONFIG")]
    config: Option<PathBuf>,

    /// Print the settings that are in effect, and where each is from, and do nothing else
    #[arg(long)]
    pub print_config: bool,

    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", env = "TWINFER_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,

    /// Listen on this port of all addresses, in the place of --listen: containers of Vertex AI are
    /// told so
    #[arg(long, value_name = "PORT", env = "AIP_HTTP_PORT")]
    port: Option<u16>,

    /// The model that answers where a protocol names none, such as /invocations [default: the only
    /// one that there is]
    #[arg(long, value_name = "NAME[:TAG]", env = "TWINFER_DEFAULT_MODEL")]
    default_model: Option<Reference>,

    /// Path at which the default model says whether it is healthy, as Vertex AI names it
    #[arg(long, value_name = "PATH", env = "AIP_HEALTH_ROUTE", value_parser = route)]
    health_route: Option<String>,

    /// Path at which the default model predicts, as Vertex AI names it
    #[arg(long, value_name = "PATH", env = "AIP_PREDICT_ROUTE", value_parser = route)]
    predict_route: Option<String>,

    /// Serve only this model, or this model with this tag (repeatable) [default: all of them]
    #[arg(long, value_name = "NAME[:TAG]")]
    model: Vec<Reference>,

    /// Seconds between two looks at the registry; 0: only at the start, and on SIGHUP
    /// [default: 2 for a folder, 30 for others]
    #[arg(long, value_name = "SECONDS", value_parser = poll)]
    poll: Option<f64>,

    /// The component
    #[arg(long, value_name = "FILE", env = "TWINFER_COMPONENT", default_value = BUILT_COMPONENT)]
    component: PathBuf,

    /// Folder of the page at / [default: web/dist/demo, where it is there]
    #[arg(long, value_name = "DIR", conflicts_with = "no_page")]
    page: Option<PathBuf>,

    /// Serve no page
    #[arg(long)]
    no_page: bool,

    /// Origin whose pages may use this server (repeatable), or * for all
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,

    /// Origin that the component may send requests to: scheme://host[:port] (repeatable)
    /// [default: it has no network]
    #[arg(long, value_name = "ORIGIN")]
    outbound: Vec<String>,

    /// Switch on the model repository extension (/v2/repository: index, load, unload), for keys and
    /// tokens with the scope admin
    #[arg(long)]
    repository: bool,

    /// The full component, which answers what a slim one cannot, and everything where a slim or
    /// fused one does not fit [default: twinfer_worker.wasm in a build folder or beside this
    /// program, where it is there]
    #[arg(long, value_name = "FILE", env = "TWINFER_FULL_COMPONENT")]
    full_component: Option<PathBuf>,

    /// Most instances of the component, each serving one request at a time, and whether each
    /// request gets one of its own: N, fresh, warm, or both as in 2,fresh [default: the number of
    /// processors; fresh for a fused component, warm for others]
    #[arg(long, value_name = "N|fresh|warm", value_delimiter = ',', value_parser = instances)]
    instances: Vec<Instance>,

    /// Memory of one instance in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,

    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    timeout: f64,

    /// Seconds after which an idle instance is dropped, with the models in it
    #[arg(long, value_name = "SECONDS", default_value_t = 1800.0, value_parser = seconds)]
    idle_timeout: f64,

    /// Largest request body in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_body: usize,

    /// Most requests that wait for an instance
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue: usize,

    /// Folder for the compiled component [default: twinfer/compiled in the user's cache folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "TWINFER_COMPILED",
        conflicts_with = "no_cache"
    )]
    cache: Option<PathBuf>,

    /// Compile at every start
    #[arg(long)]
    no_cache: bool,

    /// Least important log lines
    #[arg(long, value_enum, default_value_t = Level::Info)]
    log_level: Level,

    // The last: each has its heading, which is that of all that follow.
    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    edge: EdgeArgs,

    #[command(flatten)]
    together: TogetherArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    state: StateArgs,
}

/// One of the things that `--instances` says.
#[derive(Debug, Clone, Copy)]
enum Instance {
    Most(usize),
    Are(Instances),
}

/// Importance of a log line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl ServeArgs {
    /// What of the paths these settings say.
    fn surface(&self) -> Surface {
        let default = self.default_model.as_ref();
        Surface {
            default_model: default.map(|model| model.name().to_owned()),
            predict_paths: self.predict_route.iter().cloned().collect(),
            ..Surface::default()
        }
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// A setting, component or address that does not work, a registry that cannot be read and never
/// was, or requests that were cut off at the end.
pub fn run(
    args: ServeArgs,
    given: &ArgMatches,
    registry: &Registry,
    trust: &Trust,
) -> twinfer::Result<()> {
    let no_home = || {
        err!(
            Storage,
            "there is no folder for the content of {registry}: set XDG_CACHE_HOME or HOME"
        )
    };
    // A mistake in it is told before anything is fetched.
    let access = args.access.config()?;
    let observer = args.observe.observer(observe::variable)?;
    let log = Log::new(LogSink::Stderr, args.log_level.into())
        .format(args.observe.log_format())
        .observed(Some(observer.clone()));
    let source = Source::open(registry, args.model.clone(), &log, |identity| {
        let home = home(identity).ok_or_else(no_home)?;
        std::fs::create_dir_all(home.join("content"))
            .map_err(|e| err!(Storage, "cannot make {}: {e}", home.display()))?;
        Ok(home)
    })?;
    let default_poll = if source.is_remote() { 30.0 } else { 2.0 };
    let poll = args.poll.unwrap_or(default_poll);
    let begun = Begun::new(&args, source.folder(), default_poll)?;
    let mut config = begun.config(&args, trust)?;
    config.access = access;
    repository::check(args.repository, args.access.is_given(), config.listen)?;
    config.observer = Some(observer.clone());
    // Before anything is written for a folder that is not there.
    config.check().map_err(host_error)?;
    args.state
        .clone()
        .apply(&source.identity(), &log, &mut config)?;
    let polling = Polling::new(poll)?;
    let home = home(&source.identity());
    let mut follower = Follower::start(source, home.as_deref(), trust, &log, polling.stop())?;
    config.index = Some(follower.served());
    let state = config.state.clone();
    let index = follower.served().join("index.json");
    let store = FolderStore::with_index(&config.registry, index);
    let releases = Arc::new(Releases::new(state, store, args.surface(), &log));
    observe::watch(&observer, &config.state, &releases);
    polling.begin_with(&mut follower, &releases);
    config.releases = Some(releases.clone());
    config.announce = announcements(trust, &follower)?;
    let host = Host::start(config).map_err(host_error)?;
    follower.attach(host.handle());
    let mut reload = Reload::new(
        begun,
        args,
        given.clone(),
        trust.clone(),
        host.handle(),
        releases.clone(),
        log,
    );
    let controller = Controller::begin(releases.clone(), polling.stop())?;
    let polling = polling.begin(follower, releases, move |follower| reload.run(follower))?;
    let ended = host.wait().map_err(host_error);
    polling.end();
    controller.end();
    ended
}

/// Where what was approved is kept, for the next start with this registry.
fn home(identity: &str) -> Option<PathBuf> {
    let digest = Digest::of(identity.as_bytes());
    let folder = crate::user::folder("XDG_CACHE_HOME", ".cache")?;
    Some(folder.join("twinfer/served").join(digest.hex()))
}

/// What the policy, if there is one, will do with each tag.
fn announcements(trust: &Trust, follower: &Follower) -> twinfer::Result<Vec<Announcement>> {
    let mut announced = Vec::new();
    if trust.policy().is_none() {
        return Ok(announced);
    }
    let view = follower.view()?;
    for tag in follower.index().tags() {
        let reference = Reference::new(&tag.name, &tag.tag)?;
        let decided = trust.admit(&view, &reference);
        announced.push(announcement(&tag, decided));
    }
    Ok(announced)
}

/// Hands the policy to the component, which decides by itself, at each request, with the same code.
fn hand_over(trust: &Trust, config: &mut HostConfig) -> twinfer::Result<()> {
    let Some(policy) = trust.policy() else {
        return Ok(());
    };
    let counters = serde_json::to_string(&trust.counters()?)
        .map_err(|e| err!(Internal, "counters have no JSON form: {e}"))?;
    config.env.extend([
        ("TWINFER_TRUST_POLICY".to_owned(), policy.json().to_owned()),
        ("TWINFER_TRUST_COUNTERS".to_owned(), counters),
    ]);
    Ok(())
}

fn announcement(tag: &Tagged, decided: twinfer::Result<Option<Decision>>) -> Announcement {
    let mut fields = json!({
        "reference": format!("{}:{}", tag.name, tag.tag),
        "digest": tag.digest,
    });
    let level = match decided.map(|decision| decision.map(|d| d.verdict)) {
        Err(error) => {
            fields["verdict"] = "refused".into();
            fields["code"] = error.code().as_str().into();
            fields["message"] = error.message().into();
            LogLevel::Warn
        }
        Ok(Some(Verdict::Warned { reason })) => {
            fields["verdict"] = "warned".into();
            fields["message"] = reason.into();
            LogLevel::Warn
        }
        Ok(verdict) => {
            fields["verdict"] = "allowed".into();
            if let Some(Verdict::Allowed { keys }) = verdict {
                fields["keys"] = keys.into();
            }
            LogLevel::Info
        }
    };
    Announcement {
        level,
        event: "trust".into(),
        fields,
    }
}

fn config(args: ServeArgs, registry: &Path) -> HostConfig {
    let built_page = Some(PathBuf::from(BUILT_PAGE)).filter(|page| page.is_dir() && !args.no_page);
    let all = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let mut config = HostConfig {
        listen: args.port.map_or(args.listen, all),
        tls: args.tls.files(),
        page: args.page.or(built_page),
        cors: args.cors,
        outbound: args.outbound,
        cache: if args.no_cache {
            None
        } else {
            args.cache.or_else(user_cache)
        },
        log_level: args.log_level.into(),
        log_format: args.observe.log_format(),
        handle_signals: true,
        ..HostConfig::new(args.component, registry)
    };
    let told = [
        (
            "TWINFER_DEFAULT_MODEL",
            args.default_model.map(|m| m.to_string()),
        ),
        ("AIP_HEALTH_ROUTE", args.health_route),
        ("AIP_PREDICT_ROUTE", args.predict_route),
    ];
    let told = told
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    config.env.extend(told);
    config.full_component = args
        .full_component
        .or_else(|| crate::component::find(None).ok());
    let limits = &mut config.limits;
    args.edge.apply(limits);
    for instance in args.instances {
        match instance {
            Instance::Most(most) => limits.max_instances = most,
            Instance::Are(instances) => config.instances = instances,
        }
    }
    limits.max_memory = args.memory.saturating_mul(1 << 20);
    limits.max_body = args.max_body.saturating_mul(1 << 20);
    limits.max_queue = args.queue;
    limits.request_timeout = Duration::from_secs_f64(args.timeout);
    limits.idle_timeout = Duration::from_secs_f64(args.idle_timeout);
    config
}

/// Where compiled components are kept: compiling one takes many seconds.
pub fn user_cache() -> Option<PathBuf> {
    Some(crate::user::folder("XDG_CACHE_HOME", ".cache")?.join("twinfer/compiled"))
}
