//! `cargo xtask test`: every test there is, and one closing line for all of them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use crate::browser;
use crate::build::{self, native_selection};
use crate::cache;
use crate::clients;
use crate::counts::{Counts, Runner, failures, read};
use crate::debian;
use crate::demo::{pack_models, run_cases};
use crate::deploy;
use crate::engines;
use crate::failure::{Context, Failure, Result};
use crate::onnx;
use crate::paths;
use crate::python;
use crate::run::Run;
use crate::serve::{Server, Serving, free_address};
use crate::setup::Setup;
use crate::sizes;
use crate::soak;
use crate::steps::{Job, Output, nothing_to_do, step, together, took};

/// The suites, in the order in which they run: what fails soonest comes first.
const SUITES: [&str; 12] = [
    "fmt",
    "xtask",
    "sizes",
    "rust",
    "npm",
    "conformance",
    "cache",
    "clients",
    "deploy",
    "soak",
    "onnx",
    "python",
];

/// Suites that are left out, and said to be, where there is no Python.
const NEED_PYTHON: [&str; 4] = ["clients", "deploy", "onnx", "python"];

/// Runs the suites of these names, or all.
pub fn test(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !SUITES.contains(&name.as_str())) {
        return Err(Failure::usage(format!(
            "there is no suite `{unknown}`; there are {}",
            SUITES.join(", ")
        )));
    }
    let start = Instant::now();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|n| n == name);
    let mut results = Vec::new();
    for name in ["fmt", "xtask"].into_iter().filter(|name| wanted(name)) {
        results.push(suite(name, |name| {
            if name == "fmt" {
                formatting()
            } else {
                commands_own()
            }
        }));
    }
    let rest: Vec<&str> = SUITES[2..]
        .iter()
        .copied()
        .filter(|name| wanted(name))
        .collect();
    if !rest.is_empty() {
        match prepare() {
            Ok(browser) => results.extend(
                rest.into_iter()
                    .filter(|name| !NEED_PYTHON.contains(name) || python::program().is_some())
                    .filter(|name| *name != "soak" || soak::POSSIBLE)
                    .map(|name| suite(name, |_| run(name, &browser))),
            ),
            // What cannot be built cannot be tested: that is a failure among the others, so that
            // the last line is there and says so.
            Err(failure) => results.push(suite("build", |_| Err(failure))),
        }
    }
    finish(&results, start)
}

fn run(name: &str, browser: &Path) -> Result<Counts> {
    match name {
        "sizes" => sizes::guard("dev"),
        "rust" => rust(browser),
        "npm" => typescript(browser),
        "python" => references(),
        "onnx" => onnx::run(),
        "clients" => clients::suite(browser),
        "deploy" => deploy::suite(),
        "cache" => watched(cache::suite(browser)?, Runner::Plain),
        "soak" => soak::suite(browser),
        _ => conformance(browser),
    }
}

/// What failed tests said, until the summary.
static FAILURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The summary, what failed tests said, and as the last line the counts of all suites.
fn finish(results: &[(&str, Counts)], start: Instant) -> Result<()> {
    let mut sum = Counts::default();
    for report in std::mem::take(&mut *FAILURES.lock().unwrap_or_else(|e| e.into_inner())) {
        println!("\nOnce more, what failed:\n{report}");
    }
    println!("\nAll suites, {}:", took(start.elapsed()));
    for (name, counts) in results {
        println!("  {name}: {counts}");
        sum += *counts;
    }
    println!("{sum}");
    // Nothing may follow the last line.
    if sum.failed == 0 && sum.passed > 0 {
        Ok(())
    } else {
        Err(Failure::said_already())
    }
}

/// Setup and build: what every later suite shares. Gives the browser.
fn prepare() -> Result<PathBuf> {
    let setup = Setup::begin()?;
    let mut jobs = setup.jobs();
    jobs.extend(tools_of_others()?);
    jobs.push(Job::new("build the command and the Rust tests", |output| {
        build::command(output)?;
        Run::new("cargo")
            .args(["test", "--no-run"])
            .args(native_selection())
            .to(output)
            .run()
    }));
    jobs.push(Job::new(
        "build the components, the tests' guest and the page's wasm",
        |output| {
            build::component("wasm-dev", output)?;
            build::key_value_component("wasm-dev", output)?;
            build::misbehaving_guest(output)?;
            build::web_wasm(&setup, "dev", output)
        },
    ));
    together(jobs)?;
    build::npm_package()?;
    engines::default_engine("dev")?;
    browser::required()
}

