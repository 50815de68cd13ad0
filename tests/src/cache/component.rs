//! Running the list in the component, on our host: it fetches its packages by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinfer_host::{Host, HostConfig, LogLevel, LogSink, RunningHost};

use super::list::{
    CacheCase, CacheCases, CacheResult, CacheResults, Damage, Load, Need, Step, StepResult,
};
use super::native::{get, log};
use super::registry::key;
use crate::answer::Answer;
use crate::component::infer;

/// Where the component keeps packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In its memory, as long as the instance lives.
    Memory,
    /// In a folder of the host.
    Folder,
    /// In a key-value store of the host.
    KeyValue,
}

impl Keep {
    /// The place, as results name it.
    pub fn place(self) -> &'static str {
        match self {
            Self::Memory => "component-memory",
            Self::Folder => "component-folder",
            Self::KeyValue => "component-key-value",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Folder => "/cache",
            Self::KeyValue => "key-value:default",
        }
    }

    /// Every load is in a new instance, so that it finds what was kept and nothing else. How an
    /// instance follows its registry is tested beside the component.
    fn lacks(self) -> Vec<Need> {
        // Its answers name versions: also for a digest it wants the index.
        let mut lacks = vec![Need::Stall, Need::Clock, Need::Update, Need::Pinned];
        match self {
            Self::Memory => lacks.extend([Need::Kept, Need::Partial, Need::Damage]),
            Self::Folder => {}
            // It keeps what is under way in pieces of 1 MiB, and the layers here are smaller.
            Self::KeyValue => lacks.extend([Need::Damage, Need::Partial]),
        }
        lacks
    }
}

/// Runs every case that this place can do. `compiled` is a folder for the compiled component.
///
/// # Errors
/// When the server of the suite, the host or the disk fails: what the component does is a result.
pub fn run(
    list: &CacheCases,
    component: &Path,
    compiled: &Path,
    keep: Keep,
) -> io::Result<CacheResults> {
    let lacks = keep.lacks();
    let mut results = Vec::new();
    for case in &list.cases {
        if !case.runs_without(&lacks) {
            continue;
        }
        let running = Running {
            list,
            case,
            keep,
            component: component.into(),
            compiled: compiled.into(),
            folder: tempfile::tempdir()?,
            session: format!("{}-{}", case.id, keep.place()),
        };
        let steps = case.steps.iter().enumerate().map(|(at, step)| {
            let settles = matches!(case.steps.get(at + 1), Some(Step::Settle));
            running.step(step, settles)
        });
        results.push(CacheResult {
            id: case.id.clone(),
            steps: steps.collect::<io::Result<_>>()?,
        });
    }
    Ok(CacheResults {
        place: keep.place().into(),
        lacks,
        results,
    })
}

struct Running<'a> {
    list: &'a CacheCases,
    case: &'a CacheCase,
    keep: Keep,
    component: PathBuf,
    compiled: PathBuf,
    folder: TempDir,
    session: String,
}

impl Running<'_> {
    fn step(&self, step: &Step, settles: bool) -> io::Result<StepResult> {
        let mut result = StepResult::default();
        match step {
            Step::Load(load) => result.answers = self.load(load, settles)?,
            Step::Damage(damage) => {
                let damaged = self.damage(*damage);
                result.failed = damaged.err().map(|error| error.to_string());
            }
            Step::Server(what) => {
                get(self.list, &format!("/_set/{}/{what}", self.session))?;
                return Ok(result);
            }
            // The load before it has waited for that.
            Step::Settle => {}
            Step::Update(_) | Step::Clock(_) => {
                result.failed = Some("there is no such step here".into());
            }
        }
        result.asked = log(self.list, &self.session)?;
        Ok(result)
    }

    /// `settles`: what the instance does after its answer is waited for.
    fn load(&self, load: &Load, settles: bool) -> io::Result<Vec<Answer>> {
        let host = self.start(&load.policy)?;
        let address = host.local_addr().to_string();
        let (name, version) = self
            .case
            .reference
            .split_once(['@', ':'])
            .unwrap_or((&self.case.reference, ""));
        let path = format!("/v2/models/{name}/versions/{version}");
        let tensors = self.list.inputs.get(name).cloned().unwrap_or_default();
        let ask = || infer(&address, &path, &tensors);
        let answers = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..load.together).map(|_| scope.spawn(ask)).collect();
            let answers = asked.into_iter().map(|asked| match asked.join() {
                Ok(answer) => answer,
                Err(_) => Err(io::Error::other("a client ended")),
            });
            answers.collect()
        });
        if settles {
            self.wait_until_quiet()?;
        }
        host.shutdown().map_err(failed)?;
        answers
    }

    /// Until the server was asked for something and then for nothing more for a while: after the
    /// last byte the instance still tests what it got.
    fn wait_until_quiet(&self) -> io::Result<()> {
        const QUIET: Duration = Duration::from_secs(2);
        let begin = Instant::now();
        let (mut since, mut seen) = (begin, 0);
        while since.elapsed() < QUIET && begin.elapsed() < 10 * QUIET {
            std::thread::sleep(QUIET / 20);
            let asked = log(self.list, &self.session)?.len();
            if asked != seen {
                (since, seen) = (Instant::now(), asked);
            }
        }
        Ok(())
    }

    fn start(&self, policy: &str) -> io::Result<RunningHost> {
        let empty = self.folder.path().join("registry");
        std::fs::create_dir_all(&empty)?;
        let registries = self.case.registries(self.list, &self.session);
        let (first, mirrors) = registries.split_at(1);
        let variables = [
            ("TWINFER_REGISTRY", first.concat()),
            ("TWINFER_MIRRORS", mirrors.join(",")),
            ("TWINFER_CACHE", self.keep.variable().into()),
            ("TWINFER_CACHE_POLICY", policy.into()),
        ];
        let origins = [&self.list.server, &self.list.elsewhere, &self.list.nobody];
        let mut config = HostConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            cache: Some(self.compiled.clone()),
            outbound: origins.into_iter().cloned().collect(),
            package_cache: Some(self.folder.path().join("cache")),
            key_value: Some(self.folder.path().join("key-value").into()),
            env: variables.map(|(name, value)| (name.into(), value)).into(),
            // Only what a case looks at is of interest.
            log: LogSink::Function(std::sync::Arc::new(|_| {})),
            log_level: LogLevel::Error,
            ..HostConfig::new(&self.component, &empty)
        };
        config.limits.max_instances = 1;
        Host::start(config).map_err(failed)
    }

    fn damage(&self, damage: Damage) -> io::Result<()> {
        let layer = self.list.layers.get(&key(self.case.model(), 1));
        let path = self
            .folder
            .path()
            .join("cache/blobs/sha256")
            .join(layer.map_or("", String::as_str));
        let mut bytes = std::fs::read(&path)?;
        damage.apply(&mut bytes);
        std::fs::write(path, bytes)
    }
}

fn failed(error: twinfer_host::HostError) -> io::Error {
    io::Error::other(error.to_string())
}
