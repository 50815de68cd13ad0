//! `cargo xtask soak`: `twinfer serve` under mixed load for minutes, and whether it stays as it was.
//!
//! Clients ask for every golden example in every form, good and bad, fast, slow and broken off, while versions
//! are packed, an alias moves and SIGHUP comes, and while a model is released and rolled back, for them and for a page
//! in a browser. Required are right answers only, each of a version that was live, memory and open files that do not
//! grow, and a clean end.

mod cases;
mod changes;
mod clients;
mod host;
mod judge;
mod live;
mod page;
mod releases;
mod tally;
mod wire;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser;
use crate::build;
use crate::counts::Counts;
use crate::demo::pack;
use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::steps::{Output, step, took};
use crate::table::table;
use changes::{ALIAS, Changes, MODEL};
use clients::Clients;
use host::{ACCESS, Host, PAGE};
use judge::{Bounds, Sample, Verdict, judge};
use live::Live;
use page::Page;
use releases::{RELEASED, Releases};
use tally::{Count, Tally};

/// Memory and open files are read from `/proc`: elsewhere the suite is left out.
pub const POSSIBLE: bool = cfg!(target_os = "linux");
/// Steady clients; there are a slow one and one that breaks off beside them.
const STEADY: u64 = 5;
/// The models that are served beside the one that changes.
const MODELS: [&str; 3] = ["face-detector", "file-type", "tumour-risk"];
/// From here on a run is long enough for the bounds of a long one.
const LONG: Duration = Duration::from_secs(240);
/// A run in the tests.
const SHORT: Duration = Duration::from_secs(20);
/// The host is left alone for this long before its open files are counted.
const REST: Duration = Duration::from_secs(1);
/// Files that are open after so long are open for good.
const REST_LIMIT: Duration = Duration::from_secs(20);

/// What came of a run.
struct Outcome {
    duration: Duration,
    counts: BTreeMap<&'static str, Count>,
    /// What was wrong, in words.
    wrong: Vec<String>,
    samples: Vec<Sample>,
    verdicts: Vec<Verdict>,
}

/// What `--minutes` says.
pub fn minutes(text: &str) -> Result<f64> {
    let number = text.parse().ok().filter(|n| (0.01..=10_000.0).contains(n));
    number.ok_or_else(|| Failure::usage(format!("--minutes {text}: give a number of minutes")))
}

/// Builds, soaks for so many minutes, prints, writes `target/soak.json`; fails when anything is not as required.
pub fn soak(minutes: f64) -> Result<()> {
    if !POSSIBLE {
        return Err(Failure::new(
            "memory and open files are read from /proc, which only Linux has",
        ));
    }
    build::everything()?;
    let outcome = run(
        Duration::from_secs_f64(minutes * 60.0),
        &browser::required()?,
    )?;
    outcome.print();
    outcome.write(&paths::target().join("soak.json"))?;
    match outcome
        .verdicts
        .iter()
        .filter(|verdict| !verdict.met)
        .count()
    {
        0 => Ok(()),
        missed => Err(Failure::new(format!(
            "{missed} of the requirements are not met"
        ))),
    }
}

/// The suite of the tests: some seconds, each requirement counted; everything is built already.
pub fn suite(browser: &Path) -> Result<Counts> {
    let outcome = run(SHORT, browser)?;
    outcome.print();
    let (met, missed): (Vec<_>, Vec<_>) = outcome.verdicts.iter().partition(|verdict| verdict.met);
    Ok(Counts {
        passed: met.len() as u64,
        failed: missed.len() as u64,
    })
}

/// The folder and the registry of a run, fresh.
fn prepare(program: &Path) -> Result<(PathBuf, PathBuf)> {
    let folder = paths::target().join("soak");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context(|| paths::show(&folder))?;
    }
    let registry = folder.join("registry");
    step("pack the models", |output: &Output| {
        MODELS.iter().try_for_each(|model| {
            pack(
                program,
                &paths::root().join("models").join(model),
                &registry,
                output,
            )
        })
    })?;
    Ok((folder, registry))
}