/// Installing what the tests compare with. What cannot be installed is named, and the tests that
/// need it say that they were skipped; a browser is not one of these.
fn tools_of_others() -> Result<Vec<Job<'static>>> {
    let mut packages: Vec<&'static str> = browser::needed()?.into_iter().collect();
    let missing = debian::missing(&debian::test_programs());
    let python = python::setup();
    if debian::may_install() {
        packages.extend(missing.iter().map(|program| program.package));
        // Two programs may come from one package.
        packages.dedup();
        if matches!(python, python::Setup::NeedsVenv(_)) {
            packages.push("python3-venv");
        }
    } else {
        for program in missing {
            skipped(program.name, "install it, and it will be tested with");
        }
    }
    let mut jobs: Vec<Job<'static>> = debian::install(packages).into_iter().collect();
    match python {
        python::Setup::Done => nothing_to_do("Python packages of tests/python"),
        python::Setup::With(python) => jobs.push(python::job(python)),
        python::Setup::NeedsVenv(python) if debian::may_install() => {
            // In this order, one after the other.
            let apt = jobs.pop();
            jobs.push(Job::new("apt-get install and pip install", move |output| {
                apt.map_or(Ok(()), |job| job.run(output))?;
                python::job(python).run(output)
            }));
        }
        python::Setup::NeedsVenv(_) => skipped("Python", "install its module venv"),
        python::Setup::Nothing => skipped("Python", "install Python 3.11"),
    }
    Ok(jobs)
}

fn skipped(what: &str, remedy: &str) {
    println!("==> SKIPPED: tests with {what}, which is not here; {remedy}");
}

/// The sample models against the libraries that made them.
fn references() -> Result<Counts> {
    let Some(python) = python::program() else {
        return Err(Failure::new(
            "there is no Python 3.11 to compare the sample models with",
        ));
    };
    let run = Run::new(python).args([paths::root().join("models/check.py")]);
    watched(run, Runner::Plain)
}

/// Runs one suite. One that could not run, or ran nothing, counts as one failure.
fn suite(name: &str, run: impl FnOnce(&str) -> Result<Counts>) -> (&str, Counts) {
    println!("\n==> suite {name}");
    let start = Instant::now();
    let counts = match run(name) {
        Ok(counts) if counts == Counts::default() => {
            println!("suite {name} ran no test");
            Counts {
                passed: 0,
                failed: 1,
            }
        }
        Ok(counts) => counts,
        Err(failure) => {
            println!("suite {name} could not run: {failure}");
            Counts {
                passed: 0,
                failed: 1,
            }
        }
    };
    // Not in the form of the last line.
    println!(
        "    suite {name}: {} ok, {} not, {}",
        counts.passed,
        counts.failed,
        took(start.elapsed())
    );
    (name, counts)
}

/// Runs a test program; when it fails without a failed test, that counts as one.
pub fn watched(run: Run, runner: Runner) -> Result<Counts> {
    let (text, success) = run.watch()?;
    let mut counts = read(runner, &text);
    if !success && counts.failed == 0 {
        counts.failed = 1;
    }
    if counts.failed > 0 {
        FAILURES
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(failures(runner, &text));
    }
    Ok(counts)
}

fn formatting() -> Result<Counts> {
    let (_, clean) = Run::new("cargo")
        .args(["fmt", "--all", "--check"])
        .watch()?;
    Ok(Counts {
        passed: clean.into(),
        failed: (!clean).into(),
    })
}

/// The tests of these commands: by themselves, because this program runs now and its package
/// must not be built with the features of all others. And those of what `bench/` stands on.
fn commands_own() -> Result<Counts> {
    let mut counts = watched(
        Run::new("cargo").args(["test", "--quiet", "-p", "xtask"]),
        Runner::Cargo,
    )?;
    let mut bench = Run::new("node").args(["--test"]);
    let tests = paths::root().join("bench/test");
    for entry in std::fs::read_dir(&tests).context(|| paths::show(&tests))? {
        bench = bench.args([entry.context(|| paths::show(&tests))?.path()]);
    }
    counts += watched(bench, Runner::Node)?;
    Ok(counts)
}

fn rust(browser: &Path) -> Result<Counts> {
    let mut run = Run::new("cargo")
        .args(["test", "--no-fail-fast"])
        .args(native_selection())
        .env("TWINFER_COMPONENT", paths::component("wasm-dev"))
        .env("TWINFER_TEST_GUEST", build::misbehaving_guest_path())
        .env(browser::VARIABLE, browser);
    if let Some(python) = python::program() {
        run = run.env(python::VARIABLE, python);
        if debian::missing(&debian::test_programs()).is_empty() {
            // Nothing is missing: a test that is skipped now is a failure.
            run = run.env("TWINFER_TEST_ALL", "1");
        }
    }
    watched(run, Runner::Cargo)
}

