//! What changes under the load: a version is packed, an alias moved to it, an old version taken away, SIGHUP sent.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::Host;
use super::tally::Tally;
use crate::failure::{Context, Failure, Result};
use crate::http;
use crate::paths;
use crate::run::Run;

/// The model that gets new versions.
pub const MODEL: &str = "tumour-risk-mlp";
/// The alias that moves.
pub const ALIAS: &str = "stable";
/// How many versions there are at once.
const KEPT: u32 = 3;
/// Between two changes.
const PAUSE: Duration = Duration::from_secs(4);
/// Until a change must be served: it is tested first, natively and in an instance, beside the load.
const SERVED_LIMIT: Duration = Duration::from_secs(90);

/// Who makes the changes.
pub struct Changes<'a> {
    /// The `twinfer` command.
    pub program: &'a Path,
    /// The registry folder.
    pub registry: &'a Path,
    /// A recipe of our own, in which the version is written anew.
    pub recipe: PathBuf,
    /// The digests that the alias has had or is about to get.
    pub digests: &'a Mutex<BTreeSet<String>>,
}

impl Changes<'_> {
    /// Packs version `1.0.N` and lets the alias point to it; gives the digest.
    pub fn publish(&self, number: u32) -> Result<String> {
        let version = format!("1.0.{number}");
        let digest = pack_version(self.program, self.registry, &self.recipe, MODEL, &version)?;
        // Before the host can know of it.
        self.digests
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .insert(digest.clone());
        self.command(&[
            "tag".as_ref(),
            format!("{MODEL}:1.0.{number}").as_ref(),
            ALIAS.as_ref(),
        ])?;
        Ok(digest)
    }

    /// Goes on changing until the time is over.
    pub fn run(&self, host: &Host, tally: &Tally, until: Instant) {
        for number in 1.. {
            if Instant::now() + PAUSE > until {
                return;
            }
            std::thread::sleep(PAUSE);
            match self.change(host, number, until) {
                Ok(true) => tally.right("change"),
                // The load ended meanwhile.
                Ok(false) => return,
                Err(failure) => tally.unexpected("change", failure.to_string()),
            }
        }
    }

    fn change(&self, host: &Host, number: u32, until: Instant) -> Result<bool> {
        let digest = self.publish(number)?;
        // Every other change waits until the host looks by itself.
        if number.is_multiple_of(2) {
            host.signal("HUP");
        }
        let start = Instant::now();
        while served(host.address())? != digest {
            if start.elapsed() > SERVED_LIMIT {
                return Err(Failure::new(format!(
                    "{MODEL}:1.0.{number} is not served {} s after it was packed",
                    SERVED_LIMIT.as_secs()
                )));
            }
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        if let Some(old) = number.checked_sub(KEPT) {
            self.command(&["rm".as_ref(), format!("{MODEL}:1.0.{old}").as_ref()])?;
        }
        Ok(true)
    }

    fn command(&self, arguments: &[&OsStr]) -> Result<String> {
        command(self.program, self.registry, arguments)
    }
}

fn command(program: &Path, registry: &Path, arguments: &[&OsStr]) -> Result<String> {
    let run = Run::new(program).args(arguments);
    run.args([Path::new("--registry"), registry]).read()
}

/// Packs the recipe of [`MODEL`] under this name and version; gives the digest.
pub fn pack_version(
    program: &Path,
    registry: &Path,
    recipe: &Path,
    name: &str,
    version: &str,
) -> Result<String> {
    let file = paths::root().join(format!("models/{MODEL}/twinfer.toml"));
    let text = std::fs::read_to_string(&file).context(|| paths::show(&file))?;
    let text = text
        .replacen(
            "version = \"1.0.0\"",
            &format!("version = \"{version}\""),
            1,
        )
        .replacen(
            &format!("name = \"{MODEL}\""),
            &format!("name = \"{name}\""),
            1,
        );
    std::fs::write(recipe.join("twinfer.toml"), text).context(|| paths::show(recipe))?;
    let printed = command(program, registry, &["pack".as_ref(), recipe.as_os_str()])?;
    let digest = printed.trim().split_once('@');
    digest
        .map(|(_, digest)| digest.to_owned())
        .ok_or_else(|| Failure::new(format!("`twinfer pack` says `{printed}`")))
}

/// The digest that the alias has on the host.
fn served(address: &str) -> Result<String> {
    let path = format!("/v2/models/{MODEL}/versions/{ALIAS}");
    let answer = http::request(address, "GET", &path, &[], &[]).context(|| path.clone())?;
    if answer.status != 200 {
        return Err(Failure::new(format!(
            "GET {path}: {}: {}",
            answer.status,
            answer.text()
        )));
    }
    let body: Value = serde_json::from_slice(&answer.body).context(|| path.clone())?;
    Ok(body["properties"]["digest"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Copies the recipe's files to a folder, so that the one of the workspace stays as it is.
pub fn copy_recipe(to: &Path) -> Result<PathBuf> {
    let from = paths::root().join("models").join(MODEL);
    std::fs::create_dir_all(to).context(|| paths::show(to))?;
    for entry in std::fs::read_dir(&from).context(|| paths::show(&from))? {
        let path = entry.context(|| paths::show(&from))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            std::fs::copy(&path, to.join(name)).context(|| paths::show(&path))?;
        }
    }
    Ok(to.to_owned())
}
