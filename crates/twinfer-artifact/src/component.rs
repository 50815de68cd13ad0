//! The outer form of a component: its core modules, and the section that says what it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};
use twinfer_package::{Digest, EngineKind};
use wasm_encoder::{Component, ComponentSectionId, CustomSection, RawSection};
use wasmparser::BinaryReader;

/// The custom section of a component that was derived.
pub const SECTION: &str = "twinfer";
/// What a file of a component begins with.
const MAGIC: &[u8; 8] = b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = ComponentSectionId::CoreModule as u8;

/// What a derived component is: the content of its section, as JSON. It says all that a
/// [`twinfer_package::DerivedEngine`] says, but the digest of the file that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Label {
    /// What was done to it.
    pub kind: EngineKind,
    /// Whether functions were taken out: then it needs the full component for the rest.
    #[serde(default)]
    pub slim: bool,
    /// Digest of the full component's file from which it was made.
    pub engine: Digest,
    /// Version of Twinfer that the full component has.
    pub version: String,
    /// The packages that it was made for, each with the digest of its profile.
    pub packages: BTreeMap<Digest, Digest>,
}

/// One section on the outermost level.
struct Section {
    id: u8,
    content: Range<usize>,
}

/// The sections of a component, in their order.
fn sections(component: &[u8]) -> Result<Vec<Section>> {
    if !component.starts_with(MAGIC) {
        bail!(
            InvalidRequest,
            "this is no component: name a twinfer_worker.wasm"
        );
    }
    let broken = |e| err!(InvalidRequest, "this component is malformed: {e}");
    let mut reader = BinaryReader::new(&component[MAGIC.len()..], MAGIC.len());
    let mut sections = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8().map_err(broken)?;
        let size = reader.read_var_u32().map_err(broken)? as usize;
        let begin = reader.original_position();
        reader.read_bytes(size).map_err(broken)?;
        sections.push(Section {
            id,
            content: begin..begin + size,
        });
    }
    Ok(sections)
}

/// The core modules of a component, in their order.
///
/// # Errors
/// `invalid_request` for anything but a component.
pub fn modules(component: &[u8]) -> Result<Vec<&[u8]>> {
    let sections = sections(component)?.into_iter();
    let modules = sections.filter(|section| section.id == CORE_MODULE);
    Ok(modules.map(|module| &component[module.content]).collect())
}

/// The core module with the program, and its number: the others only connect it.
///
/// # Errors
/// `invalid_request` for anything but a component with a module.
pub fn program(component: &[u8]) -> Result<(usize, &[u8])> {
    let modules = modules(component)?.into_iter().enumerate();
    modules
        .max_by_key(|(_, module)| module.len())
        .ok_or_else(|| err!(InvalidRequest, "this component has no core module"))
}

/// The same component with other bytes for one of its core modules. Custom sections that
/// belong to the old bytes go; [`SECTION`] stays.
///
/// # Errors
/// `invalid_request` for anything but a component that has this module.
pub fn replace_module(component: &[u8], number: usize, module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = Component::new();
    let mut next = 0;
    for section in sections(component)? {
        let mut data = &component[section.content];
        if section.id == CORE_MODULE {
            if next == number {
                data = module;
            }
            next += 1;
        }
        encoder.section(&RawSection {
            id: section.id,
            data,
        });
    }
    if number >= next {
        bail!(
            InvalidRequest,
            "this component has {next} core modules, not more than {number}"
        );
    }
    Ok(encoder.finish())
}

/// Reads what a component says of itself; `None` for one that was not derived.
///
/// # Errors
/// `invalid_request` for anything but a component, or a malformed section.
pub fn label(component: &[u8]) -> Result<Option<Label>> {
    let found = sections(component)?.into_iter().find_map(|section| {
        let (name, content) = custom(&component[section.content], section.id)?;
        (name == SECTION).then_some(content)
    });
    let parse = |json| {
        serde_json::from_slice(json)
            .map_err(|e| err!(InvalidRequest, "the section `{SECTION}` is malformed: {e}"))
    };
    found.map(parse).transpose()
}

/// The same component with this label, in the place of one that it has.
///
/// # Errors
/// `invalid_request` for anything but a component; `internal`.
pub fn with_label(component: &[u8], label: &Label) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(label).map_err(|e| err!(Internal, "a label has no JSON: {e}"))?;
    let mut encoder = Component::new();
    // In front, so that a host reads a few bytes to know what it has.
    encoder.section(&CustomSection {
        name: SECTION.into(),
        data: Cow::Borrowed(&json),
    });
    for section in sections(component)? {
        let data = &component[section.content];
        if custom(data, section.id).is_some_and(|(name, _)| name == SECTION) {
            continue;
        }
        encoder.section(&RawSection {
            id: section.id,
            data,
        });
    }
    Ok(encoder.finish())
}

/// Name and content of a custom section.
fn custom(section: &[u8], id: u8) -> Option<(&str, &[u8])> {
    if id != CUSTOM {
        return None;
    }
    let mut reader = BinaryReader::new(section, 0);
    let name = reader.read_string().ok()?;
    Some((name, &section[reader.original_position()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{Module, ModuleSection};

    fn component() -> Vec<u8> {
        let mut component = Component::new();
        component.section(&ModuleSection(&Module::new()));
        let mut second = Module::new();
        second.section(&CustomSection {
            name: "name".into(),
            data: Cow::Borrowed(&[0; 40]),
        });
        component.section(&ModuleSection(&second));
        component.finish()
    }

    fn a_label(version: &str) -> Label {
        Label {
            kind: EngineKind::Fused,
            slim: false,
            engine: Digest::of(b"full"),
            version: version.into(),
            packages: [(Digest::of(b"package"), Digest::of(b"profile"))].into(),
        }
    }

    #[test]
    fn one_module_is_exchanged_and_the_rest_stays() {
        let component = component();
        let (number, module) = program(&component).unwrap();
        assert_eq!(number, 1);
        let empty = Module::new().finish();
        let changed = replace_module(&component, 1, &empty).unwrap();
        assert_eq!(modules(&changed).unwrap(), [&empty[..], &empty[..]]);
        assert_eq!(replace_module(&component, 1, module).unwrap(), component);
        assert!(replace_module(&component, 2, &empty).is_err());
    }

    #[test]
    fn a_label_is_read_back_and_replaced_by_the_next() {
        let plain = component();
        assert_eq!(label(&plain).unwrap(), None);
        let once = with_label(&plain, &a_label("1.0.0")).unwrap();
        let twice = with_label(&once, &a_label("2.0.0")).unwrap();
        assert_eq!(label(&twice).unwrap(), Some(a_label("2.0.0")));
        assert_eq!(twice, with_label(&plain, &a_label("2.0.0")).unwrap());
        assert_eq!(modules(&twice).unwrap(), modules(&plain).unwrap());
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let whole = component();
        for bytes in [
            &b""[..],
            b"\0asm\x01\0\0\0",
            &whole[..whole.len() - 1],
            b"text",
        ] {
            assert!(modules(bytes).is_err(), "{bytes:?}");
            assert!(label(bytes).is_err(), "{bytes:?}");
        }
        assert!(program(&MAGIC[..]).is_err());
    }
}
