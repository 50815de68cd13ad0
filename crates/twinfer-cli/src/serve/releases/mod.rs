//! Releases on a server: which deployments are in force here, what was seen of their versions, and
//! how they change.
//!
//! | what | where |
//! |---|---|
//! | a document is put in force once all its versions have proved themselves here | `follow/deployments.rs` |
//! | requests are counted by version, and copied for a shadow | this file, `observed.rs`, `shadow.rs` |
//! | a canary goes on, is promoted or rolled back by itself | `controller.rs` |
//! | people change deployments | `admin.rs` |

mod admin;
mod controller;
mod observed;
mod shadow;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value as Json, json};
use twinfer::{Error, Result};
use twinfer_deploy::{ALL, Deployment, Record, assign};
use twinfer_gateway::{ModelWanted, Surface, Wanted};
use twinfer_host::{Answered, Copied, DeploymentSeen, InForceSeen, Log, LogLevel, VariantSeen};
use twinfer_package::{Digest, FolderStore, Index, Reference, Store};
use twinfer_state::State;

pub use self::controller::Controller;
use self::observed::Observations;
use self::shadow::Shadows;
use crate::releases::{Deployments, now};

const PIN: &str = "x-twinfer-version";
const DIGEST: &str = "x-twinfer-digest";
const MODEL: &str = "x-twinfer-model";

/// The releases of this server.
pub struct Releases {
    deployments: Deployments,
    /// What is in force here, by the name of the model.
    here: RwLock<BTreeMap<String, Arc<InForce>>>,
    /// What is not yet, or not wholly, and why.
    waiting: Mutex<BTreeMap<String, Waiting>>,
    observed: Observations,
    shadows: Shadows,
    /// What is served: the packages, and the index.
    store: FolderStore,
    /// Tells this server from others that share the state.
    node: String,
    /// Which model a path is about; exchanged when settings are read again.
    surface: RwLock<Surface>,
    log: Log,
}

/// A document that is in force.
pub struct InForce {
    /// As it was written.
    pub document: String,
    /// What it says.
    pub deployment: Deployment,
}

/// A document that is not in force here, or is and lacks a version.
pub struct Waiting {
    /// Its revision.
    pub revision: u64,
    /// A code of [`twinfer::ErrorCode`].
    pub code: String,
    /// What is missing.
    pub message: String,
}

impl Releases {
    /// Those in this state. `store`: the packages and the index that are served; `surface`: which
    /// model answers where a request names none, and more paths of such requests.
    pub fn new(state: Arc<dyn State>, store: FolderStore, surface: Surface, log: &Log) -> Self {
        Self {
            deployments: Deployments::new(state),
            here: RwLock::default(),
            waiting: Mutex::default(),
            observed: Observations::default(),
            shadows: Shadows::default(),
            store,
            node: format!("{:016x}", random()),
            surface: RwLock::new(surface),
            log: log.clone(),
        }
    }

    /// Settings were read again.
    pub fn set_surface(&self, surface: Surface) {
        let mut current = self.surface.write().unwrap_or_else(PoisonError::into_inner);
        *current = surface;
    }

    /// Where they are kept.
    pub fn deployments(&self) -> &Deployments {
        &self.deployments
    }

    /// What is in force for a model.
    pub fn here(&self, name: &str) -> Option<Arc<InForce>> {
        let here = self.here.read().unwrap_or_else(PoisonError::into_inner);
        here.get(name).cloned()
    }

    /// All that is in force.
    pub fn all_here(&self) -> Vec<(String, Arc<InForce>)> {
        let here = self.here.read().unwrap_or_else(PoisonError::into_inner);
        here.iter()
            .map(|(name, it)| (name.clone(), it.clone()))
            .collect()
    }

    /// The versions of all that is in force.
    pub fn versions_here(&self) -> BTreeSet<Digest> {
        let here = self.here.read().unwrap_or_else(PoisonError::into_inner);
        let variants = here.values().flat_map(|it| &it.deployment.variants);
        variants.map(|variant| variant.digest).collect()
    }

    /// A document is in force from now on, or none is any more.
    pub fn set_here(&self, name: &str, document: Option<InForce>) {
        self.waiting().remove(name);
        let mut here = self.here.write().unwrap_or_else(PoisonError::into_inner);
        match document {
            Some(document) => here.insert(name.to_owned(), Arc::new(document)),
            None => here.remove(name),
        };
    }

