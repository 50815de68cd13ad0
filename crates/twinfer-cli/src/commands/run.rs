//! `twinfer run`

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use twinfer::{MapKeys, Maps, Parsed, Result, Session, Tensor, bail, err};
use twinfer_package::{Built, FolderStore, ModelFolder, Parts, Reference, Store};
use twinfer_registry::CopyOptions;

use crate::component::{self, Output as Made};
use crate::inputs;
use crate::model_source::{ModelSource, read_model};
use crate::npy;
use crate::options::pair;
use crate::output::Output;
use crate::registry::Registry;
use crate::trust::Trust;

/// Run a model on raw tensors: .npy files in, one .npy file for each output
///
/// The file of an output has its name, with / and : replaced by _. Where an output is a list
/// of maps (ZipMap), NAME.npy has the numbers and NAME.keys.npy the keys, as strings. Sequences
/// and optionals are JSON, in NAME.json. Inputs may be JSON too: maps as objects, sequences as lists.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer run model.onnx --input input=x.npy --output-dir out
  twinfer run model.onnx --input 'X={\"a\": 1.0, \"b\": 0.5}' --output-dir out
  twinfer run model.onnx --input tokens=sequence.json --output-dir out
  twinfer run face-detector:1.0.0 --input input=x.npy --output-dir out --target component")]
pub struct RunArgs {
    /// An .onnx file, or name, name:version, name@sha256:…
    #[arg(value_name = "FILE.onnx|REFERENCE")]
    pub model: String,

    /// An input of the model and its .npy file; or JSON, in a file or as it is
    #[arg(long, short, value_name = "NAME=FILE|JSON", value_parser = pair)]
    pub input: Vec<(String, String)>,

    /// Where the outputs go; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub output_dir: PathBuf,

    /// Where the model runs
    #[arg(long, value_enum, default_value = "native")]
    pub target: Target,

    #[command(flatten)]
    pub component: ComponentArgs,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// In this process
    Native,
    /// In the WASI component, on a host that is started for it
    Component,
}

#[derive(Debug, ClapArgs)]
pub struct ComponentArgs {
    /// The WASI component; found by itself in a build folder or beside this program
    #[arg(long, value_name = "FILE", env = "TWINFER_COMPONENT")]
    pub component: Option<PathBuf>,
}

impl RunArgs {
    /// The model is a file, not in a registry.
    pub fn is_file(&self) -> bool {
        matches!(ModelSource::of(&self.model), Ok(ModelSource::File(_)))
    }
}

