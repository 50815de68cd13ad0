//! `twinfer fuse --target component`

use tempfile::TempDir;
use twinfer::{Result, err};
use twinfer_artifact::component::{label, with_label};
use twinfer_artifact::fuse::component::{Bundle, Fuser};
use twinfer_package::{Store, resolve};

use super::{FuseArgs, Made};
use crate::commands::slim::component::{Asked, slim};
use crate::component::find;
use crate::trust::Trust;

/// The fused component.
pub(super) fn fuse(args: &FuseArgs, store: &dyn Store, trust: &Trust) -> Result<Made> {
    let path = find(args.engine.as_deref())?;
    let engine =
        std::fs::read(&path).map_err(|e| err!(Storage, "cannot read {}: {e}", path.display()))?;
    // What the policy admits, so that nothing can be exchanged in between.
    let reference = trust.pinned(store, &args.reference)?;
    let at = |e: twinfer::Error| e.context(&args.reference);
    let manifest = resolve(&store.index_of(&reference)?, &reference).map_err(at)?;
    let bundle = Bundle::read(store, &manifest).map_err(at)?;
    let fuser = Fuser::new(&engine).map_err(|e| e.context(path.display()))?;
    let wasm = fuser.fuse(env!("CARGO_PKG_VERSION"), &bundle).map_err(at)?;
    let mut label = label(&wasm)?
        .ok_or_else(|| err!(Internal, "the fused component does not say what it is"))?;
    let reference = reference.pinned(manifest.digest);
    if !args.slim {
        return Ok(Made {
            wasm,
            label,
            reference,
            wasm_opt: None,
        });
    }
    let folder = TempDir::new().map_err(|e| err!(Storage, "a temporary folder: {e}"))?;
    let asked = Asked::gather(store, &reference, folder.path()).map_err(at)?;
    let slimmed = slim(&wasm, &[asked], folder.path()).map_err(at)?;
    label.slim = true;
    label.packages = slimmed.packages()?;
    Ok(Made {
        wasm: with_label(&slimmed.component, &label)?,
        label,
        reference,
        wasm_opt: slimmed.wasm_opt,
    })
}
