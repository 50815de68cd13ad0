//! The commands, a file each.

mod diff;
mod inspect;
mod ls;
mod pack;
mod predict;
mod run;
mod unpack;
mod verify;

pub use diff::DiffArgs;
pub use pack::PackArgs;
use twinfer::Result;
use twinfer_package::FolderStore;
pub use unpack::UnpackArgs;

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
        Command::Unpack(args) => unpack::run(&args, &store, output),
        Command::Diff(args) => diff::run(&args, &store, output),
        Command::Serve(args) => crate::serve::run(args).map_err(host_error),
    }
}
