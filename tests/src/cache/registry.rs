//! The packages that the suite loads: made here, so that what they answer is known to the bit.
//!
//! `y = x · W`, with small whole numbers in `W` and `x`: every sum is exact, so it does not
//! matter in which order a place adds, and every weight has a part in the answer.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use twinfer::{DType, Tensor};
use twinfer_package::{FolderStore, GoldenTensor, PackOptions, REF_NAME, TITLE, media, pack};

/// A model of the suite.
struct Shape {
    name: &'static str,
    rows: usize,
    columns: usize,
    versions: &'static [u32],
}

/// `steady` has half a megabyte of weights in one layer, enough to be cut several times;
/// `drip` has so few that it can come in drops.
const MODELS: [Shape; 2] = [
    Shape {
        name: "steady",
        rows: 2048,
        columns: 64,
        versions: &[1, 2, BAD],
    },
    Shape {
        name: "drip",
        rows: 8,
        columns: 8,
        versions: &[1],
    },
];

/// The version whose golden example is wrong.
pub const BAD: u32 = 3;

/// The tag that moves.
pub const TAG: &str = "live";

/// Packages in a registry folder.
#[derive(Debug, Clone)]
pub struct Made {
    /// The folder.
    pub folder: PathBuf,
    /// Its `index.json`.
    pub index: Json,
    /// The input of each model.
    pub inputs: BTreeMap<String, Vec<GoldenTensor>>,
    /// What each version answers: `steady 1`.
    pub answers: BTreeMap<String, Vec<GoldenTensor>>,
    /// The layer with the weights of each version, in hexadecimal digits.
    pub layers: BTreeMap<String, String>,
    /// The manifest of each version.
    pub manifests: BTreeMap<String, String>,
}

impl Made {
    /// Packs the packages into `folder/registry`.
    ///
    /// # Errors
    /// When they cannot be packed or written.
    pub fn write(folder: &Path) -> io::Result<Self> {
        let mut made = Self {
            folder: folder.join("registry"),
            index: Json::Null,
            inputs: BTreeMap::new(),
            answers: BTreeMap::new(),
            layers: BTreeMap::new(),
            manifests: BTreeMap::new(),
        };
        for shape in &MODELS {
            for version in shape.versions {
                made.pack(folder, shape, *version)?;
            }
        }
        made.index = read(&made.folder.join("index.json"))?;
        for shape in &MODELS {
            for version in shape.versions {
                made.find_layer(shape.name, *version)?;
            }
        }
        Ok(made)
    }

    fn pack(&mut self, folder: &Path, shape: &Shape, version: u32) -> io::Result<()> {
        let recipe = folder.join(format!("recipe-{}-{version}", shape.name));
        std::fs::create_dir_all(&recipe)?;
        let (x, y) = shape.example(version);
        let x = vec![tensor("x", &x)?];
        let y = vec![tensor("y", &y)?];
        let expected = match version {
            // What the first one answers: this one does not.
            BAD => vec![tensor("y", &shape.example(1).1)?],
            _ => y.clone(),
        };
        std::fs::write(recipe.join("model.onnx"), shape.onnx(version))?;
        let golden = json!({
            "reference": "whole numbers, added by the suite itself",
            "cases": [{
                "name": "ramp",
                "input": {"tensors": x},
                "expect": {"tensors": expected},
            }],
        });
        std::fs::write(recipe.join("golden.json"), golden.to_string())?;
        let text = format!(
            "[package]\nname = \"{}\"\nversion = \"{version}.0.0\"\ntitle = \"Cache suite\"\n\
             description = \"A matrix of whole numbers\"\nlicense = \"MIT OR Apache-2.0\"\n\
             authors = [\"Twinfer\"]\ncreated = \"2026-11-25T00:00:00Z\"\n\n\
             [model]\nfile = \"model.onnx\"\n\n[files]\ngolden = \"golden.json\"\n",
            shape.name
        );
        std::fs::write(recipe.join("twinfer.toml"), text)?;
        let options = PackOptions {
            self_test: version != BAD,
            ..PackOptions::default()
        };
        pack(&recipe, &FolderStore::new(&self.folder), options).map_err(other)?;
        self.inputs.insert(shape.name.into(), x);
        self.answers.insert(key(shape.name, version), y);
        Ok(())
    }

    fn find_layer(&mut self, name: &str, version: u32) -> io::Result<()> {
        let entry = self.entry(&format!("{name}:{version}.0.0"))?;
        let digest = hex(&entry["digest"]);
        let manifest = read(&self.folder.join("blobs/sha256").join(&digest))?;
        let mut layers = manifest["layers"].as_array().into_iter().flatten();
        let layer = layers
            .find(|layer| layer["annotations"][TITLE] == media::MODEL_NAME)
            .ok_or_else(|| io::Error::other("a package without a model"))?;
        self.layers
            .insert(key(name, version), hex(&layer["digest"]));
        self.manifests.insert(key(name, version), digest);
        Ok(())
    }

