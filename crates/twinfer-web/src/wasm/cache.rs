//! The cache of `twinfer-cache` for JavaScript.

use std::rc::Rc;

use js_sys::Function;
use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};
use twinfer_cache::{Cache, Event, LoadOptions, Loaded, Options, Policy, Source, Wanted};
use twinfer_package::{Decision, Digest, Parts, Reference, Seen, TrustPolicy, Verdict};
use wasm_bindgen::prelude::*;

use super::backend::{JsBackend, JsLock, Storage};
use super::env::JsEnv;
use super::error::{or_throw, to_js as thrown};
use super::origin::{JsOrigin, Registry};
use super::{WebModel, fuse, to_js};

/// What the loads of an engine share.
pub(super) struct Shared {
    pub cache: Cache<JsBackend, JsEnv>,
    pub origins: Vec<JsOrigin>,
}

/// The cache: in a storage, with the registries that content comes from.
#[wasm_bindgen]
pub struct WebCache {
    shared: Rc<Shared>,
}

/// What a load wants: the second argument of [`WebCache::load`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    policy: String,
    /// The trust policy as JSON.
    trust: Option<String>,
    /// Seconds since 1970.
    now: Option<f64>,
    /// What the decision had the last time.
    last_counter: Option<f64>,
    #[serde(default)]
    candidate: bool,
}

impl Wish {
    fn read(given: JsValue) -> Result<Self> {
        serde_wasm_bindgen::from_value(given)
            .map_err(|e| err!(InvalidRequest, "the options of a load: {e}"))
    }

    fn policy(&self) -> Result<Policy> {
        policy(&self.policy)
    }

    fn trust(&self) -> Result<Option<(TrustPolicy, Seen)>> {
        let Some(policy) = &self.trust else {
            return Ok(None);
        };
        // Counters and times are whole numbers under 2^53; a cast saturates.
        let seen = Seen {
            now: self.now.unwrap_or_default() as u64,
            last_counter: self.last_counter.map(|counter| counter as u64),
        };
        Ok(Some((TrustPolicy::from_json(policy.as_bytes())?, seen)))
    }
}

fn policy(name: &str) -> Result<Policy> {
    Ok(match name {
        "online" => Policy::Online,
        "stale-while-revalidate" => Policy::StaleWhileRevalidate,
        "offline" => Policy::Offline,
        other => bail!(
            InvalidRequest,
            "policy must be \"online\", \"stale-while-revalidate\" or \"offline\", got {other:?}"
        ),
    })
}

