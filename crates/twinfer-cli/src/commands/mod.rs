//! The commands, a file each.

pub mod gc;
mod inspect;
mod ls;
mod pack;
mod predict;
pub mod rm;
mod run;
pub mod tag;
mod verify;

use twinfer::Result;
use twinfer_package::FolderStore;

use crate::args::{Args, Command};
use crate::host_error::host_error;
use crate::output::Output;

/// Does what the command line says.
///
/// # Errors
/// Those of the command.
pub fn run(args: Args, output: &Output) -> Result<()> {
    let store = FolderStore::new(args.registry);
    match args.command {
        Command::Pack(args) => pack::run(&args, &store, output),
        Command::Inspect(args) => inspect::run(&args, &store, output),
        Command::Predict(args) => predict::run(&args, &store, output),
        Command::Run(args) => run::run(&args, &store, output),
        Command::Verify(args) => verify::run(&args, &store, output),
        Command::Ls(args) => ls::run(&args, &store, output),
        Command::Tag(args) => tag::run(&args, &store, output),
        Command::Rm(args) => rm::run(&args, &store, output),
        Command::Gc(args) => gc::run(&args, &store, output),
        Command::Serve(args) => crate::serve::run(args).map_err(host_error),
    }
}
