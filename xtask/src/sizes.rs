//! `cargo xtask sizes`: what a visitor downloads, and what a host loads. Every test run compares
//! it with the checked-in figures.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build;
use crate::counts::Counts;
use crate::derived::{self, Derived};
use crate::engines;
use crate::failure::{Context, Failure, Result};
use crate::figures::{Figure, Figures, Verdict, compare};
use crate::paths;
use crate::profiles::WasmPack;
use crate::run::Run;
use crate::setup::Setup;
use crate::steps::{Job, step, together};
use crate::table::table;

/// What writes the figures of a profile anew.
const REMEDY: &str = "cargo xtask sizes --write";

/// Bytes of one artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Size {
    /// The file, relative to the workspace, or files.
    pub file: String,
    /// As it is.
    pub raw: u64,
    /// After gzip -9.
    pub gzip: u64,
    /// After brotli.
    pub brotli: u64,
}

impl Size {
    /// Its numbers.
    pub fn figure(&self) -> Figure {
        Figure {
            raw: self.raw,
            gzip: self.gzip,
            brotli: self.brotli,
        }
    }
}

/// The quality of brotli for a profile. What ships is pressed as hard as it goes (11), as a server
/// would press it. For what only tests use, 5 shows the same growth in a fiftieth of the time.
pub fn brotli_quality(profile_name: &str) -> u8 {
    if profile_name == "release" { 11 } else { 5 }
}

/// Prints the sizes of the artifacts of a profile of `wasm-pack.toml`, which must be built, beside
/// their figures.
pub fn sizes(json: bool, profile_name: &str) -> Result<()> {
    let quality = brotli_quality(profile_name);
    let derived = derived::present(profile_name);
    let sizes = measure(&artifacts(profile_name, &derived)?, quality)?;
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(&sizes).context(|| "sizes".into())?
        );
        return Ok(());
    }
    print_table(profile_name, &sizes, &verdicts(profile_name, &sizes)?);
    Ok(())
}

/// The scripts of the npm package together.
pub const SCRIPTS: &str = "web/dist/*.js";

/// Those that the package publishes, as it lists them itself. What they were made from lies beside
/// them.
fn published_scripts() -> Result<Vec<PathBuf>> {
    let file = paths::web().join("package.json");
    let text = std::fs::read_to_string(&file).context(|| paths::show(&file))?;
    let package: serde_json::Value = serde_json::from_str(&text).context(|| paths::show(&file))?;
    let files = package["files"].as_array().into_iter().flatten();
    let scripts = files.filter_map(|name| name.as_str().filter(|name| name.ends_with(".js")));
    Ok(scripts.map(|name| paths::web().join(name)).collect())
}

/// Builds what a profile has, and writes its sizes as the figures of the profile.
pub fn write(profile_name: &str) -> Result<()> {
    let setup = Setup::begin(profile_name)?;
    let cargo_profile = WasmPack::read()?
        .profile(profile_name)?
        .cargo_profile
        .clone();
    let mut jobs = setup.jobs();
    jobs.push(Job::new("build the twinfer command", build::command));
    jobs.push(Job::new(
        "build the components and the page's wasm",
        |output| {
            build::component(&cargo_profile, output)?;
            build::key_value_component(&cargo_profile, output)?;
            build::web_wasm(&setup, profile_name, output)
        },
    ));
    together(jobs)?;
    build::npm_package()?;
    engines::default_engine(profile_name)?;
    let sizes = of_everything(profile_name)?;
    let path = Figures::read()?.write(profile_name, brotli_quality(profile_name), &sizes)?;
    print_table(profile_name, &sizes, &verdicts(profile_name, &sizes)?);
    println!("written to {}", paths::show(&path));
    Ok(())
}

/// The suite of `cargo xtask test`: each artifact is one test.
pub fn guard(profile_name: &str) -> Result<Counts> {
    let sizes = of_everything(profile_name)?;
    let verdicts = verdicts(profile_name, &sizes)?;
    print_table(profile_name, &sizes, &verdicts);
    let counts = count(&verdicts);
    if counts.failed > 0 {
        println!(
            "When this is meant to be, write the new figures and commit them with the change: {REMEDY}"
        );
    }
    Ok(counts)
}

/// Sizes of all artifacts of a profile that is built; makes the derived ones of what ships. Of the
/// development build, in which each takes minutes, only the slim set of the npm package is measured.
fn of_everything(profile_name: &str) -> Result<Vec<Size>> {
    let derived = match profile_name {
        "release" => step("make the slim and fused artifacts", |output| {
            derived::make(profile_name, output)
        })?,
        _ => Vec::new(),
    };
    for (name, reason) in derived.iter().filter_map(Derived::missing) {
        println!("    without {name}: {reason}");
    }
    measure(
        &artifacts(profile_name, &derived)?,
        brotli_quality(profile_name),
    )
}

/// What to think of these sizes.
///
/// # Errors
/// When the figures are of another quality of brotli.
pub fn verdicts(profile_name: &str, sizes: &[Size]) -> Result<Vec<(String, Verdict)>> {
    let figures = Figures::read()?;
    let profile = figures.profile(profile_name);
    let quality = brotli_quality(profile_name);
    if let Some(profile) = profile.filter(|profile| profile.brotli_quality != quality) {
        return Err(Failure::new(format!(
            "bench/sizes.json has figures of brotli -{} for the profile {profile_name}, and -{quality} is measured; write them: {REMEDY} --profile {profile_name}",
            profile.brotli_quality
        )));
    }
    Ok(compare(profile, sizes))
}