#[wasm_bindgen]
impl WebCache {
    /// A cache in this storage; without one nothing is kept. `quota` is in bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(
        storage: Option<Storage>,
        registries: Vec<Registry>,
        quota: Option<f64>,
    ) -> WebCache {
        let options = Options {
            keep: storage.is_some(),
            // Below 2^53.
            quota: quota.map(|bytes| bytes as u64),
            ..Options::default()
        };
        let cache = Cache::new(JsBackend { storage }, JsEnv, options);
        let origins = registries.into_iter().map(Into::into).collect();
        let shared = Rc::new(Shared { cache, origins });
        Self { shared }
    }

    /// Fetches and verifies what a prediction needs. `wish` is `{policy, trust?, now?,
    /// lastCounter?, candidate?}`; `listener` is called with what happens.
    ///
    /// # Errors
    /// Those of [`Cache::load`]; `invalid_request`, `invalid_policy`.
    pub async fn load(
        &self,
        reference: String,
        wish: JsValue,
        listener: Option<Function>,
    ) -> Result<WebPackage, JsValue> {
        or_throw(self.load_package(&reference, wish, listener).await)
    }

    /// The model that this engine has in it, without any load; `undefined` in an engine that was
    /// not fused. What else its package has (golden examples) comes through the cache, by this
    /// policy. Which package it is was decided when the engine was chosen: the lookup of its
    /// `info` is that of a digest.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn fused(&self, policy: String) -> Result<Option<WebModel>, JsValue> {
        let Some(fused) = fuse::fused() else {
            return Ok(None);
        };
        let origin = Provenance {
            decision: None,
            source: name_of(None),
            digest: fused.digest,
            shared: self.shared.clone(),
            policy: or_throw(self::policy(&policy))?,
            _lease: None,
        };
        Ok(Some(WebModel::fused(fused, origin)))
    }

    /// Asks the registry what a reference points to now: `{digest, source}`.
    ///
    /// # Errors
    /// Those of [`Cache::revalidate`] and of [`twinfer_package::resolve`].
    pub async fn revalidate(
        &self,
        reference: String,
        listener: Option<Function>,
    ) -> Result<JsValue, JsValue> {
        #[derive(Serialize)]
        struct Answer {
            digest: String,
            source: &'static str,
        }
        let Shared { cache, origins } = &*self.shared;
        let tell = |event: Event<'_>| tell(listener.as_ref(), &event);
        let asked = async {
            let reference: Reference = reference.parse()?;
            let resolved = cache.revalidate(origins, &reference, &tell).await?;
            let descriptor = twinfer_package::resolve(&resolved.index, &reference)?;
            Ok(Answer {
                digest: descriptor.digest.to_string(),
                source: name_of(Some(resolved.source)),
            })
        };
        to_js(&or_throw(asked.await)?)
    }

    /// Brings what a load would want into the storage, and gives the digest of the package.
    ///
    /// # Errors
    /// Those of [`Cache::prefetch`].
    pub async fn prefetch(
        &self,
        reference: String,
        wish: JsValue,
        listener: Option<Function>,
    ) -> Result<String, JsValue> {
        let Shared { cache, origins } = &*self.shared;
        let tell = |event: Event<'_>| tell(listener.as_ref(), &event);
        let fetched = async {
            let wish = Wish::read(wish)?;
            let trust = wish.trust()?;
            let options = LoadOptions {
                policy: wish.policy()?,
                trust: trust.as_ref().map(|(policy, seen)| (policy, *seen)),
                ..LoadOptions::default()
            };
            let reference = reference.parse()?;
            let digest = cache.prefetch(origins, &reference, &options, &tell).await?;
            Ok(digest.to_string())
        };
        or_throw(fetched.await)
    }

    /// Remembers that a tag is used with this package from now on.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub async fn activate(&self, reference: String, digest: String) -> Result<(), JsValue> {
        let Shared { cache, origins } = &*self.shared;
        let activated = async {
            let (reference, digest) = (reference.parse()?, digest.parse()?);
            match cache.options().keep {
                true => cache.use_from_now_on(origins, &reference, digest).await,
                false => Ok(()),
            }
        };
        or_throw(activated.await)
    }

    /// Remembers that what a tag points to did not prove itself here.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub async fn refuse(&self, reference: String, digest: String) -> Result<(), JsValue> {
        let Shared { cache, origins } = &*self.shared;
        let refused = async {
            let (reference, digest) = (reference.parse()?, digest.parse()?);
            cache.refuse(origins, &reference, digest).await
        };
        or_throw(refused.await)
    }

    /// What is there: see [`Cache::list`].
    ///
    /// # Errors
    /// `storage`.
    pub async fn list(&self) -> Result<JsValue, JsValue> {
        to_js(&or_throw(self.shared.cache.list().await)?)
    }

    /// Reads everything and removes what is damaged: see [`Cache::verify`].
    ///
    /// # Errors
    /// `storage`.
    pub async fn verify(&self) -> Result<JsValue, JsValue> {
        to_js(&or_throw(self.shared.cache.verify().await)?)
    }

    /// Removes what was not used lately, down to this many bytes: see [`Cache::prune`].
    ///
    /// # Errors
    /// `storage`.
    pub async fn prune(&self, bytes: f64) -> Result<JsValue, JsValue> {
        to_js(&or_throw(self.shared.cache.prune(bytes as u64).await)?)
    }

    /// Removes what is not in use: see [`Cache::clear`].
    ///
    /// # Errors
    /// `storage`.
    pub async fn clear(&self) -> Result<JsValue, JsValue> {
        to_js(&or_throw(self.shared.cache.clear().await)?)
    }

    /// What was counted: see [`Cache::statistics`].
    ///
    /// # Errors
    /// `storage`.
    pub async fn statistics(&self) -> Result<JsValue, JsValue> {
        to_js(&or_throw(self.shared.cache.statistics().await)?)
    }
}

impl WebCache {
    async fn load_package(
        &self,
        reference: &str,
        wish: JsValue,
        listener: Option<Function>,
    ) -> Result<WebPackage> {
        let Shared { cache, origins } = &*self.shared;
        let wish = Wish::read(wish)?;
        let trust = wish.trust()?;
        let policy = wish.policy()?;
        let options = LoadOptions {
            policy,
            trust: trust.as_ref().map(|(policy, seen)| (policy, *seen)),
            parts: Parts::Model,
            candidate: wish.candidate,
        };
        let tell = |event: Event<'_>| tell(listener.as_ref(), &event);
        let reference = reference.parse()?;
        let loaded = cache.load(origins, &reference, &options, &tell).await?;
        let shared = self.shared.clone();
        Ok(WebPackage {
            loaded,
            shared,
            policy,
        })
    }
}

