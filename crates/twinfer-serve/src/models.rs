//! Loaded models, by the digest of their package.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinfer::{Model, ModelConfig, Result, bail};
use twinfer_package::{
    Admitted, Descriptor, Digest, Manifest, PackageReader, Parts, Reference, Role, Store,
    tag_version,
};

use crate::trust::Entry;

/// A model that is ready.
pub(crate) struct Loaded {
    pub(crate) model: Model,
}

/// One package: filled by the first request for it, while the others wait.
type Slot = Arc<Mutex<Option<Arc<Loaded>>>>;

pub(crate) struct Models {
    store: Arc<dyn Store>,
    /// Most recently used last.
    slots: Mutex<Vec<(Digest, Slot)>>,
    max: usize,
    /// Always there, and not counted.
    fused: Option<(Digest, Arc<Loaded>)>,
}

impl Models {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        max: usize,
        fused: Option<(Digest, Arc<Loaded>)>,
    ) -> Self {
        Self {
            store,
            fused,
            slots: Mutex::default(),
            max: max.max(1),
        }
    }

    /// The model of a manifest, loaded if it is not yet. A failure is not kept:
    /// the next request tries again, since the registry may have been repaired.
    pub(crate) fn get(&self, reference: &Reference, entry: &Entry) -> Result<Arc<Loaded>> {
        let digest = entry.descriptor.digest;
        if let Some(loaded) = self.fused(&digest) {
            check_identity(loaded.model.config(), reference)?;
            return Ok(loaded.clone());
        }
        let slot = self.slot(digest);
        let mut model = lock(&slot);
        if let Some(loaded) = &*model {
            check_identity(loaded.model.config(), reference)?;
            return Ok(loaded.clone());
        }
        let loaded = self
            .load(reference, entry)
            .map_err(|e| e.context(reference));
        match loaded {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                *model = Some(loaded.clone());
                Ok(loaded)
            }
            Err(error) => {
                drop(model);
                lock(&self.slots).retain(|(other, _)| *other != digest);
                Err(error)
            }
        }
    }

    /// Whether this model is loaded.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        self.loaded(digest).is_some()
    }

    /// This model, if it is loaded.
    pub(crate) fn loaded(&self, digest: &Digest) -> Option<Arc<Loaded>> {
        if let Some(fused) = self.fused(digest) {
            return Some(fused.clone());
        }
        let slot = {
            let slots = lock(&self.slots);
            slots
                .iter()
                .find(|(d, _)| d == digest)
                .map(|(_, s)| s.clone())
        };
        slot.and_then(|slot| lock(&slot).clone())
    }

    /// Takes a model that was loaded elsewhere.
    pub(crate) fn hold(&self, digest: Digest, model: Model) {
        *lock(&self.slot(digest)) = Some(Arc::new(Loaded { model }));
    }

    /// Drops the loaded versions of a name, and gives them.
    ///
    /// # Errors
    /// `invalid_request` for the one that is part of the component.
    pub(crate) fn unload(&self, name: &str) -> Result<Vec<String>> {
        let is_fused = |(_, loaded): &(Digest, Arc<Loaded>)| loaded.model.config().name == name;
        if self.fused.as_ref().is_some_and(is_fused) {
            bail!(
                InvalidRequest,
                "`{name}` is part of this component: it has no memory to give back"
            );
        }
        let mut versions = Vec::new();
        lock(&self.slots).retain(|(_, slot)| {
            // One that is being loaded is wanted.
            let Ok(model) = slot.try_lock() else {
                return true;
            };
            match &*model {
                Some(loaded) if loaded.model.config().name == name => {
                    versions.push(loaded.model.config().version.clone());
                    false
                }
                _ => true,
            }
        });
        Ok(versions)
    }

    fn fused(&self, digest: &Digest) -> Option<&Arc<Loaded>> {
        let (fused, loaded) = self.fused.as_ref()?;
        (fused == digest).then_some(loaded)
    }

    fn slot(&self, digest: Digest) -> Slot {
        let mut slots = lock(&self.slots);
        let slot = match slots.iter().position(|(other, _)| *other == digest) {
            Some(at) => slots.remove(at).1,
            None => Slot::default(),
        };
        slots.push((digest, slot.clone()));
        let surplus = slots.len().saturating_sub(self.max);
        slots.drain(..surplus);
        slot
    }

    fn load(&self, reference: &Reference, entry: &Entry) -> Result<Loaded> {
        let reader = match &entry.admitted {
            Some(admitted) => Admitted::clone(admitted).reader(Parts::Model)?.0,
            None => PackageReader::new(entry.descriptor.clone())?.parts(Parts::Model),
        };
        let mut package = reader.run(&*self.store)?;
        check_identity(package.config(), reference)?;
        Ok(Loaded {
            model: package.take_model()?,
        })
    }

    /// `twinfer.json` of a manifest, without reading the model file.
    pub(crate) fn config(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<ModelConfig> {
        if let Some(loaded) = self.fused(&descriptor.digest) {
            check_identity(loaded.model.config(), reference)?;
            return Ok(loaded.model.config().clone());
        }
        let loaded = {
            let slots = lock(&self.slots);
            slots
                .iter()
                .find(|(digest, _)| *digest == descriptor.digest)
                .map(|(_, slot)| slot.clone())
        };
        // While a model is being loaded, its configuration is read once more
        // rather than waited for.
        if let Some(slot) = loaded
            && let Ok(model) = slot.try_lock()
            && let Some(loaded) = &*model
        {
            check_identity(loaded.model.config(), reference)?;
            return Ok(loaded.model.config().clone());
        }
        let read = || {
            let manifest = Manifest::from_json(&self.verified(descriptor)?)?;
            let Some(layer) = manifest.layers_of(Role::Config).next() else {
                bail!(
                    InvalidPackage,
                    "the package has no twinfer.json: it was not made by `twinfer pack`"
                );
            };
            let config = ModelConfig::from_json(&self.verified(layer)?)?;
            check_identity(&config, reference)?;
            Ok(config)
        };
        read().map_err(|e: twinfer::Error| e.context(reference))
    }

    /// The layer of a role, if there is one that is not larger than this.
    ///
    /// # Errors
    /// Those of the store, `size_mismatch`, `digest_mismatch`, `invalid_manifest`.
    pub(crate) fn layer(
        &self,
        manifest: &Descriptor,
        role: Role,
        most: u64,
    ) -> Result<Option<Vec<u8>>> {
        let manifest = Manifest::from_json(&self.verified(manifest)?)?;
        let layer = manifest.layers_of(role).find(|layer| layer.size <= most);
        layer.map(|layer| self.verified(layer)).transpose()
    }

    fn verified(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.store.blob(descriptor)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }
}

/// A registry could point `a` to the package of `b`.
fn check_identity(config: &ModelConfig, reference: &Reference) -> Result<()> {
    if config.name != reference.name() {
        bail!(
            InvalidPackage,
            "the package says that its name is `{}`, not `{}`",
            config.name,
            reference.name()
        );
    }
    if reference.digest().is_none()
        && let Some(tag) = reference.tag().filter(|tag| tag_version(tag).is_some())
        && tag != config.version
    {
        bail!(
            InvalidPackage,
            "the package says that its version is {}, not {tag}",
            config.version
        );
    }
    Ok(())
}

/// Nothing here is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
