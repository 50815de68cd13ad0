//! `twinfer diff`

use clap::Args as ClapArgs;
use serde_json::Value as Json;
use twinfer::Result;
use twinfer_package::{PackageDiff, Parts, Reference, Store};

use crate::output::{Output, bytes, table};
use crate::trust::Trust;

/// Show what differs between two packages
///
/// The layers, what somebody who has the first must load of the second, whether callers of the
/// first can go on calling the second, and the metrics of both.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer diff face-detector:1.0.0 face-detector:1.1.0
  twinfer diff face-detector:stable face-detector --json")]
pub struct DiffArgs {
    /// The old package: name, name:version, or name@sha256:…
    pub old: Reference,

    /// The new one
    pub new: Reference,
}

pub fn run(args: &DiffArgs, store: &dyn Store, trust: &Trust, output: &Output) -> Result<()> {
    let open = |reference| trust.open(store, reference, Parts::Description);
    let diff = PackageDiff::of(&open(&args.old)?, &open(&args.new)?);
    output.print(&diff, || text(&diff))
}

fn text(diff: &PackageDiff) -> String {
    let mut sections = vec![table(&[
        vec!["old".into(), name(&diff.old)],
        vec!["new".into(), name(&diff.new)],
        vec![
            "to load".into(),
            format!(
                "{} of {} ({} of {} parts)",
                bytes(diff.to_load.bytes),
                bytes(diff.total.bytes),
                diff.to_load.parts,
                diff.total.parts
            ),
        ],
        vec!["callers".into(), verdict(diff).into()],
    ])];
    let rows: Vec<Vec<String>> = diff
        .changes
        .iter()
        .map(|change| {
            let kind = if change.breaking {
                "breaking"
            } else {
                "compatible"
            };
            vec![
                format!("  {kind}"),
                change.what.clone(),
                change.text.clone(),
            ]
        })
        .collect();
    section(&mut sections, "changes", &rows);
    let rows: Vec<Vec<String>> = diff
        .layers
        .iter()
        .map(|layer| {
            let what = match (layer.old, layer.new) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let size = |size: Option<u64>| size.map_or("-".into(), bytes);
            vec![
                format!("  {what}"),
                layer.name.clone(),
                size(layer.old),
                size(layer.new),
            ]
        })
        .collect();
    section(&mut sections, "layers", &rows);
    let rows: Vec<Vec<String>> = diff
        .metrics
        .iter()
        .map(|metric| {
            let value = |value: &Option<Json>| value.as_ref().map_or("-".into(), Json::to_string);
            let mark = if metric.old == metric.new { "" } else { "*" };
            vec![
                format!("  {}", metric.path),
                value(&metric.old),
                value(&metric.new),
                mark.into(),
            ]
        })
        .collect();
    section(&mut sections, "metrics", &rows);
    sections.join("\n\n")
}

fn section(sections: &mut Vec<String>, title: &str, rows: &[Vec<String>]) {
    if !rows.is_empty() {
        sections.push(format!("{title}\n{}", table(rows)));
    }
}

fn name(package: &twinfer_package::PackageName) -> String {
    format!("{}:{}@{}", package.name, package.version, package.digest)
}

fn verdict(diff: &PackageDiff) -> &'static str {
    match (diff.breaking, diff.changes.is_empty()) {
        (true, _) => {
            "breaking: some calls that the old one answers fail, or get another form of answer"
        }
        (false, true) => "the same inputs and outputs",
        (false, false) => "compatible",
    }
}
