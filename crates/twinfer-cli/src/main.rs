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
mod releases;
mod serve;
mod settings;
mod transfer;
mod trust;
mod user;

use std::process::ExitCode;

use clap::FromArgMatches;

fn main() -> ExitCode {
    let matches = settings::matches(std::env::args_os().collect()).unwrap_or_else(|e| e.exit());
    let args = args::Args::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let output = output::Output::new(args.json);
    let done = match &args.command {
        args::Command::Serve(serve) if serve.print_config => {
            output.text(&settings::print(&matches))
        }
        _ => dispatch::run(args, &matches, &output),
    };
    match done {
        Ok(()) => output.exit_code(),
        Err(error) => output.fail(&error),
    }
}
