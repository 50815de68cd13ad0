//! The backend tests of ONNX itself, as `cases.py` writes them:
//!
//! ```text
//! twinfer-onnx native --folder DIR --out FILE [--only TEXT]
//! ```
//!
//! `--only` runs the cases whose name has the text in it, and says how each ended.

mod case;
mod compare;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use run::State;

const USAGE: &str = "usage: twinfer-onnx native --folder DIR --out FILE [--only TEXT]";

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

type Error = Box<dyn std::error::Error>;

fn start() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("native") {
        return Err(USAGE.into());
    }
    let (mut folder, mut out, mut only) = (None, None, None);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match name.as_str() {
            "--folder" => folder = Some(PathBuf::from(value)),
            "--out" => out = Some(PathBuf::from(value)),
            "--only" => only = Some(value),
            _ => return Err(USAGE.into()),
        }
    }
    let folder = folder.ok_or(USAGE)?;
    let mut cases = case::read(&folder)?;
    cases.retain(|case| only.as_ref().is_none_or(|only| case.name.contains(only)));
    // A panic is a finding of its own, not noise.
    std::panic::set_hook(Box::new(|_| ()));
    let states = run::run_native(&folder, &cases);
    if only.is_some() {
        for (name, state) in &states {
            println!("{name}: {state:?}");
        }
    }
    let count = |like: fn(&State) -> bool| states.values().filter(|state| like(state)).count();
    println!(
        "{} cases: {} pass, {} unsupported, {} wrong, {} panic",
        states.len(),
        count(|s| matches!(s, State::Pass)),
        count(|s| matches!(s, State::Unsupported(_))),
        count(|s| matches!(s, State::Wrong(_))),
        count(|s| matches!(s, State::Panic(_))),
    );
    if let Some(out) = out {
        std::fs::write(out, serde_json::to_vec_pretty(&states)?)?;
    }
    Ok(())
}
