//! The commands, a file each.

mod inspect;
mod ls;
mod pack;
mod predict;
mod run;
mod verify;

use twinfer::{Error, ErrorCode, Result};
use twinfer_host::{HostError, HostErrorKind};
use twinfer_package::FolderStore;

use crate::args::{Args, Command};
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
        Command::Serve(args) => crate::serve::run(args).map_err(host_error),
    }
}

/// An error of the host as ours.
pub fn host_error(error: HostError) -> Error {
    let code = match error.kind() {
        HostErrorKind::Config => ErrorCode::InvalidParameter,
        HostErrorKind::Component => ErrorCode::Storage,
        HostErrorKind::Listen => ErrorCode::Network,
        _ => ErrorCode::Internal,
    };
    Error::new(code, error.to_string())
}
