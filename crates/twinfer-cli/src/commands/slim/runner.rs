//! Node, which runs an engine as a page does.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tempfile::TempDir;
use twinfer::{Result, bail, err};

const FILES: [(&str, &str); 4] = [
    ("profile.mjs", include_str!("profile.mjs")),
    ("registry.mjs", include_str!("registry.mjs")),
    ("storage.mjs", include_str!("storage.mjs")),
    ("pictures.json", include_str!("pictures.json")),
];

/// What is done.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything that a page does.
    Profile,
    /// Golden examples and given inputs.
    Check,
}

/// A package, and inputs beyond its golden examples, in their form.
#[derive(Debug, Clone, Serialize)]
pub struct Wanted {
    pub reference: String,
    pub inputs: Vec<Json>,
}

#[derive(Serialize)]
struct Job<'a> {
    mode: Mode,
    dist: &'a Path,
    engine: &'a Path,
    registry: &'a Path,
    trust: Option<&'a str>,
    packages: &'a [Wanted],
}

/// What came of a package.
#[derive(Debug, Deserialize)]
pub struct Ran {
    pub reference: String,
    /// SHA-256 of the answers, by the name of the example.
    pub answers: BTreeMap<String, String>,
    /// Words of [`twinfer_artifact::slim::ENTERED`]; none of an engine that does not count.
    pub entered: Vec<u32>,
    pub missing: Vec<Lacks>,
}

/// A function that a slim engine lacks.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Lacks {
    /// What was done.
    pub doing: String,
    /// Its index in the full engine; -1 for one that was called by its address, and in components.
    pub index: i64,
}

/// Node's exit code where a promise at the top never settles.
const UNSETTLED: i32 = 13;

/// Runs engines with the code of an npm package, on packages of a registry in a folder.
pub struct Runner<'a> {
    pub dist: &'a Path,
    pub registry: &'a Path,
    pub trust: Option<&'a str>,
    pub packages: &'a [Wanted],
}

impl Runner<'_> {
    /// Runs this engine.
    ///
    /// # Errors
    /// `storage` where Node cannot be started; `self_test_failed` when it fails.
    pub fn run(&self, mode: Mode, engine: &[u8]) -> Result<Vec<Ran>> {
        let failed = |e: std::io::Error| err!(Storage, "a temporary folder: {e}");
        let folder = TempDir::new().map_err(failed)?;
        let at = |name: &str| folder.path().join(name);
        for (name, text) in FILES {
            std::fs::write(at(name), text).map_err(failed)?;
        }
        std::fs::write(at("engine.wasm"), engine).map_err(failed)?;
        let job = Job {
            mode,
            dist: self.dist,
            engine: &at("engine.wasm"),
            registry: self.registry,
            trust: self.trust,
            packages: self.packages,
        };
        let job = serde_json::to_vec(&job).map_err(|e| err!(Internal, "JSON: {e}"))?;
        std::fs::write(at("job.json"), job).map_err(failed)?;
        node(&at("profile.mjs"), &at("job.json"), &at("result.json"))?;
        #[derive(Deserialize)]
        struct Results {
            packages: Vec<Ran>,
        }
        let json = std::fs::read(at("result.json")).map_err(failed)?;
        let results: Results = serde_json::from_slice(&json)
            .map_err(|e| err!(Internal, "the result of profile.mjs: {e}"))?;
        Ok(results.packages)
    }
}

fn node(script: &Path, job: &Path, result: &Path) -> Result<()> {
    let program = std::env::var_os("TWINFER_NODE").unwrap_or_else(|| "node".into());
    let output = Command::new(&program)
        .args([script, job, result])
        .output()
        .map_err(|e| {
            err!(
                Storage,
                "{}: {e}; Node 20 runs the engine: install it, or name it in TWINFER_NODE",
                program.to_string_lossy()
            )
        })?;
    if !output.status.success() {
        if output.status.code() == Some(UNSETTLED) {
            bail!(
                SelfTestFailed,
                "the engine stopped in Node, and what waited for it was not told"
            );
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said
            .lines()
            .find(|line| line.contains("Error"))
            .unwrap_or("nothing said why");
        bail!(
            SelfTestFailed,
            "the engine could not be run in Node ({}): {}",
            output.status,
            line.trim()
        );
    }
    Ok(())
}
