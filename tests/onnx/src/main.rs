//! The backend tests of ONNX itself, as `cases.py` writes them:
//!
//! ```text
//! twinfer-onnx native --folder DIR [--expected FILE] [--write] [--json] [--only TEXT]
//! twinfer-onnx wasm --folder DIR --answers FILE [the same]
//! twinfer-onnx table (--folder DIR --expected FILE [--expected-wasm FILE])... --out FILE [--check]
//! ```
//!
//! Without more it says how each case ended that did not pass. `--expected` compares with a table,
//! (with `--numbers-vary` but for wrong numbers), `--write` writes it, `--json` prints counts of the states. `--only` runs the cases whose name has
//! the text in it, and says how each ended. `wasm` judges what `web/test/run-onnx.mjs` wrote.
//!
//! `table` writes the document of operators, from the cases of all folders and what is expected of them,
//! and runs nothing; with `--check` it fails where the document is another one.

mod case;
mod compare;
mod expected;
mod run;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::case::Case;
use crate::run::{State, States};
use crate::table::Place;

const USAGE: &str = "usage: twinfer-onnx native|wasm --folder DIR [--answers FILE] [--expected FILE] [--numbers-vary] [--write] [--json] [--only TEXT]
       twinfer-onnx table (--folder DIR --expected FILE [--expected-wasm FILE])... --out FILE [--check]";

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

type Error = Box<dyn std::error::Error>;

#[derive(Default)]
struct Options {
    place: String,
    answers: Option<PathBuf>,
    folders: Vec<PathBuf>,
    expected: Vec<PathBuf>,
    expected_wasm: Vec<PathBuf>,
    only: Option<String>,
    out: Option<PathBuf>,
    check: bool,
    write: bool,
    numbers_vary: bool,
    json: bool,
}

impl Options {
    fn read() -> Result<Self, Error> {
        let mut arguments = std::env::args().skip(1);
        let place = arguments.next().unwrap_or_default();
        if !matches!(&*place, "native" | "wasm" | "table") {
            return Err(USAGE.into());
        }
        let mut options = Self {
            place,
            ..Self::default()
        };
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match name.as_str() {
                "--folder" => options.folders.push(value()?.into()),
                "--answers" => options.answers = Some(value()?.into()),
                "--expected-wasm" => options.expected_wasm.push(value()?.into()),
                "--expected" => options.expected.push(value()?.into()),
                "--only" => options.only = Some(value()?),
                "--out" => options.out = Some(value()?.into()),
                "--check" => options.check = true,
                "--write" => options.write = true,
                "--numbers-vary" => options.numbers_vary = true,
                "--json" => options.json = true,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

fn start() -> Result<bool, Error> {
    let options = Options::read()?;
    if options.place == "table" {
        return table(&options);
    }
    let [folder] = &options.folders[..] else {
        return Err(USAGE.into());
    };
    let mut cases = case::read(folder)?;
    let only = options.only.as_ref();
    cases.retain(|case| only.is_none_or(|only| case.name.contains(only)));
    let states = match options.place.as_str() {
        "native" => {
            // A panic is a finding of its own, not noise.
            std::panic::set_hook(Box::new(|_| ()));
            run::run_native(folder, &cases)
        }
        _ => {
            let file = options.answers.as_ref().ok_or(USAGE)?;
            run::judge_answers(&cases, &case::lines(file)?)
        }
    };
    if options.json {
        println!("{}", json!({ &options.place: counts(&cases, &states) }));
    }
    match options.expected.first() {
        Some(file) if options.write => {
            expected::write(file, &states)?;
            Ok(true)
        }
        Some(file) => {
            let wrong = expected::differences(file, &states, options.numbers_vary)?;
            for difference in &wrong {
                println!("{difference}");
            }
            if !options.json {
                println!(
                    "{} passed, {} failed",
                    states.len() - wrong.len(),
                    wrong.len()
                );
            }
            Ok(wrong.is_empty())
        }
        None => {
            for (name, state) in &states {
                if only.is_some() || *state != State::Pass {
                    println!("{name}: {state}");
                }
            }
            println!("{}", json!(counts(&cases, &states)));
            Ok(true)
        }
    }
}

/// Writes or checks the document of operators.
fn table(options: &Options) -> Result<bool, Error> {
    let mut cases = Vec::new();
    for folder in &options.folders {
        cases.extend(case::read(folder)?);
    }
    // How many of these there are depends on the processor: the quantiser measures, and gives up on some.
    cases.retain(|case| case.suite != "quantised");
    let file = options.out.as_ref().ok_or(USAGE)?;
    let mut places = vec![Place::read("Native", &options.expected)?];
    if !options.expected_wasm.is_empty() {
        places.push(Place::read("Page", &options.expected_wasm)?);
    }
    let is_same = table::put(&table::document(&cases, &places), file, options.check)?;
    if !is_same {
        println!(
            "{} is not what the tests say; write it again: twinfer-onnx table without --check",
            file.display()
        );
    }
    Ok(is_same)
}

/// How many cases of each suite are in each state.
fn counts<'a>(
    cases: &'a [Case],
    states: &States,
) -> BTreeMap<&'a str, BTreeMap<&'static str, u64>> {
    let mut all: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for case in cases {
        let counts = all.entry(&case.suite).or_default();
        for name in ["pass", "unsupported", "near", "wrong", "panic"] {
            counts.entry(name).or_default();
        }
        if let Some(state) = states.get(&case.name) {
            *counts.entry(state.name()).or_default() += 1;
            *counts.entry("total").or_default() += 1;
        }
    }
    all
}