fn run(duration: Duration, browser: &Path) -> Result<Outcome> {
    let program = paths::command();
    let (folder, registry) = prepare(&program)?;
    let digests = Mutex::new(BTreeSet::new());
    let changes = Changes {
        program: &program,
        registry: &registry,
        recipe: changes::copy_recipe(&folder.join("recipe"))?,
        digests: &digests,
    };
    changes.publish(0)?;
    let operator = releases::prepare(&program, &registry, &changes.recipe, &folder.join(ACCESS))?;
    let mut asked = wrong::others();
    for model in MODELS {
        asked.extend(cases::good(&registry, model, None)?);
    }
    let moving = cases::good(&registry, MODEL, Some(ALIAS))?;
    let released = cases::good(&registry, RELEASED, Some(ALIAS))?;
    let kinds: BTreeSet<&str> = asked
        .iter()
        .map(|case| case.kind)
        .chain(["slow", "broken off", "change", releases::KIND, page::KIND])
        .collect();
    let host = step("start twinfer serve", |output| {
        page::folder(&folder.join(PAGE), output)?;
        Host::start(&program, &registry, &paths::component("wasm-dev"), &folder)
    })?;
    let (tally, live) = (Tally::default(), Live::default());
    let releases = Releases {
        operator: &operator,
        live: &live,
    };
    releases.begin(&host)?;
    let (samples, rest) = step(&format!("load for {}", took(duration)), |_| {
        let before = files_at_first(&host, &asked);
        let clients = |until| Clients {
            address: host.address(),
            cases: &asked,
            moving: &moving,
            digests: &digests,
            released: &released,
            live: &live,
            tally: &tally,
            until,
        };
        let page = Page::start(&host, browser, &folder)?;
        let change = Change {
            changes: &changes,
            releases: &releases,
            page: &page,
        };
        let samples = under_load(&host, clients, &change, duration);
        page.stop(&live, &tally)?;
        Ok((samples, (before, files_at_last(&host, before))))
    })?;
    let end = step("end twinfer serve", |_| host.stop())?;
    Ok(outcome(duration, &tally, &kinds, samples, rest, end))
}

/// How many files are open at rest, once the host has answered a request of each kind.
fn files_at_first(host: &Host, asked: &[cases::Case]) -> usize {
    let kinds: BTreeMap<&str, &cases::Case> = asked.iter().map(|case| (case.kind, case)).collect();
    for case in kinds.values() {
        // Whether the answers are right is for the clients to find.
        let _ = wire::Connection::open(host.address()).and_then(|mut one| one.ask(&case.bytes));
    }
    std::thread::sleep(REST);
    host.files().unwrap_or_default()
}

/// The same after the load, as soon as it is what it was: connections that broke off have to be noticed,
/// and a change that was under way is tested to its end.
fn files_at_last(host: &Host, before: usize) -> usize {
    let start = Instant::now();
    loop {
        std::thread::sleep(REST);
        let files = host.files().unwrap_or(usize::MAX);
        if files <= before || start.elapsed() > REST_LIMIT {
            return files;
        }
    }
}

/// What goes on beside the clients.
struct Change<'a> {
    changes: &'a Changes<'a>,
    releases: &'a Releases<'a>,
    page: &'a Page,
}

/// Runs clients and changes, and looks at the host as often as there are 200 samples, or every second.
fn under_load<'a>(
    host: &'a Host,
    clients: impl Fn(Instant) -> Clients<'a>,
    change: &Change<'_>,
    duration: Duration,
) -> Vec<Sample> {
    let start = Instant::now();
    let clients = clients(start + duration);
    let every = (duration / 200).clamp(Duration::from_millis(100), Duration::from_secs(1));
    let mut samples = Vec::new();
    std::thread::scope(|scope| {
        for seed in 0..STEADY {
            let clients = &clients;
            scope.spawn(move || clients.steady(seed));
        }
        scope.spawn(|| clients.slow(STEADY));
        scope.spawn(|| clients.broken(STEADY + 1));
        let (tally, until) = (clients.tally, clients.until);
        scope.spawn(move || change.changes.run(host, tally, until));
        scope.spawn(move || change.releases.run(host, change.page, tally, until));
        while Instant::now() < clients.until {
            if let (Some(resident), Some(files)) = (host.resident(), host.files()) {
                samples.push(Sample {
                    seconds: start.elapsed().as_secs_f64(),
                    resident,
                    files: files as f64,
                });
            }
            std::thread::sleep(every);
        }
    });
    samples
}

fn outcome(
    duration: Duration,
    tally: &Tally,
    kinds: &BTreeSet<&str>,
    samples: Vec<Sample>,
    rest: (usize, usize),
    end: Vec<String>,
) -> Outcome {
    let (counts, mut wrong) = tally.result();
    let bounds = if duration >= LONG {
        Bounds::LONG
    } else {
        Bounds::SHORT
    };
    let mut verdicts = answers(&counts, kinds);
    if duration >= LONG {
        verdicts.push(enough_releases(&counts, duration));
    }
    verdicts.extend(judge(&samples, rest, &bounds));
    verdicts.push(Verdict {
        what: "a clean end on SIGTERM, and a log without faults",
        measured: if end.is_empty() {
            "clean".into()
        } else {
            format!("{} complaints", end.len())
        },
        bound: "clean".into(),
        met: end.is_empty(),
    });
    wrong.extend(end);
    Outcome {
        duration,
        counts,
        wrong,
        samples,
        verdicts,
    }
}

