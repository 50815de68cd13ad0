//! `twinfer sign`

use std::path::PathBuf;

use clap::Args;
use twinfer::Result;
use twinfer_package::{Reference, Signer, WritableStore, attach_signature, limits};

use crate::keys;
use crate::output::Output;

/// Sign a package: attach a package signature to it in the registry
///
/// The signature is a bundle of OpenSSF Model Signing v1.0 over the names and digests of all
/// files. Signing again with the same key changes nothing; other keys add theirs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer sign face-detector:1.0.0 --key release.key
  twinfer sign face-detector:1.0.0 --bundle model.sig
      attach what `model_signing sign key FOLDER` made of the unpacked package")]
pub struct SignArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,

    /// The private key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "bundle",
        conflicts_with = "bundle"
    )]
    pub key: Option<PathBuf>,

    /// A bundle that another tool made of the same files
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

pub fn run(args: &SignArgs, store: &dyn WritableStore, output: &Output) -> Result<()> {
    let attached = match (&args.key, &args.bundle) {
        (Some(key), _) => {
            attach_signature(store, &args.reference, Signer::Key(&keys::private(key)?))
        }
        (None, bundle) => {
            let bundle = bundle.clone().unwrap_or_default();
            let bundle = keys::bytes(&bundle, limits::MAX_BUNDLE_BYTES)?;
            attach_signature(store, &args.reference, Signer::Bundle(&bundle))
        }
    };
    let attached = attached.map_err(|e| e.context(&args.reference))?;
    output.print(&attached, || {
        let key = attached
            .key
            .as_deref()
            .unwrap_or("a key that it does not name");
        let what = if attached.added {
            "signed"
        } else {
            "was signed before"
        };
        format!(
            "{what}  {}@{}\nby {key}",
            args.reference.name(),
            attached.package
        )
    })
}