    fn entry(&self, reference: &str) -> io::Result<&Json> {
        let mut entries = self.index["manifests"].as_array().into_iter().flatten();
        entries
            .find(|entry| entry["annotations"][REF_NAME] == reference)
            .ok_or_else(|| io::Error::other(format!("the registry has no {reference}")))
    }

    /// `index.json` with the tag of every model at this version, where the model has that.
    pub fn index_with(&self, version: u32) -> Vec<u8> {
        let mut index = self.index.clone();
        for shape in &MODELS {
            let Ok(entry) = self.entry(&format!("{}:{version}.0.0", shape.name)) else {
                continue;
            };
            let mut entry = entry.clone();
            entry["annotations"][REF_NAME] = json!(format!("{}:{TAG}", shape.name));
            if let Some(entries) = index["manifests"].as_array_mut() {
                entries.push(entry);
            }
        }
        index.to_string().into_bytes()
    }
}

/// The key of a version in the maps.
pub fn key(name: &str, version: u32) -> String {
    format!("{name} {version}")
}

impl Shape {
    /// From -8 to 8, and different in each version.
    fn weight(&self, version: u32, row: usize, column: usize) -> i32 {
        let mixed = row * 7 + column * 13 + row * column + version as usize * 5;
        (mixed % 17) as i32 - 8
    }

    /// The input, none of which is 0, and what this version answers.
    fn example(&self, version: u32) -> (Vec<f32>, Vec<f32>) {
        let x: Vec<i32> = (0..self.rows).map(|row| 1 + (row % 7) as i32).collect();
        let y = (0..self.columns).map(|column| {
            let products = x.iter().enumerate();
            let sum: i32 = products
                .map(|(row, x)| x * self.weight(version, row, column))
                .sum();
            sum as f32
        });
        let y = y.collect();
        (x.into_iter().map(|x| x as f32).collect(), y)
    }

    /// The model file (onnx.proto, version 8 of the format).
    fn onnx(&self, version: u32) -> Vec<u8> {
        let weights = (0..self.rows)
            .flat_map(|row| (0..self.columns).map(move |column| (row, column)))
            .flat_map(|(row, column)| (self.weight(version, row, column) as f32).to_le_bytes());
        let initializer = [
            number(1, self.rows as u64),
            number(1, self.columns as u64),
            number(2, FLOAT),
            field(8, b"W"),
            field(9, &weights.collect::<Vec<u8>>()),
        ];
        let node = [
            field(1, b"x"),
            field(1, b"W"),
            field(2, b"y"),
            field(3, b"product"),
            field(4, b"MatMul"),
        ];
        let graph = [
            field(1, &node.concat()),
            field(2, b"graph"),
            field(5, &initializer.concat()),
            field(11, &value(b"x", &[1, self.rows as u64])),
            field(12, &value(b"y", &[1, self.columns as u64])),
        ];
        let opset = [field(1, b""), number(2, 17)].concat();
        [number(1, 8), field(7, &graph.concat()), field(8, &opset)].concat()
    }
}

/// The number of the data type in onnx.proto.
const FLOAT: u64 = 1;

fn value(name: &[u8], shape: &[u64]) -> Vec<u8> {
    let dims = shape.iter().map(|axis| field(1, &number(1, *axis)));
    let tensor = [
        number(1, FLOAT),
        field(2, &dims.collect::<Vec<_>>().concat()),
    ]
    .concat();
    [field(1, name), field(2, &field(1, &tensor))].concat()
}

fn number(key: u64, value: u64) -> Vec<u8> {
    [varint(key << 3), varint(value)].concat()
}

fn field(key: u64, bytes: &[u8]) -> Vec<u8> {
    [
        varint((key << 3) | 2),
        varint(bytes.len() as u64),
        bytes.into(),
    ]
    .concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn tensor(name: &str, values: &[f32]) -> io::Result<GoldenTensor> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let tensor = Tensor::from_bytes(DType::F32, &[1, values.len()], bytes).map_err(other)?;
    Ok(GoldenTensor::from_tensor(name, &tensor))
}

fn other(error: twinfer::Error) -> io::Error {
    io::Error::other(error.to_string())
}

fn read(path: &Path) -> io::Result<Json> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn hex(digest: &Json) -> String {
    let text = digest.as_str().unwrap_or_default();
    text.trim_start_matches("sha256:").to_owned()
}
