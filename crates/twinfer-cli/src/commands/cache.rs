//! `twinfer cache`

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::json;
use twinfer::{Result, bail};
use twinfer_cache::{Listing, Removed};
use twinfer_registry::CachedStore;

use crate::options::byte_count;
use crate::output::{Output, bytes, table};

/// Look after the cache of packages that came over the network
///
/// Commands that read from a registry on the network keep what they fetch, and verify it each
/// time that it is read. Packages that were not used lately are removed when the quota is
/// reached (--cache-quota); the active and the previous version of a tag stay.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer cache ls
  twinfer cache verify
  twinfer cache prune --to 1G
  twinfer cache clear --cache-dir /var/cache/models")]
pub struct CacheCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the packages, tags and counts of the cache
    #[command(after_help = "Examples:\n  twinfer cache ls\n  twinfer cache ls --json")]
    Ls,
    /// Read everything, and remove what is damaged
    ///
    /// Ends with exit code 3 when anything was. It is fetched again when it is wanted.
    #[command(after_help = "Examples:\n  twinfer cache verify")]
    Verify,
    /// Remove what was not used lately, and what crashes left behind
    #[command(
        after_help = "Examples:\n  twinfer cache prune\n  twinfer cache prune --to 500M\n  twinfer cache prune --to 0"
    )]
    Prune {
        /// Bytes to keep at most, such as 500M or 10G [default: the quota]
        #[arg(long, value_name = "BYTES", value_parser = byte_count)]
        to: Option<u64>,
    },
    /// Remove everything that is not in use this moment
    #[command(after_help = "Examples:\n  twinfer cache clear")]
    Clear,
}

pub fn run(args: &CacheCommand, cache: &CachedStore, quota: u64, output: &Output) -> Result<()> {
    match args.action {
        Action::Ls => {
            let listing = cache.list()?;
            let value = Shown {
                folder: cache.folder().display().to_string(),
                listing: &listing,
            };
            output.print(&value, || text(&value.folder, &listing, now()))
        }
        Action::Verify => verify(cache, output),
        Action::Prune { to } => {
            let to = to.unwrap_or(quota);
            let removed = cache.prune(to)?;
            let left = cache.list()?.bytes;
            let value = json!({"removed": removed, "bytes_left": left});
            output.print(&value, || {
                let rest = match left > to {
                    true => ", which is in use, or the active or previous version of a tag",
                    false => "",
                };
                format!("{}; {} left{rest}", shown(&removed), bytes(left))
            })
        }
        Action::Clear => {
            let removed = cache.clear()?;
            output.print(&json!({"removed": removed}), || shown(&removed))
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    folder: String,
    #[serde(flatten)]
    listing: &'a Listing,
}

fn verify(cache: &CachedStore, output: &Output) -> Result<()> {
    let verified = cache.verify()?;
    output.print(&verified, || {
        let mut lines = vec![format!(
            "{} blobs are as they should be ({})",
            verified.good,
            bytes(verified.bytes)
        )];
        let damaged = verified.damaged.iter();
        lines.extend(damaged.map(|digest| format!("removed  {digest}")));
        lines.join("\n")
    })?;
    match verified.damaged.len() {
        0 => Ok(()),
        1 => bail!(
            DigestMismatch,
            "a blob of the cache was damaged, and was removed: it is fetched again when it is wanted"
        ),
        n => bail!(
            DigestMismatch,
            "{n} blobs of the cache were damaged, and were removed: they are fetched again when they are wanted"
        ),
    }
}

fn shown(removed: &Removed) -> String {
    format!(
        "removed {} packages, {} blobs, {}",
        removed.packages.len(),
        removed.blobs,
        bytes(removed.bytes)
    )
}

fn text(folder: &str, listing: &Listing, now: u64) -> String {
    let mut facts = vec![
        vec!["folder".into(), folder.into()],
        vec![
            "holds".into(),
            format!("{} in {} blobs", bytes(listing.bytes), listing.blobs),
        ],
    ];
    if listing.partial_bytes > 0 {
        facts.push(vec!["begun".into(), bytes(listing.partial_bytes)]);
    }
    let sizes = [("quota", listing.quota), ("free", listing.available)];
    facts.extend(
        sizes
            .into_iter()
            .filter_map(|(name, size)| Some(vec![name.into(), bytes(size?)])),
    );
    let counts = &listing.statistics;
    facts.push(vec![
        "counts".into(),
        format!(
            "{} hits ({} not fetched), {} misses ({} fetched), {} damaged, {} evicted",
            counts.hits,
            bytes(counts.bytes_saved),
            counts.misses,
            bytes(counts.bytes_fetched),
            counts.damaged,
            counts.evicted
        ),
    ]);
    let mut sections = vec![table(&facts)];
    let packages = listing.packages.iter().map(|package| {
        vec![
            format!("  {}", package.name),
            package.digest.to_string(),
            match package.bytes == package.of {
                true => bytes(package.bytes),
                false => format!("{} of {}", bytes(package.bytes), bytes(package.of)),
            },
            ago(now, package.used),
            if package.pinned { "pinned" } else { "" }.into(),
        ]
    });
    let packages: Vec<_> = packages.collect();
    if !packages.is_empty() {
        sections.push(format!("packages\n{}", table(&packages)));
    }
    let tags = listing.references.iter().map(|tag| {
        vec![
            format!("  {}", tag.reference),
            tag.active.to_string(),
            tag.registry.clone(),
            ago(now, tag.used),
            match tag.previous {
                Some(digest) => format!("before: {digest}"),
                None => String::new(),
            },
        ]
    });
    let tags: Vec<_> = tags.collect();
    if !tags.is_empty() {
        sections.push(format!("tags\n{}", table(&tags)));
    }
    sections.join("\n\n")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// How long ago something was, in the largest unit that fits.
fn ago(now: u64, then: u64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    for (length, unit) in units {
        match seconds / length {
            0 => {}
            1 => return format!("1 {unit} ago"),
            count => return format!("{count} {unit}s ago"),
        }
    }
    "just now".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        for (seconds, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7300, "2 hours ago"),
            (86_400 * 40, "40 days ago"),
        ] {
            assert_eq!(ago(1_000 * seconds + 500, 500), text);
        }
        assert_eq!(ago(0, 5000), "just now");
    }
}
