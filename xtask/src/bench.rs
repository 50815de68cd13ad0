//! `cargo xtask bench`: everything measured in one run on one machine.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser;
use crate::build;
use crate::demo::pack_models;
use crate::derived::{self, Derived, Maker};
use crate::engines;
use crate::failure::{Context, Failure, Result};
use crate::npm;
use crate::paths;
use crate::profiles::WasmPack;
use crate::python;
use crate::run::Run;
use crate::setup::Setup;
use crate::sizes;
use crate::steps::{Job, Output, nothing_to_do, step, together};

/// What is measured: names of results, and of scripts in `bench/measures/` but for the sizes.
const MEASURES: [&str; 14] = [
    "sizes",
    "network",
    "page",
    "outside",
    "trees",
    "component",
    "fresh",
    "throughput",
    "servers",
    "start",
    "artifacts",
    "native",
    "host-memory",
    "load-memory",
];

/// Builds, packs and fuses, writes the plan, and measures nothing.
const PREPARE: &str = "prepare";

/// How hard brotli presses what is compared with the rivals: what a good server sends.
const BROTLI_QUALITY: u8 = 11;

/// The native programs: optimised, without the link-time optimisation that takes half an hour. Given
/// on the command line, because it is for here only.
const NATIVE_PROFILE: [&str; 8] = [
    "--profile",
    "bench-native",
    "--config",
    "profile.bench-native.inherits='release'",
    "--config",
    "profile.bench-native.lto=false",
    "--config",
    "profile.bench-native.codegen-units=16",
];

/// What is measured, and where its results go.
struct Bench<'a> {
    profile: &'a str,
    quick: bool,
    folder: PathBuf,
    browser: PathBuf,
    component: PathBuf,
    native: PathBuf,
}

/// Builds, measures, reports; all measures or those of these names.
pub fn bench(quick: bool, profile_name: &str, only: &[String]) -> Result<()> {
    let known = |name: &String| name == PREPARE || MEASURES.contains(&name.as_str());
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        return Err(Failure::usage(format!(
            "there is no measure `{unknown}`; there are {PREPARE}, {}",
            MEASURES.join(", ")
        )));
    }
    let cargo_profile = WasmPack::read()?
        .profile(profile_name)?
        .cargo_profile
        .clone();
    // The development build is measured as it is, with what demo and tests have built.
    let shipped = cargo_profile == "release";
    let setup = Setup::begin()?;
    together(setup.jobs())?;
    let bench = Bench {
        profile: profile_name,
        quick,
        folder: paths::target().join("bench"),
        browser: browser::required()?,
        component: paths::component(&cargo_profile),
        native: paths::target().join(if shipped { "bench-native" } else { "debug" }),
    };
    build_all(&setup, profile_name, &cargo_profile, shipped)?;
    bench.prepare()?;
    let wanted: Vec<&str> = MEASURES
        .into_iter()
        .filter(|name| only.is_empty() || only.iter().any(|n| n == name))
        .collect();
    let failed = bench.measure(&wanted);
    if quick || wanted.is_empty() {
        println!(
            "Results in {}; a quick run writes no document.",
            paths::show(&bench.folder)
        );
    } else {
        bench.report(&wanted, &failed)?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failed.join("\n")))
    }
}

fn build_all(setup: &Setup, profile_name: &str, cargo_profile: &str, shipped: bool) -> Result<()> {
    let folder = paths::root().join("bench");
    if npm::up_to_date(&folder) {
        nothing_to_do("npm packages of bench/");
    } else {
        step("npm ci in bench", |output| npm::install(&folder, output))?;
    }
    together(vec![
        Job::new("build the native programs", |output| {
            build::command(output)?;
            if shipped {
                native_programs(output)
            } else {
                Ok(())
            }
        }),
        Job::new("build the page's wasm and the component", |output| {
            build::web_wasm(setup, profile_name, output)?;
            build::component(cargo_profile, output)
        }),
    ])?;
    build::npm_package()?;
    engines::default_engine(profile_name)
}

