//! Which versions of the released model may answer, and when.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as a page counts them.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// A page counts whole milliseconds.
const WHOLE: f64 = 1.0;

/// Which versions were live, from when to when.
#[derive(Default)]
pub struct Live(Mutex<Vec<Period>>);

/// From the moment in which a release was asked for, to that in which everybody was seen to follow the next one.
struct Period {
    versions: Vec<&'static str>,
    from: f64,
    to: Option<f64>,
}

impl Live {
    /// From now on these may answer, beside those before.
    pub fn begin(&self, versions: &[&'static str]) {
        self.periods().push(Period {
            versions: versions.to_vec(),
            from: now(),
            to: None,
        });
    }

    /// From now on only those of the last release may.
    pub fn in_force(&self) {
        let mut periods = self.periods();
        let former = periods.len().saturating_sub(1);
        for period in &mut periods[..former] {
            period.to.get_or_insert_with(now);
        }
    }

    /// Whether this version was live at any moment between these two.
    pub fn check(&self, version: &str, from: f64, to: f64) -> Result<(), String> {
        let live = |period: &Period| {
            period.versions.contains(&version)
                && period.from <= to + WHOLE
                && period.to.is_none_or(|end| end >= from - WHOLE)
        };
        match self.periods().iter().any(live) {
            true => Ok(()),
            false => Err(format!("{version} answered, which was not live then")),
        }
    }

    fn periods(&self) -> MutexGuard<'_, Vec<Period>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;
    use std::time::Duration;

    #[test]
    fn a_version_is_live_from_its_release_until_the_next_one_is_in_force() {
        let live = Live::default();
        let before = now();
        sleep(Duration::from_millis(10));
        live.begin(&["1.0.0"]);
        live.in_force();
        let first = now();
        sleep(Duration::from_millis(10));
        live.begin(&["1.0.0", "1.1.0"]);
        live.begin(&["2.0.0"]);
        let both = now();
        sleep(Duration::from_millis(10));
        live.in_force();
        sleep(Duration::from_millis(10));
        let last = now();
        for (version, from, to, is_live) in [
            ("1.0.0", before, before, false),
            ("1.0.0", before, first, true),
            ("1.1.0", first, first, false),
            ("1.0.0", both, both, true),
            ("1.1.0", both, both, true),
            ("2.0.0", both, both, true),
            ("1.0.0", last, last, false),
            ("1.1.0", both, last, true),
            ("2.0.0", last, last, true),
            ("3.0.0", before, last, false),
        ] {
            let found = live.check(version, from, to).is_ok();
            assert_eq!(found, is_live, "{version} from {from} to {to}");
        }
    }
}
