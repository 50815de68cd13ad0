//! Loading a package at build time.
//!
//! `twinfer fuse --target page` instantiates the engine without JavaScript, calls the exports
//! here, and takes a snapshot of memory and globals, which becomes the first contents of a fused
//! engine. Nothing here may touch a value of JavaScript: the imports trap then. So neither time nor
//! randomness can get into the snapshot, since an instance has no source of them but imports. The
//! seeds of maps (those of the standard library and of `foldhash`; no crate here hashes with
//! anything else) are made of constants and addresses on this target, so they are the same in every
//! instance of any engine, fused or not: nothing that was random is frozen.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use twinfer::{Error, ErrorCode, Model, Result, bail, err};
use twinfer_package::{Descriptor, Digest, PackageReader, Parts, media};

use super::{memory, stop};

/// What was loaded at build time.
#[derive(Clone)]
pub(super) struct Fused {
    pub model: Rc<Model>,
    pub digest: Digest,
    pub layers: Rc<[Descriptor]>,
    pub golden: Option<Descriptor>,
}

thread_local! {
    static FUSED: RefCell<Option<Fused>> = const { RefCell::new(None) };
    /// The last error: its code, a line end, and what was wrong.
    static ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Whether this instance was started before: in a fused engine, at build time.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Notes that the instance starts; `false` when it did already.
pub(super) fn first_start() -> bool {
    !STARTED.swap(true, Ordering::Relaxed)
}

/// The model that this engine has in it.
pub(super) fn fused() -> Option<Fused> {
    FUSED.with_borrow(Clone::clone)
}

/// Memory for so many bytes, for [`twinfer_fuse_load`]; from here on nothing that is freed stays
/// behind. Null when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn twinfer_fuse_alloc(length: usize) -> *mut u8 {
    memory::clean(true);
    let mut bytes: Vec<u8> = Vec::new();
    match bytes.try_reserve_exact(length) {
        Ok(()) => bytes.leak().as_mut_ptr(),
        Err(_) => std::ptr::null_mut(),
    }
}

/// Loads the package of a bundle: its manifest and the layers of [`Parts::Tested`] in any order,
/// each with four bytes of length in front, little-endian. Then runs its golden examples, so that
/// the plans for their shapes are there, and forgets all that predictions do not need. 0, or 1
/// for an error: see [`twinfer_fuse_error`].
///
/// # Safety
/// `pointer` is what [`twinfer_fuse_alloc`] gave for `length`, with so many bytes written to it;
/// it is used up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn twinfer_fuse_load(pointer: *mut u8, length: usize) -> i32 {
    // SAFETY: the caller promises that this is the memory of a vector of this length.
    let bundle = unsafe { Vec::from_raw_parts(pointer, length, length) };
    match load(bundle) {
        Ok(fused) => {
            FUSED.set(Some(fused));
            0
        }
        Err(error) => {
            ERROR.set(format!("{}\n{}", error.code().as_str(), error.message()));
            1
        }
    }
}

/// Where the last error is: its code, a line end, and what was wrong, as UTF-8. After a trap, the
/// panic that was its reason.
#[unsafe(no_mangle)]
pub extern "C" fn twinfer_fuse_error() -> *const u8 {
    if let Some(panic) = stop::panic_message() {
        let code = ErrorCode::InvalidModel.as_str();
        ERROR.set(format!(
            "{code}\nthe engine cannot prepare this model: {panic}"
        ));
    }
    ERROR.with_borrow(|text| text.as_ptr())
}

/// Bytes of the text at [`twinfer_fuse_error`].
#[unsafe(no_mangle)]
pub extern "C" fn twinfer_fuse_error_length() -> usize {
    ERROR.with_borrow(String::len)
}

/// The last call before the snapshot: what is freed is only freed again.
#[unsafe(no_mangle)]
pub extern "C" fn twinfer_fuse_finish() {
    memory::clean(false);
}

fn load(bundle: Vec<u8>) -> Result<Fused> {
    if fused().is_some() {
        bail!(
            InvalidRequest,
            "this engine is fused with a package already"
        );
    }
    let mut parts = parts(&bundle)?.into_iter();
    let manifest = parts.next().ok_or_else(cut)?;
    let descriptor = Descriptor::new(media::MANIFEST, manifest);
    let mut reader = PackageReader::new(descriptor.clone())?.parts(Parts::Tested);
    reader.supply(&descriptor.digest, manifest.to_vec())?;
    for layer in parts {
        reader.supply(&Digest::of(layer), layer.to_vec())?;
    }
    drop(bundle);
    let package = reader.finish()?;
    if package
        .golden()
        .is_none_or(|golden| golden.cases.is_empty())
    {
        bail!(
            InvalidPackage,
            "{} has no golden examples: there is nothing to warm it up with, and nothing that proves it",
            package.name()
        );
    }
    let mut model = package.load()?;
    package.self_test(&model)?.check()?;
    model.keep_used_plans_only();
    Ok(Fused {
        model: Rc::new(model),
        digest: descriptor.digest,
        layers: package.layers().into(),
        golden: package.golden_descriptor().cloned(),
    })
}

/// What a bundle has, in its order.
fn parts(mut bundle: &[u8]) -> Result<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk() {
        let part = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (part, rest) = part.ok_or_else(cut)?;
        parts.push(part);
        bundle = rest;
    }
    match bundle.is_empty() {
        true => Ok(parts),
        false => Err(cut()),
    }
}

fn cut() -> Error {
    err!(InvalidRequest, "the bundle of a package is cut off")
}