/// The meter, and the command that hosts: with a fresh instance for each request the host's own
/// code counts.
fn native_programs(output: &Output) -> Result<()> {
    Run::new("cargo")
        .args([
            "build",
            "-p",
            "twinfer-tests",
            "-p",
            "twinfer-cli",
            "--bins",
        ])
        .args(NATIVE_PROFILE)
        .to(output)
        .run()
}

impl Bench<'_> {
    fn program(&self, name: &str) -> PathBuf {
        self.native
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    fn registry(&self) -> PathBuf {
        self.folder.join("registry")
    }

    fn cases(&self) -> PathBuf {
        self.folder.join("cases.json")
    }

    /// Packages, examples, rivals and derived artifacts; and the plan, which tells the measures
    /// where all of it is.
    fn prepare(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder).context(|| self.folder.display().to_string())?;
        let twinfer = self.program("twinfer");
        pack_models(&twinfer, &["models"], &self.registry())?;
        step("write the examples", |output| {
            let (registry, cases) = (self.registry(), self.cases());
            let arguments = [
                "golden".as_ref(),
                "--registry".as_ref(),
                registry.as_os_str(),
            ];
            Run::new(self.program("twinfer-conformance"))
                .args(arguments)
                .args(["--out".as_ref(), cases.as_os_str()])
                .to(output)
                .run()
        })?;
        let python = step("Python packages of bench/", python::for_bench)?;
        let rivals = step("Python packages of the rivals", |output| Ok(rivals(output)))?;
        self.models(&python, &twinfer)?;
        let derived = step("make the slim and fused artifacts", |output| {
            self.derive(&twinfer, output)
        })?;
        for (name, reason) in derived.iter().filter_map(Derived::missing) {
            println!("    without {name}: {reason}");
        }
        let plan = json!({
            "commit": commit()?,
            "machine": machine(),
            "profile": self.profile,
            "quick": self.quick,
            "program": twinfer,
            "meter": self.program("twinfer-bench"),
            "component": self.component,
            "web": paths::web().join("dist"),
            "registry": self.registry(),
            "cases": self.cases(),
            "browser": self.browser,
            "python": python,
            "rivals": rivals,
            "outside": self.folder.join("outside"),
            "trees": self.folder.join("trees"),
            "turns": self.program("twinfer-native-turns"),
            "derived": derived,
        });
        self.write("plan", &plan)
    }

    fn models(&self, python: &Path, twinfer: &Path) -> Result<()> {
        step(
            "models that others made, tree ensembles, and models of several sizes",
            |output| {
                for name in ["outside", "trees", "sized"] {
                    let script = paths::root().join(format!("bench/models/{name}.py"));
                    let out = self.folder.join(name);
                    Run::new(python)
                        .args([&script])
                        .args(["--program".as_ref(), twinfer.as_os_str()])
                        .args(["--out".as_ref(), out.as_os_str()])
                        .to(output)
                        .run()?;
                }
                Ok(())
            },
        )
    }

    fn derive(&self, twinfer: &Path, output: &Output) -> Result<Vec<Derived>> {
        let maker = Maker::new(self.profile, twinfer, output)?;
        let mut all = maker.make(derived::GUARDED, &self.registry())?;
        all.extend(maker.make(derived::MEASURED, &self.registry())?);
        all.extend(maker.make(derived::SIZED, &self.folder.join("sized/registry"))?);
        // A page finds such an engine beside the package; the other measures want a registry
        // without one.
        for page in derived::PAGES {
            if all[page].path().is_none() || !maker.has("fuse", &["--attach"]) {
                continue;
            }
            let registry = self.folder.join(format!("registry-{page}"));
            pack_models(twinfer, &["models"], &registry)?;
            // Without it that measure is skipped, and all others are not.
            match maker.attach(&derived::GUARDED[page], &registry) {
                Ok(()) => all[page].registry = Some(registry),
                Err(failure) => println!("    not attached for the page: {failure}"),
            }
        }
        Ok(all)
    }

    /// Runs the measures; one that fails does not keep the others from running. Gives what failed.
    fn measure(&self, wanted: &[&str]) -> Vec<String> {
        let describe = |name: &str, result: Result<()>| {
            result.err().map(|failure| format!("{name}: {failure}"))
        };
        let machine = describe("machine", self.machine());
        let measured = wanted.iter().filter_map(|name| {
            let result = step(&format!("measure {name}"), |output| match *name {
                "sizes" => self.sizes(),
                name => self.script(name, output),
            });
            describe(name, result)
        });
        machine.into_iter().chain(measured).collect()
    }

    fn machine(&self) -> Result<()> {
        let description = json!({
            "commit": commit()?,
            "machine": machine(),
            "profile": self.profile,
            "when": date()?,
        });
        self.write("machine", &description)
    }

    fn sizes(&self) -> Result<()> {
        let mut files = sizes::artifacts(self.profile, &derived::present(self.profile))?;
        let rival = paths::root().join("bench/node_modules/onnxruntime-web/dist");
        let rivals = ["ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs"];
        files.extend(rivals.map(|name| sizes::Artifact::file(rival.join(name))));
        let quality = if self.quick {
            sizes::brotli_quality("dev")
        } else {
            BROTLI_QUALITY
        };
        let sizes = sizes::measure(&files, quality)?;
        if quality == sizes::brotli_quality(self.profile) {
            let ours = &sizes[..sizes.len() - rivals.len()];
            sizes::print_table(self.profile, ours, &sizes::verdicts(self.profile, ours)?);
        }
        self.write("sizes", &json!(sizes))
    }

    fn script(&self, name: &str, output: &Output) -> Result<()> {
        let script = paths::root().join(format!("bench/measures/{name}.mjs"));
        let plan = self.folder.join("plan.json");
        Run::new("node")
            .args([&script])
            .args(["--plan".as_ref(), plan.as_os_str()])
            .to(output)
            .run()
    }

    fn write(&self, name: &str, value: &serde_json::Value) -> Result<()> {
        let path = self.folder.join(format!("{name}.json"));
        std::fs::write(&path, format!("{value:#}\n")).context(|| path.display().to_string())
    }

    /// Keeps the results of what did not fail, and makes the document.
    fn report(&self, wanted: &[&str], failed: &[String]) -> Result<()> {
        step("write bench/results/ and docs/benchmarks.md", |output| {
            let results = paths::root().join("bench/results");
            std::fs::create_dir_all(&results).context(|| results.display().to_string())?;
            let worked = |name: &&str| {
                let start = format!("{name}: ");
                !failed.iter().any(|failure| failure.starts_with(&start))
            };
            for name in wanted.iter().copied().chain(["machine"]).filter(worked) {
                let file = format!("{name}.json");
                std::fs::copy(self.folder.join(&file), results.join(&file))
                    .context(|| file.clone())?;
            }
            Run::new("node")
                .args([paths::root().join("bench/report.mjs")])
                .to(output)
                .run()
        })
    }
}

