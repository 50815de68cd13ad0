//! From a recipe to the parts of a package.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use twinfer::{
    Assessment, Description, EngineRequirement, FORMAT_VERSION, InputStep, Model, ModelConfig,
    OutputStep, Pipeline, Result, Session, Weights, bail, err,
};

use super::git;
use super::recipe::Recipe;
use crate::content::Content;
use crate::digest::shorten;
use crate::json::to_json;
use crate::onnx::{Shard, Split, split};
use crate::{
    Capabilities, Descriptor, Digest, Golden, Manifest, Modality, ModelDescriptor, ModelFs,
    ModelPackConfig, Package, PackageReader, Parts, Provenance, Reference, SelfTestReport,
    Technical, media,
};

/// A package that is not in a registry yet: descriptors, and where the bytes are. The weights
/// stay in the files of the recipe until they are stored.
#[derive(Debug)]
pub struct Built {
    package: Package,
    golden: Option<Golden>,
    split: Split,
    descriptor: Descriptor,
    reference: Reference,
    /// What is stored, the manifest last.
    blobs: Vec<(Descriptor, Content)>,
}

impl Built {
    /// Builds the package of a recipe folder. The model is not loaded for that, where its file
    /// says what its inputs and outputs are.
    ///
    /// # Errors
    /// Those of [`crate::pack`] that come from the recipe and the graph of the model.
    pub fn from_recipe(folder: &Path) -> Result<Self> {
        Self::build(Recipe::read(folder)?)
    }

    /// Builds a package of nothing but a model file, and what it keeps in files beside it: no
    /// pipeline, no golden examples.
    ///
    /// # Errors
    /// `invalid_reference`, `invalid_recipe` for name or version; those of the model.
    pub fn from_file(model: &Path, name: &str, version: &str) -> Result<Self> {
        Self::build(Recipe::of_file(model, name, version)?)
    }

    /// The same of a model file in memory, with all its weights in it.
    ///
    /// # Errors
    /// Those of [`Built::from_file`].
    pub fn from_model(name: &str, version: &str, onnx: Vec<u8>) -> Result<Self> {
        Self::build(Recipe::of_model(name, version, onnx)?)
    }

