//! The host that is soaked: `twinfer serve` as a process, and what can be seen of it from outside.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::http;
use crate::paths;
use crate::run::{Run, Running};
use crate::serve::{Serving, free_address};
use crate::steps::Output;

/// Compiling the component takes 20 s on an idle machine, and minutes on a busy one.
const START_LIMIT: Duration = Duration::from_secs(600);
/// Longer than the host gives its last requests.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Events of the host's log that must not be there, whatever their level: an instance that was replaced is a
/// request that trapped, looped or ran out of memory, and nobody asked for one of these.
const NEVER: [&str; 3] = ["instance_replaced", "update_refused", "source_unreachable"];

/// The folder of the page, and the file that says who may do what, in the folder of a run.
pub const PAGE: &str = "page";
/// See [`PAGE`].
pub const ACCESS: &str = "access.toml";

/// A host that runs.
pub struct Host {
    running: Running,
    id: u32,
    address: String,
    log: PathBuf,
}

impl Host {
    /// Starts one that looks at its registry every second, and waits until it answers.
    pub fn start(program: &Path, registry: &Path, component: &Path, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let serving = Serving {
            program,
            registry,
            component,
            listen: &address,
        };
        let log = folder.join("serve.log");
        let _ = std::fs::remove_file(&log);
        let running = serve(&serving, folder, &log)?;
        let id = running.id().unwrap_or_default();
        let mut host = Self {
            running,
            id,
            address,
            log,
        };
        let start = Instant::now();
        while !host.ready() {
            if let Some(status) = host.running.ended() {
                let said = std::fs::read_to_string(&host.log).unwrap_or_default();
                return Err(Failure::new(format!(
                    "`twinfer serve` ended ({status}):\n{said}"
                )));
            }
            if start.elapsed() > START_LIMIT {
                return Err(Failure::new(format!(
                    "`twinfer serve` does not answer; see {}",
                    paths::show(&host.log)
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(host)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn ready(&self) -> bool {
        http::request(&self.address, "GET", "/v2/health/ready", &[], &[])
            .is_ok_and(|answer| answer.status == 200)
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> Option<f64> {
        resident(&std::fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?)
    }

    /// How many files are open: connections, too.
    pub fn files(&self) -> Option<usize> {
        Some(
            std::fs::read_dir(format!("/proc/{}/fd", self.id))
                .ok()?
                .count(),
        )
    }

    /// Asks it to end, and gives what was not as it should be.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.running.signal("TERM");
        let start = Instant::now();
        let mut wrong = Vec::new();
        loop {
            if let Some(status) = self.running.ended() {
                if !status.success() {
                    wrong.push(format!("it ended with {status}"));
                }
                break;
            }
            if start.elapsed() > STOP_LIMIT {
                wrong.push(format!(
                    "it still ran {} s after SIGTERM",
                    STOP_LIMIT.as_secs()
                ));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(&self.log).context(|| paths::show(&self.log))?;
        wrong.extend(unexpected(&log));
        Ok(wrong)
    }
}

/// A host with its state in this folder, so that a run has nothing of the one before but the compiled component.
fn serve(serving: &Serving<'_>, folder: &Path, log: &Path) -> Result<Running> {
    Run::new(serving.program)
        .args(["serve", "--poll", "1", "--listen", serving.listen])
        .args([Path::new("--registry"), serving.registry])
        .args([Path::new("--component"), serving.component])
        .args([Path::new("--cache"), &compiled()])
        .args([Path::new("--page"), &folder.join(PAGE)])
        .args([Path::new("--access"), &folder.join(ACCESS)])
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_STATE_HOME", folder.join("state"))
        .to(&Output::File(log.to_owned()))
        .start()
}

/// Where the command keeps compiled components by itself: compiling again would take minutes.
fn compiled() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    cache.map_or_else(
        || paths::target().join("soak-compiled"),
        |folder| folder.join("twinfer/compiled"),
    )
}

/// `VmRSS` of `/proc/PID/status`.
fn resident(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// What the log has that no run may have: errors, panics, events that tell of a fault. Each once, with its number.
fn unexpected(log: &str) -> Vec<String> {
    let mut found = std::collections::BTreeMap::<String, (u64, String)>::new();
    let mut stopped = false;
    for line in log.lines().filter(|line| !line.starts_with("$ ")) {
        let event: Value = match serde_json::from_str(line) {
            Ok(event) => event,
            // A panic, or a message of the allocator.
            Err(_) => {
                found
                    .entry("no line of its log".into())
                    .or_insert((0, line.into()))
                    .0 += 1;
                continue;
            }
        };
        let name = event["event"].as_str().unwrap_or_default();
        stopped |= name == "stopped" && event["finished"] == true;
        if event["level"] == "error" || NEVER.contains(&name) {
            found.entry(name.into()).or_insert((0, line.into())).0 += 1;
        }
    }
    let mut all: Vec<String> = found
        .into_iter()
        .map(|(name, (count, line))| format!("log: {name}, {count} times, first {line}"))
        .collect();
    if !stopped {
        all.push("log: it does not say that it stopped with every request finished".into());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_kernel_says() {
        let status = "Name:\ttwinfer\nVmPeak:\t 9 kB\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        assert_eq!(resident(status), Some(2_097_152.0));
        assert_eq!(resident("Name:\tgone\n"), None);
    }

    #[test]
    fn faults_in_the_log_are_found_and_the_end_is_looked_for() {
        let good = "$ twinfer serve\n{\"event\":\"request\",\"level\":\"info\",\"status\":404}\n{\"event\":\"stopped\",\"level\":\"info\",\"finished\":true}\n";
        assert_eq!(unexpected(good), Vec::<String>::new());
        let replaced = "{\"event\":\"instance_replaced\",\"level\":\"warn\"}\n";
        let found = unexpected(&format!("{replaced}{replaced}{good}"));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("instance_replaced, 2 times"), "{found:?}");
        let found = unexpected(&format!(
            "thread 'main' panicked at x.rs\n{{\"event\":\"request\",\"level\":\"error\",\"status\":500}}\n{good}"
        ));
        assert_eq!(found.len(), 2);
        assert!(
            unexpected("{\"event\":\"stopped\",\"level\":\"info\",\"finished\":false}\n")[0]
                .contains("does not say")
        );
    }
}
