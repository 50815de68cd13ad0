//! An opened package.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use twinfer::{Model, ModelConfig, Parsed, Result, Session, bail, err};

use crate::store::copy_verified;
use crate::{
    Decision, Descriptor, Digest, Golden, Manifest, ModelPackConfig, PackageReader, Parts,
    Provenance, Reference, Role, Seen, SelfTestReport, Store, TrustPolicy, media, resolve, role,
};

/// A package whose digests are verified and whose configuration is read.
#[derive(Debug, Clone)]
pub struct Package {
    digest: Digest,
    manifest: Manifest,
    model_pack: ModelPackConfig,
    documents: Documents,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

/// The layers that are read as what they are.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub config: ModelConfig,
    pub golden: Option<Golden>,
    pub metrics: Option<Map<String, Json>>,
    pub provenance: Option<Provenance>,
}

impl Package {
    /// Opens a package of a registry, with every layer.
    ///
    /// # Errors
    /// Those of [`Package::open_parts`].
    pub fn open(store: &dyn Store, reference: &Reference) -> Result<Self> {
        Self::open_parts(store, reference, Parts::All)
    }

    /// Opens a package of a registry, with these layers.
    ///
    /// # Errors
    /// `unknown_model`, `unknown_version`, `missing_blob`, `storage`; `size_mismatch`,
    /// `digest_mismatch`; `invalid_manifest`, `unknown_field`, `unsupported_format_version`,
    /// `invalid_package` for malformed parts.
    pub fn open_parts(store: &dyn Store, reference: &Reference, parts: Parts) -> Result<Self> {
        let open = || {
            let descriptor = resolve(&store.index_of(reference)?, reference)?;
            let package = PackageReader::new(descriptor)?.parts(parts).run(store)?;
            package.check_reference(reference)?;
            Ok(package)
        };
        open().map_err(|e: twinfer::Error| e.context(reference))
    }

    /// Opens a package of a registry that a trust policy admits: decided before anything but
    /// its manifest is read (with a minimum version also `twinfer.json`).
    ///
    /// # Errors
    /// Those of [`crate::Admission`] and of [`Package::open_parts`].
    pub fn open_trusted(
        store: &dyn Store,
        reference: &Reference,
        parts: Parts,
        policy: &TrustPolicy,
        seen: Seen,
    ) -> Result<(Self, Decision)> {
        let open = || {
            let admitted = crate::admit(store, reference, policy, seen)?;
            let (reader, decision) = admitted.reader(parts)?;
            let package = reader.run(store)?;
            package.check_reference(reference)?;
            Ok((package, decision))
        };
        open().map_err(|e: twinfer::Error| e.context(reference))
    }

    /// Checks that this is the package that was asked for: a registry could point `a` to
    /// the package of `b`.
    ///
    /// # Errors
    /// `invalid_package`.
    pub fn check_reference(&self, reference: &Reference) -> Result<()> {
        if reference.name() != self.name() {
            bail!(
                InvalidPackage,
                "the package says that its name is `{}`, not `{}`",
                self.name(),
                reference.name()
            );
        }
        let tagged = reference
            .tag()
            .filter(|tag| crate::tag_version(tag).is_some());
        if reference.digest().is_none()
            && let Some(tag) = tagged
            && tag != self.version()
        {
            bail!(
                InvalidPackage,
                "the package says that its version is {}, not {tag}",
                self.version()
            );
        }
        Ok(())
    }

    pub(crate) fn assemble(
        digest: Digest,
        manifest: Manifest,
        model_pack: ModelPackConfig,
        documents: Documents,
        blobs: BTreeMap<Digest, Vec<u8>>,
    ) -> Self {
        Self {
            digest,
            manifest,
            model_pack,
            documents,
            blobs,
        }
    }

    /// Reads every layer in a registry, in pieces, and checks it: constant memory, whatever the
    /// size of the weights.
    ///
    /// # Errors
    /// `missing_blob`, `size_mismatch`, `digest_mismatch`; `storage`, `network`.
    pub fn verify_layers(&self, store: &dyn Store) -> Result<()> {
        self.layers()
            .iter()
            .try_for_each(|layer| copy_verified(layer, &mut *store.open(layer)?, |_| Ok(())))
    }

    /// The digest of the manifest: the identity of this package.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The name of the model.
    pub fn name(&self) -> &str {
        &self.documents.config.name
    }

    /// The version of the model.
    pub fn version(&self) -> &str {
        &self.documents.config.version
    }