/// A package whose content is there and right.
#[wasm_bindgen]
pub struct WebPackage {
    loaded: Loaded<JsLock>,
    shared: Rc<Shared>,
    policy: Policy,
}

#[wasm_bindgen]
impl WebPackage {
    /// Loads the model; the package is used up. Not a part of [`WebCache::load`], so that a
    /// trap in the engine ends this call and nothing waits for ever.
    ///
    /// # Errors
    /// Those of [`twinfer::Model::load`].
    pub fn model(self) -> Result<WebModel, JsValue> {
        let Loaded {
            package,
            decision,
            source,
            lease,
        } = self.loaded;
        let origin = Provenance {
            decision: decision.as_ref().map(Decided::from),
            source: name_of(source),
            digest: *package.digest(),
            shared: self.shared,
            policy: self.policy,
            _lease: lease,
        };
        WebModel::load(package, origin).map_err(thrown)
    }
}

/// Where a model came from, and where further parts of its package come from.
pub(super) struct Provenance {
    pub decision: Option<Decided>,
    pub source: &'static str,
    pub digest: Digest,
    pub shared: Rc<Shared>,
    pub policy: Policy,
    /// Nobody evicts the package while the model lives.
    _lease: Option<JsLock>,
}

/// What the trust policy decided.
#[derive(Serialize)]
pub(super) struct Decided {
    verdict: &'static str,
    keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
}

impl From<&Decision> for Decided {
    fn from(decision: &Decision) -> Self {
        let (verdict, keys, reason) = match &decision.verdict {
            Verdict::Allowed { keys } => ("allowed", keys.clone(), None),
            Verdict::Warned { reason } => ("warned", Vec::new(), Some(reason.clone())),
        };
        Self {
            verdict,
            keys,
            reason,
            counter: decision.counter,
        }
    }
}

fn name_of(source: Option<Source>) -> &'static str {
    match source {
        None => "digest",
        Some(Source::Registry) => "registry",
        Some(Source::Fresh) => "fresh",
        Some(Source::Stale) => "stale",
        Some(Source::LastGood) => "last-good",
        Some(Source::Offline) => "offline",
    }
}

/// An event as the listener gets it.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Told<'a> {
    Progress {
        layer: &'a str,
        loaded: u64,
        total: u64,
        cached: bool,
    },
    Waiting {
        layer: &'a str,
    },
    Retry {
        code: &'a str,
        message: &'a str,
        wait: u64,
    },
    Damaged {
        layer: &'a str,
        digest: String,
        code: &'a str,
        message: &'a str,
    },
    NotKept {
        code: &'a str,
        message: &'a str,
    },
    HeldBack {
        refused: String,
        digest: String,
    },
    Unreachable {
        code: &'a str,
        message: &'a str,
    },
}

/// Tells a listener what happens. What it throws is its own affair.
pub(super) fn tell(listener: Option<&Function>, event: &Event<'_>) {
    let Some(listener) = listener else { return };
    let error = |error: &'_ twinfer::Error| error.code().as_str();
    let told = match event {
        // Before the manifest nobody knows how much there is in all.
        Event::Progress { wanted, .. } if !is_layer(wanted) => return,
        Event::Progress { total: None, .. } => return,
        Event::Progress {
            wanted,
            loaded,
            total: Some(total),
            cached,
        } => Told::Progress {
            layer: &wanted.name,
            loaded: *loaded,
            total: *total,
            cached: *cached,
        },
        Event::Waiting { wanted } => Told::Waiting {
            layer: &wanted.name,
        },
        Event::Retry { error: e, wait } => Told::Retry {
            code: error(e),
            message: e.message(),
            wait: *wait,
        },
        Event::Damaged { wanted, error: e } => Told::Damaged {
            layer: &wanted.name,
            digest: wanted.digest.to_string(),
            code: error(e),
            message: e.message(),
        },
        Event::NotKept { error: e } => Told::NotKept {
            code: error(e),
            message: e.message(),
        },
        Event::HeldBack { refused, active } => Told::HeldBack {
            refused: refused.to_string(),
            digest: active.to_string(),
        },
        Event::Unreachable { error: e } => Told::Unreachable {
            code: error(e),
            message: e.message(),
        },
        _ => return,
    };
    if let Ok(told) = to_js(&told) {
        let _ = listener.call1(&JsValue::NULL, &told);
    }
}

fn is_layer(wanted: &Wanted) -> bool {
    !wanted.manifest && wanted.name != "signature"
}
