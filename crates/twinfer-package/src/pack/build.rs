//! From a recipe to the bytes of a package.

use std::collections::BTreeMap;
use std::path::Path;

use twinfer::{
    EngineRequirement, FORMAT_VERSION, InputStep, Model, ModelConfig, OutputStep, Pipeline, Result,
    Session,
};

use super::recipe::Recipe;
use crate::json::to_json;
use crate::{
    Capabilities, Descriptor, Digest, Manifest, Modality, ModelDescriptor, ModelFs,
    ModelPackConfig, Package, PackageReader, Parts, Reference, SelfTestReport, Technical, media,
};

/// A package in memory that is not in a registry yet. It was read back, so it is known to open.
#[derive(Debug)]
pub struct Built {
    package: Package,
    model: Model,
    descriptor: Descriptor,
    reference: Reference,
    manifest_json: Vec<u8>,
}

impl Built {
    /// Builds the package of a recipe, and loads its model.
    ///
    /// # Errors
    /// Those of [`crate::pack`] that come from the recipe and the model.
    pub fn from_recipe(folder: &Path) -> Result<Self> {
        Self::build(Recipe::read(folder)?)
    }

    /// Builds a package of nothing but a model file: no pipeline, no golden examples.
    ///
    /// # Errors
    /// `invalid_reference`, `invalid_recipe` for name or version; those of the model.
    pub fn from_model(name: &str, version: &str, onnx: Vec<u8>) -> Result<Self> {
        Self::build(Recipe::of_model(name, version, onnx)?)
    }

    fn build(mut recipe: Recipe) -> Result<Self> {
        let config = config_of(&recipe)?;
        let reference = Reference::new(&config.name, &config.version)?;
        let files = files_of(&mut recipe, &config)?;
        let layers: Vec<Descriptor> = files
            .iter()
            .map(|(kind, name, bytes)| Descriptor::of_file(kind, name, bytes))
            .collect();
        let model_pack = to_json(&model_pack_of(&recipe, &layers))?;
        let manifest = manifest_of(&recipe, &model_pack, layers);
        let manifest_json = to_json(&manifest)?;
        let mut descriptor = Descriptor::new(media::MANIFEST, &manifest_json);
        descriptor.artifact_type = Some(media::ARTIFACT.into());
        let digests = std::iter::once(&manifest.config)
            .chain(&manifest.layers)
            .map(|d| d.digest);
        let contents =
            std::iter::once(model_pack).chain(files.into_iter().map(|(_, _, bytes)| bytes));
        let package = read_back(&descriptor, &manifest_json, digests.zip(contents).collect())?;
        let model = package.load()?;
        Ok(Self {
            package,
            model,
            descriptor,
            reference,
            manifest_json,
        })
    }

    /// `name:version`.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// The descriptor of the manifest.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The package.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// The loaded model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the golden examples.
    ///
    /// # Errors
    /// Those of [`Package::self_test`].
    pub fn self_test(&self) -> Result<SelfTestReport> {
        self.package.self_test(&self.model)
    }

    /// Everything that is stored, the manifest last.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (&Descriptor, &[u8])> {
        let manifest = (&self.descriptor, self.manifest_json.as_slice());
        self.package.blobs().chain([manifest])
    }
}

/// Opens what was just built with the reader that everybody uses.
fn read_back(
    descriptor: &Descriptor,
    manifest: &[u8],
    mut contents: BTreeMap<Digest, Vec<u8>>,
) -> Result<Package> {
    let mut reader = PackageReader::new(descriptor.clone())?.parts(Parts::All);
    reader.supply(&descriptor.digest, manifest.to_vec())?;
    for wanted in reader.needs() {
        reader.supply(
            &wanted.digest,
            contents.remove(&wanted.digest).unwrap_or_default(),
        )?;
    }
    reader.finish()
}