/// Whether all answers were as they should be, and every kind of request was made.
fn answers(counts: &BTreeMap<&'static str, Count>, kinds: &BTreeSet<&str>) -> Vec<Verdict> {
    let unexpected: u64 = counts.values().map(|count| count.unexpected).sum();
    let happened = |kind: &&&str| {
        counts
            .get(**kind)
            .is_some_and(|count| count.right > 0 || !count.expected.is_empty())
    };
    let missing: Vec<&str> = kinds
        .iter()
        .filter(|kind| !happened(kind))
        .copied()
        .collect();
    vec![
        Verdict {
            what: "unexpected errors and wrong answers",
            measured: unexpected.to_string(),
            bound: "none".into(),
            met: unexpected == 0,
        },
        Verdict {
            what: "kinds of requests that were never answered as expected",
            measured: if missing.is_empty() {
                "none".into()
            } else {
                missing.join(", ")
            },
            bound: "none".into(),
            met: missing.is_empty(),
        },
    ]
}

/// A long run has at least a hundred releases and rollbacks in ten minutes.
fn enough_releases(counts: &BTreeMap<&'static str, Count>, duration: Duration) -> Verdict {
    let made = counts.get(releases::KIND).map_or(0, |count| count.right);
    let bound = duration.as_secs() / 6;
    Verdict {
        what: "releases and rollbacks that server and page followed",
        measured: made.to_string(),
        bound: format!("at least {bound}"),
        met: made >= bound,
    }
}

impl Outcome {
    fn print(&self) {
        let rows: Vec<Vec<String>> = self
            .counts
            .iter()
            .map(|(kind, count)| {
                let expected: Vec<String> = count
                    .expected
                    .iter()
                    .map(|(code, times)| format!("{times} x {code}"))
                    .collect();
                vec![
                    (*kind).into(),
                    count.right.to_string(),
                    count.unexpected.to_string(),
                    expected.join(", "),
                ]
            })
            .collect();
        println!(
            "\n{}",
            table(
                &[
                    "requests",
                    "right",
                    "unexpected",
                    "errors that were asked for"
                ],
                &rows
            )
        );
        let rows: Vec<Vec<String>> = self
            .verdicts
            .iter()
            .map(|verdict| {
                let met = if verdict.met { "yes" } else { "NO" };
                vec![
                    verdict.what.into(),
                    verdict.measured.clone(),
                    verdict.bound.clone(),
                    met.into(),
                ]
            })
            .collect();
        println!(
            "{}",
            table(&["requirement", "measured", "bound", "met?"], &rows)
        );
        for wrong in &self.wrong {
            println!("{wrong}");
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{:#}\n", self.json());
        std::fs::write(path, text).context(|| paths::show(path))?;
        println!("Everything is in {}.", paths::show(path));
        Ok(())
    }

    fn json(&self) -> Value {
        let counts: BTreeMap<&str, Value> = self
            .counts
            .iter()
            .map(|(kind, count)| (*kind, json!({"right": count.right, "unexpected": count.unexpected, "expected": count.expected})))
            .collect();
        let verdicts = self.verdicts.iter().map(
            |v| json!({"what": v.what, "measured": v.measured, "bound": v.bound, "met": v.met}),
        );
        let samples = self
            .samples
            .iter()
            .map(|s| json!([s.seconds, s.resident, s.files]));
        json!({
            "seconds": self.duration.as_secs_f64(),
            "counts": counts,
            "verdicts": verdicts.collect::<Vec<_>>(),
            "wrong": self.wrong,
            "samples": {"columns": ["seconds", "resident bytes", "open files"], "rows": samples.collect::<Vec<_>>()},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat() -> Vec<Sample> {
        let sample = |n| Sample {
            seconds: f64::from(n),
            resident: 1e8,
            files: 20.0,
        };
        (0..40).map(sample).collect()
    }

    fn met(tally: &Tally, kinds: &[&str], end: &[&str]) -> bool {
        let end = end.iter().map(|text| (*text).into()).collect();
        let outcome = outcome(
            SHORT,
            tally,
            &kinds.iter().copied().collect(),
            flat(),
            (10, 10),
            end,
        );
        outcome.verdicts.iter().all(|verdict| verdict.met)
    }

    #[test]
    fn minutes_are_a_number_of_them() {
        assert_eq!(minutes("0.5").unwrap(), 0.5);
        for text in ["0", "-1", "NaN", "inf", "ten"] {
            let failure = minutes(text).unwrap_err().to_string();
            assert!(failure.contains("--minutes"), "{failure}");
        }
    }

    #[test]
    fn one_unexpected_error_a_kind_that_never_came_or_a_bad_end_is_a_failure() {
        let tally = Tally::default();
        tally.right("record");
        tally.expected("wrong", "404 unknown_model".into());
        assert!(met(&tally, &["record", "wrong"], &[]));
        assert!(!met(&tally, &["record", "wrong", "picture"], &[]));
        assert!(!met(&tally, &["record"], &["it ended with 1"]));
        tally.unexpected("record", "p: 1, expected 2".into());
        assert!(!met(&tally, &["record", "wrong"], &[]));
    }
}
