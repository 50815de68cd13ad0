//! Whose names a metric is known by, and which of them an exposition has.

/// Whose name a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Ours, and those that Prometheus recommends for every process.
    Twinfer,
    /// KServe's (`python/kserve/kserve/metrics.py`).
    KServe,
    /// Those of the Triton Inference Server (its `docs/user_guide/metrics.md`). They break the
    /// naming rules of Prometheus (counters without `_total`, microseconds), which `promtool check
    /// metrics` complains about, so an exposition has them only when it is asked for them.
    Triton,
}

impl Names {
    /// Everyone's.
    pub const ALL: [Self; 3] = [Self::Twinfer, Self::KServe, Self::Triton];

    /// As it is written in a query and in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Twinfer => "twinfer",
            Self::KServe => "kserve",
            Self::Triton => "triton",
        }
    }
}

/// Whose names an exposition has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<Names>);

impl Default for Selection {
    /// Ours and KServe's: all that keep to the rules of Prometheus.
    fn default() -> Self {
        Self(vec![Names::Twinfer, Names::KServe])
    }
}

impl Selection {
    /// Everyone's.
    pub fn all() -> Self {
        Self(Names::ALL.to_vec())
    }

    /// What the query string of `/metrics` asks for: `names=triton`, `names=twinfer,kserve`.
    /// Without `names` the default; other parameters are ignored.
    ///
    /// # Errors
    /// A name that there is not: a sentence that says which there are.
    pub fn of_query(query: Option<&str>) -> Result<Self, String> {
        let pairs = query.unwrap_or_default().split('&');
        let Some(wanted) = pairs
            .filter_map(|pair| pair.strip_prefix("names="))
            .next_back()
        else {
            return Ok(Self::default());
        };
        // A comma may be sent as it is or escaped.
        let wanted = percent_encoding::percent_decode_str(wanted).decode_utf8_lossy();
        let find = |text: &str| {
            let found = Names::ALL.into_iter().find(|names| names.as_str() == text);
            found.ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                format!("there are no names {shown:?}: ask for `twinfer`, `kserve`, `triton`, or several with commas between")
            })
        };
        wanted
            .split(',')
            .map(find)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn has(&self, names: Names) -> bool {
        self.0.contains(&names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects() {
        let of = |query| Selection::of_query(Some(query)).unwrap();
        assert_eq!(Selection::of_query(None).unwrap(), Selection::default());
        assert_eq!(of(""), Selection::default());
        assert_eq!(of("other=1"), Selection::default());
        assert_eq!(of("names=triton"), Selection(vec![Names::Triton]));
        assert_eq!(of("a=b&names=twinfer,kserve,triton"), Selection::all());
        assert_eq!(of("names=twinfer%2Ckserve%2Ctriton"), Selection::all());
    }

    #[test]
    fn names_that_there_are_not_are_said() {
        for query in ["names=", "names=seldon", "names=triton,", "names=%ff"] {
            let error = Selection::of_query(Some(query)).unwrap_err();
            assert!(error.contains("`triton`"), "{query}: {error}");
        }
    }
}
