//! Trust policies: which keys may sign which names, and what is refused.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semver::Version;
use twinfer::{Error, ErrorCode, Result, bail};

pub use file::{KeySpec, PolicyFile, Rule, SignedTagsMode, Unsigned};

use crate::digest::shorten;
use crate::limits::MAX_POLICY_BYTES;
use crate::{Digest, PublicKey};

/// A trust policy that was read and checked. Cloning it costs nothing.
#[derive(Debug, Clone)]
pub struct TrustPolicy {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<(String, Terms)>,
    default: Terms,
    revoked: BTreeSet<Digest>,
    /// As it was read: what is handed on to another place.
    json: String,
}

/// What is demanded of the packages of a name.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Keys by the name that the policy gives them.
    pub(crate) keys: Vec<(String, PublicKey)>,
    /// The same of those that may sign engines.
    pub(crate) engine_keys: Vec<(String, PublicKey)>,
    pub(crate) unsigned: Unsigned,
    pub(crate) minimum_version: Option<Version>,
    pub(crate) signed_tags: SignedTagsMode,
    pub(crate) minimum_counter: u64,
}

impl TrustPolicy {
    /// Reads a trust policy.
    ///
    /// # Errors
    /// `invalid_policy`, whatever is wrong with it: there is no safe way to follow half of one.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() as u64 > MAX_POLICY_BYTES {
            bail!(
                InvalidPolicy,
                "the trust policy has {} bytes; at most {MAX_POLICY_BYTES} are read",
                json.len()
            );
        }
        let file = PolicyFile::from_json(json)?;
        Self::new(&file, String::from_utf8_lossy(json).into_owned())
    }

    /// A policy that accepts the packages and engines that this key signed, of any name, and no
    /// others.
    ///
    /// # Errors
    /// `internal`.
    pub fn of_key(key: &PublicKey) -> Result<Self> {
        let file = PolicyFile {
            format_version: file::FORMAT,
            keys: [(
                "key".to_owned(),
                KeySpec {
                    public_key: key.to_pem()?,
                },
            )]
            .into(),
            rules: vec![Rule {
                keys: vec!["key".into()],
                engine_keys: vec!["key".into()],
                ..Rule::new("*")
            }],
            default: Unsigned::Refuse,
            revoked: Vec::new(),
        };
        let json = serde_json::to_string(&file).map_err(|e| internal(&e))?;
        Self::new(&file, json)
    }

    fn new(file: &PolicyFile, json: String) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for (name, spec) in &file.keys {
            let key = PublicKey::from_pem(&spec.public_key)
                .map_err(|e| invalid(format!("the key `{}`: {e}", shorten(name))))?;
            keys.insert(name.as_str(), key);
        }
        let rules = file.rules.iter();
        Ok(Self {
            inner: Arc::new(Inner {
                rules: rules
                    .map(|rule| Ok((rule.names.clone(), terms(rule, &keys)?)))
                    .collect::<Result<_>>()?,
                default: Terms {
                    keys: Vec::new(),
                    engine_keys: Vec::new(),
                    unsigned: file.default,
                    minimum_version: None,
                    signed_tags: SignedTagsMode::Optional,
                    minimum_counter: 0,
                },
                revoked: file.revoked.iter().copied().collect(),
                json,
            }),
        })
    }

    /// The policy as JSON, to hand it on.
    pub fn json(&self) -> &str {
        &self.inner.json
    }

    /// The first rule whose pattern fits counts.
    pub(crate) fn terms(&self, name: &str) -> &Terms {
        let rules = &self.inner.rules;
        rules
            .iter()
            .find(|(pattern, _)| fits(pattern.as_bytes(), name.as_bytes()))
            .map_or(&self.inner.default, |(_, terms)| terms)
    }

    pub(crate) fn revokes(&self, digest: &Digest) -> bool {
        self.inner.revoked.contains(digest)
    }
}

fn terms(rule: &Rule, keys: &BTreeMap<&str, PublicKey>) -> Result<Terms> {
    let names = shorten(&rule.names);
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
    if rule.names.is_empty() || !rule.names.chars().all(allowed) {
        return Err(invalid(format!(
            "`{names}` fits no model name: write the characters of names and * for any of them, like face-*"
        )));
    }
    let key = |name: &String| match keys.get(name.as_str()) {
        Some(key) => Ok((name.clone(), key.clone())),
        None => Err(invalid(format!(
            "the rule for `{names}` names the key `{}`, which is not among `keys`",
            shorten(name)
        ))),
    };
    let known: Vec<_> = rule.keys.iter().map(key).collect::<Result<_>>()?;
    if known.is_empty()
        && (rule.signed_tags == SignedTagsMode::Required || rule.minimum_counter > 0)
    {
        return Err(invalid(format!(
            "the rule for `{names}` demands signed tags but has no keys that could sign them"
        )));
    }
    let minimum_version = rule.minimum_version.as_deref().map(|text| {
        Version::parse(text).map_err(|e| {
            invalid(format!(
                "the rule for `{names}` has minimum_version `{}`: {e}",
                shorten(text)
            ))
        })
    });
    Ok(Terms {
        keys: known,
        engine_keys: rule.engine_keys.iter().map(key).collect::<Result<_>>()?,
        unsigned: rule.unsigned,
        minimum_version: minimum_version.transpose()?,
        signed_tags: rule.signed_tags,
        minimum_counter: rule.minimum_counter,
    })
}

/// Whether a name fits a pattern in which `*` stands for any characters, also none. In time
/// of the product of both lengths at most, whatever the pattern.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and how much of the name it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(byte), _) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            (_, Some((at, taken))) => {
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn invalid(message: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::InvalidPolicy,
        format!("the trust policy: {message}"),
    )
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("a trust policy: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything", true),
            ("face-*", "face-detector", true),
            ("face-*", "face-", true),
            ("face-*", "a-face-detector", false),
            ("*-face", "a-face", true),
            ("*-face", "a-face-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**", "a", true),
            ("a*ab", "aab", true),
            ("a*ab", "aaab", true),
            ("*a*a*a*a*b", &"a".repeat(128), false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
