//! Slim engines of the npm package.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;
use twinfer::{Result, bail, err};
use twinfer_artifact::Profile;
use twinfer_artifact::slim::{self, Missing};
use twinfer_package::{
    DerivedEngine, Digest, EngineKind, EngineTarget, Parts, Reference, attach_engine,
};

use super::check::{self, Checked};
use super::npm::NpmPackage;
use super::runner::{Mode, Ran, Runner, Wanted};
use super::{SlimArgs, gather, given, write};
use crate::output::{Output, bytes};
use crate::registry::Registry;
use crate::trust::Trust;

/// What was made.
#[derive(Serialize)]
struct Made {
    engine: DerivedEngine,
    /// Functions of the full engine, and those of them that are kept.
    functions: usize,
    kept: usize,
    /// Bytes of the full engine.
    full_size: u64,
    /// The `wasm-opt` that was used.
    wasm_opt: Option<String>,
    attached: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Vec<Checked>>,
}

pub fn run(
    args: &SlimArgs,
    registry: &Registry,
    trust: &Trust,
    policy: Option<&Path>,
    output: &Output,
) -> Result<()> {
    let policy = policy.map(std::fs::read_to_string).transpose();
    let policy = policy.map_err(|e| err!(Storage, "the trust policy: {e}"))?;
    let npm = NpmPackage::find(args.npm.as_deref())?;
    let engine_file = args.engine.clone().unwrap_or_else(|| npm.engine());
    let full = std::fs::read(&engine_file)
        .map_err(|e| err!(Storage, "the engine {}: {e}", engine_file.display()))?;
    let folder = TempDir::new().map_err(|e| err!(Storage, "a temporary folder: {e}"))?;
    let packages = gather_all(args, registry, trust, folder.path())?;
    let wanted: Vec<Wanted> = packages.iter().map(|p| p.wanted.clone()).collect();
    let runner = Runner {
        dist: npm.dist(),
        registry: folder.path(),
        trust: policy.as_deref(),
        packages: &wanted,
    };
    if let Some(file) = &args.made {
        let wasm =
            std::fs::read(file).map_err(|e| err!(Storage, "the engine {}: {e}", file.display()))?;
        let checked = compare(&runner, &full, &wasm)?;
        output.print(&json!({"check": checked}), || check::text(&checked))?;
        return check::verdict(&checked);
    }
    // What is checked must not have been learnt.
    let learnt: Vec<Wanted> = wanted.iter().map(|w| w.learnt(args.check)).collect();
    let learner = Runner {
        packages: &learnt,
        ..runner
    };
    let ran = learner.run(Mode::Profile, &slim::instrument(&full)?)?;
    let profiles = profiles(&full, &packages, &ran)?;
    let union = union(&profiles)?;
    let stripped = slim::strip(&full, &union, Missing::Import)?;
    let optimised = slim::optimise(stripped, slim::wasm_opt(Some(npm.dist())).as_deref())?;
    let wasm = optimised.module;
    let mut made = Made {
        engine: described(&full, &wasm, &profiles)?,
        functions: union.functions(),
        kept: union.entered(),
        full_size: full.len() as u64,
        wasm_opt: optimised.with.map(|program| program.display().to_string()),
        attached: Vec::new(),
        check: None,
    };
    if args.check {
        made.check = Some(compare(&runner, &full, &wasm)?);
    }
    if let Some(file) = &args.output {
        write(file, &wasm)?;
    }
    if let Some(file) = &args.profile_out {
        write(file, &union.to_json()?)?;
    }
    if args.attach {
        let store = registry.writable()?;
        for package in &packages {
            attach_engine(&*store, &package.reference, &made.engine, &wasm)?;
            made.attached.push(package.reference.to_string());
        }
    }
    output.print(&made, || text(&made))?;
    check::verdict(made.check.as_deref().unwrap_or_default())
}

/// A package on its way through the runner.
struct Gathered {
    reference: Reference,
    digest: Digest,
    wanted: Wanted,
}

impl Wanted {
    fn learnt(&self, check: bool) -> Self {
        Self {
            reference: self.reference.clone(),
            inputs: match check {
                true => Vec::new(),
                false => self.inputs.clone(),
            },
        }
    }
}