fn typescript(browser: &Path) -> Result<Counts> {
    let run = Run::new("npm")
        .args(["test", "--silent"])
        .dir(paths::web())
        .env(browser::VARIABLE, browser);
    watched(run, Runner::Node)
}

/// The golden cases and the bad ones in all four places, from one list.
fn conformance(browser: &Path) -> Result<Counts> {
    let suite = Conformance {
        folder: paths::target().join("conformance"),
        browser: browser.to_owned(),
    };
    std::fs::create_dir_all(&suite.folder).context(|| suite.folder.display().to_string())?;
    pack_models(
        &paths::command(),
        &["models", "tests/models"],
        &suite.registry(),
    )?;
    step("write the list of cases", |output| {
        suite
            .program(
                "cases",
                &[
                    ("registry", &suite.registry()),
                    ("out", &suite.file("cases")),
                ],
            )
            .to(output)
            .run()
    })?;
    // Two servers are two instances for certain.
    let (one, two) = step("start two servers", |_| {
        Ok((suite.serve()?, suite.serve()?))
    })?;
    together(vec![
        Job::new("cases natively and in the component", |output| {
            suite
                .place("native")
                .args([Path::new("--registry"), &suite.registry()])
                .to(output)
                .run()?;
            suite
                .place("component")
                .args(["--address", one.address(), "--second", two.address()])
                .to(output)
                .run()
        }),
        Job::new("cases in Node and in the page", |output| {
            suite.javascript("node", &one, output)?;
            suite.javascript("page", &one, output)
        }),
    ])?;
    let files =
        ["cases", "native", "component", "node", "page"].map(|name| (name, suite.file(name)));
    let options: Vec<(&str, &Path)> = files
        .iter()
        .map(|(name, file)| (*name, file.as_path()))
        .collect();
    watched(suite.program("compare", &options), Runner::Plain)
}

/// The conformance suite's files and programs.
struct Conformance {
    folder: PathBuf,
    browser: PathBuf,
}

impl Conformance {
    fn registry(&self) -> PathBuf {
        self.folder.join("registry")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn serve(&self) -> Result<Server> {
        Server::start(&Serving {
            program: &paths::command(),
            registry: &self.registry(),
            component: &paths::component("wasm-dev"),
            listen: &free_address()?,
        })
    }

    /// A command of the suite's program, with options.
    fn program(&self, command: &str, options: &[(&str, &Path)]) -> Run {
        let name = format!("twinfer-conformance{}", std::env::consts::EXE_SUFFIX);
        let run = Run::new(paths::target().join("debug").join(name)).args([command]);
        options.iter().fold(run, |run, (name, path)| {
            run.args([format!("--{name}").as_ref(), path.as_os_str()])
        })
    }

    /// The command that runs the list in a place of the suite's own program.
    fn place(&self, place: &str) -> Run {
        self.program(
            place,
            &[("cases", &self.file("cases")), ("out", &self.file(place))],
        )
    }

    /// The list in a place that is JavaScript's.
    fn javascript(&self, place: &str, server: &Server, output: &Output) -> Result<()> {
        let browser = (place == "page").then_some(self.browser.as_path());
        run_cases(
            place,
            server.address(),
            &self.file("cases"),
            &self.folder,
            browser,
            output,
        )
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_runs_nothing_or_cannot_run_is_a_failure() {
        assert_eq!(
            suite("x", |_| Ok(Counts::default())).1,
            Counts {
                passed: 0,
                failed: 1
            }
        );
        assert_eq!(
            suite("x", |_| Err(Failure::new("no"))).1,
            Counts {
                passed: 0,
                failed: 1
            }
        );
        assert_eq!(
            suite("x", |_| Ok(Counts {
                passed: 2,
                failed: 0
            }))
            .1,
            Counts {
                passed: 2,
                failed: 0
            }
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_program_that_fails_without_a_failed_test_is_a_failure() {
        let run = Run::new("sh").args(["-c", "echo '3 passed, 0 failed'; exit 1"]);
        assert_eq!(
            watched(run, Runner::Plain).unwrap(),
            Counts {
                passed: 3,
                failed: 1
            }
        );
    }

    #[test]
    fn the_whole_fails_when_anything_failed_or_nothing_ran() {
        assert!(
            finish(
                &[(
                    "x",
                    Counts {
                        passed: 1,
                        failed: 0
                    }
                )],
                Instant::now()
            )
            .is_ok()
        );
        assert!(
            finish(
                &[(
                    "x",
                    Counts {
                        passed: 1,
                        failed: 1
                    }
                )],
                Instant::now()
            )
            .is_err()
        );
        assert!(finish(&[], Instant::now()).is_err());
    }
}
