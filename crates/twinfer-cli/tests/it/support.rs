//! Running the command in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A temporary folder in which the command runs.
pub struct Place {
    folder: TempDir,
}

/// What a command said.
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The command, with the registry `registry` of this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinfer"));
        command.current_dir(self.folder.path()).args(arguments);
        for variable in [
            "TWINFER_REGISTRY",
            "TWINFER_LISTEN",
            "TWINFER_COMPILED",
            "TWINFER_TRUST",
            "TWINFER_STATE",
            "TWINFER_STATE_PASSWORD",
        ] {
            command.env_remove(variable);
        }
        command.env("TWINFER_TRUST_STATE", self.path("trust-state.json"));
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("TWINFER_CACHE_DIR", self.path("package-cache"));
        command
    }

    pub fn twinfer(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// Runs it and expects success.
    pub fn good(&self, arguments: &[&str]) -> String {
        let said = self.twinfer(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.err);
        assert_eq!(said.err, "", "{arguments:?}");
        said.out
    }

    pub fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.good(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs it and expects this error, and no result.
    pub fn bad(&self, arguments: &[&str], error: &str, code: i32) -> String {
        let said = self.twinfer(arguments);
        assert!(
            said.err.starts_with(&format!("error[{error}]: ")),
            "{arguments:?}: {}",
            said.err
        );
        assert_eq!(said.code, Some(code), "{arguments:?}: {}", said.err);
        assert_eq!(said.out, "", "{arguments:?}");
        said.err
    }

    /// Packs a sample model and gives its digest.
    pub fn pack(&self, model: &str) -> String {
        let packed = self.json(&["pack", &sample(model)]);
        packed["digest"].as_str().unwrap().to_owned()
    }

    /// The file of a blob in the registry.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.path("registry/blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap())
    }

    /// The digest of a layer of a package.
    pub fn layer(&self, reference: &str, name: &str) -> String {
        let inspected = self.json(&["inspect", reference]);
        let layers = inspected["manifest"]["layers"].as_array().unwrap();
        let layer = layers
            .iter()
            .find(|l| l["annotations"]["org.cncf.model.filepath"] == name)
            .unwrap();
        layer["digest"].as_str().unwrap().to_owned()
    }

    /// A recipe of a model file of the core's tests, with a large document beside it, so that
    /// writing the package takes a while.
    pub fn recipe(&self, version: &str, document_bytes: usize) {
        self.write(
            "recipe/model.onnx",
            fs::read(core_model("mlp_binary")).unwrap(),
        );
        self.write(
            "recipe/README.md",
            [version.as_bytes(), &vec![b' '; document_bytes]].concat(),
        );
        self.write(
            "recipe/twinfer.toml",
            format!(
                "[package]\nname = \"big\"\nversion = \"{version}\"\ncreated = \"2026-11-25T00:00:00Z\"\n\
                 [model]\nfile = \"model.onnx\"\n[files]\ncard = \"README.md\"\n"
            ),
        );
    }
}

impl Said {
    pub fn of(output: Output) -> Self {
        Self {
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of a sample model.
pub fn sample(model: &str) -> String {
    root()
        .join("models")
        .join(model)
        .to_str()
        .unwrap()
        .to_owned()
}

/// A model file of the core's tests.
pub fn core_model(name: &str) -> String {
    root()
        .join("crates/twinfer/tests/data")
        .join(format!("{name}.onnx"))
        .to_str()
        .unwrap()
        .to_owned()
}

/// A `.npy` file.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(118u16).to_le_bytes());
    file.extend_from_slice(format!("{text:<117}\n").as_bytes());
    file.extend_from_slice(data);
    file
}

/// Numbers as the data of a `.npy` file of type `<f4`.
pub fn floats(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|i| (i as f32 / 7.0).to_le_bytes())
        .collect()
}
