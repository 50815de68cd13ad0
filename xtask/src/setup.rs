//! Installing what is missing: pinned versions, into `target/`, nothing twice.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use crate::failure::{Context, Failure, Result};
use crate::npm;
use crate::paths;
use crate::profiles::{Packer, WasmPack};
use crate::run::{Run, find_program};
use crate::steps::{Job, Output, nothing_to_do, step, together};

/// The wasm targets that the build needs.
const TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];

/// The oldest Node.js that runs our scripts and tests.
const NODE: u32 = 20;

/// What the build needs beside cargo.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The wasm-bindgen command; wasm-pack looks for it on the PATH.
    pub wasm_bindgen: PathBuf,
    /// The wasm-pack command, for profiles that want it.
    pub wasm_pack: Option<PathBuf>,
}

/// A tool that cargo installs.
struct CargoTool {
    name: &'static str,
    package: &'static str,
    version: String,
    /// Whether its own lock file is used.
    locked: bool,
    /// Whether its default features are wanted.
    default_features: bool,
}

/// What is there, and what has to be installed.
///
/// Installing takes minutes and does not use all processors all the time, so it runs beside the
/// builds; who needs the tools waits for them.
pub struct Setup {
    wasm_bindgen: CargoTool,
    wasm_pack: Option<CargoTool>,
    installation: Installation,
}

/// Whether the installation of the tools has ended, well or not.
#[derive(Default)]
struct Installation {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Installation {
    fn end(&self) {
        *self.ended.lock().unwrap_or_else(|e| e.into_inner()) = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(|e| e.into_inner());
        while !*ended {
            ended = self.changed.wait(ended).unwrap_or_else(|e| e.into_inner());
        }
    }
}

/// Installs everything that is missing.
pub fn install() -> Result<()> {
    let setup = Setup::begin("dev")?;
    together(setup.jobs())
}

impl Setup {
    /// Looks what is there of what a profile of `wasm-pack.toml` needs. Installs the wasm targets at once: nothing
    /// can begin without them.
    pub fn begin(profile: &str) -> Result<Self> {
        check_node()?;
        targets()?;
        let file = WasmPack::read()?;
        let packer = file.profile(profile)?.packer;
        let versions = file.tools;
        let setup = Self {
            wasm_bindgen: CargoTool {
                name: "wasm-bindgen",
                package: "wasm-bindgen-cli",
                version: versions.wasm_bindgen,
                // Its lock file names a version that is no longer to be had.
                locked: false,
                // TLS, for downloads that we do not want, takes a third of its build.
                default_features: false,
            },
            wasm_pack: (packer == Packer::WasmPack).then_some(CargoTool {
                name: "wasm-pack",
                package: "wasm-pack",
                version: versions.wasm_pack,
                locked: true,
                default_features: true,
            }),
            installation: Installation::default(),
        };
        if setup.missing().is_empty() {
            setup.installation.end();
            let tools = setup.tools_needed();
            let names = tools.map(|tool| format!("{} {}", tool.name, tool.version));
            nothing_to_do(&names.collect::<Vec<_>>().join(", "));
        }
        if npm::up_to_date(&paths::web()) {
            nothing_to_do("npm packages of web/");
        }
        Ok(setup)
    }

    fn tools_needed(&self) -> impl Iterator<Item = &CargoTool> {
        [&self.wasm_bindgen].into_iter().chain(&self.wasm_pack)
    }

    fn missing(&self) -> Vec<&CargoTool> {
        self.tools_needed()
            .filter(|tool| tool.find().is_none())
            .collect()
    }

    /// The installations that are needed, to run beside other jobs.
    pub fn jobs(&self) -> Vec<Job<'_>> {
        let mut jobs = Vec::new();
        let missing = self.missing();
        if !missing.is_empty() {
            let names: Vec<String> = missing
                .iter()
                .map(|tool| format!("{} {}", tool.package, tool.version))
                .collect();
            jobs.push(Job::new(
                &format!("install {}", names.join(" and ")),
                move |output| {
                    let result = missing.iter().try_for_each(|tool| tool.install(output));
                    // In any case: who waits must not wait for ever.
                    self.installation.end();
                    result
                },
            ));
        }
        if !npm::up_to_date(&paths::web()) {
            jobs.push(Job::new("npm ci in web", |output| {
                npm::install(&paths::web(), output)
            }));
        }
        jobs
    }

    /// The tools, as soon as they are there. The jobs must be running, or have run.
    pub fn tools(&self) -> Result<Tools> {
        self.installation.wait();
        Ok(Tools {
            wasm_bindgen: self.wasm_bindgen.require()?,
            wasm_pack: self
                .wasm_pack
                .as_ref()
                .map(CargoTool::require)
                .transpose()?,
        })
    }
}

impl CargoTool {
    /// Where the right version of it is: ours, or one on the PATH.
    fn find(&self) -> Option<PathBuf> {
        let ours = paths::target().join("tools/bin").join(format!(
            "{}{}",
            self.name,
            std::env::consts::EXE_SUFFIX
        ));
        let candidates = ours
            .is_file()
            .then_some(ours)
            .into_iter()
            .chain(find_program(&[self.name]));
        candidates.into_iter().find(|path| self.has_version(path))
    }

    /// `NAME --version` prints `NAME VERSION`.
    fn has_version(&self, path: &Path) -> bool {
        let printed = Run::new(path)
            .args(["--version"])
            .read()
            .unwrap_or_default();
        printed.split_whitespace().nth(1) == Some(self.version.as_str())
    }

    fn require(&self) -> Result<PathBuf> {
        self.find().ok_or_else(|| {
            Failure::new(format!(
                "{} {} is not there, and could not be installed",
                self.name, self.version
            ))
        })
    }

    fn install(&self, output: &Output) -> Result<()> {
        let mut arguments = vec![
            "install",
            self.package,
            "--version",
            &self.version,
            "--force",
        ];
        if self.locked {
            arguments.push("--locked");
        }
        if !self.default_features {
            arguments.push("--no-default-features");
        }
        Run::new("cargo")
            .args(arguments)
            .args([Path::new("--root"), &paths::target().join("tools")])
            .args([
                Path::new("--target-dir"),
                &paths::target().join("tools-build"),
            ])
            // Built to be there soon: it runs for seconds only, and compiling it with optimisation
            // takes a minute longer than that saves.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .to(output)
            .run()
    }
}

fn check_node() -> Result<()> {
    let need =
        format!("Node.js {NODE} or newer is needed (with npm); install it and put it on the PATH");
    let printed = Run::new("node")
        .args(["--version"])
        .read()
        .map_err(|e| Failure::new(format!("{e}\n{need}")))?;
    let major = printed
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE => Ok(()),
        _ => Err(Failure::new(format!(
            "this is Node.js {}; {need}",
            printed.trim()
        ))),
    }
}

/// The wasm targets, when the toolchain does not have them already.
fn targets() -> Result<()> {
    let mut missing = Vec::new();
    for target in TARGETS {
        let folder = Run::new("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .read()?;
        if !Path::new(folder.trim()).is_dir() {
            missing.push(target);
        }
    }
    if missing.is_empty() {
        nothing_to_do(&format!("targets {}", TARGETS.join(", ")));
        return Ok(());
    }
    step(
        &format!("rustup target add {}", missing.join(" ")),
        |output| {
            Run::new("rustup").args(["target", "add"]).args(&missing).to(output).run().context(|| {
            format!("the Rust targets {} are missing; with a Rust that is not from rustup, install them your way", missing.join(", "))
        })
        },
    )
}
