//! Loading a package at build time: the export that `twinfer fuse` calls before it takes the
//! snapshot of memory which becomes the fused component.
//!
//! What the host gives here is bytes, and what it gets back is a result: no file, clock or
//! stream is opened (the host lets none be), so no handle of the build dangles in what serves.
//! What was random is exchanged ([`crate::seeds`]); settings, policy and registry are read by
//! each instance, when its first request is there.

use std::sync::{Arc, OnceLock};

use twinfer::{Error, Result, err};
use twinfer_serve::Fused;

use crate::memory;
use crate::seeds::Seeds;

spin_sdk::wit_bindgen::generate!({
    inline: "
        package twinfer:fuse;
        world fuse {
            /// Loads a package. The error is its code, a line end, and what was wrong.
            export wizer-initialize: func(manifest: list<u8>, layers: list<list<u8>>) -> result<_, string>;
        }
    ",
    world: "fuse",
    runtime_path: "::spin_sdk::wit_bindgen::rt",
});

struct Component;

export!(Component);

/// What was loaded at build time, and the place of the seeds.
static FUSED: OnceLock<(Arc<Fused>, Seeds)> = OnceLock::new();

impl Guest for Component {
    fn wizer_initialize(manifest: Vec<u8>, layers: Vec<Vec<u8>>) -> Result<(), String> {
        memory::clean(true);
        let loaded = load(manifest, layers);
        memory::clean(false);
        loaded.map_err(|error: Error| format!("{}\n{}", error.code().as_str(), error.message()))
    }
}

fn load(manifest: Vec<u8>, layers: Vec<Vec<u8>>) -> Result<()> {
    if crate::component::is_serving() {
        return Err(err!(
            InvalidRequest,
            "this instance serves already: a component is fused before its first request"
        ));
    }
    let fused = Fused::load(manifest, layers)?;
    let seeds = Seeds::find()?;
    FUSED
        .set((Arc::new(fused), seeds))
        .map_err(|_| err!(InvalidRequest, "this component is fused already"))
}

/// The package that was loaded at build time, if one was; new seeds are in place then.
///
/// # Errors
/// `internal` when they cannot be.
pub(crate) fn fused() -> Result<Option<&'static Arc<Fused>>> {
    let Some((fused, seeds)) = FUSED.get() else {
        return Ok(None);
    };
    seeds.renew()?;
    Ok(Some(fused))
}
