//! `twinfer inspect`

use clap::Args as ClapArgs;
use serde_json::json;
use twinfer::{Dim, InputStep, Result, ValueKind};
use twinfer_package::{DerivedEngine, Index, Package, Parts, Reference, Store, attached_engines};

use crate::output::{Output, bytes, table};
use crate::trust::Trust;

/// Show what a package has in it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer inspect face-detector:1.0.0
  twinfer inspect face-detector --json")]
pub struct InspectArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,
}

pub fn run(args: &InspectArgs, store: &dyn Store, trust: &Trust, output: &Output) -> Result<()> {
    let package = trust.open(store, &args.reference, Parts::All)?;
    let config = package.config();
    let engines = engines(store, &args.reference, &package);
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
    });
    output.print(&value, || text(&package, &engines))
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

fn text(package: &Package, engines: &[DerivedEngine]) -> String {
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
    let facts: Vec<Vec<String>> = facts
        .into_iter()
        .map(|(key, value)| vec![key.into(), value])
        .collect();
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
        table(&facts),
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
            InputStep::Record(record) => format!("{} columns", record.columns.len()),
            InputStep::Picture(_) => "PNG, JPEG, WebP".into(),
            InputStep::Bytes(_) => "any bytes".into(),
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
    if let Some(signature) = &config.signature {
        for input in &signature.inputs {
            lines.push(vec![
                "input".into(),
                format!("{}  {} {}", input.name, input.dtype, shape(&input.shape)),
            ]);
        }
        for output in &signature.outputs {
            let maps = if output.kind == ValueKind::Maps {
                " maps"
            } else {
                ""
            };
            lines.push(vec![
                "output".into(),
                format!(
                    "{}  {} {}{maps}",
                    output.name,
                    output.dtype,
                    shape(&output.shape)
                ),
            ]);
        }
    }
    table(&lines)
}