/// The Python of each rival with an environment of its own, or why there is none: that keeps no other
/// from being measured.
fn rivals(output: &Output) -> serde_json::Value {
    let made = python::RIVALS.map(|name| {
        let found = match python::for_rival(name, output) {
            Ok(path) => json!({"path": path}),
            Err(failure) => {
                println!("    without {name}: {failure}");
                json!({"missing": format!("it cannot be installed here: {failure}")})
            }
        };
        (name.to_owned(), found)
    });
    serde_json::Value::Object(made.into_iter().collect())
}

/// What is built here.
fn commit() -> Result<String> {
    let commit = Run::new("git").args(["rev-parse", "--short", "HEAD"]);
    Ok(commit.read()?.trim().to_owned())
}

/// The machine in a few words.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(key)?
                .split_once(':')
                .map(|(_, value)| value.trim().to_owned())
        })
    };
    let processor = field(&read("/proc/cpuinfo"), "model name")
        .unwrap_or_else(|| std::env::consts::ARCH.into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let memory = memory.map_or(String::new(), |kib| {
        format!(", {} GiB", kib.div_ceil(1 << 20))
    });
    format!(
        "{processor}, {cores} cores{memory}, {}",
        std::env::consts::OS
    )
}

/// Today, by Node: the standard library has no calendar.
fn date() -> Result<String> {
    let script = "console.log(new Date().toISOString().slice(0, 10))";
    Ok(Run::new("node")
        .args(["-e", script])
        .read()?
        .trim()
        .to_owned())
}
