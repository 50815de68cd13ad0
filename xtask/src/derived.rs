//! Slim and fused artifacts of the face model, made with `twinfer slim` and `twinfer fuse` out of
//! the engines of a profile: for the table of sizes and for the measurements.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::npm;
use crate::paths;
use crate::profiles::WasmPack;
use crate::run::Run;
use crate::steps::{Output, took};

/// Names wasm-opt for the command.
const OPTIMISER: &str = "TWINFER_WASM_OPT";

/// What is made.
#[derive(Debug)]
pub struct Kind {
    /// How it is called in tables.
    name: &'static str,
    /// Command and arguments of `twinfer`.
    command: &'static str,
    arguments: &'static [&'static str],
    /// The model that it is made for.
    reference: &'static str,
    /// The file.
    file: &'static str,
}

const FACE: &str = "face-detector:1.0.0";
const TABLE: &str = "tumour-risk:1.0.0";
const BYTES: &str = "file-type:1.0.0";
/// An engine of a page is slim unless something else is asked for.
const PAGE: &[&str] = &["--target", "page"];
const COMPONENT: &[&str] = &["--target", "component"];
const COMPONENT_SLIM: &[&str] = &["--target", "component", "--slim"];

const fn kind(
    name: &'static str,
    command: &'static str,
    arguments: &'static [&'static str],
    reference: &'static str,
    file: &'static str,
) -> Kind {
    Kind {
        name,
        command,
        arguments,
        reference,
        file,
    }
}

/// Those of the face model: their sizes are compared with figures in every test run.
pub const GUARDED: &[Kind] = &[
    kind(
        "page, fused and slim (face)",
        "fuse",
        PAGE,
        FACE,
        "page-fused-slim.wasm",
    ),
    kind("page, slim (face)", "slim", PAGE, FACE, "page-slim.wasm"),
    kind(
        "component, slim (face)",
        "slim",
        COMPONENT,
        FACE,
        "component-slim.wasm",
    ),
    kind(
        "component, fused (face)",
        "fuse",
        COMPONENT,
        FACE,
        "component-fused.wasm",
    ),
    kind(
        "component, fused and slim (face)",
        "fuse",
        COMPONENT_SLIM,
        FACE,
        "component-fused-slim.wasm",
    ),
];

/// Which of [`GUARDED`] a page gets from a registry: each from one of its own.
pub const PAGES: [usize; 2] = [0, 1];

/// Those that are only measured.
pub const MEASURED: &[Kind] = &[
    kind(
        "component, fused (tumour-risk)",
        "fuse",
        COMPONENT,
        TABLE,
        "tumour-fused.wasm",
    ),
    kind(
        "component, fused and slim (tumour-risk)",
        "fuse",
        COMPONENT_SLIM,
        TABLE,
        "tumour-fused-slim.wasm",
    ),
    kind(
        "component, fused (file-type)",
        "fuse",
        COMPONENT,
        BYTES,
        "file-type-fused.wasm",
    ),
];

/// Models of 1, 10 and 100 MB, which `bench/models/sized.py` makes.
pub const SIZED: &[Kind] = &[
    kind(
        "component, fused (sized-1)",
        "fuse",
        COMPONENT,
        "sized-1:1.0.0",
        "sized-1-fused.wasm",
    ),
    kind(
        "component, fused (sized-10)",
        "fuse",
        COMPONENT,
        "sized-10:1.0.0",
        "sized-10-fused.wasm",
    ),
    kind(
        "component, fused (sized-100)",
        "fuse",
        COMPONENT,
        "sized-100:1.0.0",
        "sized-100-fused.wasm",
    ),
];

/// One of them.
#[derive(Debug, Serialize)]
pub struct Derived {
    /// How it is called in tables.
    pub name: &'static str,
    /// The file, or why there is none.
    #[serde(flatten)]
    made: Made,
    /// A registry folder in which its package lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Made {
    Path(PathBuf),
    Missing(String),
}

impl Derived {
    /// Where it is.
    pub fn path(&self) -> Option<&Path> {
        match &self.made {
            Made::Path(path) => Some(path),
            Made::Missing(_) => None,
        }
    }

    /// Its name, and why it is not there.
    pub fn missing(&self) -> Option<(&'static str, &str)> {
        match &self.made {
            Made::Path(_) => None,
            Made::Missing(reason) => Some((self.name, reason)),
        }
    }
}

/// The guarded ones of a profile that were made before.
pub fn present(profile_name: &str) -> Vec<Derived> {
    let folder = folder(profile_name);
    GUARDED
        .iter()
        .map(|kind| (kind.name, folder.join(kind.file)))
        .filter(|(_, path)| path.is_file())
        .map(|(name, path)| Derived {
            name,
            made: Made::Path(path),
            registry: None,
        })
        .collect()
}

