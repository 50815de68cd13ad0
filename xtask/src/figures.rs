//! The checked-in sizes of the artifacts, and what to think of sizes that differ from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Result};
use crate::paths;
use crate::sizes::Size;

/// An artifact may grow by this many percent before somebody has to look. It may shrink by as
/// much before its figure is called stale: a figure that is far too high guards nothing.
const TOLERANCE_PERCENT: u64 = 5;

/// Figures of one profile of `wasm-pack.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The quality of brotli that the figures are of: sizes of another quality say nothing.
    pub brotli_quality: u8,
    /// Bytes by artifact.
    pub artifacts: BTreeMap<String, Figure>,
}

/// Bytes of one artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// As it is.
    pub raw: u64,
    /// After gzip -9.
    pub gzip: u64,
    /// After brotli.
    pub brotli: u64,
}

/// The file: figures by profile.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<String, Profile>);

impl Figures {
    /// Reads the checked-in file.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a file.
    pub fn read() -> Result<Self> {
        let path = file();
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path).context(|| paths::show(&path))?;
        serde_json::from_str(&text).context(|| paths::show(&path))
    }

    /// Those of a profile.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }

    /// Puts the sizes in place of all figures of the profile, and writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, name: &str, brotli_quality: u8, sizes: &[Size]) -> Result<PathBuf> {
        let artifacts = sizes
            .iter()
            .map(|size| (size.file.clone(), size.figure()))
            .collect();
        let profile = Profile {
            brotli_quality,
            artifacts,
        };
        self.0.insert(name.to_owned(), profile);
        let path = file();
        let text = serde_json::to_string_pretty(&self).context(|| paths::show(&path))?;
        std::fs::write(&path, text + "\n").context(|| paths::show(&path))?;
        Ok(path)
    }
}

/// Where the figures are.
fn file() -> PathBuf {
    paths::root().join(Path::new("bench/sizes.json"))
}

/// What became of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Near its figure.
    Same,
    /// Smaller than its figure says, by more than the tolerance. No failure.
    Shrunk(String),
    /// Bigger than its figure allows.
    Grown(String),
    /// There is no figure of it.
    New,
    /// There is a figure of it, and no such artifact.
    Gone,
}

impl Verdict {
    /// Whether the run fails for it.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Same | Self::Shrunk(_))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same => f.write_str("ok"),
            Self::Shrunk(what) => write!(f, "smaller: {what}; write the new figure"),
            Self::Grown(what) => write!(f, "TOO BIG: {what}"),
            Self::New => f.write_str("NO FIGURE"),
            Self::Gone => f.write_str("MISSING: it has a figure"),
        }
    }
}

/// Each artifact that was measured or has a figure, with its verdict.
pub fn compare(figures: Option<&Profile>, sizes: &[Size]) -> Vec<(String, Verdict)> {
    let none = BTreeMap::new();
    let known = figures.map_or(&none, |profile| &profile.artifacts);
    let measured = sizes.iter().map(|size| {
        let verdict = known
            .get(&size.file)
            .map_or(Verdict::New, |figure| judge(figure, &size.figure()));
        (size.file.clone(), verdict)
    });
    let gone = known
        .keys()
        .filter(|name| sizes.iter().all(|size| size.file != **name))
        .map(|name| (name.clone(), Verdict::Gone));
    measured.chain(gone).collect()
}

/// Compares each of the three numbers: an artifact can compress worse and be no bigger.
fn judge(figure: &Figure, now: &Figure) -> Verdict {
    let pairs = [
        ("raw", figure.raw, now.raw),
        ("gzip", figure.gzip, now.gzip),
        ("brotli", figure.brotli, now.brotli),
    ];
    let said = |beyond: fn(u64, u64) -> bool| {
        let list: Vec<String> = pairs
            .iter()
            .filter(|(_, was, is)| beyond(*was, *is))
            .map(|(what, was, is)| format!("{what} {was} -> {is} ({})", percent(*was, *is)))
            .collect();
        (!list.is_empty()).then(|| list.join(", "))
    };
    if let Some(what) = said(|was, is| is * 100 > was * (100 + TOLERANCE_PERCENT)) {
        return Verdict::Grown(what);
    }
    said(|was, is| is * 100 < was * (100 - TOLERANCE_PERCENT))
        .map_or(Verdict::Same, Verdict::Shrunk)
}

fn percent(was: u64, is: u64) -> String {
    format!("{:+.1} %", (is as f64 / was as f64 - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(file: &str, raw: u64, gzip: u64, brotli: u64) -> Size {
        Size {
            file: file.into(),
            raw,
            gzip,
            brotli,
        }
    }

    fn figures(sizes: &[Size]) -> Profile {
        Profile {
            brotli_quality: 5,
            artifacts: sizes.iter().map(|s| (s.file.clone(), s.figure())).collect(),
        }
    }

    fn verdict(was: &Size, is: Size) -> Verdict {
        let profile = figures(std::slice::from_ref(was));
        let all = compare(Some(&profile), &[is]);
        assert_eq!(all.len(), 1);
        all[0].1.clone()
    }

    #[test]
    fn five_percent_more_is_allowed_and_one_byte_above_it_is_not() {
        let was = size("a", 1_000, 500, 400);
        assert_eq!(verdict(&was, size("a", 1_050, 525, 420)), Verdict::Same);
        for (raw, gzip, brotli, name) in [
            (1_051, 500, 400, "raw"),
            (1_000, 526, 400, "gzip"),
            (1_000, 500, 421, "brotli"),
        ] {
            let verdict = verdict(&was, size("a", raw, gzip, brotli));
            assert!(verdict.is_failure(), "{verdict}");
            assert!(verdict.to_string().contains(name), "{verdict}");
        }
    }

    #[test]
    fn shrinking_says_so_and_fails_nothing() {
        let was = size("a", 1_000, 500, 400);
        assert_eq!(verdict(&was, size("a", 950, 475, 380)), Verdict::Same);
        let verdict = verdict(&was, size("a", 949, 500, 400));
        assert!(matches!(verdict, Verdict::Shrunk(_)), "{verdict}");
        assert!(!verdict.is_failure());
    }

    #[test]
    fn growth_is_not_hidden_by_another_number_that_shrank() {
        let was = size("a", 1_000, 500, 400);
        assert!(matches!(
            verdict(&was, size("a", 500, 500, 500)),
            Verdict::Grown(_)
        ));
    }

    #[test]
    fn what_has_no_figure_and_what_has_only_a_figure_fail() {
        let profile = figures(&[size("old", 1, 1, 1)]);
        let all = compare(Some(&profile), &[size("new", 1, 1, 1)]);
        assert_eq!(
            all,
            [
                ("new".to_string(), Verdict::New),
                ("old".to_string(), Verdict::Gone)
            ]
        );
        assert!(all.iter().all(|(_, verdict)| verdict.is_failure()));
        // A profile without figures: everything is new.
        let all = compare(None, &[size("new", 1, 1, 1)]);
        assert_eq!(all[0].1, Verdict::New);
    }

    #[test]
    fn the_checked_in_file_has_figures_of_what_every_test_run_builds() {
        let figures = Figures::read().unwrap();
        let dev = figures.profile("dev").expect("figures of the profile dev");
        assert_eq!(dev.brotli_quality, crate::sizes::brotli_quality("dev"));
        for name in ["web/wasm/twinfer_web_bg.wasm", crate::sizes::SCRIPTS] {
            assert!(dev.artifacts.contains_key(name), "{name}");
        }
    }
}
