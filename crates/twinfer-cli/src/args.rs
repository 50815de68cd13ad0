//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use twinfer_registry::Location;

use crate::commands::*;
use crate::options::{CacheArgs, NetworkArgs, location};
use crate::serve::ServeArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  an input, a model or a reference is wrong
  2  wrong usage of this command line
  3  a package is not what it says (digest, size, missing layer, golden examples), or the
     trust policy refuses it
  4  a folder, the disk, the network or the server failed
  5  a defect in Twinfer itself
  6  batch: done, and some rows could not be answered

Errors go to standard error as `error[code]: message`; docs/errors.md lists the codes.";

/// Packs, checks, runs and serves models: the same answers in a page, in a WASI component
/// and natively.
#[derive(Debug, Parser)]
#[command(name = "twinfer", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// The registry: a folder (an OCI image layout), https://host/path for a static host of
    /// such a folder, or oci://host/prefix for an OCI registry
    #[arg(
        long,
        global = true,
        value_name = "LOCATION",
        env = "TWINFER_REGISTRY",
        default_value = "registry",
        value_parser = location()
    )]
    pub registry: Location,

    #[command(flatten)]
    pub network: NetworkArgs,

    #[command(flatten)]
    pub cache: CacheArgs,

    /// A trust policy (JSON): what it refuses is not opened
    #[arg(long, global = true, value_name = "FILE", env = "TWINFER_TRUST")]
    pub trust: Option<PathBuf>,

    /// Where the counters of signed tags are kept [default: twinfer/trust.json in the user's
    /// state folder]
    #[arg(long, global = true, value_name = "FILE", env = "TWINFER_TRUST_STATE")]
    pub trust_state: Option<PathBuf>,

    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Pack(pack::PackArgs),
    Inspect(inspect::InspectArgs),
    Predict(predict::PredictArgs),
    Run(run::RunArgs),
    Verify(verify::VerifyArgs),
    Ls(ls::LsArgs),
    Unpack(unpack::UnpackArgs),
    Diff(diff::DiffArgs),
    Tag(tag::TagArgs),
    Rm(rm::RmArgs),
    Gc(gc::GcArgs),
    Push(push::PushArgs),
    Pull(pull::PullArgs),
    Copy(copy::CopyArgs),
    Mirror(mirror::MirrorArgs),
    Keygen(keygen::KeygenArgs),
    ApiKey(api_key::ApiKeyArgs),
    Sign(sign::SignArgs),
    SignTags(sign_tags::SignTagsArgs),
    Policy(policy::PolicyArgs),
    Slim(slim::SlimArgs),
    Cache(cache::CacheCommand),
    Fuse(fuse::FuseArgs),
    Deploy(deploy::DeployArgs),
    Serve(Box<ServeArgs>),
    Batch(Box<batch::BatchArgs>),
    Health(health::HealthArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Args::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }
}
