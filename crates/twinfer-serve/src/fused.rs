//! A package that was loaded before there was an application: at build time, in a fused
//! component, whose memory is a snapshot with the model in it.

use std::sync::{Arc, Mutex, PoisonError};

use twinfer::{ErrorCode, Result, bail};
use twinfer_package::{
    Descriptor, Digest, Index, PackageReader, Parts, Reference, Store, media, resolve,
};

use crate::catalog::Known;
use crate::models::Loaded;

/// A loaded package, with what an application needs to answer for it without a registry.
///
/// It answers under its name, its version and its digest. Whatever else a registry decides
/// (aliases, newer versions, signatures) is not in it: where a registry has the name as well,
/// the registry's entries count, and the loaded model answers for those of its digest.
pub struct Fused {
    name: String,
    descriptor: Descriptor,
    manifest: Vec<u8>,
    known: Known,
    loaded: Arc<Loaded>,
}

impl Fused {
    /// Verifies a package, loads it, and runs its golden examples: afterwards the plans for
    /// their shapes are there. `layers` are those of [`Parts::Tested`], in any order; others
    /// are an error, since they would only be forgotten here.
    ///
    /// # Errors
    /// Those of [`PackageReader`] and of loading; `missing_blob`; `invalid_package` for a
    /// package without golden examples; `self_test_failed`.
    pub fn load(manifest: Vec<u8>, layers: Vec<Vec<u8>>) -> Result<Self> {
        let descriptor = Descriptor::new(media::MANIFEST, &manifest);
        let mut reader = PackageReader::new(descriptor.clone())?.parts(Parts::Tested);
        reader.supply(&descriptor.digest, manifest.clone())?;
        for layer in layers {
            reader.supply(&Digest::of(&layer), layer)?;
        }
        if let Some(missing) = reader.needs().first() {
            bail!(MissingBlob, "{} was not handed in", missing.digest);
        }
        let package = reader.finish()?;
        if package
            .golden()
            .is_none_or(|golden| golden.cases.is_empty())
        {
            bail!(
                InvalidPackage,
                "{} has no golden examples: there is nothing to warm it up with, and nothing that proves it",
                package.name()
            );
        }
        let model = package.load()?;
        package.self_test(&model)?.check()?;
        let reference = Reference::new(package.name(), package.version())?;
        let mut index = Index::default();
        index.point(&reference, &descriptor);
        Ok(Self {
            name: package.name().to_owned(),
            descriptor,
            manifest,
            known: Known::new(index.to_json()?, Arc::new(index)),
            loaded: Arc::new(Loaded { model }),
        })
    }

    /// The name of the package.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// Whether it answers for this reference by itself, without asking a registry.
    pub fn answers(&self, reference: &Reference) -> bool {
        resolve(self.known.json(), reference).is_ok()
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn loaded(&self) -> (Digest, Arc<Loaded>) {
        (self.descriptor.digest, self.loaded.clone())
    }
}

/// A registry with the fused package in it; or that package alone.
pub(crate) struct FusedStore {
    fused: Arc<Fused>,
    registry: Option<Arc<dyn Store>>,
    /// The last index of the registry, and what became of it.
    last: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

impl FusedStore {
    pub(crate) fn new(fused: Arc<Fused>, registry: Option<Arc<dyn Store>>) -> Self {
        Self {
            fused,
            registry,
            last: Mutex::default(),
        }
    }

    fn merged(&self, json: Vec<u8>) -> Result<Vec<u8>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, merged)) = &*last
            && *known == json
        {
            return Ok(merged.clone());
        }
        let mut index = Index::from_json(&json)?;
        let merged = if index.tags().iter().any(|tag| tag.name == self.fused.name) {
            json.clone()
        } else {
            index.merge(self.fused.known.index());
            index.to_json()?
        };
        *last = Some((json, merged.clone()));
        Ok(merged)
    }
}

impl Store for FusedStore {
    fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let registry = self.registry.as_ref();
        registry.map_or(Ok(None), |registry| registry.deployment(name))
    }

    fn index(&self) -> Result<Vec<u8>> {
        let alone = || Ok(self.fused.known.json().to_vec());
        let Some(registry) = &self.registry else {
            return alone();
        };
        match registry.index() {
            Ok(json) => self.merged(json),
            // A registry on the network that nobody asked yet: this package needs none.
            Err(error) if error.code() == ErrorCode::Network => alone(),
            Err(error) => Err(error),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.digest == self.fused.descriptor.digest {
            return Ok(self.fused.manifest.clone());
        }
        match &self.registry {
            Some(registry) => registry.blob(descriptor),
            None => bail!(
                MissingBlob,
                "{} is not in this fused component, and it has no registry",
                descriptor.digest
            ),
        }
    }
}
