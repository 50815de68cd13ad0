//! `wasm-pack.toml`: the build profiles of the page's wasm.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::failure::{Context, Failure, Result};
use crate::paths;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmPack {
    /// Versions of the tools.
    pub tools: ToolVersions,
    /// The crate to build.
    #[serde(rename = "crate")]
    pub krate: WebCrate,
    /// Profiles by name.
    pub profile: BTreeMap<String, Profile>,
}

/// The exact versions of the tools that build the wasm.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolVersions {
    /// Of wasm-bindgen-cli.
    pub wasm_bindgen: String,
    /// Of wasm-pack.
    pub wasm_pack: String,
}

/// The crate to build.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebCrate {
    /// Its folder in the workspace.
    pub path: PathBuf,
    /// The stem of the files that are made.
    pub out_name: String,
}

/// How to build it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// A profile of the workspace's Cargo.toml.
    pub cargo_profile: String,
    /// What makes the JavaScript around it.
    pub packer: Packer,
    /// The kind of JavaScript around it, as wasm-bindgen and wasm-pack name it.
    pub target: String,
    /// Where the files go.
    pub out_dir: PathBuf,
    /// `false`, or the flags of wasm-opt.
    pub wasm_opt: WasmOpt,
}

/// What makes the JavaScript around the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packer {
    /// wasm-pack, which calls wasm-bindgen.
    WasmPack,
    /// wasm-bindgen, as wasm-pack calls it.
    WasmBindgen,
}

/// `false`, or the flags of wasm-opt.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum WasmOpt {
    /// Whether it runs at all; `true` is refused: say with which flags.
    Off(bool),
    /// Its flags.
    Flags(Vec<String>),
}

impl Profile {
    /// The flags of wasm-opt, when it runs.
    pub fn wasm_opt_flags(&self) -> Option<&[String]> {
        match &self.wasm_opt {
            WasmOpt::Off(_) => None,
            WasmOpt::Flags(flags) => Some(flags),
        }
    }
}

impl WasmPack {
    /// Reads the file of the workspace.
    pub fn read() -> Result<Self> {
        let path = paths::root().join("wasm-pack.toml");
        let text = std::fs::read_to_string(&path).context(|| "wasm-pack.toml".into())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let file: Self = toml::from_str(text).context(|| "wasm-pack.toml".into())?;
        for (name, profile) in &file.profile {
            if matches!(profile.wasm_opt, WasmOpt::Off(true)) {
                return Err(Failure::new(format!(
                    "wasm-pack.toml: profile {name}: wasm-opt = true says no flags; give a list of flags, or false"
                )));
            }
        }
        Ok(file)
    }

    /// A profile by its name.
    pub fn profile(&self, name: &str) -> Result<&Profile> {
        self.profile.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.profile.keys().map(String::as_str).collect();
            Failure::usage(format!(
                "wasm-pack.toml has no profile `{name}`; it has {}",
                known.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_workspace_is_read_and_agrees_with_the_lock_file() {
        let file = WasmPack::read().unwrap();
        assert!(file.profile("dev").unwrap().wasm_opt_flags().is_none());
        assert!(file.profile("release").unwrap().wasm_opt_flags().is_some());
        assert!(
            file.profile("typo")
                .unwrap_err()
                .to_string()
                .contains("dev, release")
        );
        let lock = std::fs::read_to_string(paths::root().join("Cargo.lock")).unwrap();
        let entry = format!(
            "name = \"wasm-bindgen\"\nversion = \"{}\"",
            file.tools.wasm_bindgen
        );
        assert!(
            lock.contains(&entry),
            "Cargo.lock has another version of wasm-bindgen than wasm-pack.toml"
        );
    }

    #[test]
    fn wasm_opt_without_flags_and_unknown_keys_are_refused() {
        let text = |line: &str| {
            format!(
                "[tools]\nwasm-bindgen = '1'\nwasm-pack = '1'\n[crate]\npath = 'p'\nout-name = 'n'\n\
                 [profile.x]\ncargo-profile = 'dev'\npacker = 'wasm-pack'\ntarget = 'web'\nout-dir = 'o'\n{line}\n"
            )
        };
        assert!(WasmPack::parse(&text("wasm-opt = false")).is_ok());
        assert!(
            WasmPack::parse(&text("wasm-opt = true"))
                .unwrap_err()
                .to_string()
                .contains("flags")
        );
        assert!(WasmPack::parse(&text("wasm-opt = false\ntypo = 1")).is_err());
    }
}