    /// `twinfer.json`.
    pub fn config(&self) -> &ModelConfig {
        &self.documents.config
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The ModelPack configuration: authors, licences, source.
    pub fn model_pack(&self) -> &ModelPackConfig {
        &self.model_pack
    }

    /// The descriptors of all layers, read or not.
    pub fn layers(&self) -> &[Descriptor] {
        &self.manifest.layers
    }

    /// The bytes of a layer by its file name; `None` when there is none or it was not read.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let layer = self
            .manifest
            .layers
            .iter()
            .find(|l| l.file_name() == Some(name))?;
        self.blobs.get(&layer.digest).map(Vec::as_slice)
    }

    /// The bytes of a layer, where it was read.
    pub(crate) fn content_of(&self, layer: &Descriptor) -> Option<&[u8]> {
        self.blobs.get(&layer.digest).map(Vec::as_slice)
    }

    /// The bytes of `model.onnx`; its large weights may be in other layers, which
    /// [`Package::load`] and [`Package::session`] put together. Empty where the package was
    /// opened without them.
    pub fn model_bytes(&self) -> &[u8] {
        self.file(media::MODEL_NAME).unwrap_or_default()
    }

    /// The evaluation metrics; `None` when there are none or they were not read.
    pub fn metrics(&self) -> Option<&Map<String, Json>> {
        self.documents.metrics.as_ref()
    }

    /// Where the package comes from; `None` when it does not say or that was not read.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.documents.provenance.as_ref()
    }

    /// The golden examples; `None` when there are none or they were not read.
    pub fn golden(&self) -> Option<&Golden> {
        self.documents.golden.as_ref()
    }

    /// The layer with the golden examples, for a later [`Package::supply_golden`].
    pub fn golden_descriptor(&self) -> Option<&Descriptor> {
        self.manifest.layers_of(Role::Golden).next()
    }

    /// Adds golden examples that were not read at first.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`, and the errors of [`Golden::from_json`];
    /// `invalid_package` when the package has none.
    pub fn supply_golden(&mut self, json: &[u8]) -> Result<()> {
        let layer = self
            .golden_descriptor()
            .ok_or_else(|| err!(InvalidPackage, "the package has no golden examples"))?;
        layer.verify(json)?;
        self.documents.golden = Some(Golden::from_json(json)?);
        Ok(())
    }

    /// Loads the model.
    ///
    /// # Errors
    /// Those of [`Model::load`]; `invalid_package` where weights are in no layer.
    pub fn load(&self) -> Result<Model> {
        let digest = self.digest.to_string();
        Model::load_with(self.config(), self.model_bytes(), self, &digest)
    }

    /// Loads the model and drops its bytes once they are read, before the engine optimises:
    /// loading takes less memory by their size. The package is then like one that was opened
    /// without the model.
    ///
    /// # Errors
    /// Those of [`Package::load`].
    pub fn take_model(&mut self) -> Result<Model> {
        self.config().check()?;
        let parsed = self.take_parsed()?;
        Model::of(self.config().clone(), parsed, &self.digest.to_string())
    }

    /// Loads the model file alone, as [`Package::take_model`] does.
    ///
    /// # Errors
    /// Those of [`Package::load`].
    pub fn take_session(&mut self) -> Result<Session> {
        self.take_parsed()?.optimise()
    }

    fn take_parsed(&mut self) -> Result<Parsed> {
        let parsed = Session::parse(self.model_bytes(), self)?;
        for layer in &self.manifest.layers {
            if matches!(role(layer), Role::Model | Role::Shard) {
                self.blobs.remove(&layer.digest);
            }
        }
        Ok(parsed)
    }

    /// Loads the model file alone: tensors in, tensors out.
    ///
    /// # Errors
    /// Those of [`Package::load`].
    pub fn session(&self) -> Result<Session> {
        Session::load_with(self.model_bytes(), self)
    }

    /// Runs the golden examples on the loaded model. A package without any passes; the
    /// report says that there were none.
    ///
    /// # Errors
    /// `invalid_package` when the package has golden examples that were not read.
    pub fn self_test(&self, model: &Model) -> Result<SelfTestReport> {
        match (&self.documents.golden, self.golden_descriptor()) {
            (Some(golden), _) => Ok(golden.run(model)),
            (None, None) => Ok(Golden {
                cases: Vec::new(),
                reference: String::new(),
            }
            .run(model)),
            (None, Some(_)) => bail!(
                InvalidPackage,
                "the golden examples were not read: open the package with Parts::Tested"
            ),
        }
    }
}
