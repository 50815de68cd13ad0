//! `twinfer inspect`

use std::path::Path;

use clap::Args as ClapArgs;
use serde_json::json;
use twinfer::{DType, Dim, InputStep, Result, Session, Signature, ValueKind};
use twinfer_package::{
    DerivedEngine, Index, ModelFolder, Package, Parts, Reference, Store, attached_engines,
};

use crate::can_run::CanRun;
use crate::model_source::{ModelSource, read_model};
use crate::output::{Output, bytes, fact_table, table};
use crate::trust::Trust;

/// Show what a package or a model file has in it, and whether it can run
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer inspect face-detector:1.0.0
  twinfer inspect face-detector --json
  twinfer inspect model.onnx --can-run")]
pub struct InspectArgs {
    /// An .onnx file, or name, name:version, name@sha256:…
    #[arg(value_name = "FILE.onnx|REFERENCE", value_parser = ModelSource::of)]
    pub model: ModelSource,

    /// Load the model and run it once on zeros: whether it runs natively, in a page and in the
    /// component, which operators are missing, and the memory and multiply-adds of a prediction.
    /// Ends with 1 when it does not run
    #[arg(long)]
    pub can_run: bool,
}

/// Shows a package of a registry.
pub fn run(
    reference: &Reference,
    can_run: bool,
    store: &dyn Store,
    trust: &Trust,
    output: &Output,
) -> Result<()> {
    let package = trust.open(store, reference, Parts::All)?;
    let config = package.config();
    let engines = engines(store, reference, &package);
    let verdict = match can_run {
        true => Some(CanRun::of(package.model_bytes(), &package)?),
        false => None,
    };
    let value = json!({
        "name": package.name(),
        "version": package.version(),
        "digest": package.digest(),
        "config": config,
        "model_pack": package.model_pack(),
        "manifest": package.manifest(),
        "provenance": package.provenance(),
        "metrics": package.metrics(),
        "engines": engines,
        "golden_cases": package.golden().map(|golden| golden.cases.len()),
        "can_run": verdict.as_ref().map(CanRun::json),
    });
    output.print(&value, || text(&package, &engines, verdict.as_ref()))?;
    verdict.map_or(Ok(()), CanRun::check)
}

/// Shows a model file.
pub fn run_file(path: &Path, can_run: bool, output: &Output) -> Result<()> {
    let onnx = read_model(path)?;
    let verdict = match can_run {
        true => {
            Some(CanRun::of(&onnx, &ModelFolder::of(path)).map_err(|e| e.context(path.display()))?)
        }
        false => None,
    };
    // What does not run has no description, and then the verdict says why.
    let described = Session::describe(&onnx).map_err(|e| e.context(path.display()));
    let description = match (described, &verdict) {
        (Err(_), Some(_)) => None,
        (described, _) => Some(described?),
    };
    let value = json!({
        "file": path,
        "signature": description.as_ref().and_then(|d| d.signature.as_ref()),
        "opsets": description.as_ref().map(|d| &d.opsets),
        "producer": description
            .as_ref()
            .and_then(|d| d.producer.as_ref())
            .map(|(name, version)| json!({"name": name, "version": version})),
        "can_run": verdict.as_ref().map(CanRun::json),
    });
    output.print(&value, || {
        let mut facts = vec![
            ("file", path.display().to_string()),
            ("size", bytes(onnx.len() as u64)),
        ];
        if let Some(description) = &description {
            facts.push(("operators", description.opsets.join(", ")));
            if let Some((name, version)) = &description.producer {
                facts.push(("producer", format!("{name} {version}")));
            }
        }
        facts.extend(verdict.iter().flat_map(CanRun::facts));
        let signature = description.as_ref().and_then(|d| d.signature.as_ref());
        let mut lines = Vec::new();
        signature
            .into_iter()
            .for_each(|signature| model_lines(signature, &mut lines));
        format!("{}\n\n{}", fact_table(facts), table(&lines))
    })?;
    verdict.map_or(Ok(()), CanRun::check)
}

/// What the list of its referrers says, or the index where that is not at hand.
fn engines(store: &dyn Store, reference: &Reference, package: &Package) -> Vec<DerivedEngine> {
    attached_engines(store, reference).unwrap_or_else(|_| {
        let index = store
            .index_of(reference)
            .and_then(|json| Index::from_json(&json));
        index
            .map(|index| index.engines(package.digest()))
            .unwrap_or_default()
    })
}