    /// A document is not in force yet. Whether that is news.
    pub fn set_waiting(&self, name: &str, waiting: Waiting) -> bool {
        let mut all = self.waiting();
        let known = all.get(name);
        let news = known
            .is_none_or(|known| (known.revision, &known.code) != (waiting.revision, &waiting.code));
        all.insert(name.to_owned(), waiting);
        news
    }

    /// Nothing is waited for any more. Whether that is news.
    pub fn forget_waiting(&self, name: &str) -> bool {
        self.waiting().remove(name).is_some()
    }

    /// The digest of a tag, in the index that is served: what is not in there is not approved.
    fn resolve(&self, name: &str, tag: &str) -> Result<Digest> {
        let reference = Reference::new(name, tag)?;
        let found = Index::from_json(&self.store.index()?)?.resolve(&reference);
        let found = found.map_err(|error: Error| {
            error.context("this server has not approved it (it may be testing it now)")
        })?;
        Ok(found.digest)
    }

    /// What happened to a deployment, in the log.
    fn tell(&self, record: &Record) {
        let Some(event) = record.events().last() else {
            return;
        };
        let name = record.deployment().map(|deployment| deployment.name);
        let fields = json!({
            "name": name.unwrap_or_default(), "revision": event.revision,
            "action": event.action.as_str(), "by": event.by, "reason": event.reason,
        });
        self.log.always(LogLevel::Info, "deployment", fields);
    }

    /// What this server has to say of a model's deployment.
    fn told_here(&self, name: &str) -> Json {
        let here = self.here(name);
        let waiting = self.waiting();
        let waiting = waiting.get(name).map(|waiting| {
            json!({"revision": waiting.revision, "code": waiting.code, "message": waiting.message})
        });
        let second = now() / 1_000;
        let mut observed = BTreeMap::new();
        for variant in here.iter().flat_map(|here| &here.deployment.variants) {
            let seen = self.observed.window(&variant.digest, second, 300);
            observed.insert(
                variant.name.clone(),
                json!({
                    "requests": seen.requests, "errors": seen.errors,
                    "latency_ms": {
                        "p50": seen.latencies.quantile(0.5), "p95": seen.latencies.quantile(0.95),
                        "p99": seen.latencies.quantile(0.99),
                    },
                }),
            );
        }
        json!({
            "server": self.node,
            "revision": here.map(|here| here.deployment.revision),
            "waiting": waiting,
            "last_5_minutes": observed,
            "shadow": self.shadows.told(name),
        })
    }

    /// All of them, for the metrics.
    pub fn seen(&self) -> Vec<DeploymentSeen> {
        let mut seen: BTreeMap<String, Option<InForceSeen>> = self
            .all_here()
            .into_iter()
            .map(|(name, here)| (name, Some(in_force(&here.deployment))))
            .collect();
        let waiting = self.waiting();
        for name in waiting.keys() {
            seen.entry(name.clone()).or_default();
        }
        let seen = seen.into_iter().map(|(model, in_force)| DeploymentSeen {
            ready: !waiting.contains_key(&model),
            model,
            in_force,
        });
        seen.collect()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        // Nothing that holds it leaves it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model that a request is about, as its path tells.
    fn wanted(&self, method: &Method, path: &str) -> ModelWanted {
        let surface = self.surface.read().unwrap_or_else(PoisonError::into_inner);
        Wanted::of(method, path, &surface).model
    }

    fn has_any(&self) -> bool {
        let here = self.here.read().unwrap_or_else(PoisonError::into_inner);
        !here.is_empty()
    }

    /// The deployment that a request was answered by: the answer says of which model it is. Where
    /// there is none the path tells, if it does.
    fn of(&self, head: &Parts, answer: Option<&HeaderMap>) -> Option<Arc<InForce>> {
        if let Some(model) = answer.and_then(|headers| headers.get(MODEL)) {
            return self.here(model.to_str().ok()?);
        }
        match self.wanted(&head.method, head.uri.path()) {
            ModelWanted::Named(name) => self.here(&name),
            _ => None,
        }
    }
}

impl twinfer_host::Releases for Releases {
    /// Who has no key gets one by chance: so it is known afterwards which version was asked, also
    /// where that did not live to say so.
    fn before(&self, method: &Method, path: &str, headers: &mut HeaderMap) -> bool {
        // The way of every request where nothing is released.
        if *method != Method::POST || !self.has_any() {
            return false;
        }
        let here = match self.wanted(method, path) {
            ModelWanted::Named(name) => self.here(&name),
            // Its answer will say.
            ModelWanted::Unnamed => return true,
            _ => None,
        };
        let Some(here) = here else {
            return false;
        };
        let header = HeaderName::from_bytes(here.deployment.sticky.header.as_bytes());
        if let Ok(header) = header
            && !headers.contains_key(&header)
            && let Ok(key) = HeaderValue::from_str(&format!("{:016x}", random()))
        {
            headers.insert(header, key);
        }
        true
    }

