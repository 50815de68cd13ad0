//! Instances of components that are asked one request after the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use twinfer::{Result, bail, err};
use twinfer_host::{HostConfig, LogSink, Trial};

use super::check::Checked;
use super::requests::{Ask, anywhere};
use super::runner::Lacks;
use super::write;
use crate::host_error::host_error;

/// A component that counts is slow, and so may the machine be.
const PATIENCE: Duration = Duration::from_secs(600);
/// The code of an instance that lacks a function.
const MISSING: &str = "engine_function_missing";

/// Access control of another host: its settings are read, keys are compared, limits count.
const ACCESS: &str = r#"{"open": ["predict"], "rates": {"principal": {"per_second": 1000, "burst": 1000}},
 "keys": [{"id": "k", "scopes": ["predict"], "models": ["a*"], "expires": "2100-01-01T00:00:00Z",
           "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]}"#;

/// Under what an instance is asked.
pub struct Situation<'a> {
    pub seed: u64,
    pub env: Option<(String, String)>,
    /// An index of the host's own, as `twinfer serve` has one.
    pub served: Option<&'a Path>,
}

/// The folder of an index as `twinfer serve` has it: with other packages, and with engines that
/// are attached.
pub fn served(registry: &Path) -> Result<PathBuf> {
    let failed = |e: &dyn std::fmt::Display| err!(Storage, "the index of the registry: {e}");
    let file = fs::read(registry.join("index.json")).map_err(|e| failed(&e))?;
    let mut index: Json = serde_json::from_slice(&file).map_err(|e| failed(&e))?;
    if let Some(entries) = index["manifests"].as_array_mut() {
        for name in [
            "other-model:1.0.0",
            "other-model:1.1.0",
            "another:2.0.0-rc.1",
        ] {
            let Some(mut entry) = entries.first().cloned() else {
                break;
            };
            entry["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
            entry["annotations"]["ai.twinfer.engines"] =
                json!(json!([{"kind": "slim"}]).to_string());
            entries.push(entry);
        }
    }
    let folder = registry.join("served");
    fs::create_dir_all(&folder).map_err(|e| failed(&e))?;
    write(&folder.join("index.json"), index.to_string().as_bytes())?;
    Ok(folder)
}

/// An instance that answered, and the answers to golden examples.
pub struct Answered {
    pub trial: Trial,
    pub answers: BTreeMap<String, String>,
}

/// Asks one instance everything, so that later requests find what earlier ones left.
pub fn ask_all(
    component: &Path,
    registry: &Path,
    situation: Situation<'_>,
    asks: &[Ask],
) -> Result<Answered> {
    let limited = situation.env.is_some();
    let proxied = situation.served.is_some();
    let mut trial = start(component, registry, situation)?;
    let mut answers = BTreeMap::new();
    for ask in anywhere().iter().chain(asks) {
        let answer = trial.ask(ask.request(proxied)?).map_err(|refused| {
            err!(
                Internal,
                "the component does not answer {}: {} ({})",
                ask.name(),
                refused.message,
                refused.code
            )
        })?;
        let Some(name) = &ask.golden else {
            continue;
        };
        if !limited {
            if answer.status() != 200 {
                let said = String::from_utf8_lossy(answer.body());
                bail!(SelfTestFailed, "{name}: {}: {said}", answer.status());
            }
            answers.insert(name.clone(), timeless(answer.body())?);
        }
    }
    Ok(Answered { trial, answers })
}

/// An answer without its times.
fn timeless(body: &Bytes) -> Result<String> {
    let mut answer: Json = serde_json::from_slice(body)
        .map_err(|e| err!(Internal, "the component answered with no JSON: {e}"))?;
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("timing");
    }
    Ok(answer.to_string())
}

fn start(component: &Path, registry: &Path, situation: Situation<'_>) -> Result<Trial> {
    let mut config = HostConfig::new(component, registry);
    config.log = LogSink::None;
    // For the next instance of the same component.
    config.cache = Some(registry.join("compiled"));
    config.limits.request_timeout = PATIENCE;
    config.limits.max_instances = 1;
    config.env.extend(situation.env);
    if situation.served.is_none() {
        // Other hosts than ours leave it to the component who may ask what.
        config.env.push(("TWINFER_ACCESS".into(), ACCESS.into()));
    }
    config.index = situation.served.map(Path::to_path_buf);
    Trial::start(&config, situation.seed).map_err(host_error)
}

/// Compares what a component answers with what the full one does; `asks` are those that have a
/// name.
///
/// # Errors
/// `self_test_failed` where the full component cannot be asked.
pub fn compare(
    reference: &str,
    full: &Path,
    ours: &Path,
    registry: &Path,
    asks: &[Ask],
) -> Result<Checked> {
    let situation = || Situation {
        seed: 0,
        env: None,
        served: None,
    };
    let mut right = start(full, registry, situation())?;
    let mut other = start(ours, registry, situation())?;
    let mut checked = Checked::new(reference);
    for ask in asks {
        let Some(name) = &ask.golden else {
            continue;
        };
        let expected = right.ask(ask.request(false)?).map_err(|refused| {
            err!(
                SelfTestFailed,
                "the full component does not answer {name}: {} ({})",
                refused.message,
                refused.code
            )
        })?;
        match other.ask(ask.request(false)?) {
            Ok(answer)
                if answer.status() == expected.status()
                    && timeless(answer.body())? == timeless(expected.body())? =>
            {
                checked.same += 1;
            }
            Ok(_) => checked.different.push(name.clone()),
            Err(refused) => {
                checked.different.push(name.clone());
                if refused.code == MISSING {
                    checked.missing.push(Lacks {
                        doing: name.clone(),
                        index: -1,
                    });
                }
                // It must not be asked again.
                other = start(ours, registry, situation())?;
            }
        }
    }
    Ok(checked)
}
