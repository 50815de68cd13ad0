//! `twinfer fuse --target page`

use std::path::Path;

use tempfile::TempDir;
use twinfer::{Result, bail, err};
use twinfer_artifact::Profile;
use twinfer_artifact::component::Label;
use twinfer_artifact::fuse::component::Bundle;
use twinfer_artifact::fuse::page;
use twinfer_artifact::slim::{self, Missing, Optimised};
use twinfer_package::{Digest, EngineKind, Package, Parts, Reference, Store, resolve};

use super::{FuseArgs, Made};
use crate::commands::slim::gather;
use crate::commands::slim::npm::NpmPackage;
use crate::commands::slim::runner::{Mode, Ran, Runner, Wanted};
use crate::trust::Trust;

/// The fused engine.
pub(super) fn fuse(args: &FuseArgs, store: &dyn Store, trust: &Trust) -> Result<Made> {
    let npm = NpmPackage::find(args.npm.as_deref())?;
    let path = args.engine.clone().unwrap_or_else(|| npm.engine());
    let full =
        std::fs::read(&path).map_err(|e| err!(Storage, "the engine {}: {e}", path.display()))?;
    // What the policy admits, so that nothing can be exchanged in between.
    let reference = trust.pinned(store, &args.reference)?;
    let at = |e: twinfer::Error| e.context(&args.reference);
    let manifest = resolve(&store.index_of(&reference)?, &reference).map_err(at)?;
    let reference = reference.pinned(manifest.digest);
    let bundle = Bundle::read(store, &manifest).map_err(at)?;
    let fused = page::fuse(&full, &bundle).map_err(at)?;
    let (optimised, profile) = match args.no_slim {
        true => {
            let profile = Profile::whole(Digest::of(&fused), slim::functions(&fused)?);
            let module = fused;
            (Optimised { module, with: None }, profile)
        }
        false => slimmed(&full, &fused, store, &reference, npm.dist()).map_err(at)?,
    };
    let label = Label {
        kind: EngineKind::Fused,
        slim: !args.no_slim,
        engine: Digest::of(&full),
        version: env!("CARGO_PKG_VERSION").into(),
        packages: [(manifest.digest, profile.digest()?)].into(),
    };
    Ok(Made {
        wasm: page::with_label(optimised.module, &label)?,
        label,
        reference,
        wasm_opt: optimised.with,
    })
}

/// The engine with what a page enters when the model is in it, and that profile. What comes out
/// has given the answers of the full engine to every golden example, bit by bit.
fn slimmed(
    full: &[u8],
    fused: &[u8],
    store: &dyn Store,
    reference: &Reference,
    dist: &Path,
) -> Result<(Optimised, Profile)> {
    let folder = TempDir::new().map_err(|e| err!(Storage, "a temporary folder: {e}"))?;
    let package = Package::open_parts(store, reference, Parts::Description)?;
    let tagged = gather(store, &package, folder.path())?;
    let wanted = [Wanted {
        reference: tagged.to_string(),
        inputs: Vec::new(),
    }];
    let runner = Runner {
        dist,
        registry: folder.path(),
        // The policy decided before; the engine that has the package in it decides nothing.
        trust: None,
        packages: &wanted,
    };
    let ran = runner.run(Mode::Profile, &slim::instrument(fused)?)?;
    let entered = ran.first().map(|ran| &ran.entered[..]).unwrap_or_default();
    let profile = slim::entered_words(fused, entered)?;
    let stripped = slim::strip(fused, &profile, Missing::Import)?;
    let optimised = slim::optimise(stripped, slim::wasm_opt(Some(dist)).as_deref())?;
    let right = runner.run(Mode::Check, full)?;
    same(&right, &runner.run(Mode::Check, &optimised.module)?)?;
    Ok((optimised, profile))
}

fn same(right: &[Ran], ours: &[Ran]) -> Result<()> {
    for (right, ours) in right.iter().zip(ours) {
        for (name, answer) in &right.answers {
            if ours.answers.get(name) != Some(answer) {
                bail!(
                    SelfTestFailed,
                    "the fused engine does not give the answer of the full one to `{name}`"
                );
            }
        }
        if let Some(lacks) = ours.missing.first() {
            bail!(
                SelfTestFailed,
                "the fused engine lacks function {} for the {}",
                lacks.index,
                lacks.doing
            );
        }
    }
    match right.iter().all(|ran| !ran.answers.is_empty()) {
        true => Ok(()),
        false => bail!(SelfTestFailed, "the full engine answers no golden example"),
    }
}
