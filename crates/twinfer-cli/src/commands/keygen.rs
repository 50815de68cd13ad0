//! `twinfer keygen`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use twinfer::{Result, bail, err};
use twinfer_package::{Curve, PrivateKey};

use crate::keys;
use crate::output::Output;

/// Make a pair of keys for signing packages
///
/// FILE gets the private key (PKCS #8 in PEM, readable by its owner only), FILE.pub the public
/// one, which belongs into trust policies. Existing files are not overwritten.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer keygen release.key
  twinfer keygen release.key --curve p384")]
pub struct KeygenArgs {
    /// Where the private key goes
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The elliptic curve
    #[arg(long, value_enum, default_value = "p256")]
    pub curve: CurveName,
}

/// An elliptic curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CurveName {
    /// NIST P-256, with SHA-256
    P256,
    /// NIST P-384, with SHA-384
    P384,
}

pub fn run(args: &KeygenArgs, output: &Output) -> Result<()> {
    let curve = match args.curve {
        CurveName::P256 => Curve::P256,
        CurveName::P384 => Curve::P384,
    };
    let key = PrivateKey::generate(curve, |bytes| {
        getrandom::fill(bytes).map_err(|e| err!(Internal, "the system has no random numbers: {e}"))
    })?;
    let public = key.public()?;
    let mut public_file = args.file.clone().into_os_string();
    public_file.push(".pub");
    let public_file = PathBuf::from(public_file);
    if public_file.exists() {
        bail!(
            Storage,
            "{} is there already: a key that is overwritten is lost",
            public_file.display()
        );
    }
    keys::write_new(&args.file, &key.to_pem()?, true)?;
    keys::write_new(&public_file, &public.to_pem()?, false)?;
    let value = json!({"private_key": args.file, "public_key": public_file, "key": public.hint()});
    output.print(&value, || {
        format!(
            "{}  keep it secret\n{}  give it to those who verify\nkey {}",
            args.file.display(),
            public_file.display(),
            public.hint()
        )
    })
}