/// Brings the packages into a folder that Node serves.
fn gather_all(
    args: &SlimArgs,
    registry: &Registry,
    trust: &Trust,
    folder: &Path,
) -> Result<Vec<Gathered>> {
    let store = registry.store()?;
    let mut gathered = Vec::new();
    for reference in &args.references {
        let package = trust.open(store, reference, Parts::Model)?;
        let digest = *package.digest();
        let inputs = match args.input.is_empty() {
            true => Vec::new(),
            false => {
                let input = given(&package, &args.input)?;
                vec![json!({"name": "--input", "input": input})]
            }
        };
        let tagged = gather(store, &package, folder)?;
        gathered.push(Gathered {
            wanted: Wanted {
                reference: tagged.to_string(),
                inputs,
            },
            reference: reference.clone(),
            digest,
        });
    }
    Ok(gathered)
}

/// The profile of each package, by its digest.
fn profiles(full: &[u8], packages: &[Gathered], ran: &[Ran]) -> Result<BTreeMap<Digest, Profile>> {
    let mut profiles = BTreeMap::new();
    for (package, ran) in packages.iter().zip(ran) {
        let profile =
            slim::entered_words(full, &ran.entered).map_err(|e| e.context(&ran.reference))?;
        profiles.insert(package.digest, profile);
    }
    Ok(profiles)
}

fn union(profiles: &BTreeMap<Digest, Profile>) -> Result<Profile> {
    let mut profiles = profiles.values();
    let Some(mut union) = profiles.next().cloned() else {
        bail!(InvalidRequest, "an engine is made for packages: name some");
    };
    profiles.try_for_each(|profile| union.add(profile))?;
    Ok(union)
}

fn described(
    full: &[u8],
    wasm: &[u8],
    profiles: &BTreeMap<Digest, Profile>,
) -> Result<DerivedEngine> {
    let packages = profiles
        .iter()
        .map(|(package, profile)| Ok((*package, profile.digest()?)));
    Ok(DerivedEngine {
        kind: EngineKind::Slim,
        target: EngineTarget::Page,
        digest: Digest::of(wasm),
        size: wasm.len() as u64,
        engine: Digest::of(full),
        version: env!("CARGO_PKG_VERSION").into(),
        packages: packages.collect::<Result<_>>()?,
        signatures: Vec::new(),
    })
}

/// Golden examples and given inputs on both engines.
fn compare(runner: &Runner<'_>, full: &[u8], wasm: &[u8]) -> Result<Vec<Checked>> {
    let (right, ours) = (
        runner.run(Mode::Check, full)?,
        runner.run(Mode::Check, wasm)?,
    );
    // Two engines that both fail agree about nothing.
    let failed = |ran: &&Ran| ran.answers.get("load").is_none_or(|load| load != "loaded");
    if let Some(ran) = right.iter().find(failed) {
        bail!(
            SelfTestFailed,
            "{}: the full engine cannot load it: {}",
            ran.reference,
            ran.answers.get("load").map_or("no answer", String::as_str)
        );
    }
    let pairs = right.into_iter().zip(ours);
    Ok(pairs
        .map(|(right, ours)| {
            let (same, different): (Vec<_>, Vec<_>) = right
                .answers
                .into_iter()
                .partition(|(name, answer)| ours.answers.get(name) == Some(answer));
            Checked {
                reference: right.reference,
                same: same.len(),
                different: different.into_iter().map(|(name, _)| name).collect(),
                missing: ours.missing,
            }
        })
        .collect())
}

fn text(made: &Made) -> String {
    let mut lines = vec![format!(
        "{}  {} of {}, {} of {} functions",
        made.engine.digest,
        bytes(made.engine.size),
        bytes(made.full_size),
        made.kept,
        made.functions
    )];
    if made.wasm_opt.is_none() {
        lines.push(
            "no wasm-opt was found (npm package binaryen): it would be smaller with one".into(),
        );
    }
    for reference in &made.attached {
        lines.push(format!("attached to {reference}"));
    }
    lines.extend(made.check.as_deref().map(check::text));
    lines.join("\n")
}
