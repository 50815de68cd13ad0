//! Patterns of names, in which `*` stands for any characters: as in trust policies.

use serde::{Deserialize, Serialize};

/// Names and patterns of names; a name fits when one of them fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// These.
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Every name.
    pub fn all() -> Self {
        Self(vec!["*".into()])
    }

    /// Whether a name fits.
    pub fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, name))
    }

    /// Whether every name fits.
    pub fn are_all(&self) -> bool {
        let stars = |pattern: &String| !pattern.is_empty() && pattern.bytes().all(|b| b == b'*');
        self.0.iter().any(stars)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for Patterns {
    fn default() -> Self {
        Self::all()
    }
}

/// Whether a name fits a pattern. Takes time in proportion to the product of both lengths at most.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and what of the name it stands for.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("tumour-*", "tumour-risk", true),
            ("tumour-*", "tumour-", true),
            ("tumour-*", "tumour", false),
            ("tumour-*", "my-tumour-risk", false),
            ("*", "", true),
            ("*", "anything", true),
            ("**", "anything", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*-v1", "m-v1-v1", true),
            ("face", "face", true),
            ("face", "Face", false),
            ("f?ce", "face", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Patterns::all().are_all());
        assert!(!Patterns::new(vec!["a*".into(), String::new()]).are_all());
    }
}
