//! The whole suite: a server, the list, every place, and the verdict.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinfer_cache::{FolderBackend, KeyValueBackend, MemoryBackend, MemoryKeyValue};

use super::list::{CacheCases, CacheResults};
use super::native::{self, open};
use super::registry::Made;
use super::server::LyingServer;
use super::verdict::{Verdict, judge};
use super::{cases, component};

/// What the suite needs of its surroundings.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Where it writes: what is there is removed.
    pub folder: PathBuf,
    /// The component.
    pub component: PathBuf,
    /// The component for hosts with key-value stores.
    pub key_value: PathBuf,
    /// `web/test/run-cache.mjs`, beside the built package. `TWINFER_BROWSER` names the browser.
    pub script: PathBuf,
    /// Only these places; empty for all.
    pub places: Vec<String>,
    /// Only these cases; empty for all.
    pub cases: Vec<String>,
}

/// Runs one place.
type Place<'a> = Box<dyn Fn() -> io::Result<CacheResults> + Send + Sync + 'a>;

impl Suite {
    /// Runs the suite in every place, several at a time: most of the time they wait.
    ///
    /// # Errors
    /// When a place cannot be run at all; what comes out of its cases is in the verdict.
    pub fn run(&self) -> io::Result<Verdict> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(&self.folder)?;
        let made = Made::write(&self.folder)?;
        let server = LyingServer::start(made.clone())?;
        let mut list = cases::all(&made, &server);
        if !self.cases.is_empty() {
            list.cases.retain(|case| self.cases.contains(&case.id));
        }
        std::fs::write(self.file("cases"), serde_json::to_vec(&list)?)?;
        let groups = [
            self.natively(&list),
            self.in_javascript(),
            self.in_components(&list),
        ];
        let results: io::Result<Vec<Vec<CacheResults>>> = std::thread::scope(|scope| {
            let running = groups.iter().map(|group| scope.spawn(|| self.group(group)));
            let running: Vec<_> = running.collect();
            let ended = running.into_iter().map(|group| match group.join() {
                Ok(results) => results,
                Err(_) => Err(io::Error::other("a place panicked")),
            });
            ended.collect()
        });
        Ok(judge(&list, &results?.concat()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// One after the other.
    fn group(&self, places: &[(&'static str, Place<'_>)]) -> io::Result<Vec<CacheResults>> {
        let wanted = places.iter().filter(|(name, _)| {
            self.places.is_empty() || self.places.iter().any(|place| place == name)
        });
        let mut all = Vec::new();
        for (name, run) in wanted {
            let results = run().map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
            std::fs::write(self.file(name), serde_json::to_vec(&results)?)?;
            println!("{name}: {} cases run", results.results.len());
            all.push(results);
        }
        Ok(all)
    }

    fn natively<'a>(&self, list: &'a CacheCases) -> Vec<(&'static str, Place<'a>)> {
        vec![
            (
                "native-memory",
                Box::new(|| native::run::<MemoryBackend, _>("native-memory", list, open)),
            ),
            (
                "native-folder",
                Box::new(|| native::run::<FolderBackend, _>("native-folder", list, open)),
            ),
            (
                "native-key-value",
                Box::new(|| {
                    native::run::<KeyValueBackend<MemoryKeyValue>, _>(
                        "native-key-value",
                        list,
                        open,
                    )
                }),
            ),
        ]
    }

    fn in_components<'a>(&'a self, list: &'a CacheCases) -> Vec<(&'static str, Place<'a>)> {
        use component::Keep;
        // Not removed with the rest: compiling takes longer than all cases.
        let compiled = self.folder.with_extension("compiled");
        let places = [
            (Keep::Folder, &self.component),
            (Keep::Memory, &self.component),
            (Keep::KeyValue, &self.key_value),
        ];
        let places = places.into_iter().map(|(keep, component)| {
            let compiled = compiled.clone();
            let run = move || component::run(list, component, &compiled, keep);
            (keep.place(), Box::new(run) as Place<'_>)
        });
        places.collect()
    }

    fn in_javascript(&self) -> Vec<(&'static str, Place<'_>)> {
        ["node", "page-opfs", "page-cache-api"]
            .into_iter()
            .map(|place| (place, Box::new(move || self.script(place)) as Place<'_>))
            .collect()
    }

    fn script(&self, place: &str) -> io::Result<CacheResults> {
        let (list, out) = (self.file("cases"), self.file(place));
        let said = Command::new("node")
            .arg(&self.script)
            .args(["--place", place])
            .args([Path::new("--cases"), &list, Path::new("--out"), &out])
            .output()?;
        if !said.status.success() {
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            return Err(io::Error::other(text));
        }
        Ok(serde_json::from_slice(&std::fs::read(out)?)?)
    }
}