fn count(verdicts: &[(String, Verdict)]) -> Counts {
    let failed = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.is_failure())
        .count();
    Counts {
        passed: (verdicts.len() - failed) as u64,
        failed: failed as u64,
    }
}

/// Prints the sizes with what to think of each.
pub fn print_table(profile_name: &str, sizes: &[Size], verdicts: &[(String, Verdict)]) {
    let of = |name: &str| sizes.iter().find(|size| size.file == *name);
    let rows: Vec<Vec<String>> = verdicts
        .iter()
        .map(|(name, verdict)| {
            let mut row = vec![name.clone()];
            match of(name) {
                Some(size) => row.extend([size.raw, size.gzip, size.brotli].map(|n| n.to_string())),
                None => row.extend(["-", "-", "-"].map(String::from)),
            }
            row.push(verdict.to_string());
            row
        })
        .collect();
    let brotli = format!("brotli -{}", brotli_quality(profile_name));
    println!("profile {profile_name}, bytes:");
    print!(
        "{}",
        table(&["file", "raw", "gzip -9", &brotli, "figure"], &rows)
    );
}

/// Something that is shipped: one file, or several that are fetched together.
#[derive(Debug, Serialize)]
pub struct Artifact {
    /// How it is called in tables.
    name: String,
    files: Vec<PathBuf>,
}

impl Artifact {
    /// An artifact of one file.
    pub fn file(path: PathBuf) -> Self {
        Self {
            name: paths::show(&path),
            files: vec![path],
        }
    }
}

/// What is shipped of a profile of `wasm-pack.toml`, with what is made of it.
pub fn artifacts(profile_name: &str, derived: &[Derived]) -> Result<Vec<Artifact>> {
    let file = WasmPack::read()?;
    let profile = file.profile(profile_name)?;
    let dist = paths::web().join("dist");
    let engine = paths::root()
        .join(&profile.out_dir)
        .join(format!("{}_bg.wasm", file.krate.out_name));
    let scripts = Artifact {
        name: SCRIPTS.into(),
        files: published_scripts()?,
    };
    let mut artifacts = vec![
        Artifact::file(engine),
        scripts,
        Artifact::file(paths::component(&profile.cargo_profile)),
    ];
    let key_value = paths::key_value_component(&profile.cargo_profile);
    artifacts.extend(key_value.is_file().then(|| Artifact::file(key_value)));
    artifacts.extend(
        with_ending(&dist.join("engines"), "wasm")
            .into_iter()
            .map(Artifact::file),
    );
    artifacts.extend(derived.iter().filter_map(|derived| {
        Some(Artifact {
            name: derived.name.to_owned(),
            files: vec![derived.path()?.to_owned()],
        })
    }));
    match artifacts.iter().find(|artifact| {
        artifact.files.is_empty() || artifact.files.iter().any(|file| !file.is_file())
    }) {
        None => Ok(artifacts),
        Some(missing) => Err(Failure::new(format!(
            "{} is missing; build it first: cargo xtask build",
            missing.name
        ))),
    }
}

/// The files of a folder with such an ending, in order.
fn with_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    files.sort();
    files
}

/// Compresses the files and gives their sizes.
pub fn measure(artifacts: &[Artifact], brotli_quality: u8) -> Result<Vec<Size>> {
    let list = serde_json::to_string(artifacts).context(|| "sizes".into())?;
    let printed = Run::new("node")
        .args([
            paths::root().join("xtask/src/sizes.mjs").as_os_str(),
            list.as_ref(),
            brotli_quality.to_string().as_ref(),
        ])
        .read()?;
    serde_json::from_str(&printed).context(|| "sizes.mjs".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_that_count_are_those_that_the_package_publishes() {
        let scripts = published_scripts().unwrap();
        let names: Vec<_> = scripts
            .iter()
            .filter_map(|script| script.file_name()?.to_str())
            .collect();
        assert_eq!(names.len(), scripts.len());
        for name in ["index.js", "worker.js", "glue.js"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }

    #[test]
    fn every_artifact_counts_once_and_shrinking_is_no_failure() {
        let verdicts = [
            Verdict::Same,
            Verdict::Shrunk(String::new()),
            Verdict::Grown(String::new()),
            Verdict::New,
            Verdict::Gone,
        ]
        .map(|verdict| ("x".to_string(), verdict));
        assert_eq!(
            count(&verdicts),
            Counts {
                passed: 2,
                failed: 3
            }
        );
    }

    #[test]
    fn sizes_are_added_up_over_the_files_of_an_artifact() {
        let folder = std::env::temp_dir().join(format!("xtask-sizes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = ["a", "b"].map(|name| folder.join(name));
        for file in &files {
            std::fs::write(file, vec![b'x'; 10_000]).unwrap();
        }
        let artifact = |files: &[PathBuf]| Artifact {
            name: "x".into(),
            files: files.to_vec(),
        };
        let sizes = measure(&[artifact(&files), artifact(&files[..1])], 5).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((sizes[0].raw, sizes[1].raw), (20_000, 10_000));
        assert_eq!(sizes[0].gzip, 2 * sizes[1].gzip);
        assert_eq!(sizes[0].brotli, 2 * sizes[1].brotli);
        assert!(sizes[1].brotli < 100 && sizes[1].gzip < 100, "{sizes:?}");
    }
}