    fn after(&self, answered: &Answered<'_>) -> Option<String> {
        let head = answered.request;
        let here = self.of(head, answered.headers)?;
        let version = version_of(&here.deployment, answered)?;
        // Too many at once says nothing of a version.
        if answered.status != StatusCode::SERVICE_UNAVAILABLE {
            let milliseconds = answered.took.as_secs_f64() * 1e3;
            let failed = answered.status.is_server_error();
            self.observed
                .add(version, now() / 1_000, milliseconds, failed);
        }
        let shadow = here.deployment.shadow.as_ref()?;
        let variant = here.deployment.variant(&shadow.variant)?;
        let sampled = random() % u64::from(ALL) < u64::from(shadow.sample);
        let copied = sampled
            && answered.status.is_success()
            && version != variant.digest
            && !is_pinned(&here.deployment, head);
        copied.then(|| variant.digest.to_string())
    }

    fn copied(&self, copied: Copied<'_>) {
        let head = copied.request;
        if let Some(here) = self.of(head, Some(copied.answer.headers()))
            && let Some(shadow) = &here.deployment.shadow
            && let Some(variant) = here.deployment.variant(&shadow.variant)
        {
            let (name, version) = (&here.deployment.name, variant.digest.to_string());
            let came = self.shadows.add(name, &version, &copied, now());
            // Counted in the metrics, as every event of the log is.
            let fields = json!({"name": name, "variant": variant.name, "version": variant.version});
            self.log
                .event(LogLevel::Debug, &format!("shadow_{came}"), fields);
        }
    }

    fn admin<'a>(
        &'a self,
        request: Request<Bytes>,
        principal: Option<&'a str>,
    ) -> BoxFuture<'a, Response<Bytes>> {
        Box::pin(admin::answer(self, request, principal))
    }
}

fn in_force(deployment: &Deployment) -> InForceSeen {
    let variants = deployment.variants.iter().map(|variant| VariantSeen {
        name: variant.name.clone(),
        version: variant.version.clone(),
        share: f64::from(variant.weight) / f64::from(ALL),
    });
    let shadow = deployment.shadow.as_ref();
    let shadow = shadow.and_then(|shadow| deployment.variant(&shadow.variant));
    InForceSeen {
        revision: deployment.revision,
        strategy: deployment.strategy.as_str(),
        phase: deployment.status.phase.as_str(),
        variants: variants.collect(),
        shadow: shadow.map(|variant| variant.version.clone()),
    }
}

/// The version that answered, or was to.
fn version_of(deployment: &Deployment, answered: &Answered<'_>) -> Option<Digest> {
    let said = answered.headers.and_then(|headers| headers.get(DIGEST));
    if let Some(said) = said {
        return said.to_str().ok()?.parse().ok();
    }
    // What is wrong with the request itself comes to no version.
    let head = answered.request;
    if !answered.status.is_server_error() || is_pinned(deployment, head) {
        return None;
    }
    let key = head.headers.get(deployment.sticky.header.as_str())?;
    let key = String::from_utf8_lossy(key.as_bytes());
    assign(deployment, &key).map(|variant| variant.digest)
}

/// Whether the request says itself which version it wants.
fn is_pinned(deployment: &Deployment, head: &Parts) -> bool {
    let segments: Vec<&str> = head.uri.path().split('/').collect();
    let version = segments
        .iter()
        .position(|segment| *segment == "versions")
        .and_then(|at| segments.get(at + 1));
    head.headers.contains_key(PIN) || version.is_some_and(|version| *version != deployment.alias)
}

/// For assignments and samples, which nobody gains by guessing.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