fn text(package: &Package, engines: &[DerivedEngine], verdict: Option<&CanRun>) -> String {
    let about = &package.model_pack().descriptor;
    let mut facts = vec![
        (
            "package",
            format!("{}:{}", package.name(), package.version()),
        ),
        ("digest", package.digest().to_string()),
    ];
    let optional = [
        ("title", about.title.clone()),
        ("description", about.description.clone()),
        (
            "licence",
            Some(about.licenses.join(", ")).filter(|text| !text.is_empty()),
        ),
        (
            "authors",
            Some(about.authors.join(", ")).filter(|text| !text.is_empty()),
        ),
        ("created", about.created_at.clone()),
        ("source", about.source_url.clone()),
        ("revision", about.revision.clone()),
        (
            "recipe",
            package
                .provenance()
                .and_then(|provenance| provenance.git.as_ref())
                .map(|git| match git.dirty {
                    true => format!("commit {}, with changes that are in none", git.commit),
                    false => format!("commit {}", git.commit),
                }),
        ),
        (
            "operators",
            package
                .config()
                .engine
                .as_ref()
                .map(|engine| engine.opsets.join(", ")),
        ),
        (
            "examples",
            package.golden().map(|golden| {
                format!(
                    "{} golden examples ({})",
                    golden.cases.len(),
                    golden.reference
                )
            }),
        ),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    for engine in engines {
        let what = format!(
            "{} for {}, {}",
            engine.kind,
            engine.target,
            bytes(engine.size)
        );
        facts.push(("engine", format!("{what}, {}", engine.digest)));
    }
    facts.extend(verdict.into_iter().flat_map(CanRun::facts));
    let layer = |layer: &twinfer_package::Descriptor| {
        vec![
            format!("  {}", layer.file_name().unwrap_or("?")),
            bytes(layer.size),
            layer.digest.to_string(),
            layer.media_type.clone(),
        ]
    };
    let layers: Vec<Vec<String>> = package.layers().iter().map(layer).collect();
    format!(
        "{}\n\n{}\n\nlayers\n{}",
        fact_table(facts),
        signature(package),
        table(&layers)
    )
}

fn signature(package: &Package) -> String {
    let config = package.config();
    let mut lines = Vec::new();
    if let Some(pipeline) = &config.pipeline {
        let input = &pipeline.input;
        let detail = match input {
            InputStep::Record(record) if record.columns.is_empty() => "any keys".into(),
            InputStep::Record(record) => format!("{} columns", record.columns.len()),
            InputStep::Picture(_) => "PNG, JPEG, WebP".into(),
            InputStep::Bytes(_) => "any bytes".into(),
            InputStep::Audio(audio) => format!("WAV, becomes {} Hz", audio.sample_rate),
            InputStep::Text(text) => match text.max_characters {
                Some(most) => format!("up to {most} characters"),
                None => "any length".into(),
            },
        };
        lines.push(vec![
            "takes".to_owned(),
            format!("{} ({}: {detail})", input.name(), input.kind()),
        ]);
        for parameter in &pipeline.parameters {
            lines.push(vec![
                "parameter".into(),
                format!(
                    "{} = {} (or {})",
                    parameter.name,
                    parameter.default,
                    parameter.values.join(", ")
                ),
            ]);
        }
        let outputs: Vec<&str> = pipeline
            .outputs
            .iter()
            .map(|output| output.name())
            .collect();
        lines.push(vec!["gives".into(), outputs.join(", ")]);
    }
    if let Some(signature) = &config.signature {
        model_lines(signature, &mut lines);
    }
    table(&lines)
}

/// What the model itself takes and gives.
fn model_lines(signature: &Signature, lines: &mut Vec<Vec<String>>) {
    let shape = |shape: &Option<Vec<Dim>>| match shape {
        Some(dims) => format!(
            "[{}]",
            dims.iter()
                .map(Dim::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        None => "[any rank]".into(),
    };
    let required = signature.inputs.iter().map(|input| ("input", input));
    let optional = signature.optional.iter().map(|input| ("optional", input));
    for (place, input) in required.chain(optional) {
        let what = match (input.kind, input.keys) {
            (ValueKind::Tensor, _) => format!("{} {}", input.dtype, shape(&input.shape)),
            (ValueKind::Maps, keys) => {
                let keys = keys.map_or("any keys".into(), |keys| keys.to_string());
                format!("map from {keys} to {}", input.dtype)
            }
            (kind, _) => inside(kind, input.dtype),
        };
        lines.push(vec![place.into(), format!("{}  {what}", input.name)]);
    }
    for output in &signature.outputs {
        let what = match output.kind {
            ValueKind::Tensor => format!("{} {}", output.dtype, shape(&output.shape)),
            ValueKind::Maps => format!("{} {} maps", output.dtype, shape(&output.shape)),
            kind => inside(kind, output.dtype),
        };
        lines.push(vec!["output".into(), format!("{}  {what}", output.name)]);
    }
}

fn inside(kind: ValueKind, dtype: DType) -> String {
    match kind {
        ValueKind::Optional => format!("optional, of {dtype}"),
        _ => format!("sequence, of {dtype}"),
    }
}
