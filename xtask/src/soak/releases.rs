//! Releases under the load: a model in two versions with the same answers moves from one to the other and back, by the
//! admin API, and the next release comes when server and page both follow the one before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::changes::{MODEL, pack_version};
use super::host::Host;
use super::live::Live;
use super::page::Page;
use super::tally::Tally;
use crate::failure::{Context, Failure, Result};
use crate::http;
use crate::paths;
use crate::run::Run;

/// The model that is released.
pub const RELEASED: &str = "tumour-risk-released";
/// What releases are counted as.
pub const KIND: &str = "release";
const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";
/// Between two releases.
const PAUSE: Duration = Duration::from_millis(500);
/// Until a release is followed: the first one of a version is tested, beside the load.
const FOLLOWED_LIMIT: Duration = Duration::from_secs(90);

/// Who may release.
pub struct Operator {
    key: String,
}

/// A step of a release; they come around again and again.
enum Step {
    /// This deployment.
    Apply(Value, &'static [&'static str]),
    /// The one before.
    Rollback,
}

/// Packs both versions, and writes the access file of a server that only an operator releases on.
pub fn prepare(program: &Path, registry: &Path, recipe: &Path, access: &Path) -> Result<Operator> {
    for version in [OLD, NEW] {
        pack_version(program, registry, recipe, RELEASED, version)?;
    }
    let made = Run::new(program)
        .args(["api-key", "--id", "operator", "--scopes", "admin", "--json"])
        .read()?;
    let made: Value = serde_json::from_str(&made).context(|| "twinfer api-key".into())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let settings = format!(
        "open = [\"page\", \"packages\", \"predict\", \"metrics\"]\n[[keys]]\nid = \"operator\"\nsha256 = \"{}\"\nscopes = [\"admin\"]\n",
        text(&made["settings"]["sha256"])
    );
    std::fs::write(access, settings).context(|| paths::show(access))?;
    Ok(Operator {
        key: text(&made["key"]),
    })
}

/// The releases of a run.
pub struct Releases<'a> {
    /// Who makes them.
    pub operator: &'a Operator,
    /// Where it is written what is live.
    pub live: &'a Live,
}

impl Releases<'_> {
    /// The first deployment: everything by the old version.
    pub fn begin(&self, host: &Host) -> Result<()> {
        self.release(host, &Step::Apply(everything(OLD), &[OLD]))?;
        let start = Instant::now();
        while in_force(host)? == 0 {
            if start.elapsed() > FOLLOWED_LIMIT {
                return Err(Failure::new(
                    "the first deployment does not come into force",
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Goes on releasing and rolling back until the time is over.
    pub fn run(&self, host: &Host, page: &Page, tally: &Tally, until: Instant) {
        let halves = json!({"name": RELEASED, "strategy": {"kind": "ab_test"}, "variants": [
            {"version": OLD, "weight": 5000},
            {"version": NEW, "weight": 5000},
        ]});
        let steps = [
            Step::Apply(everything(NEW), &[NEW]),
            Step::Rollback,
            Step::Apply(halves, &[OLD, NEW]),
            Step::Rollback,
        ];
        for step in steps.iter().cycle() {
            if Instant::now() + PAUSE > until {
                return;
            }
            std::thread::sleep(PAUSE);
            match self.step(host, page, step, until) {
                Ok(true) => tally.right(KIND),
                // The load ended meanwhile.
                Ok(false) => return,
                // The steps after it would say nothing.
                Err(failure) => return tally.unexpected(KIND, failure.to_string()),
            }
        }
    }

    /// Whether it was followed before the end.
    fn step(&self, host: &Host, page: &Page, step: &Step, until: Instant) -> Result<bool> {
        let revision = self.release(host, step)?;
        let start = Instant::now();
        while in_force(host)? != revision || page.follows() != Some(revision) {
            if Instant::now() > until {
                return Ok(false);
            }
            if start.elapsed() > FOLLOWED_LIMIT {
                return Err(Failure::new(format!(
                    "revision {revision} is not followed {} s after it was released: the server follows {}, the page {:?}",
                    FOLLOWED_LIMIT.as_secs(),
                    in_force(host)?,
                    page.follows()
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.live.in_force();
        Ok(true)
    }

    /// Gives the revision that comes into force.
    fn release(&self, host: &Host, step: &Step) -> Result<u64> {
        let place = format!("/admin/deployments/{RELEASED}");
        let (method, path, body, versions) = match step {
            Step::Apply(spec, versions) => ("PUT", place, spec.to_string(), *versions),
            Step::Rollback => (
                "POST",
                format!("{place}/rollback"),
                String::new(),
                &[OLD][..],
            ),
        };
        self.live.begin(versions);
        let bearer = format!("Bearer {}", self.operator.key);
        let fields = [
            ("authorization", &*bearer),
            ("content-type", "application/json"),
        ];
        let answer = http::request(host.address(), method, &path, &fields, body.as_bytes())
            .context(|| path.clone())?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let revision = said["deployment"]["revision"].as_u64();
        revision.filter(|_| answer.status == 200).ok_or_else(|| {
            Failure::new(format!(
                "{method} {path}: {}: {}",
                answer.status,
                answer.text()
            ))
        })
    }
}

fn everything(version: &str) -> Value {
    json!({"name": RELEASED, "variants": [{"version": version}]})
}

/// The revision by which the server answers; 0 before there is one.
fn in_force(host: &Host) -> Result<u64> {
    let path = format!("/registry/deployments/{RELEASED}.json");
    let answer = http::request(host.address(), "GET", &path, &[], &[]).context(|| path.clone())?;
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok(document["revision"].as_u64().unwrap_or(0))
}

/// The golden examples of the released model, which are those of [`MODEL`].
pub fn golden() -> PathBuf {
    paths::root().join(format!("models/{MODEL}/golden.json"))
}
