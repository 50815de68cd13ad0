//! The conformance suite's program. `cargo xtask test` calls it; see README.md of this crate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use twinfer_tests::answer::Results;
use twinfer_tests::cache::suite::Suite;
use twinfer_tests::case::Cases;
use twinfer_tests::{component, forge, list, native, verdict};

/// The whole package from which the broken ones are made.
const FORGED_FROM: &str = "types:1.0.0";

const USAGE: &str = "\
usage:
  twinfer-conformance cases --registry DIR --out FILE
  twinfer-conformance golden --registry DIR --out FILE
  twinfer-conformance native --registry DIR --cases FILE --out FILE
  twinfer-conformance component --address HOST:PORT --second HOST:PORT --cases FILE --out FILE
  twinfer-conformance cache --folder DIR --component FILE --key-value FILE --script FILE
    [--places NAME,NAME] [--cases NAME,NAME]
  twinfer-conformance compare --cases FILE [--native FILE] [--component FILE] [--node FILE] [--page FILE]
";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

type Error = Box<dyn std::error::Error>;

fn run() -> Result<bool, Error> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().ok_or(USAGE)?;
    let mut options = Options::read(arguments)?;
    match command.as_str() {
        "cases" => {
            let (registry, out) = (options.path("registry")?, options.path("out")?);
            options.end()?;
            let mut cases = list::golden(&registry)?;
            // Broken packages come after, or they would be in the list of whole ones.
            let forged = forge::forge(&registry, FORGED_FROM)?;
            let bad = list::bad(&cases, &forged);
            println!(
                "{} golden cases, {} with bad input",
                cases.cases.len(),
                bad.cases.len()
            );
            cases.cases.extend(bad.cases);
            cases.write(&out)?;
        }
        // Only the golden ones, and the registry stays as it is.
        "golden" => {
            let (registry, out) = (options.path("registry")?, options.path("out")?);
            options.end()?;
            list::golden(&registry)?.write(&out)?;
        }
        "native" => {
            let (registry, cases, out) = (
                options.path("registry")?,
                options.path("cases")?,
                options.path("out")?,
            );
            options.end()?;
            native::run(&registry, &Cases::read(&cases)?).write(&out)?;
        }
        "component" => {
            let (address, second) = (options.text("address")?, options.text("second")?);
            let (cases, out) = (options.path("cases")?, options.path("out")?);
            options.end()?;
            component::run(&address, &second, &Cases::read(&cases)?)?.write(&out)?;
        }
        "cache" => return cache(&mut options),
        "compare" => return compare(&mut options),
        other => return Err(format!("there is no command `{other}`\n{USAGE}").into()),
    }
    Ok(true)
}

fn compare(options: &mut Options) -> Result<bool, Error> {
    let cases = Cases::read(&options.path("cases")?)?;
    let mut places = Vec::new();
    for place in ["native", "component", "node", "page"] {
        if let Ok(path) = options.path(place) {
            let results = Results::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            if results.place != place {
                return Err(format!(
                    "{} has the results of {}, not of {place}",
                    path.display(),
                    results.place
                )
                .into());
            }
            places.push(results);
        }
    }
    options.end()?;
    let verdict = verdict::judge(&cases, &places);
    for failure in &verdict.failed {
        println!("FAILED {failure}");
    }
    for (place, passed) in &verdict.passed {
        println!("{place}: {passed} cases as they should be");
    }
    println!(
        "{} passed, {} failed",
        verdict.passes(),
        verdict.failed.len()
    );
    Ok(verdict.failed.is_empty() && verdict.passes() > 0)
}

/// The suite of the versioned cache, in all its places.
fn cache(options: &mut Options) -> Result<bool, Error> {
    let mut names = |option| -> Vec<String> {
        let given = options.text(option).unwrap_or_default();
        let names = given.split(',').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let (places, cases) = (names("places"), names("cases"));
    let suite = Suite {
        folder: options.path("folder")?,
        component: options.path("component")?,
        key_value: options.path("key-value")?,
        script: options.path("script")?,
        places,
        cases,
    };
    options.end()?;
    let verdict = suite.run()?;
    for failure in &verdict.failed {
        println!("FAILED {failure}");
    }
    for ((place, passed), (_, left_out)) in verdict.passed.iter().zip(&verdict.left_out) {
        println!("{place}: {passed} cases as they should be, {left_out} that it cannot do");
    }
    println!(
        "{} passed, {} failed",
        verdict.passes(),
        verdict.failed.len()
    );
    Ok(verdict.failed.is_empty() && verdict.passes() > 0)
}

/// `--name value` pairs.
struct Options {
    given: BTreeMap<String, String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut given = BTreeMap::new();
        while let Some(name) = arguments.next() {
            let name = name
                .strip_prefix("--")
                .ok_or_else(|| format!("`{name}` is no option\n{USAGE}"))?
                .to_owned();
            let value = arguments
                .next()
                .ok_or_else(|| format!("--{name} needs a value"))?;
            given.insert(name, value);
        }
        Ok(Self { given })
    }

    fn text(&mut self, name: &str) -> Result<String, Error> {
        self.given
            .remove(name)
            .ok_or_else(|| format!("--{name} is missing\n{USAGE}").into())
    }

    fn path(&mut self, name: &str) -> Result<PathBuf, Error> {
        self.text(name).map(PathBuf::from)
    }

    fn end(&self) -> Result<(), Error> {
        match self.given.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("there is no option --{name} here\n{USAGE}").into()),
        }
    }
}