/// Runs the model; of a package in `store`, which is the registry or a cache in front of it.
pub fn run(
    args: &RunArgs,
    registry: &Registry,
    store: Option<&dyn Store>,
    trust: &Trust,
    output: &Output,
) -> Result<()> {
    let model = ModelSource::of(&args.model)?;
    let values = match args.target {
        Target::Native => natively(&model, args, store, trust)?,
        Target::Component => in_component(&model, args, (registry, store), trust)?,
    };
    let files = files(&values)?;
    fs::create_dir_all(&args.output_dir)
        .map_err(|e| err!(Storage, "cannot make {}: {e}", args.output_dir.display()))?;
    let mut written = Vec::new();
    for (file, content) in &files {
        let path = args.output_dir.join(file);
        let bytes = match content {
            Content::Tensor(tensor) => npy::write(tensor).map_err(|e| e.context(file))?,
            Content::Json(json) => format!("{json}\n").into_bytes(),
        };
        fs::write(&path, bytes)
            .map_err(|e| err!(Storage, "cannot write {}: {e}", path.display()))?;
        written.push((path, content));
    }
    let value = written.iter().map(|(path, content)| match content {
        Content::Tensor(t) => json!({"file": path, "dtype": t.dtype(), "shape": t.shape()}),
        Content::Json(_) => json!({"file": path}),
    });
    output.print(&json!({"outputs": value.collect::<Vec<_>>()}), || {
        let lines = written.iter().map(|(path, content)| match content {
            Content::Tensor(t) => format!("{}  {} {:?}", path.display(), t.dtype(), t.shape()),
            Content::Json(_) => format!("{}  JSON", path.display()),
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

fn opened(store: Option<&dyn Store>) -> Result<&dyn Store> {
    store.ok_or_else(|| err!(Internal, "no registry was opened for a package"))
}

fn natively(
    model: &ModelSource,
    args: &RunArgs,
    store: Option<&dyn Store>,
    trust: &Trust,
) -> Result<Vec<(String, Made)>> {
    let session = match model {
        ModelSource::File(path) => {
            let read = Session::parse(&read_model(path)?, &ModelFolder::of(path));
            // The bytes of the file are dropped by now.
            read.and_then(Parsed::optimise)
                .map_err(|e| e.context(path.display()))?
        }
        ModelSource::Package(reference) => {
            let mut package = trust.open(opened(store)?, reference, Parts::Model)?;
            package.take_session()?
        }
    };
    let values = session.run_values(inputs::values(session.signature(), &args.input)?)?;
    let outputs = values.into_iter();
    let outputs = outputs.map(|(name, value)| {
        let made = Made::of(value).map_err(|e| e.context(format!("output `{name}`")))?;
        Ok((name, made))
    });
    outputs.collect()
}

fn in_component(
    model: &ModelSource,
    args: &RunArgs,
    (registry, store): (&Registry, Option<&dyn Store>),
    trust: &Trust,
) -> Result<Vec<(String, Made)>> {
    let component = component::find(args.component.component.as_deref())?;
    match model {
        ModelSource::Package(reference) => {
            let (_kept, store) = on_disk(registry, opened(store)?, reference)?;
            let package = trust.open(&store, reference, Parts::Model)?;
            let Some(signature) = &package.config().signature else {
                bail!(
                    InvalidPackage,
                    "the package has no signature; pack it again"
                );
            };
            let inputs = inputs::values(signature, &args.input)?;
            // By digest: a tag could move in between.
            let pinned = reference.clone().pinned(*package.digest());
            component::infer(&component, store.root(), &pinned, inputs)
        }
        ModelSource::File(path) => {
            let built =
                Built::from_file(path, "model", "0.0.0").map_err(|e| e.context(path.display()))?;
            let Some(signature) = &built.package().config().signature else {
                bail!(Internal, "a packed model has no signature");
            };
            let inputs = inputs::values(signature, &args.input)?;
            let folder = tempfile::tempdir()
                .map_err(|e| err!(Storage, "cannot make a temporary folder: {e}"))?;
            let registry = FolderStore::new(folder.path().join("registry"));
            built.publish(&registry, false)?;
            component::infer(&component, registry.root(), built.reference(), inputs)
        }
    }
}

/// The registry as a folder, which the component's host needs: as it is, or a copy of the
/// package in a temporary one.
fn on_disk(
    registry: &Registry,
    store: &dyn Store,
    reference: &Reference,
) -> Result<(Option<TempDir>, FolderStore)> {
    if let Ok(folder) = registry.folder() {
        return Ok((None, folder));
    }
    let kept =
        tempfile::tempdir().map_err(|e| err!(Storage, "cannot make a temporary folder: {e}"))?;
    let folder = FolderStore::new(kept.path().join("registry"));
    let references = std::slice::from_ref(reference);
    twinfer_registry::copy(
        store,
        &folder,
        references,
        &CopyOptions::default(),
        &mut |_| (),
    )?;
    Ok((Some(kept), folder))
}

/// What is in a file.
enum Content {
    Tensor(Tensor),
    Json(Json),
}

/// The files to write, by name.
fn files(values: &[(String, Made)]) -> Result<BTreeMap<String, Content>> {
    let mut files = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut put = |file: String, output: &str, content: Content| {
        // Some file systems do not tell upper from lower case.
        if !taken.insert(file.to_lowercase()) {
            bail!(
                InvalidModel,
                "the output `{output}` and another one would both be written to {file}: their names differ too little"
            );
        }
        files.insert(file, content);
        Ok(())
    };
    for (name, value) in values {
        let base = file_name(name)?;
        let npy = format!("{base}.npy");
        match value {
            Made::Tensor(tensor) => put(npy, name, Content::Tensor(tensor.clone()))?,
            Made::Maps(Maps { keys, values }) => {
                let keys = Content::Tensor(key_tensor(keys)?);
                put(npy, name, Content::Tensor(values.clone()))?;
                put(format!("{base}.keys.npy"), name, keys)?;
            }
            Made::Json(json) => put(format!("{base}.json"), name, Content::Json(json.clone()))?,
        }
    }
    Ok(files)
}

/// The name of an output as that of a file.
fn file_name(name: &str) -> Result<String> {
    let base = name.replace(['/', ':'], "_");
    if base.is_empty()
        || base.len() > 200
        || base.contains(['\\', '\0'])
        || base.chars().any(char::is_control)
    {
        bail!(
            InvalidModel,
            "the output `{}` has a name that no file can have",
            name.escape_debug()
        );
    }
    Ok(base)
}

/// The keys of maps as strings, whatever they are in the model: the component gives them so.
fn key_tensor(keys: &MapKeys) -> Result<Tensor> {
    Tensor::from_strings(&[keys.len()], keys.to_strings())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    fn value() -> Made {
        Made::Tensor(Tensor::from_vec(&[1], vec![1f32]).unwrap())
    }

    #[test]
    fn files_are_named_after_outputs() {
        let keys = MapKeys::Ints(vec![0]);
        let maps = Made::Maps(Maps {
            keys,
            values: Tensor::from_vec(&[1, 1], vec![1f32]).unwrap(),
        });
        let values = [
            ("out/y:0".to_owned(), value()),
            ("probability".to_owned(), maps),
            ("..".to_owned(), value()),
            ("list".to_owned(), Made::Json(json!([[1.5]]))),
        ];
        let names: Vec<String> = files(&values).unwrap().into_keys().collect();
        assert_eq!(
            names,
            [
                "...npy",
                "list.json",
                "out_y_0.npy",
                "probability.keys.npy",
                "probability.npy"
            ]
        );
    }

    #[test]
    fn names_that_collide_or_are_no_file_names_are_refused() {
        for pair in [
            ["a/b", "a:b"],
            ["a", "A"],
            ["", "x"],
            ["a\0", "x"],
            ["a\\b", "x"],
        ] {
            let values = pair.map(|name| (name.to_owned(), value()));
            assert_eq!(
                files(&values).err().unwrap().code(),
                ErrorCode::InvalidModel,
                "{pair:?}"
            );
        }
    }
}
