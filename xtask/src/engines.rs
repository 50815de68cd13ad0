//! The slim engine that the npm package brings: for the sample models of the demo page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::demo::pack_models;
use crate::failure::{Context, Failure, Result};
use crate::golden::{Sample, samples};
use crate::paths;
use crate::run::Run;
use crate::steps::{nothing_to_do, step};

const WHAT: &str = "make the slim engine of the npm package";
const ENGINE: &str = "default.wasm";
const LIST: &str = "engines.json";
const SLOW: &str = "file-type:1.0.0";
/// Not on the demo page: what they need would make the engine larger for everybody.
const BESIDE: [&str; 2] = ["sound-type:1.0.0", "text-language:1.0.0"];

/// Makes `web/dist/engines/default.wasm` and `web/dist/engines.json`, which the demo's page has
/// too. What it is made of is looked at first: nothing changed, nothing is made.
///
/// Only what ships is optimised: wasm-opt takes minutes for the development build.
pub fn default_engine(profile_name: &str) -> Result<()> {
    let optimiser = (profile_name == "release").then(wasm_opt).flatten();
    let kept = paths::target().join("xtask").join("engines");
    std::fs::create_dir_all(&kept).context(|| paths::show(&kept))?;
    let (stamp, made_from) = (kept.join(".made-from"), made_from(optimiser.as_deref())?);
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == made_from) {
        nothing_to_do(WHAT);
    } else {
        let _ = std::fs::remove_file(&stamp);
        make(&kept, optimiser.as_deref())?;
        std::fs::write(&stamp, made_from).context(|| paths::show(&stamp))?;
    }
    // The npm package's folder is made anew by its build.
    let dist = paths::web().join("dist");
    for folder in [dist.clone(), dist.join("demo").join("twinfer")] {
        put(&kept, &folder)?;
    }
    Ok(())
}

fn make(kept: &Path, optimiser: Option<&Path>) -> Result<()> {
    let registry = kept.join("registry");
    pack_models(&paths::command(), &["models"], &registry)?;
    let engine = kept.join(ENGINE);
    let said = step(WHAT, |_| {
        let command = Run::new(paths::command())
            // Empty for none.
            .env("TWINFER_WASM_OPT", optimiser.unwrap_or(Path::new("")))
            .args([Path::new("slim"), Path::new("--json")])
            .args([Path::new("--registry"), &registry])
            .args([Path::new("--npm"), &paths::web()])
            .args([Path::new("--output"), &engine]);
        let mut models = samples(&registry)?;
        models.retain(|model| !BESIDE.contains(&model.reference().as_str()));
        if optimiser.is_none() {
            // Its 141 golden examples take minutes in an engine that is not optimised.
            models.retain(|model| model.reference() != SLOW);
        }
        command.args(models.iter().map(Sample::reference)).read()
    })?;
    let said: Value = serde_json::from_str(&said).context(|| "twinfer slim --json".into())?;
    let mut entry = said["engine"].clone();
    let Some(fields) = entry.as_object_mut() else {
        return Err(Failure::new("twinfer slim --json names no engine"));
    };
    fields.insert("file".into(), json!(format!("engines/{ENGINE}")));
    let list = serde_json::to_string_pretty(&json!([entry])).context(|| LIST.into())?;
    let file = kept.join(LIST);
    std::fs::write(&file, list + "\n").context(|| paths::show(&file))
}

/// The wasm-opt that `bench/` pins, where it is installed: nothing is installed for this.
fn wasm_opt() -> Option<PathBuf> {
    let program = paths::root().join("bench/node_modules/.bin/wasm-opt");
    program.is_file().then_some(program)
}

fn put(kept: &Path, dist: &Path) -> Result<()> {
    if !dist.is_dir() {
        return Ok(());
    }
    let engines = dist.join("engines");
    std::fs::create_dir_all(&engines).context(|| paths::show(&engines))?;
    for (from, to) in [
        (kept.join(ENGINE), engines.join(ENGINE)),
        (kept.join(LIST), dist.join(LIST)),
    ] {
        std::fs::copy(&from, &to).context(|| paths::show(&to))?;
    }
    Ok(())
}

/// What the engine depends on: the full engine, the models, the command that makes it, and
/// whether there is a wasm-opt; by length and time of change, as cargo does it.
fn made_from(optimiser: Option<&Path>) -> Result<String> {
    let mut files = vec![
        paths::web().join("dist/twinfer_web_bg.wasm"),
        paths::web().join("dist/glue.js"),
    ];
    files.extend(sources(
        &paths::root().join("crates/twinfer-cli/src/commands/slim"),
    )?);
    files.extend(sources(
        &paths::root().join("crates/twinfer-artifact/src/slim"),
    )?);
    for model in folders(&paths::root().join("models"))? {
        files.extend(sources(&model)?);
    }
    let mut text = format!("{optimiser:?}\n");
    for file in files {
        let content = std::fs::read(&file).context(|| paths::show(&file))?;
        // Copies have other times: the content counts where it is the npm package's.
        let time = match file.starts_with(paths::web()) {
            true => fingerprint(&content).into(),
            false => changed(&file)?,
        };
        writeln!(text, "{} {} {time}", paths::show(&file), content.len())
            .context(|| "a text".into())?;
    }
    Ok(text)
}

fn changed(file: &Path) -> Result<u128> {
    let data = std::fs::metadata(file).context(|| paths::show(file))?;
    let since = data
        .modified()
        .context(|| paths::show(file))?
        .duration_since(UNIX_EPOCH);
    Ok(since.unwrap_or_default().as_nanos())
}

/// FNV-1a: nothing hostile is told apart here.
fn fingerprint(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.join("twinfer.toml").is_file());
    Ok(found)
}

/// The files of a folder, without those of folders in it.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_file());
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).context(|| paths::show(folder))? {
        found.push(entry.context(|| paths::show(folder))?.path());
    }
    found.sort();
    Ok(found)
}