/// Makes the guarded ones of a profile. One that cannot be made is missing: where it has a figure,
/// that is a failure.
///
/// # Errors
/// When the model cannot be packed, or the optimiser cannot be had.
pub fn make(profile_name: &str, output: &Output) -> Result<Vec<Derived>> {
    let program = paths::command();
    let maker = Maker::new(profile_name, &program, output)?;
    let registry = folder(profile_name).join("registry");
    if maker.has("slim", &[]) || maker.has("fuse", &[]) {
        maker.pack(&paths::root().join("models/face-detector"), &registry)?;
    }
    maker.make(GUARDED, &registry)
}

/// Makes derived artifacts of the engines of one profile.
pub struct Maker<'a> {
    program: &'a Path,
    folder: PathBuf,
    page: PathBuf,
    component: PathBuf,
    /// With the help of each.
    commands: BTreeMap<&'static str, String>,
    /// Only what ships is optimised: wasm-opt takes minutes for the development build.
    optimiser: Option<PathBuf>,
    output: &'a Output,
}

impl<'a> Maker<'a> {
    /// Looks which commands there are.
    ///
    /// # Errors
    /// When the profile is not known, or the folder cannot be made.
    pub fn new(profile_name: &str, program: &'a Path, output: &'a Output) -> Result<Self> {
        let folder = folder(profile_name);
        std::fs::create_dir_all(&folder).context(|| paths::show(&folder))?;
        let file = WasmPack::read()?;
        let profile = file.profile(profile_name)?;
        let help = Run::new(program).args(["help"]).read()?;
        let commands = ["slim", "fuse"]
            .into_iter()
            .filter(|command| offers(&help, command))
            .map(|command| {
                Run::new(program)
                    .args(["help", command])
                    .read()
                    .map(|help| (command, help))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            program,
            folder,
            page: paths::root()
                .join(&profile.out_dir)
                .join(format!("{}_bg.wasm", file.krate.out_name)),
            component: paths::component(&profile.cargo_profile),
            commands,
            optimiser: match profile_name {
                "release" => Some(optimiser(output)?),
                _ => None,
            },
            output,
        })
    }

    /// Whether `twinfer` has the command and these options of it.
    pub fn has(&self, command: &str, options: &[&str]) -> bool {
        self.commands
            .get(command)
            .is_some_and(|help| understands(help, options))
    }

    fn pack(&self, recipe: &Path, registry: &Path) -> Result<()> {
        if registry.exists() {
            std::fs::remove_dir_all(registry).context(|| paths::show(registry))?;
        }
        Run::new(self.program)
            .args(["pack".as_ref(), recipe.as_os_str()])
            .args(["--registry".as_ref(), registry.as_os_str()])
            .to(self.output)
            .run()
    }

    /// Makes those whose command is there, from packages of a registry. One that was made from the
    /// same engine and package by the same command is kept. One whose command fails is missing, and
    /// keeps no other from being made.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn make(&self, kinds: &[Kind], registry: &Path) -> Result<Vec<Derived>> {
        kinds
            .iter()
            .map(|kind| {
                if self.has(kind.command, kind.arguments) {
                    self.make_one(kind, registry)
                } else {
                    Ok(without(kind))
                }
            })
            .collect()
    }

    fn make_one(&self, kind: &Kind, registry: &Path) -> Result<Derived> {
        let path = self.folder.join(kind.file);
        let stamp = path.with_extension("made-from");
        let made_from = self.describe(kind, registry)?;
        let kept =
            path.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|text| text == made_from);
        if !kept {
            let start = Instant::now();
            let _ = std::fs::remove_file(&stamp);
            let _ = std::fs::remove_file(&path);
            if let Err(failure) = self.run(kind, registry, &["-o".as_ref(), path.as_os_str()]) {
                return Ok(Derived {
                    name: kind.name,
                    made: Made::Missing(failure.to_string()),
                    registry: None,
                });
            }
            println!("    made {}: {}", kind.name, took(start.elapsed()));
            std::fs::write(&stamp, made_from).context(|| paths::show(&stamp))?;
        }
        Ok(Derived {
            name: kind.name,
            made: Made::Path(path),
            registry: None,
        })
    }

    /// Makes one once more and lists it with its package in the registry, as a page finds it.
    ///
    /// # Errors
    /// When the command fails.
    pub fn attach(&self, kind: &Kind, registry: &Path) -> Result<()> {
        self.run(kind, registry, &["--attach".as_ref()])
    }

    fn run(&self, kind: &Kind, registry: &Path, more: &[&OsStr]) -> Result<()> {
        Run::new(self.program)
            .args([kind.command, kind.reference])
            .args(kind.arguments)
            .args(["--registry".as_ref(), registry.as_os_str()])
            .args(["--engine".as_ref(), self.engine(kind).as_os_str()])
            .args(more)
            .env(
                OPTIMISER,
                self.optimiser.as_deref().unwrap_or(Path::new("")),
            )
            .to(self.output)
            .run()
    }

    fn engine(&self, kind: &Kind) -> &Path {
        if kind.arguments.contains(&"page") {
            &self.page
        } else {
            &self.component
        }
    }

    /// What it depends on: the engine, the command, and the package.
    fn describe(&self, kind: &Kind, registry: &Path) -> Result<String> {
        let mut text = format!("{kind:?} {}", digest_of(kind.reference, registry)?);
        for file in [self.engine(kind), self.program] {
            let data = std::fs::metadata(file).context(|| paths::show(file))?;
            let changed = data.modified().context(|| paths::show(file))?;
            text += &format!(" {} {changed:?}", data.len());
        }
        Ok(text)
    }
}

