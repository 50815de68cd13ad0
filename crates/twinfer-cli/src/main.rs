//! The `twinfer` command. `docs/cli.md` describes it.

mod args;
mod bar;
mod can_run;
mod commands;
mod component;
mod dispatch;
mod host_error;
mod import;
mod inputs;
mod keys;
mod model_source;
mod npy;
mod options;
mod output;
mod packages_cache;
mod registry;
mod serve;
mod transfer;
mod trust;
mod user;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = output::Output::new(args.json);
    match dispatch::run(args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}
