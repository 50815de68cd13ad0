//! The commands, a file each.

mod inspect;
mod keygen;
mod ls;
mod pack;
mod predict;
mod run;
mod sign;
mod sign_tags;
mod verify;

pub use keygen::KeygenArgs;
pub use sign::SignArgs;
pub use sign_tags::SignTagsArgs;

use twinfer::Result;
use twinfer_package::FolderStore;

use crate::args::{Args, Command};
use crate::output::Output;
use crate::trust::Trust;

/// Does what the command line says.
///
/// # Errors
/// Those of the command.
pub fn run(args: Args, output: &Output) -> Result<()> {
    let trust = Trust::read(args.trust.as_deref(), args.trust_state)?;
    let store = FolderStore::new(args.registry);
    match args.command {
        Command::Pack(args) => pack::run(&args, &store, output),
        Command::Inspect(args) => inspect::run(&args, &store, &trust, output),
        Command::Predict(args) => predict::run(&args, &store, &trust, output),
        Command::Run(args) => run::run(&args, &store, &trust, output),
        Command::Verify(args) => verify::run(&args, &store, trust, output),
        Command::Ls(args) => ls::run(&args, &store, output),
        Command::Keygen(args) => keygen::run(&args, output),
        Command::Sign(args) => sign::run(&args, &store, output),
        Command::SignTags(args) => sign_tags::run(&args, &store, &trust, output),
        Command::Serve(args) => crate::serve::run(args, &trust),
    }
}
