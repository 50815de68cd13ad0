//! The page that is soaked: a real browser that predicts all the time, and follows the same releases as the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::Host;
use super::live::Live;
use super::releases::{RELEASED, golden};
use super::tally::Tally;
use crate::browser;
use crate::compare::{Tolerance, differences};
use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::run::{Run, Running};
use crate::steps::Output;

/// What its predictions are counted as.
pub const KIND: &str = "page";
/// Longer than a browser and a model take to start beside other work.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A browser with a page that predicts.
pub struct Page {
    running: Running,
    folder: PathBuf,
}

/// Makes the folder of the page for the host.
pub fn folder(folder: &Path, output: &Output) -> Result<()> {
    script()
        .args(["folder", "--folder"])
        .args([folder])
        .to(output)
        .run()
}

fn script() -> Run {
    Run::new("node").args([paths::web().join("test/run-soak.mjs")])
}

impl Page {
    /// Opens it, and waits until it predicts.
    pub fn start(host: &Host, browser: &Path, folder: &Path) -> Result<Self> {
        let files = ["state", "answers", "stop"];
        let options = files.map(|name| {
            (
                format!("--{name}"),
                folder.join(format!("page-{name}.json")),
            )
        });
        let run = script()
            .args(["predict", "--model", RELEASED])
            .args(["--origin", &format!("http://{}", host.address())]);
        let run = options.iter().fold(run, |run, (option, path)| {
            run.args([option.as_ref(), path.as_os_str()])
        });
        let running = run
            .args(["--cases".as_ref(), golden().as_os_str()])
            .env(browser::VARIABLE, browser)
            .to(&Output::File(folder.join("page.log")))
            .start()?;
        let mut page = Self {
            running,
            folder: folder.to_owned(),
        };
        let start = Instant::now();
        while page.follows().is_none() {
            if page.running.ended().is_some() || start.elapsed() > START_LIMIT {
                return Err(page.failed("the page does not predict"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(page)
    }

    /// The revision of the deployment that it follows; `None` before it does.
    pub fn follows(&self) -> Option<u64> {
        let text = std::fs::read(self.folder.join("page-state.json")).ok()?;
        let state: Value = serde_json::from_slice(&text).ok()?;
        state["revision"].as_u64()
    }

    /// Ends it, and counts its predictions.
    pub fn stop(mut self, live: &Live, tally: &Tally) -> Result<()> {
        let stop = self.folder.join("page-stop.json");
        std::fs::write(&stop, "{}").context(|| paths::show(&stop))?;
        let start = Instant::now();
        let status = loop {
            match self.running.ended() {
                Some(status) => break status,
                None if start.elapsed() > STOP_LIMIT => {
                    return Err(self.failed("the page does not end"));
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        if !status.success() {
            return Err(self.failed("the page failed"));
        }
        let answers = self.folder.join("page-answers.json");
        let answers = std::fs::read_to_string(&answers).context(|| paths::show(&answers))?;
        let expected = expected()?;
        for line in answers.lines() {
            match judge(line, &expected, live) {
                Ok(()) => tally.right(KIND),
                Err(wrong) => tally.unexpected(KIND, wrong),
            }
        }
        Ok(())
    }

    fn failed(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(self.folder.join("page.log")).unwrap_or_default();
        Failure::new(format!("{what}:\n{log}"))
    }
}

/// The outputs of the golden examples by their names, and how near an answer must be.
fn expected() -> Result<BTreeMap<String, (Value, Tolerance)>> {
    let file = golden();
    let text = std::fs::read(&file).context(|| paths::show(&file))?;
    let golden: Value = serde_json::from_slice(&text).context(|| paths::show(&file))?;
    let cases = golden["cases"].as_array().into_iter().flatten();
    Ok(cases
        .map(|case| {
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            let tolerance = super::cases::tolerance(case);
            (name, (case["expect"]["outputs"].clone(), tolerance))
        })
        .collect())
}

fn judge(
    line: &str,
    expected: &BTreeMap<String, (Value, Tolerance)>,
    live: &Live,
) -> Result<(), String> {
    let answer: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
    let name = answer["case"].as_str().unwrap_or_default();
    let Some((outputs, tolerance)) = expected.get(name) else {
        return Err(answer["failed"].as_str().unwrap_or(line).to_owned());
    };
    let found = differences(&answer["outputs"], outputs, *tolerance);
    if !found.is_empty() {
        return Err(format!("{name}: {}", found.join("; ")));
    }
    let time = |name: &str| answer[name].as_f64().unwrap_or(f64::NAN);
    let version = answer["version"].as_str().unwrap_or_default();
    live.check(version, time("from"), time("to"))
        .map_err(|wrong| format!("{name}: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_a_version_that_is_not_live_and_an_error_are_found() {
        let live = Live::default();
        live.begin(&["1.0.0"]);
        let expected = expected().unwrap();
        let (name, (outputs, _)) = expected.iter().find(|(_, (o, _))| !o.is_null()).unwrap();
        let line = |version: &str, outputs: &Value| {
            let now = super::super::live::now();
            serde_json::json!({"case": name, "version": version, "from": now, "to": now, "outputs": outputs})
                .to_string()
        };
        assert_eq!(judge(&line("1.0.0", outputs), &expected, &live), Ok(()));
        for (line, said) in [
            (line("1.1.0", outputs), "not live"),
            (line("1.0.0", &serde_json::json!({})), "label"),
            (r#"{"failed":"network"}"#.to_owned(), "network"),
            ("{".to_owned(), "EOF"),
        ] {
            let wrong = judge(&line, &expected, &live).unwrap_err();
            assert!(wrong.contains(said), "{wrong}");
        }
    }
}
