//! What the page shows of a model, and what a visitor can try it with.

use serde_json::{Value, json};
use twinfer::Result;
use twinfer_package::{GoldenCase, GoldenInput, Role, Texts};

use crate::App;
use crate::target::Target;

/// More examples than this are not a choice any more.
const MOST: usize = 12;
/// Bytes of the content of one example in base64, of all of them, and of the layer that they are in: a page
/// should not have to wait for them.
const LARGEST: usize = 256 << 10;
const LARGEST_ALL: usize = 1 << 20;
const LARGEST_LAYER: u64 = 4 << 20;

/// The model that answers by default: its signature, its steps, and inputs of golden examples.
pub(crate) fn describe(app: &App, target: &Target) -> Result<Value> {
    let described = app.describe(target)?;
    let reference = app.primary(target, &described.index)?;
    let entry = app.admit(&described.index, &reference)?;
    // An example is a convenience: a package without one, or whose examples cannot be had, is tried
    // without.
    let layer = app
        .models
        .layer(&entry.descriptor, Role::Golden, LARGEST_LAYER)
        .ok()
        .flatten();
    let golden = layer.and_then(|json| serde_json::from_slice(&json).ok());
    let cases = golden.map_or_else(Vec::new, |golden: twinfer_package::Golden| golden.cases);
    Ok(json!({
        "name": described.config.name,
        "version": described.config.version,
        "description": described.config.description,
        "digest": described.digest.to_string(),
        "signature": described.signature,
        "pipeline": described.config.pipeline,
        "examples": examples(cases),
    }))
}

fn examples(cases: Vec<GoldenCase>) -> Vec<Value> {
    let mut left = LARGEST_ALL;
    let mut chosen = Vec::new();
    for case in cases {
        let size = size(&case.input);
        // Nothing at all is an example for a test, not for a visitor.
        if size == 0 || size > LARGEST.min(left) {
            continue;
        }
        left -= size;
        chosen.push(json!({"name": case.name, "input": case.input, "parameters": case.parameters}));
        if chosen.len() == MOST {
            break;
        }
    }
    chosen
}

/// About how many bytes it has as JSON.
fn size(input: &GoldenInput) -> usize {
    match input {
        GoldenInput::Picture(blob) | GoldenInput::Bytes(blob) | GoldenInput::Audio(blob) => {
            blob.base64.as_ref().map_or(0, String::len)
        }
        GoldenInput::Text(Texts::One(text)) => text.len(),
        GoldenInput::Text(Texts::Several(texts)) => texts.iter().map(String::len).sum(),
        GoldenInput::Record(record) => 32 * record.len(),
        GoldenInput::Tensors(tensors) => {
            serde_json::to_string(tensors).map_or(0, |json| json.len())
        }
    }
}
