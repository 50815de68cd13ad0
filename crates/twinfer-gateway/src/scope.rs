//! Scopes: the kinds of things that one can be allowed to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{SettingsError, wrong};

/// A kind of things that one can be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Whether the server lives and is ready. Always open.
    Health,
    /// Predictions, and the metadata that clients need for them.
    Predict,
    /// The metrics.
    Metrics,
    /// All that changes what is served, and what nobody knows.
    Admin,
    /// The packages themselves: `/registry/`.
    Packages,
    /// The page at `/`, its files, and the description of the API.
    Page,
}

impl Scope {
    /// Every scope.
    pub const ALL: &'static [Self] = &[
        Self::Health,
        Self::Predict,
        Self::Metrics,
        Self::Admin,
        Self::Packages,
        Self::Page,
    ];

    /// Its name in settings and tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Predict => "predict",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
            Self::Packages => "packages",
            Self::Page => "page",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let found = Self::ALL.iter().find(|scope| scope.as_str() == text);
        found.copied().ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|scope| scope.as_str()).collect();
            wrong!("`{text}` is not a scope: there are {}", all.join(", "))
        })
    }
}

/// A set of scopes. In settings a list of their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(u8);

impl Scopes {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// The set of these.
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |set, scope| set | bit(*scope)))
    }

    /// Whether one is in it.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All in it but this one.
    #[must_use]
    pub fn without(self, scope: Scope) -> Self {
        Self(self.0 & !bit(scope))
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let all = Scope::ALL.iter().copied();
        all.filter(move |scope| self.has(*scope))
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        Self::of(&scopes)
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.iter().collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(*scope));
            let json = serde_json::to_string(scope).unwrap();
            assert_eq!(json, format!("\"{scope}\""));
        }
        let unknown = "root".parse::<Scope>().unwrap_err();
        assert!(unknown.message().contains("health, predict"), "{unknown}");
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = Scopes::of(&[Scope::Page, Scope::Predict]);
        assert!(set.has(Scope::Page) && set.has(Scope::Predict));
        assert!(!set.has(Scope::Admin) && !set.is_empty());
        assert_eq!(set.to_string(), "predict,page");
        assert_eq!(
            serde_json::to_string(&set).unwrap(),
            r#"["predict","page"]"#
        );
    }
}
