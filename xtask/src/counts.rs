//! How many tests passed and failed, read from what the runners print.

/// Passed and failed tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Whose closing lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// `test result: ok. 3 passed; 0 failed; …`, once for each binary.
    Cargo,
    /// `# pass 3` and `# fail 0`, or with `ℹ`, once for each run.
    Node,
    /// `3 passed, 0 failed` alone on a line.
    Plain,
}

/// The sum over all closing lines in a text.
pub fn read(runner: Runner, text: &str) -> Counts {
    let mut sum = Counts::default();
    for line in text.lines().map(str::trim) {
        sum += match runner {
            Runner::Cargo => cargo(line),
            Runner::Node => node(line),
            Runner::Plain => plain(line),
        }
        .unwrap_or_default();
    }
    sum
}

/// The most characters of a report on failed tests: enough for some, and the summary stays one.
const REPORT: usize = 12_000;

/// What a runner said of the tests that failed: for the end of a long log, of which others may
/// keep the end only.
pub fn failures(runner: Runner, text: &str) -> String {
    let mut report = String::new();
    let mut inside = runner == Runner::Plain;
    for line in text.lines() {
        match runner {
            // `---- name stdout ----`, what it printed, and the list of names that ends it.
            Runner::Cargo if line.starts_with("---- ") => inside = true,
            Runner::Cargo if line == "failures:" || line.starts_with("test result: ") => {
                inside = false;
            }
            Runner::Node if line.ends_with("failing tests:") => inside = true,
            _ => {}
        }
        if inside {
            report.push_str(line);
            report.push('\n');
        }
    }
    if report.len() > REPORT {
        // These programs say it in their last lines; the runners of tests begin with the first.
        return if runner == Runner::Plain {
            let start = report.ceil_char_boundary(report.len() - REPORT);
            format!("…{}", &report[start..])
        } else {
            report.truncate(report.floor_char_boundary(REPORT));
            report + "…\n"
        };
    }
    report
}

fn cargo(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut parts = rest.split("; ");
    Some(Counts {
        passed: counted(parts.next()?, " passed")?,
        failed: counted(parts.next()?, " failed")?,
    })
}

fn node(line: &str) -> Option<Counts> {
    let rest = line
        .strip_prefix("# ")
        .or_else(|| line.strip_prefix("ℹ "))?;
    if let Some(passed) = rest.strip_prefix("pass ") {
        return Some(Counts {
            passed: passed.parse().ok()?,
            failed: 0,
        });
    }
    let failed = rest
        .strip_prefix("fail ")
        .or_else(|| rest.strip_prefix("cancelled "))?;
    Some(Counts {
        passed: 0,
        failed: failed.parse().ok()?,
    })
}

fn plain(line: &str) -> Option<Counts> {
    let (passed, failed) = line.split_once(", ")?;
    Some(Counts {
        passed: counted(passed, " passed")?,
        failed: counted(failed, " failed")?,
    })
}

fn counted(text: &str, unit: &str) -> Option<u64> {
    text.strip_suffix(unit)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runner_is_understood() {
        let cargo = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                     test x ... ok\n   \ntest result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured";
        assert_eq!(
            read(Runner::Cargo, cargo),
            Counts {
                passed: 5,
                failed: 5
            }
        );
        let node = "# tests 4\n# pass 3\n# fail 1\n# cancelled 0\nℹ pass 2\nℹ fail 0\n";
        assert_eq!(
            read(Runner::Node, node),
            Counts {
                passed: 5,
                failed: 1
            }
        );
        assert_eq!(
            read(Runner::Plain, "x\n12 passed, 1 failed\n"),
            Counts {
                passed: 12,
                failed: 1
            }
        );
    }

    #[test]
    fn what_failed_tests_said_is_kept() {
        let cargo = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\npanicked: no\n\n\n\
                     failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        assert_eq!(
            failures(Runner::Cargo, cargo).trim_end(),
            "---- b stdout ----\npanicked: no"
        );
        assert_eq!(failures(Runner::Cargo, "test a ... ok\n"), "");
        let node = "✔ a\n✖ b\nℹ fail 1\n\n✖ failing tests:\n\ntest at x\n✖ b\n  Error: no\n";
        assert!(failures(Runner::Node, node).ends_with("✖ b\n  Error: no\n"));
        assert!(!failures(Runner::Node, node).contains("✔ a"));
        let plain = format!("{}the end\n", "ä\n".repeat(REPORT));
        let kept = failures(Runner::Plain, &plain);
        assert!(kept.ends_with("the end\n") && kept.len() < REPORT + 9);
    }

    #[test]
    fn other_lines_count_nothing() {
        for runner in [Runner::Cargo, Runner::Node, Runner::Plain] {
            assert_eq!(
                read(runner, "passed\n# pass x\n, \ntest result: none\n"),
                Counts::default()
            );
        }
    }
}
