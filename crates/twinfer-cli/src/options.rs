//! Options that several commands have, and how they are read.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use twinfer_cache::Policy;
use twinfer_registry::Location;

/// How registries on the network are reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Reach registries of other machines without TLS
    #[arg(long, global = true)]
    pub plain_http: bool,

    /// Certificates (PEM) of authorities to trust besides those of the system
    #[arg(long, global = true, value_name = "FILE", env = "TWINFER_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Where a registry is.
pub fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text| Location::parse(&text))
}

/// `NAME=VALUE`
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// The cache of packages.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache of packages")]
pub struct CacheArgs {
    /// Where packages of registries on the network are kept [default: twinfer/packages in the
    /// user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "TWINFER_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Keep nothing, and take nothing from the cache
    #[arg(long, global = true)]
    pub no_package_cache: bool,

    /// Whether the registry is asked what a tag points to before the last answer is used,
    /// afterwards, or not at all
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "POLICY",
        default_value = "stale-while-revalidate"
    )]
    pub cache_policy: CachePolicy,

    /// Use only what is in the cache: --cache-policy offline
    #[arg(long, global = true, conflicts_with_all = ["cache_policy", "no_package_cache"])]
    pub offline: bool,

    /// Bytes that the cache holds at most, such as 500M or 10G
    #[arg(long, global = true, value_name = "BYTES", default_value = "10G", value_parser = byte_count)]
    pub cache_quota: u64,

    /// Another place of the same registry, asked when the first cannot give something; can be
    /// given several times
    #[arg(long = "mirror", global = true, value_name = "LOCATION", value_parser = location())]
    pub mirrors: Vec<Location>,
}

/// When the registry is asked what a tag points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CachePolicy {
    /// Before; the last answer is used when nobody answers
    Online,
    /// Afterwards, for the next time
    StaleWhileRevalidate,
    /// Not at all
    Offline,
}

impl CacheArgs {
    pub fn policy(&self) -> Policy {
        match (self.offline, self.cache_policy) {
            (true, _) | (_, CachePolicy::Offline) => Policy::Offline,
            (_, CachePolicy::Online) => Policy::Online,
            (_, CachePolicy::StaleWhileRevalidate) => Policy::StaleWhileRevalidate,
        }
    }
}

/// A number of bytes: `1000000`, `500M`, `10G`, `1.5GB`; the units are powers of 1,000.
pub fn byte_count(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &*text[number.len()..].to_ascii_uppercase() {
        "" | "B" => 1u64,
        "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        _ => return Err("write a number of bytes, such as 500M or 10G".into()),
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor),
        Err(_) => number
            .parse::<f64>()
            .ok()
            .map(|n| n * factor as f64)
            .filter(|n| (0.0..1e18).contains(n))
            .map(|n| n as u64),
    };
    bytes.ok_or_else(|| "write a number of bytes, such as 500M or 10G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("10G", Some(10_000_000_000)),
            ("500mb", Some(500_000_000)),
            ("1.5K", Some(1500)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615K", None),
            ("", None),
            ("G", None),
            ("-1", None),
            ("1X", None),
            ("nanG", None),
            ("1e300", None),
        ] {
            assert_eq!(byte_count(text).ok(), bytes, "{text}");
        }
    }
}
