//! `cargo xtask bench`: everything measured in one run on one machine.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser;
use crate::build;
use crate::demo::pack_models;
use crate::failure::{Context, Result};
use crate::npm;
use crate::paths;
use crate::profiles::WasmPack;
use crate::run::Run;
use crate::serve::{Server, Serving, free_address};
use crate::setup::Setup;
use crate::sizes;
use crate::steps::{Job, Output, nothing_to_do, step, together};

/// The native meter: optimised, without the link-time optimisation that nobody ships there. Given
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
struct Bench {
    quick: bool,
    folder: PathBuf,
    registry: PathBuf,
    cases: PathBuf,
    component: PathBuf,
    server: PathBuf,
    meter: PathBuf,
    conformance: PathBuf,
}

/// Builds, measures, reports.
pub fn bench(quick: bool, profile_name: &str) -> Result<()> {
    let setup = Setup::begin()?;
    together(setup.jobs())?;
    let browser = browser::required()?;
    let bench_folder = paths::root().join("bench");
    if npm::up_to_date(&bench_folder) {
        nothing_to_do("npm packages of bench/");
    } else {
        step("npm ci in bench", |output| {
            npm::install(&bench_folder, output)
        })?;
    }
    let cargo_profile = WasmPack::read()?
        .profile(profile_name)?
        .cargo_profile
        .clone();
    // The development build is measured as it is, with what demo and tests have built.
    let shipped = cargo_profile == "release";
    let native = paths::target().join(if shipped { "bench-native" } else { "debug" });
    together(vec![
        Job::new("build the host and the native meter", |output| {
            build::command(output)?;
            if shipped {
                native_meter(output)
            } else {
                Ok(())
            }
        }),
        Job::new("build the page's wasm and the component", |output| {
            build::web_wasm(&setup, profile_name, output)?;
            build::component(&cargo_profile, output)
        }),
    ])?;
    build::npm_package()?;
    let program = |name: &str| native.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let bench = Bench {
        quick,
        folder: paths::target().join("bench"),
        registry: paths::target().join("bench/registry"),
        cases: paths::target().join("bench/cases.json"),
        component: paths::component(&cargo_profile),
        // The development build hosts as well: the component's own code is what takes the
        // time, and cranelift compiles that the same in every build of the host.
        server: paths::command(),
        meter: program("twinfer-bench"),
        conformance: program("twinfer-conformance"),
    };
    bench.prepare()?;
    bench.measure(profile_name, &browser)?;
    if quick {
        println!(
            "Results in {}; a quick run writes no document.",
            paths::show(&bench.folder)
        );
        return Ok(());
    }
    bench.report()
}

fn native_meter(output: &Output) -> Result<()> {
    Run::new("cargo")
        .args(["build", "-p", "twinfer-tests", "--bins"])
        .args(NATIVE_PROFILE)
        .to(output)
        .run()
}

impl Bench {
    fn prepare(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder).context(|| self.folder.display().to_string())?;
        pack_models(&self.server, &["models"], &self.registry)?;
        step("write the examples", |output| {
            let arguments = [
                Path::new("golden"),
                Path::new("--registry"),
                &self.registry,
                Path::new("--out"),
                &self.cases,
            ];
            Run::new(&self.conformance).args(arguments).to(output).run()
        })
    }

    fn measure(&self, profile_name: &str, browser: &Path) -> Result<()> {
        let commit = Run::new("git")
            .args(["rev-parse", "--short", "HEAD"])
            .read()?;
        let description = json!({
            "commit": commit.trim(),
            "machine": machine(),
            "profile": profile_name,
            "when": date()?,
        });
        self.write("machine", &description.to_string())?;
        step("sizes", |_| {
            let mut files = sizes::artifacts(profile_name, &[])?;
            let rival = paths::root().join("bench/node_modules/onnxruntime-web/dist");
            let rivals = ["ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs"];
            files.extend(rivals.map(|name| sizes::Artifact::file(rival.join(name))));
            let measured = sizes::measure(&files, 11)?;
            self.write(
                "sizes",
                &serde_json::to_string_pretty(&measured).context(|| "sizes".into())?,
            )
        })?;
        step("in the page", |output| {
            let registry = [Path::new("--registry"), &self.registry];
            self.script("page", output)
                .args(registry)
                .env(browser::VARIABLE, browser)
                .run()
        })?;
        step("natively", |output| {
            let out = self.folder.join("native.json");
            let mut run = Run::new(&self.meter)
                .args([
                    Path::new("--registry"),
                    &self.registry,
                    Path::new("--cases"),
                    &self.cases,
                    Path::new("--out"),
                    &out,
                ])
                .to(output);
            if self.quick {
                run = run.args(["--quick"]);
            }
            run.run()
        })?;
        let listen = free_address()?;
        let serving = Serving {
            program: &self.server,
            registry: &self.registry,
            component: &self.component,
            listen: &listen,
        };
        let server = step("start twinfer serve", |_| Server::start(&serving))?;
        step("in the component", |output| {
            self.script("component", output)
                .args(["--address", server.address()])
                .run()
        })
    }

    /// A script of `bench/` with what all of them are told.
    fn script(&self, name: &str, output: &Output) -> Run {
        let script = paths::root().join("bench").join(format!("{name}.mjs"));
        let out = self.folder.join(format!("{name}.json"));
        let run = Run::new("node")
            .args([
                script.as_path(),
                Path::new("--cases"),
                &self.cases,
                Path::new("--out"),
                &out,
            ])
            .to(output);
        if self.quick {
            run.args(["--quick"])
        } else {
            run
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(format!("{name}.json"));
        std::fs::write(&path, format!("{text}\n")).context(|| path.display().to_string())
    }

    /// Keeps the results and makes the document.
    fn report(&self) -> Result<()> {
        step("write bench/results/ and docs/benchmarks.md", |output| {
            let results = paths::root().join("bench/results");
            std::fs::create_dir_all(&results).context(|| results.display().to_string())?;
            for name in ["machine", "sizes", "page", "native", "component"] {
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
