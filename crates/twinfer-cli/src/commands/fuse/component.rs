//! `twinfer fuse --target component`

use twinfer::{Result, err};
use twinfer_artifact::component::label;
use twinfer_artifact::fuse::component::{Bundle, Fuser};
use twinfer_package::{Store, resolve};

use super::{FuseArgs, Made};
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
    let label = label(&wasm)?
        .ok_or_else(|| err!(Internal, "the fused component does not say what it is"))?;
    Ok(Made {
        wasm,
        label,
        reference: reference.pinned(manifest.digest),
        wasm_opt: None,
    })
}
