//! `twinfer sign`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use twinfer::Result;
use twinfer_package::{
    Attached, PrivateKey, Reference, SignedEngine, Signer, WritableStore, attach_signature, limits,
    sign_engines,
};

use crate::keys;
use crate::output::Output;

/// Sign a package: attach a package signature to it in the registry
///
/// The signature is a bundle of OpenSSF Model Signing v1.0 over the names and digests of all
/// files. Signing again with the same key changes nothing; other keys add theirs. Engines that
/// were made for it (`twinfer slim`, `twinfer fuse`) are signed with `--engines`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer sign face-detector:1.0.0 --key release.key
  twinfer sign face-detector:1.0.0 --bundle model.sig
      attach what `model_signing sign key FOLDER` made of the unpacked package
  twinfer sign face-detector:1.0.0 --key release.key --engines
      the engines that are attached to it, too")]
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

    /// Sign the engines that are attached to the package, too
    #[arg(long, requires = "key")]
    pub engines: bool,
}

#[derive(Serialize)]
struct Signed {
    #[serde(flatten)]
    package: Attached,
    #[serde(skip_serializing_if = "Option::is_none")]
    engines: Option<Vec<SignedEngine>>,
}

pub fn run(args: &SignArgs, store: &dyn WritableStore, output: &Output) -> Result<()> {
    let signed = match (&args.key, &args.bundle) {
        (Some(key), _) => with_key(args, store, &keys::private(key)?),
        (None, bundle) => {
            let bundle = bundle.clone().unwrap_or_default();
            let bundle = keys::bytes(&bundle, limits::MAX_BUNDLE_BYTES)?;
            let package = attach_signature(store, &args.reference, Signer::Bundle(&bundle));
            package.map(|package| Signed {
                package,
                engines: None,
            })
        }
    };
    let signed = signed.map_err(|e| e.context(&args.reference))?;
    output.print(&signed, || text(&args.reference, &signed))
}

fn with_key(args: &SignArgs, store: &dyn WritableStore, key: &PrivateKey) -> Result<Signed> {
    let package = attach_signature(store, &args.reference, Signer::Key(key))?;
    // What was signed is what the engines must be of, wherever the tag points to by now.
    let pinned = args.reference.clone().pinned(package.package);
    let engines = match args.engines {
        true => Some(sign_engines(store, &pinned, key)?),
        false => None,
    };
    Ok(Signed { package, engines })
}

fn text(reference: &Reference, Signed { package, engines }: &Signed) -> String {
    let what = |added: bool| match added {
        true => "signed",
        false => "was signed before",
    };
    let mut lines = vec![format!(
        "{}  {}@{}",
        what(package.added),
        reference.name(),
        package.package
    )];
    match engines.as_deref() {
        Some([]) => lines.push("it has no engines to sign".into()),
        engines => {
            for SignedEngine { engine, added, .. } in engines.unwrap_or_default() {
                let (kind, target, digest) = (engine.kind, engine.target, engine.digest);
                lines.push(format!("{}  {kind} for {target} {digest}", what(*added)));
            }
        }
    }
    let key = package.key.as_deref();
    lines.push(format!(
        "by {}",
        key.unwrap_or("a key that it does not name")
    ));
    lines.join("\n")
}
