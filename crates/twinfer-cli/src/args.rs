//! The command line.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use twinfer_package::Reference;
use twinfer_registry::Location;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  an input, a model or a reference is wrong
  2  wrong usage of this command line
  3  a package is not what it says (digest, size, missing layer, golden examples), or the
     trust policy refuses it
  4  a folder, the disk, the network or the server failed
  5  a defect in Twinfer itself

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

/// How registries on the network are reached.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Reach registries of other machines without TLS
    #[arg(long, global = true)]
    pub plain_http: bool,

    /// Certificates (PEM) of authorities to trust besides those of the system
    #[arg(long, global = true, value_name = "FILE", env = "TWINFER_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Pack(crate::commands::PackArgs),
    Inspect(InspectArgs),
    Predict(PredictArgs),
    Run(RunArgs),
    Verify(VerifyArgs),
    Ls(LsArgs),
    Tag(crate::commands::tag::TagArgs),
    Rm(crate::commands::rm::RmArgs),
    Gc(crate::commands::gc::GcArgs),
    Push(crate::commands::push::PushArgs),
    Pull(crate::commands::pull::PullArgs),
    Copy(crate::commands::copy::CopyArgs),
    Mirror(crate::commands::mirror::MirrorArgs),
    Unpack(crate::commands::UnpackArgs),
    Diff(crate::commands::DiffArgs),
    Keygen(crate::commands::KeygenArgs),
    Sign(crate::commands::SignArgs),
    SignTags(crate::commands::SignTagsArgs),
    Policy(crate::commands::policy::PolicyArgs),
    Serve(crate::serve::ServeArgs),
}

/// Show what a package has in it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer inspect face-detector:1.0.0
  twinfer inspect face-detector --json")]
pub struct InspectArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,
}

/// Give a model an input and print its answer
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer predict face-detector:1.0.0 --input picture=photo.jpg
  twinfer predict file-type --input content=report.pdf --param prediction_mode=best_guess
  twinfer predict tumour-risk --input record=@patient.json
  twinfer predict tumour-risk --input record='{\"mean radius\": 17.99}' --json
  curl -s https://example.org/photo.jpg | twinfer predict face-detector --input picture=-
  twinfer predict face-detector --input input=tensor.npy")]
pub struct PredictArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,

    /// What the model gets: a file; - for standard input; for a record JSON or @FILE; for
    /// the tensors of the model itself one .npy file each
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair, required = true)]
    pub input: Vec<(String, String)>,

    /// A parameter that the model declares
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub param: Vec<(String, String)>,
}

/// Run a model on raw tensors: .npy files in, one .npy file for each output
///
/// The file of an output has its name, with / and : replaced by _. Where an output is a list
/// of maps (ZipMap), NAME.npy has the numbers and NAME.keys.npy the keys, as strings.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer run model.onnx --input input=x.npy --output-dir out
  twinfer run face-detector:1.0.0 --input input=x.npy --output-dir out --target component")]
pub struct RunArgs {
    /// An .onnx file, or name, name:version, name@sha256:…
    #[arg(value_name = "FILE.onnx|REFERENCE")]
    pub model: String,

    /// An input of the model and its .npy file
    #[arg(long, short, value_name = "NAME=FILE.npy", value_parser = pair)]
    pub input: Vec<(String, String)>,

    /// Where the outputs go; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub output_dir: PathBuf,

    /// Where the model runs
    #[arg(long, value_enum, default_value = "native")]
    pub target: Target,

    #[command(flatten)]
    pub component: ComponentArgs,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// In this process
    Native,
    /// In the WASI component, on a host that is started for it
    Component,
}

#[derive(Debug, ClapArgs)]
pub struct ComponentArgs {
    /// The WASI component; found by itself in a build folder or beside this program
    #[arg(long, value_name = "FILE", env = "TWINFER_COMPONENT")]
    pub component: Option<PathBuf>,
}

/// Check packages: every digest and size, the golden examples, and the trust policy
///
/// Ends with exit code 3 when any is not as it should be.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer verify
  twinfer verify face-detector:1.0.0 file-type
  twinfer verify face-detector --key release.key.pub
  twinfer verify --trust policy.json
  twinfer verify --no-self-test --json")]
pub struct VerifyArgs {
    /// name, name:version, or name@sha256:…; without any, all packages of the registry
    pub references: Vec<Reference>,

    /// Demand a package signature by this public key (PEM), instead of the trust policy
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Only digests, sizes and signatures
    #[arg(long)]
    pub no_self_test: bool,
}

/// List the packages of the registry
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer ls
  twinfer ls face-detector --json")]
pub struct LsArgs {
    /// Only the versions of this model
    pub name: Option<String>,
}

/// Where a registry is.
pub fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text| Location::parse(&text))
}

/// `NAME=VALUE`
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
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
