//! Steps that say what they do and how long they took.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::paths;

/// Where the output of a step's programs goes.
#[derive(Debug, Clone)]
pub enum Output {
    /// To the terminal: the step runs alone.
    Terminal,
    /// To a file: it runs beside others. Shown when the step fails.
    File(PathBuf),
}

/// Runs a step with its output on the terminal.
pub fn step<T>(what: &str, work: impl FnOnce(&Output) -> Result<T>) -> Result<T> {
    println!("==> {what}");
    let start = Instant::now();
    let result = work(&Output::Terminal);
    println!(
        "    {} {what}: {}",
        if result.is_ok() { "done" } else { "FAILED" },
        took(start.elapsed())
    );
    result
}

/// Says that a step had nothing to do.
pub fn nothing_to_do(what: &str) {
    println!("==> {what}: up to date");
}

type Work<'a> = Box<dyn FnOnce(&Output) -> Result<()> + Send + 'a>;

/// A step for [`together`].
pub struct Job<'a> {
    what: String,
    work: Work<'a>,
}

impl<'a> Job<'a> {
    /// A named piece of work.
    pub fn new(what: &str, work: impl FnOnce(&Output) -> Result<()> + Send + 'a) -> Self {
        Self {
            what: what.into(),
            work: Box::new(work),
        }
    }

    /// Does it, as a part of another one.
    pub fn run(self, output: &Output) -> Result<()> {
        (self.work)(output)
    }
}

/// How often a step that runs beside others shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Runs steps at the same time, each with its output in a file, and waits for all of them.
/// A single step keeps the terminal.
pub fn together(jobs: Vec<Job<'_>>) -> Result<()> {
    if jobs.len() <= 1 {
        return jobs
            .into_iter()
            .try_for_each(|job| step(&job.what, job.work));
    }
    std::fs::create_dir_all(paths::logs())
        .map_err(|e| Failure::new(format!("{}: {e}", paths::logs().display())))?;
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for job in jobs {
            let failed = &failed;
            scope.spawn(move || {
                if let Err(failure) = beside_others(job) {
                    failed
                        .lock()
                        .unwrap_or_else(|e| e.into_inner())
                        .push(failure.to_string());
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failed.join("\n")))
    }
}

fn beside_others(job: Job<'_>) -> Result<()> {
    let what = job.what;
    let log = paths::logs().join(format!("{}.log", file_name(&what)));
    let _ = std::fs::remove_file(&log);
    println!("==> {what} (output in {})", paths::show(&log));
    let start = Instant::now();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let result = std::thread::scope(|scope| {
        let (what, log) = (&what, &log);
        scope.spawn(move || {
            while ended.recv_timeout(HEARTBEAT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                println!(
                    "    ... {what}: {}: {}",
                    took(start.elapsed()),
                    last_line(log)
                );
            }
        });
        let result = (job.work)(&Output::File(log.clone()));
        drop(done);
        result
    });
    match result {
        Ok(()) => println!("    done {what}: {}", took(start.elapsed())),
        Err(_) => {
            println!("    FAILED {what}: {}; its output:", took(start.elapsed()));
            println!("{}", std::fs::read_to_string(&log).unwrap_or_default());
        }
    }
    result
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("")
        .chars()
        .take(80)
        .collect()
}

fn file_name(what: &str) -> String {
    what.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

/// A duration for people: `12.3 s`, `3 min 04 s`.
pub fn took(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = duration.as_secs();
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(took(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(took(Duration::from_secs(184)), "3 min 04 s");
    }

    #[test]
    fn one_failure_does_not_hide_another() {
        let failure = together(vec![
            Job::new("steps test a", |_| Err(Failure::new("first"))),
            Job::new("steps test b", |_| Ok(())),
            Job::new("steps test c", |_| Err(Failure::new("second"))),
        ])
        .unwrap_err()
        .to_string();
        assert!(
            failure.contains("first") && failure.contains("second"),
            "{failure}"
        );
    }
}
