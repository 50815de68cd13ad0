//! References: how a package is asked for.

use std::fmt;
use std::str::FromStr;

use twinfer::{Error, Result, bail};

use crate::Digest;
use crate::digest::shorten;

/// Longest name of a package. Registries allow 255 for a repository with its host.
pub const MAX_NAME: usize = 128;
/// Longest tag, as in the OCI distribution specification.
pub const MAX_TAG: usize = 128;

/// `name`, `name:tag`, `name@sha256:…` or `name:tag@sha256:…`.
///
/// A tag is a version (immutable) or an alias. Where there is a digest, it alone decides.
/// A bare name means the highest version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    name: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// A reference to this version or alias.
    ///
    /// # Errors
    /// `invalid_reference` for a malformed name or tag.
    pub fn new(name: &str, tag: &str) -> Result<Self> {
        check_name(name)?;
        check_tag(tag)?;
        Ok(Self {
            name: name.into(),
            tag: Some(tag.into()),
            digest: None,
        })
    }

    /// The same reference, pinned to a digest.
    #[must_use]
    pub fn pinned(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// The name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version or alias.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the package manifest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// # Errors
    /// `invalid_reference`, saying which part is malformed; `invalid_digest` for the part
    /// after `@`.
    fn from_str(text: &str) -> Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse::<Digest>()
                    .map_err(|e| e.context(format!("reference `{}`", shorten(text))))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        check_name(name)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        Ok(Self {
            name: name.into(),
            tag: tag.map(Into::into),
            digest,
        })
    }
}

/// Checks the name of a model: runs of `a-z 0-9`, joined by one of `. _ -` (or `__`, or
/// several `-`). This is a path component of the OCI distribution specification, and safe
/// in a URL and as a file name.
///
/// # Errors
/// `invalid_reference`.
pub fn check_name(name: &str) -> Result<()> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = name
        .split(alphanumeric)
        .filter(|between| !between.is_empty());
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && separators
            .into_iter()
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'));
    if !good {
        bail!(
            InvalidReference,
            "`{}` is not a model name: write lower-case letters and digits, joined by single . _ or - (at most {MAX_NAME} characters), like face-detector",
            shorten(name)
        );
    }
    Ok(())
}

/// Checks a tag: letters, digits and `_ . -`, not beginning with `.` or `-`.
///
/// # Errors
/// `invalid_reference`.
pub fn check_tag(tag: &str) -> Result<()> {
    let good = !tag.is_empty()
        && tag.len() <= MAX_TAG
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if !good {
        bail!(
            InvalidReference,
            "`{}` is not a version or alias: write letters, digits, _ . and - (at most {MAX_TAG} characters), like 1.0.0 or stable",
            shorten(tag)
        );
    }
    Ok(())
}

/// What the tags of lists of referrers begin with (OCI distribution specification, "Referrers Tag
/// Schema"): `sha256-` and the digits of the digest that they refer to.
const REFERRERS_PREFIX: &str = "sha256-";

/// The tag of the signed list of a name's tags.
pub const SIGNED_TAGS: &str = "twinfer-tags";

/// The tag of the list of what refers to this manifest.
pub fn referrers_tag(digest: &Digest) -> String {
    format!("{REFERRERS_PREFIX}{}", digest.hex())
}

/// The digest in such a tag.
pub fn referrers_subject(tag: &str) -> Option<Digest> {
    format!("sha256:{}", tag.strip_prefix(REFERRERS_PREFIX)?)
        .parse()
        .ok()
}

/// Whether a tag holds what is attached to packages, rather than a package.
pub fn is_reserved(tag: &str) -> bool {
    tag == SIGNED_TAGS || referrers_subject(tag).is_some()
}

/// The tag as a version, if it is one. Such tags never change what they point to.
pub fn tag_version(tag: &str) -> Option<semver::Version> {
    semver::Version::parse(tag).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn the_four_forms_are_read_and_written() {
        let digest = Digest::of(b"x");
        for text in [
            "a",
            "face-detector:1.0.0",
            "a.b_c__d--e:stable",
            &format!("a@{digest}"),
            &format!("a:1@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_references_are_refused_with_their_code() {
        let long = "a".repeat(MAX_NAME + 1);
        for text in [
            "",
            ":",
            "A",
            "a/b",
            "../a",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "a b",
            "ä",
            ":1.0.0",
            "a:",
            "a:.1",
            "a:-1",
            "a:1/2",
            "a:1:2",
            "a:é",
            "a\n",
            "http://a",
            &long,
            &format!("a:{long}"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidReference, "{text}");
        }
        for text in ["a@", "a@sha256:", "a@latest", "a:1@sha512:00"] {
            assert_eq!(
                text.parse::<Reference>().unwrap_err().code(),
                ErrorCode::InvalidDigest,
                "{text}"
            );
        }
    }

    #[test]
    fn foreign_text_does_not_break_the_message() {
        let error = format!("a\u{1b}[31m\n{}", "x".repeat(5000))
            .parse::<Reference>()
            .unwrap_err();
        assert!(
            error.message().len() < 400 && !error.message().contains(['\n', '\u{1b}']),
            "{error}"
        );
    }

    #[test]
    fn reserved_tags_are_known() {
        let digest = Digest::of(b"");
        assert!(is_reserved(&referrers_tag(&digest)) && is_reserved(SIGNED_TAGS));
        assert_eq!(referrers_subject(&referrers_tag(&digest)), Some(digest));
        assert!(!is_reserved("sha256-short") && !is_reserved("1.0.0"));
    }
}