/// Whether a help text lists the command.
fn offers(help: &str, command: &str) -> bool {
    help.lines()
        .any(|line| line.starts_with("  ") && line.split_whitespace().next() == Some(command))
}

/// Whether the help text of a command has all of these options and values.
fn understands(help: &str, options: &[&str]) -> bool {
    options.iter().all(|option| help.contains(option))
}

/// The digest of a package in a registry folder.
fn digest_of(reference: &str, registry: &Path) -> Result<String> {
    let path = registry.join("index.json");
    let text = std::fs::read_to_string(&path).context(|| paths::show(&path))?;
    let index: Value = serde_json::from_str(&text).context(|| paths::show(&path))?;
    let entries = index["manifests"].as_array().into_iter().flatten();
    entries
        .filter(|entry| {
            entry["annotations"]["org.opencontainers.image.ref.name"].as_str() == Some(reference)
        })
        .find_map(|entry| Some(entry["digest"].as_str()?.to_owned()))
        .ok_or_else(|| Failure::new(format!("{} has no {reference}", paths::show(&path))))
}

fn without(kind: &Kind) -> Derived {
    Derived {
        name: kind.name,
        made: Made::Missing(format!(
            "this build has no command `twinfer {} {}`",
            kind.command,
            kind.arguments.join(" ")
        )),
        registry: None,
    }
}

/// wasm-opt of the npm package that `bench/package.json` pins: with another one, or without, the
/// sizes would say something about the machine.
fn optimiser(output: &Output) -> Result<PathBuf> {
    let bench = paths::root().join("bench");
    if !npm::up_to_date(&bench) {
        npm::install(&bench, output)?;
    }
    Ok(bench.join("node_modules/.bin/wasm-opt"))
}

fn folder(profile_name: &str) -> PathBuf {
    paths::target().join("xtask/derived").join(profile_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_which_command_would_make_it() {
        let derived = without(&GUARDED[2]);
        assert_eq!(derived.path(), None);
        let (name, reason) = derived.missing().unwrap();
        assert!(name.contains("slim") && reason.contains("twinfer slim"));
    }

    #[test]
    fn no_two_are_written_to_one_file_or_shown_under_one_name() {
        let all: Vec<&Kind> = [GUARDED, MEASURED, SIZED].into_iter().flatten().collect();
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert!(
                    one.name != other.name && one.file != other.file,
                    "{one:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn commands_are_read_from_the_help() {
        let help =
            "Commands:\n  pack       Make a package\n             that can fuse\n  slim  Make\n";
        assert!(offers(help, "slim") && offers(help, "pack"));
        assert!(!offers(help, "fuse"));
        assert!(!offers("fuse\n", "fuse"));
        let help = "--target <TARGET>  [possible values: page]";
        assert!(understands(help, &["--target", "page"]));
        assert!(!understands(help, &["--target", "page", "--slim"]));
    }

    #[test]
    fn a_package_is_found_by_its_reference_or_named_as_missing() {
        let folder = std::env::temp_dir().join(format!("xtask-derived-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let index = r#"{"manifests": [{"digest": "sha256:0"},
            {"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "a:1"}}]}"#;
        std::fs::write(folder.join("index.json"), index).unwrap();
        let found = digest_of("a:1", &folder);
        let missing = digest_of("b:1", &folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.unwrap(), "sha256:1");
        assert!(missing.unwrap_err().to_string().contains("b:1"));
    }
}