/// `twinfer.json`: what the recipe says, and what the model file says.
fn config_of(recipe: &Recipe) -> Result<ModelConfig> {
    let session = Session::load(&recipe.model).map_err(|e| e.context("the model file"))?;
    Ok(ModelConfig {
        format_version: FORMAT_VERSION,
        name: recipe.package.name.clone(),
        version: recipe.package.version.clone(),
        description: recipe.package.description.clone(),
        signature: Some(session.signature().clone()),
        pipeline: recipe.pipeline.clone(),
        labels: recipe.labels.clone(),
        limits: recipe.limits.clone(),
        engine: Some(EngineRequirement {
            opsets: session.opsets().to_vec(),
        }),
    })
}

type File = (&'static str, &'static str, Vec<u8>);

/// The files of the package, with media type and name. The configuration comes first, as it
/// is the smallest and read first. Takes the model out of the recipe: there is one copy of
/// what can be gigabytes.
fn files_of(recipe: &mut Recipe, config: &ModelConfig) -> Result<Vec<File>> {
    let mut files = vec![
        (media::WEIGHT_CONFIG, media::CONFIG_NAME, to_json(config)?),
        (
            media::WEIGHT,
            media::MODEL_NAME,
            std::mem::take(&mut recipe.model),
        ),
    ];
    if let Some(golden) = &recipe.golden {
        files.push((media::DATASET, media::GOLDEN_NAME, to_json(golden)?));
    }
    for (name, bytes) in [
        (media::CARD_NAME, &recipe.card),
        (media::LICENSE_NAME, &recipe.license),
    ] {
        if let Some(bytes) = bytes {
            files.push((media::DOC, name, bytes.clone()));
        }
    }
    Ok(files)
}

fn manifest_of(recipe: &Recipe, model_pack: &[u8], layers: Vec<Descriptor>) -> Manifest {
    let package = &recipe.package;
    let known = [
        ("created", Some(&package.created)),
        ("title", package.title.as_ref().or(Some(&package.name))),
        (
            "description",
            Some(&package.description).filter(|d| !d.is_empty()),
        ),
        ("version", Some(&package.version)),
        ("licenses", package.license.as_ref()),
        ("source", recipe.source.url.as_ref()),
        ("revision", recipe.source.commit.as_ref()),
    ];
    let annotations = known.into_iter().filter_map(|(key, value)| {
        Some((format!("org.opencontainers.image.{key}"), value?.clone()))
    });
    Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.into(),
        artifact_type: media::ARTIFACT.into(),
        config: Descriptor::new(media::MODEL_CONFIG, model_pack),
        layers,
        subject: None,
        annotations: annotations.collect(),
    }
}

fn model_pack_of(recipe: &Recipe, layers: &[Descriptor]) -> ModelPackConfig {
    let package = &recipe.package;
    ModelPackConfig {
        descriptor: ModelDescriptor {
            created_at: Some(package.created.clone()),
            authors: package.authors.clone(),
            name: Some(package.name.clone()),
            version: Some(package.version.clone()),
            title: package.title.clone(),
            description: Some(package.description.clone()).filter(|d| !d.is_empty()),
            source_url: recipe.source.url.clone(),
            revision: recipe.source.commit.clone(),
            licenses: package.license.clone().into_iter().collect(),
            ..ModelDescriptor::default()
        },
        config: Technical {
            format: Some("onnx".into()),
            capabilities: Some(capabilities(recipe.pipeline.as_ref())),
            ..Technical::default()
        },
        modelfs: ModelFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|l| l.digest).collect(),
        },
    }
}

fn capabilities(pipeline: Option<&Pipeline>) -> Capabilities {
    let input = match pipeline.map(|p| &p.input) {
        Some(InputStep::Picture(_)) => Modality::Image,
        _ => Modality::Other,
    };
    let text = |step: &OutputStep| {
        matches!(
            step,
            OutputStep::Label(_) | OutputStep::Classes(_) | OutputStep::Decision(_)
        )
    };
    let output = if pipeline.is_some_and(|p| p.outputs.iter().any(text)) {
        Modality::Text
    } else {
        Modality::Other
    };
    Capabilities {
        input_types: vec![input],
        output_types: vec![output],
        ..Capabilities::default()
    }
}
