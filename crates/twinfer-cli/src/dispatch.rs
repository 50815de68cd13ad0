//! From the command line to the command.

use clap::ArgMatches;
use twinfer::Result;

use crate::args::{Args, Command};
use crate::commands::*;
use crate::model_source::ModelSource;
use crate::output::Output;
use crate::registry::Registry;
use crate::trust::Trust;

/// Does what the command line says: `args`, read from `given`.
///
/// # Errors
/// Those of the command.
pub fn run(args: Args, given: &ArgMatches, output: &Output) -> Result<()> {
    let registry = Registry::new(args.registry, &args.network, &args.cache);
    let trust = Trust::read(args.trust.as_deref(), args.trust_state)?;
    let args_cache = args.cache.clone();
    let plain_http = args.network.plain_http;
    let ca_file = args.network.ca_file.clone();
    let policy = args.trust;
    match args.command {
        Command::Pack(mut args) => {
            args.import.plain_http = plain_http;
            pack::run(&args, &registry.folder()?, output)
        }
        // Of a model file no registry is wanted.
        Command::Inspect(args) => match &args.model {
            ModelSource::File(path) => inspect::run_file(path, args.can_run, output),
            ModelSource::Package(reference) => registry.read(output, |_, store| {
                inspect::run(reference, args.can_run, store, &trust, output)
            }),
        },
        Command::Predict(args) => registry.read(output, |_, store| {
            predict::run(&args, store, &trust, output)
        }),
        // Of a model file no registry is wanted.
        Command::Run(args) if args.is_file() => run::run(&args, &registry, None, &trust, output),
        Command::Run(args) => registry.read(output, |registry, store| {
            run::run(&args, registry, Some(store), &trust, output)
        }),
        Command::Verify(args) => verify::run(&args, &registry, trust, output),
        Command::Ls(args) => ls::run(&args, &registry, output),
        Command::Push(args) => push::run(&args, &registry, output),
        Command::Pull(args) => pull::run(&args, &registry, output),
        Command::Copy(args) => copy::run(&args, &registry, output),
        Command::Mirror(args) => mirror::run(&args, &registry, output),
        Command::Tag(args) => tag::run(&args, &*registry.writable()?, output),
        Command::Rm(args) => rm::run(&args, &registry.folder()?, output),
        Command::Gc(args) => gc::run(&args, &registry.folder()?, output),
        Command::Unpack(args) => {
            registry.read(output, |_, store| unpack::run(&args, store, &trust, output))
        }
        Command::Diff(args) => {
            registry.read(output, |_, store| diff::run(&args, store, &trust, output))
        }
        Command::Cache(args) => {
            let quota = args_cache.cache_quota;
            cache::run(&args, &registry.cached(&[], output)?, quota, output)
        }
        Command::Keygen(args) => keygen::run(&args, output),
        Command::ApiKey(args) => api_key::run(&args, output),
        Command::Policy(args) => policy::run(&args, output),
        Command::Sign(args) => sign::run(&args, &*registry.writable()?, output),
        Command::SignTags(args) => sign_tags::run(&args, &*registry.writable()?, &trust, output),
        Command::Fuse(args) => registry.read(output, |registry, store| {
            fuse::run(&args, registry, store, &trust, output)
        }),
        Command::Slim(args) => slim::run(&args, &registry, &trust, policy.as_deref(), output),
        // Of a model file no registry is wanted.
        Command::Batch(args) if args.is_file() => batch::run(&args, None, &trust, output),
        Command::Batch(args) => registry.read(output, |_, store| {
            batch::run(&args, Some(store), &trust, output)
        }),
        Command::Deploy(args) => deploy::run(&args, &registry, output),
        Command::Serve(args) => crate::serve::run(*args, given, &registry, &trust),
        Command::Health(args) => health::run(&args, ca_file.as_deref(), output),
    }
}
