//! What a component says of itself, when it was derived from the full one for certain packages.

use serde::Deserialize;

/// The custom section with it; `twinfer_artifact::component` writes it.
const SECTION: &[u8] = b"twinfer";
const MAGIC: &[u8] = b"\0asm\x0d\0\x01\0";

/// The section's content, as far as a host wants it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    /// Functions were taken out of it, whatever its kind.
    #[serde(default)]
    pub(crate) slim: bool,
    /// Digest of the full component's file: `sha256:…`.
    pub(crate) engine: String,
    /// Version of Twinfer that it has.
    pub(crate) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Without the functions that its packages do not need.
    Slim,
    /// With a package loaded in it.
    Fused,
}

impl Label {
    /// `None` for a component without one, or with one that this version cannot read: that is
    /// run like any other.
    pub(crate) fn of(component: &[u8]) -> Option<Self> {
        let mut rest = component.strip_prefix(MAGIC)?;
        while let Some((id, after)) = rest.split_first() {
            let (size, after) = number(after)?;
            let (content, after) = after.split_at_checked(size)?;
            rest = after;
            if *id == 0
                && let Some((length, named)) = number(content)
                && let Some((SECTION, json)) = named.split_at_checked(length)
            {
                return serde_json::from_slice(json).ok();
            }
        }
        None
    }

    /// Whether it can lack a function that a request needs.
    pub(crate) fn may_lack(&self) -> bool {
        self.slim || self.kind == Kind::Slim
    }
}

/// An unsigned number as wasm writes it (LEB128), and what is behind it.
fn number(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (id, content) in sections {
            bytes.extend([
                *id,
                0x80 | (content.len() & 0x7f) as u8,
                (content.len() >> 7) as u8,
            ]);
            bytes.extend_from_slice(content);
        }
        bytes
    }

    #[test]
    fn a_label_is_found_among_other_sections() {
        let json =
            br#"{"kind":"fused","slim":true,"engine":"sha256:00","version":"1.0.0","packages":{}}"#;
        let mut named = b"\x07twinfer".to_vec();
        named.extend_from_slice(json);
        let with = component(&[(0, b"\x04name1234"), (1, &[0; 200]), (0, &named)]);
        let label = Label::of(&with).unwrap();
        assert_eq!((label.kind, label.version.as_str()), (Kind::Fused, "1.0.0"));
        assert!(label.may_lack());
        assert_eq!(Label::of(&component(&[(0, b"\x04name1234")])), None);
        for length in 0..with.len() {
            assert_eq!(Label::of(&with[..length]), None, "{length}");
        }
        let newer = component(&[(
            0,
            &[&b"\x07twinfer"[..], br#"{"kind":"distilled"}"#].concat(),
        )]);
        assert_eq!(Label::of(&newer), None);
    }
}
