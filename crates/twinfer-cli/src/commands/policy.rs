//! `twinfer policy`

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use twinfer::{Result, bail};
use twinfer_package::{KeySpec, PolicyFile, Rule, SignedTagsMode, TrustPolicy};

use crate::keys;
use crate::output::Output;

/// Print a trust policy that accepts what these keys signed, and nothing else
///
/// A beginning: docs/security.md has all that a policy can say.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer policy --key release.key.pub > trust.json
  twinfer policy --key release.key.pub --names 'face-*' --signed-tags > trust.json
  twinfer policy --key release.key.pub --engines > trust.json")]
pub struct PolicyArgs {
    /// A public key, as `twinfer keygen` makes it; may be given several times
    #[arg(long, value_name = "FILE.pub", required = true)]
    pub key: Vec<PathBuf>,

    /// The models that these keys may sign; * stands for any characters. All others are refused
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub names: String,

    /// Demand signed tags (`twinfer sign-tags`) too
    #[arg(long)]
    pub signed_tags: bool,

    /// Let these keys sign engines (`twinfer sign --engines`) too: code that runs in the page
    #[arg(long)]
    pub engines: bool,
}

pub fn run(args: &PolicyArgs, output: &Output) -> Result<()> {
    let mut rule = Rule::new(&args.names);
    if args.signed_tags {
        rule.signed_tags = SignedTagsMode::Required;
    }
    let mut policy = PolicyFile::default();
    for file in &args.key {
        let name = name_of(file);
        let public_key = keys::public(file)?.to_pem()?;
        if policy
            .keys
            .insert(name.clone(), KeySpec { public_key })
            .is_some()
        {
            bail!(
                InvalidParameter,
                "two keys are called `{name}`: rename the file of one"
            );
        }
        rule.keys.push(name);
    }
    if args.engines {
        rule.engine_keys.clone_from(&rule.keys);
    }
    policy.rules.push(rule);
    let text = serde_json::to_string_pretty(&policy)
        .map_err(|e| twinfer::err!(Internal, "a policy has no JSON form: {e}"))?;
    // What is printed is accepted.
    TrustPolicy::from_json(text.as_bytes())?;
    output.print(&policy, || text)
}

/// `release` of `keys/release.key.pub`.
fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".pub").unwrap_or(&name);
    name.strip_suffix(".key").unwrap_or(name).to_owned()
}
