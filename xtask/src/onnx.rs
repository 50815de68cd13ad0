//! The backend tests of ONNX itself, and what others make in the same form: natively and in the
//! page's engine. `cargo xtask conformance`, and a suite of `cargo xtask test`.

use std::path::{Path, PathBuf};

use crate::build::{self, native_selection};
use crate::counts::{Counts, Runner};
use crate::engines;
use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::python;
use crate::run::Run;
use crate::setup::Setup;
use crate::steps::{Job, Output, nothing_to_do, step, together};
use crate::test::watched;

/// Cases that a script writes, and the tables of what is expected of them.
struct Suite {
    /// Of the folder under `target/`.
    name: &'static str,
    /// Under `tests/onnx/`.
    script: &'static str,
    /// What does not pass, under `tests/onnx/`: natively, and as wasm.
    expected: [&'static str; 2],
    /// What the reference gives depends on the processor.
    numbers_vary: bool,
    /// Its cases are for operators, and counted in their table.
    shows_operators: bool,
}

const SUITES: [Suite; 9] = [
    Suite {
        name: "onnx",
        script: "cases.py",
        expected: ["expected.json", "expected-wasm.json"],
        numbers_vary: false,
        shows_operators: true,
    },
    Suite {
        name: "estimators",
        script: "estimators.py",
        expected: ["expected-estimators.json", "expected-estimators-wasm.json"],
        numbers_vary: false,
        shows_operators: false,
    },
    Suite {
        name: "linear",
        script: "linear.py",
        expected: ["expected-linear.json", "expected-linear-wasm.json"],
        numbers_vary: false,
        shows_operators: true,
    },
    Suite {
        name: "quantised",
        script: "quantised.py",
        expected: ["expected-quantised.json", "expected-quantised-wasm.json"],
        // Without VNNI, onnxruntime's sums of pairs of 8-bit products saturate.
        numbers_vary: true,
        shows_operators: true,
    },
    Suite {
        name: "half",
        script: "half.py",
        expected: ["expected-half.json", "expected-half-wasm.json"],
        numbers_vary: false,
        shows_operators: true,
    },
    Suite {
        name: "opsets",
        script: "opsets.py",
        expected: ["expected-opsets.json", "expected-opsets-wasm.json"],
        numbers_vary: false,
        shows_operators: true,
    },
    Suite {
        name: "recurrent",
        script: "recurrent.py",
        expected: ["expected-recurrent.json", "expected-recurrent-wasm.json"],
        numbers_vary: false,
        shows_operators: true,
    },
    Suite {
        name: "untidy",
        script: "untidy.py",
        expected: ["expected-untidy.json", "expected-untidy-wasm.json"],
        numbers_vary: false,
        shows_operators: false,
    },
    Suite {
        name: "real-files",
        script: "real.py",
        expected: ["expected-real.json", "expected-real-wasm.json"],
        numbers_vary: false,
        shows_operators: false,
    },
];

/// Prints how the tests of ONNX end, in lines or as JSON; with `write`, the tables of expected
/// states become what they are now.
pub fn conformance(json: bool, write: bool) -> Result<()> {
    let setup = Setup::begin("dev")?;
    let mut jobs = setup.jobs();
    if let python::Setup::With(python) = python::setup() {
        jobs.push(python::job(python));
    }
    jobs.push(Job::new("build the runner and the page's wasm", |output| {
        Run::new("cargo")
            .args(["build", "--bin", "twinfer-onnx"])
            .args(native_selection())
            .to(output)
            .run()?;
        build::web_wasm(&setup, "dev", output)
    }));
    together(jobs)?;
    build::npm_package()?;
    // Building the package leaves its slim engine out.
    engines::default_engine("dev")?;
    let mut all = serde_json::Map::new();
    for suite in &SUITES {
        let folder = suite.cases()?;
        for Place { name, run, table } in suite.places(&folder)? {
            if write {
                run.expecting(&table).args(["--write"]).run()?;
            } else if json {
                gather(&mut all, suite.name, name, &run.args(["--json"]).read()?)?;
            } else {
                run.expecting(&table).watch()?;
            }
        }
    }
    if write {
        documents(&[])?;
    }
    if json {
        println!("{}", serde_json::Value::Object(all));
    }
    Ok(())
}

/// The documents that are made of cases and tables; with `--check` they are compared.
fn documents(check: &[&str]) -> Result<bool> {
    let tests = paths::root().join("tests/onnx");
    let docs = paths::root().join("docs");
    let mut table = Run::new(runner()).args(["table"]);
    for suite in SUITES.iter().filter(|suite| suite.shows_operators) {
        let [native, wasm] = suite.expected.map(|file| tests.join(file));
        table = table
            .args(["--folder".as_ref(), suite.folder().as_os_str()])
            .args(["--expected".as_ref(), native.as_os_str()])
            .args(["--expected-wasm".as_ref(), wasm.as_os_str()]);
    }
    let (_, operators) = table
        .args(["--out".as_ref(), docs.join("operators.md").as_os_str()])
        .args(check)
        .watch()?;
    let Some(python) = python::program() else {
        return Ok(operators);
    };
    let (_, estimators) = Run::new(python)
        .args([
            tests.join("estimators_table.py"),
            paths::target().join("estimators"),
        ])
        .args(check)
        .watch()?;
    Ok(operators && estimators)
}

fn runner() -> PathBuf {
    let program = format!("twinfer-onnx{}", std::env::consts::EXE_SUFFIX);
    paths::target().join("debug").join(program)
}

/// The counts of a place; those of the node tests under its name, as everybody reads them.
fn gather(
    all: &mut serde_json::Map<String, serde_json::Value>,
    suite: &str,
    place: &str,
    text: &str,
) -> Result<()> {
    let line = text.lines().find(|line| line.starts_with('{'));
    let counts: serde_json::Value = serde_json::from_str(line.unwrap_or_default())
        .map_err(|e| Failure::new(format!("the runner printed no counts: {e}")))?;
    let kinds = counts[place].as_object().into_iter().flatten();
    for (kind, counts) in kinds {
        match (suite, kind.as_str()) {
            ("onnx", "node") => all.insert(place.to_owned(), counts.clone()),
            _ => all.insert(format!("{kind} ({place})"), counts.clone()),
        };
    }
    Ok(())
}

/// All suites, natively and as wasm.
pub fn run() -> Result<Counts> {
    let mut counts = Counts::default();
    for suite in &SUITES {
        let folder = suite.cases()?;
        for Place { name, run, table } in suite.places(&folder)? {
            println!("{} ({name})", suite.name);
            counts += watched(run.expecting(&table), Runner::Plain)?;
        }
    }
    let same = documents(&["--check"])?;
    counts += Counts {
        passed: same.into(),
        failed: (!same).into(),
    };
    Ok(counts)
}

/// Where cases ran, and how they are judged.
struct Place {
    name: &'static str,
    run: Run,
    /// The states that are expected.
    table: PathBuf,
}

impl Run {
    /// A runner that says at its end how many states are as in this table.
    fn expecting(self, table: &Path) -> Self {
        self.args(["--expected".as_ref(), table.as_os_str()])
    }
}

impl Suite {
    /// Runs the cases as wasm, and gives the runner of each place.
    fn places(&self, folder: &Path) -> Result<[Place; 2]> {
        let answers = folder.join("answers.jsonl");
        step(
            &format!("cases of {} as wasm in Node", self.name),
            |output| {
                Run::new("node")
                    .args([
                        "test/run-onnx.mjs".as_ref(),
                        "--folder".as_ref(),
                        folder.as_os_str(),
                    ])
                    .args(["--out".as_ref(), answers.as_os_str()])
                    .dir(paths::web())
                    .to(output)
                    .run()
            },
        )?;
        let place = |name: &'static str, table: &str| Place {
            name,
            run: Run::new(runner())
                .args([name])
                .args(["--folder".as_ref(), folder.as_os_str()]),
            table: paths::root().join("tests/onnx").join(table),
        };
        let place = |name, table| match (self.numbers_vary, place(name, table)) {
            (false, place) => place,
            (true, place) => Place {
                run: place.run.args(["--numbers-vary"]),
                ..place
            },
        };
        let [native, wasm] = self.expected;
        let mut wasm = place("wasm", wasm);
        wasm.run = wasm.run.args(["--answers".as_ref(), answers.as_os_str()]);
        Ok([place("native", native), wasm])
    }

