//! Whether a soak went well: bounds, and verdicts about what was sampled. No clock and no process: samples in,
//! verdicts out.

/// What was seen of the host at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Since the load began.
    pub seconds: f64,
    /// Resident memory of the host, bytes.
    pub resident: f64,
    /// Open files of the host.
    pub files: f64,
}

/// What is still flat. Chosen by how long a soak is: in the first seconds instances start and load models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The slope of the resident memory over the last two thirds, as a share of its median, for a minute.
    pub slope_per_minute: f64,
    /// The median of the last quarter, as a factor of that of the second quarter.
    pub last_quarter: f64,
    /// How many files the last quarter may have open more than the second one, in the median: connections
    /// come and go.
    pub files_at_work: f64,
    /// How many files may be open at the end, at rest, more than before the load.
    pub files_at_rest: f64,
}

impl Bounds {
    /// A soak of minutes: half a percent a minute (measured on a busy machine: 0.11 %, 0.2 MB, with eleven new
    /// versions and 3,000 requests a minute), and five percent from quarter to quarter.
    pub const LONG: Self = Self {
        slope_per_minute: 0.005,
        last_quarter: 1.05,
        files_at_work: 8.0,
        files_at_rest: 4.0,
    };
    /// A soak of seconds, which is there to show that everything else holds. Memory is still being filled.
    pub const SHORT: Self = Self {
        slope_per_minute: 2.0,
        last_quarter: 1.5,
        files_at_work: 16.0,
        files_at_rest: 4.0,
    };
}

/// One thing that was required.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What.
    pub what: &'static str,
    /// What was measured, for people.
    pub measured: String,
    /// What was required, for people.
    pub bound: String,
    /// Whether it is so.
    pub met: bool,
}

/// The fewest samples that say something.
const FEWEST: usize = 12;

/// Judges memory and files of a run; `rest` is open files before the load and after it.
pub fn judge(samples: &[Sample], rest: (usize, usize), bounds: &Bounds) -> Vec<Verdict> {
    let enough = Verdict {
        what: "samples",
        measured: samples.len().to_string(),
        bound: format!("at least {FEWEST}"),
        met: samples.len() >= FEWEST,
    };
    if !enough.met {
        return vec![enough];
    }
    vec![
        enough,
        slope(samples, bounds),
        quarters(samples, bounds),
        files_at_work(samples, bounds),
        files_at_rest(rest, bounds),
    ]
}

fn slope(samples: &[Sample], bounds: &Bounds) -> Verdict {
    let late = &samples[samples.len() / 3..];
    let middle = median(late, |sample| sample.resident);
    let share = regression(late, |sample| sample.resident) * 60.0 / middle;
    Verdict {
        what: "slope of the resident memory, last two thirds",
        measured: format!("{:+.2} % a minute of {}", share * 100.0, megabytes(middle)),
        bound: format!("at most {:.2} %", bounds.slope_per_minute * 100.0),
        // Whatever cannot be computed is not flat.
        met: share <= bounds.slope_per_minute,
    }
}

fn quarters(samples: &[Sample], bounds: &Bounds) -> Verdict {
    let [second, last] = second_and_last(samples).map(|part| median(part, |s| s.resident));
    Verdict {
        what: "median of the last quarter beside the second",
        measured: format!(
            "{} beside {}, {:.3} times",
            megabytes(last),
            megabytes(second),
            last / second
        ),
        bound: format!("at most {:.2} times", bounds.last_quarter),
        met: last / second <= bounds.last_quarter,
    }
}

fn files_at_work(samples: &[Sample], bounds: &Bounds) -> Verdict {
    let [second, last] = second_and_last(samples).map(|part| median(part, |s| s.files));
    Verdict {
        what: "open files, last quarter beside the second",
        measured: format!("{last} beside {second}"),
        bound: format!("at most {} more", bounds.files_at_work),
        met: last - second <= bounds.files_at_work,
    }
}

