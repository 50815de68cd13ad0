//! Slim and fused artifacts of the face model, made with `twinfer slim` and `twinfer fuse` out of
//! the engines of a profile: for the table of sizes and for the measurements.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::failure::{Context, Result};
use crate::npm;
use crate::paths;
use crate::profiles::WasmPack;
use crate::run::Run;
use crate::steps::{Output, took};

/// The model that the artifacts are made for.
const REFERENCE: &str = "face-detector:1.0.0";

/// Its recipe.
const RECIPE: &str = "models/face-detector";

/// Names wasm-opt for the command.
const OPTIMISER: &str = "TWINFER_WASM_OPT";

/// What is made: name in tables, the command, its arguments, the file.
const KINDS: [(&str, &str, &[&str], &str); 5] = [
    (
        "page, fused (face)",
        "fuse",
        &["--target", "page"],
        "page-fused.wasm",
    ),
    (
        "page, fused and slim (face)",
        "fuse",
        &["--target", "page", "--slim"],
        "page-fused-slim.wasm",
    ),
    (
        "component, slim (face)",
        "slim",
        &["--target", "component"],
        "component-slim.wasm",
    ),
    (
        "component, fused (face)",
        "fuse",
        &["--target", "component"],
        "component-fused.wasm",
    ),
    (
        "component, fused and slim (face)",
        "fuse",
        &["--target", "component", "--slim"],
        "component-fused-slim.wasm",
    ),
];

/// One of them.
#[derive(Debug, Serialize)]
pub struct Derived {
    /// How it is called in tables.
    pub name: &'static str,
    /// The file, or why there is none.
    made: Made,
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

/// Those of a profile that were made before.
pub fn present(profile_name: &str) -> Result<Vec<Derived>> {
    let folder = folder(profile_name);
    Ok(KINDS
        .iter()
        .map(|(name, _, _, file)| (name, folder.join(file)))
        .filter(|(_, path)| path.is_file())
        .map(|(name, path)| Derived {
            name,
            made: Made::Path(path),
        })
        .collect())
}

/// Makes all of a profile whose command is there. One that was made from the same engine by the
/// same command is kept.
///
/// # Errors
/// When a command that is there fails: that is no reason to go on without its artifact.
pub fn make(profile_name: &str, output: &Output) -> Result<Vec<Derived>> {
    let folder = folder(profile_name);
    std::fs::create_dir_all(&folder).context(|| paths::show(&folder))?;
    let program = paths::command();
    let file = WasmPack::read()?;
    let profile = file.profile(profile_name)?;
    let page = paths::root()
        .join(&profile.out_dir)
        .join(format!("{}_bg.wasm", file.krate.out_name));
    let component = paths::component(&profile.cargo_profile);
    let has = |command: &str| Run::new(&program).args(["help", command]).read().is_ok();
    let (slims, fuses) = (has("slim"), has("fuse"));
    if !slims && !fuses {
        return Ok(KINDS.iter().map(|kind| without(kind)).collect());
    }
    let work = Work {
        program: &program,
        registry: folder.join("registry"),
        optimiser: optimiser(output)?,
    };
    work.pack(output)?;
    KINDS
        .iter()
        .map(|kind| {
            let (_, command, arguments, _) = *kind;
            if !(if command == "slim" { slims } else { fuses }) {
                return Ok(without(kind));
            }
            let for_page = arguments.contains(&"page");
            let engine = if for_page { &page } else { &component };
            work.make(kind, engine, &folder, output)
        })
        .collect()
}

type Kind = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

fn without(kind: &Kind) -> Derived {
    Derived {
        name: kind.0,
        made: Made::Missing(format!("this build has no command `twinfer {}`", kind.1)),
    }
}

struct Work<'a> {
    program: &'a Path,
    registry: PathBuf,
    optimiser: PathBuf,
}

impl Work<'_> {
    fn pack(&self, output: &Output) -> Result<()> {
        if self.registry.exists() {
            std::fs::remove_dir_all(&self.registry).context(|| paths::show(&self.registry))?;
        }
        Run::new(self.program)
            .args(["pack".as_ref(), paths::root().join(RECIPE).as_os_str()])
            .args(["--registry".as_ref(), self.registry.as_os_str()])
            .to(output)
            .run()
    }

    fn make(&self, kind: &Kind, engine: &Path, folder: &Path, output: &Output) -> Result<Derived> {
        let (name, command, arguments, file) = *kind;
        let path = folder.join(file);
        let stamp = path.with_extension("made-from");
        let made_from = self.describe(kind, engine)?;
        let kept =
            path.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|text| text == made_from);
        if !kept {
            let start = Instant::now();
            let _ = std::fs::remove_file(&stamp);
            Run::new(self.program)
                .args([command, REFERENCE])
                .args(arguments)
                .args(["--registry".as_ref(), self.registry.as_os_str()])
                .args(["--engine".as_ref(), engine.as_os_str()])
                .args(["-o".as_ref(), path.as_os_str()])
                .env(OPTIMISER, &self.optimiser)
                .to(output)
                .run()?;
            println!("    made {name}: {}", took(start.elapsed()));
            std::fs::write(&stamp, made_from).context(|| paths::show(&stamp))?;
        }
        Ok(Derived {
            name,
            made: Made::Path(path),
        })
    }

    /// What it depends on: the engine, the command, and what the command is asked for.
    fn describe(&self, kind: &Kind, engine: &Path) -> Result<String> {
        let mut text = format!("{kind:?}");
        for file in [engine, self.program, &self.registry.join("index.json")] {
            let data = std::fs::metadata(file).context(|| paths::show(file))?;
            // The index is written anew each time; what it says is its digests.
            if file.extension().is_some_and(|e| e == "json") {
                text += &std::fs::read_to_string(file).context(|| paths::show(file))?;
            } else {
                let changed = data.modified().context(|| paths::show(file))?;
                text += &format!(" {} {changed:?}", data.len());
            }
        }
        Ok(text)
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
        let derived = without(&KINDS[2]);
        assert_eq!(derived.path(), None);
        let (name, reason) = derived.missing().unwrap();
        assert!(name.contains("slim") && reason.contains("twinfer slim"));
    }

    #[test]
    fn no_two_are_written_to_one_file_or_shown_under_one_name() {
        for (at, one) in KINDS.iter().enumerate() {
            for other in &KINDS[at + 1..] {
                assert!(one.0 != other.0 && one.3 != other.3, "{one:?} {other:?}");
            }
        }
    }
}