    fn build(mut recipe: Recipe) -> Result<Self> {
        let split = split_model(&mut recipe)?;
        let graph = split.model.to_vec()?;
        let description = Session::describe(&graph).map_err(|e| e.context("the model file"))?;
        let config = config_of(&recipe, &description, &graph, &split)?;
        drop(graph);
        let reference = Reference::new(&config.name, &config.version)?;
        let files = files_of(&recipe, &config, &description, &split)?;
        let layers: Vec<Descriptor> = files.iter().map(|(layer, _)| layer.clone()).collect();
        let model_pack = to_json(&model_pack_of(&recipe, &layers))?;
        let manifest = manifest_of(&recipe, &model_pack, layers);
        let manifest_json = to_json(&manifest)?;
        let mut descriptor = Descriptor::new(media::MANIFEST, &manifest_json);
        descriptor.artifact_type = Some(media::ARTIFACT.into());
        let mut blobs = vec![(manifest.config.clone(), model_pack.into())];
        blobs.extend(files);
        blobs.push((descriptor.clone(), manifest_json.into()));
        Ok(Self {
            package: read_back(&descriptor, &blobs)?,
            golden: recipe.golden,
            split,
            descriptor,
            reference,
            blobs,
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

    /// The package, with what [`Parts::Description`] has of it.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// Whether the model runs, and what a prediction takes.
    ///
    /// # Errors
    /// Those of [`Session::assess`].
    pub fn assess(&self) -> Result<Assessment> {
        Session::assess(&self.split.model.to_vec()?, &self.split)
    }

    /// Loads the model into the engine.
    ///
    /// # Errors
    /// Those of [`Model::load`]; `storage`.
    pub fn load(&self) -> Result<Model> {
        let digest = self.digest().to_string();
        let config = self.package.config();
        config.check()?;
        let graph = self.split.model.to_vec()?;
        let parsed = Session::parse(&graph, &self.split)?;
        // Optimising takes as much memory again.
        drop(graph);
        Model::of(config.clone(), parsed, &digest)
    }

    /// Loads the model and runs the golden examples. Without any, the report says that there
    /// were none.
    ///
    /// # Errors
    /// Those of [`Built::load`].
    pub fn self_test(&self) -> Result<SelfTestReport> {
        let model = self.load()?;
        let none = Golden {
            cases: Vec::new(),
            reference: String::new(),
        };
        Ok(self.golden.as_ref().unwrap_or(&none).run(&model))
    }

    /// Everything that is stored, the manifest last.
    pub(super) fn blobs(&self) -> &[(Descriptor, Content)] {
        &self.blobs
    }
}

impl Split {
    fn shard(&self, location: &str) -> Result<&Shard> {
        let shard = self.shards.iter().find(|shard| shard.name == location);
        shard.ok_or_else(|| {
            err!(
                InvalidModel,
                "the model has weights in `{}`, which is not there",
                shorten(location)
            )
        })
    }
}

impl Weights for Split {
    fn length(&self, location: &str) -> Result<u64> {
        Ok(self.shard(location)?.content.length())
    }

    fn read(&self, location: &str, offset: u64, length: usize) -> Result<Cow<'_, [u8]>> {
        let content = &self.shard(location)?.content;
        let part = content.slice(offset, offset.saturating_add(length as u64));
        part.to_vec().map(Cow::Owned)
    }
}

fn split_model(recipe: &mut Recipe) -> Result<Split> {
    let folder = &mut recipe.folder;
    let mut beside = |location: &str| match folder {
        Some(folder) => folder.beside_model(location),
        None => bail!(
            InvalidModel,
            "the model has weights in another file, `{}`: give the model as a file in its folder",
            shorten(location)
        ),
    };
    split(&recipe.model, &mut beside).map_err(|e| e.context("the model file"))
}

/// Opens what was just built with the reader that everybody uses; the weights stay where they
/// are, and are checked against their digests when they are stored.
fn read_back(descriptor: &Descriptor, blobs: &[(Descriptor, Content)]) -> Result<Package> {
    let contents: BTreeMap<Digest, &Content> = blobs
        .iter()
        .map(|(d, content)| (d.digest, content))
        .collect();
    let mut reader = PackageReader::new(descriptor.clone())?.parts(Parts::Description);
    loop {
        let needs = reader.needs();
        if needs.is_empty() {
            return reader.finish();
        }
        for wanted in needs {
            let content = contents.get(&wanted.digest);
            let bytes = content.map(|content| content.to_vec()).transpose()?;
            reader.supply(&wanted.digest, bytes.unwrap_or_default())?;
        }
    }
}

/// `twinfer.json`: what the recipe says, and what the model file says.
fn config_of(
    recipe: &Recipe,
    description: &Description,
    graph: &[u8],
    split: &Split,
) -> Result<ModelConfig> {
    let signature = match &description.signature {
        Some(signature) => signature.clone(),
        // Only the engine can tell the type of an output.
        None => Session::load_with(graph, split)
            .map_err(|e| e.context("the model file"))?
            .signature()
            .clone(),
    };
    // A file alone says nothing of records: what takes a column each, or a map, is made for them.
    let by_columns = match &recipe.folder {
        Some(folder) if folder.is_recipe() => None,
        _ => Pipeline::of_records(&signature, |name| description.imputed.contains(name)),
    };
    let config = ModelConfig {
        format_version: FORMAT_VERSION,
        name: recipe.package.name.clone(),
        version: recipe.package.version.clone(),
        description: recipe.package.description.clone(),
        signature: Some(signature.clone()),
        pipeline: recipe.pipeline.clone().or(by_columns),
        labels: recipe.labels.clone(),
        limits: recipe.limits.clone(),
        engine: Some(EngineRequirement {
            opsets: description.opsets.clone(),
        }),
        mlflow: recipe.mlflow.clone(),
    };
    config.check()?;
    config.check_signature(&signature)?;
    Ok(config)
}

/// The layers. The configuration comes first, as it is the smallest and read first.
fn files_of(
    recipe: &Recipe,
    config: &ModelConfig,
    description: &Description,
    split: &Split,
) -> Result<Vec<(Descriptor, Content)>> {
    let mut files = Vec::new();
    let mut add = |kind, name: &str, digest: Digest, content: Content| {
        let layer = Descriptor::of_file(kind, name, digest, content.length());
        files.push((layer, content));
    };
    let config = Content::from(to_json(config)?);
    add(
        media::WEIGHT_CONFIG,
        media::CONFIG_NAME,
        config.digest()?,
        config,
    );
    let model = &split.model;
    add(
        media::WEIGHT,
        media::MODEL_NAME,
        model.digest()?,
        model.clone(),
    );
    for shard in &split.shards {
        add(
            media::WEIGHT,
            &shard.name,
            shard.digest,
            shard.content.clone(),
        );
    }
    let golden = recipe.golden.as_ref().map(to_json).transpose()?;
    let provenance = provenance_of(recipe, description);
    let provenance = provenance.as_ref().map(to_json).transpose()?;
    for (kind, name, bytes) in [
        (media::DATASET, media::GOLDEN_NAME, &golden),
        (media::DATASET, media::BASELINE_NAME, &recipe.baseline),
        (media::DOC, media::METRICS_NAME, &recipe.metrics),
        (media::DOC, media::CARD_NAME, &recipe.card),
        (media::DOC, media::LICENSE_NAME, &recipe.license),
        (media::DOC, media::PROVENANCE_NAME, &provenance),
    ] {
        if let Some(bytes) = bytes {
            add(kind, name, Digest::of(bytes), bytes.clone().into());
        }
    }
    Ok(files)
}

/// `None` for a model in memory, of which nothing is known.
fn provenance_of(recipe: &Recipe, description: &Description) -> Option<Provenance> {
    let folder = recipe.folder.as_ref()?;
    let mut provenance = Provenance::new();
    provenance.inputs = folder.inputs();
    if folder.is_recipe() {
        provenance.git = git::state(folder.root(), &provenance.inputs);
    }
    let source = &recipe.source;
    if *source != crate::ModelSource::default() {
        provenance.source = Some(source.clone());
    }
    provenance.training = recipe.training.clone();
    provenance.dvc_lock = recipe.dvc_lock.clone();
    let ours = ("twinfer".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    provenance.tools.extend([ours]);
    if let Some((name, version)) = &description.producer
        && name != "twinfer"
    {
        let producer = (shorten(name), shorten(version));
        provenance.tools.extend([producer]);
    }
    Some(provenance)
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
            datasets_url: recipe
                .training
                .iter()
                .flat_map(|training| &training.data)
                .filter_map(|data| data.url.clone())
                .collect(),
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
        Some(InputStep::Audio(_)) => Modality::Audio,
        Some(InputStep::Text(_)) => Modality::Text,
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