fn files_at_rest((before, after): (usize, usize), bounds: &Bounds) -> Verdict {
    Verdict {
        what: "open files at rest, after beside before",
        measured: format!("{after} beside {before}"),
        bound: format!("at most {} more", bounds.files_at_rest),
        met: after as f64 - before as f64 <= bounds.files_at_rest,
    }
}

fn second_and_last(samples: &[Sample]) -> [&[Sample]; 2] {
    let quarter = samples.len() / 4;
    [
        &samples[quarter..2 * quarter],
        &samples[samples.len() - quarter..],
    ]
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The slope of the line with the least squares, for a second.
fn regression(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, value) = (mean(&|s| s.seconds), mean(&of));
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        let away = sample.seconds - time;
        above += away * (of(sample) - value);
        below += away * away;
    }
    above / below
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes, a sample a second; `resident` and `files` by second.
    fn run(resident: impl Fn(f64) -> f64, files: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |second: i32| {
            let seconds = f64::from(second);
            Sample {
                seconds,
                resident: resident(seconds),
                files: files(seconds),
            }
        };
        (0..600).map(sample).collect()
    }

    /// Up and down within 2 % from second to second.
    fn noise(second: f64) -> f64 {
        20e6 * (second * 1.7).sin()
    }

    fn missed(samples: &[Sample], rest: (usize, usize)) -> Vec<&'static str> {
        let verdicts = judge(samples, rest, &Bounds::LONG);
        let missed = verdicts.into_iter().filter(|verdict| !verdict.met);
        missed.map(|verdict| verdict.what).collect()
    }

    const SLOPE: &str = "slope of the resident memory, last two thirds";
    const QUARTERS: &str = "median of the last quarter beside the second";

    #[test]
    fn a_host_that_fills_its_memory_at_first_and_then_stays_is_flat() {
        let filling = |s: f64| 1e9 - 6e8 * (-s / 20.0).exp() + noise(s);
        assert_eq!(missed(&run(filling, |s| 40.0 + s % 7.0), (30, 32)), [""; 0]);
        // One that gives memory back is as well.
        assert_eq!(missed(&run(|s| 1e9 - 1e5 * s, |_| 40.0), (30, 30)), [""; 0]);
    }

    #[test]
    fn a_leak_is_found_by_its_slope_and_a_large_one_by_both() {
        let slow = |s: f64| 1e9 + 1.5e5 * s + noise(s);
        assert_eq!(missed(&run(slow, |_| 40.0), (30, 30)), [SLOPE]);
        let fast = |s: f64| 1e9 + 5e5 * s + noise(s);
        assert_eq!(missed(&run(fast, |_| 40.0), (30, 30)), [SLOPE, QUARTERS]);
    }

    #[test]
    fn a_step_that_stays_is_found() {
        let step = |s: f64| if s < 400.0 { 1e9 } else { 1.2e9 };
        assert_eq!(missed(&run(step, |_| 40.0), (30, 30)), [SLOPE, QUARTERS]);
    }

    #[test]
    fn files_that_are_not_closed_are_found_at_work_and_at_rest() {
        let flat = |_: f64| 1e9;
        let found = missed(&run(flat, |s| 40.0 + s / 20.0), (30, 60));
        assert_eq!(
            found,
            [
                "open files, last quarter beside the second",
                "open files at rest, after beside before"
            ]
        );
        assert_eq!(
            missed(&run(flat, |_| 40.0), (30, 35)),
            ["open files at rest, after beside before"]
        );
    }

    #[test]
    fn what_was_not_measured_is_not_flat() {
        assert_eq!(missed(&[], (30, 30)), ["samples"]);
        let unknown = run(|_| f64::NAN, |_| 40.0);
        assert_eq!(missed(&unknown, (30, 30)), [SLOPE, QUARTERS]);
    }

    #[test]
    fn a_short_soak_may_fill_its_memory_and_nothing_else() {
        let samples: Vec<Sample> = run(|s| 3e8 + 4e6 * s, |_| 40.0)
            .into_iter()
            .take(20)
            .collect();
        let met = |rest| judge(&samples, rest, &Bounds::SHORT).iter().all(|v| v.met);
        assert!(met((30, 30)));
        assert!(!met((30, 40)));
    }
}