    fn folder(&self) -> PathBuf {
        paths::target().join(self.name)
    }

    /// The cases, written anew when a script or the pins of their packages are not those of the last
    /// time.
    fn cases(&self) -> Result<PathBuf> {
        let folder = self.folder();
        let script = paths::root().join("tests/onnx").join(self.script);
        let stamp = folder.join(".made-by");
        let wanted = scripts(&paths::root().join("tests/onnx"))? + &python::wanted();
        if std::fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == wanted) {
            nothing_to_do(&format!("cases of {}", self.name));
            return Ok(folder);
        }
        let Some(python) = python::program() else {
            return Err(Failure::new(
                "the tests of ONNX come from its Python package; install Python 3.11",
            ));
        };
        step(
            &format!("write the cases of {}", self.name),
            |output: &Output| {
                Run::new(python)
                    .args([script.as_os_str(), folder.as_os_str()])
                    .to(output)
                    .run()
            },
        )?;
        std::fs::write(&stamp, wanted).context(|| paths::show(&stamp))?;
        Ok(folder)
    }
}

/// The texts of all scripts in a folder and in those inside: they share modules.
fn scripts(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).context(|| paths::show(folder))? {
        files.push(entry.context(|| paths::show(folder))?.path());
    }
    files.sort();
    let mut all = String::new();
    for file in files {
        if file.is_dir() {
            all.push_str(&scripts(&file)?);
        } else if file.extension().is_some_and(|e| e == "py") {
            all.push_str(&std::fs::read_to_string(&file).context(|| paths::show(&file))?);
        }
    }
    Ok(all)
}
