//! What the server and its models say of themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use twinfer::{DType, Dim, ModelConfig, Signature, ValueKind};
use twinfer_package::{Digest, Index};

use crate::app::Described;

/// `GET /v2`.
pub(crate) fn server() -> Value {
    json!({
        "name": "twinfer",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "predict"],
    })
}

/// A model in the list of models.
#[derive(Default)]
struct Listed {
    versions: Vec<String>,
    aliases: Map<String, Value>,
}

/// `GET /v2/models`: versions from the highest down, aliases with what they
/// point to. The digest is that of the version that answers by default.
pub(crate) fn models(index: &Index) -> Value {
    let mut models: BTreeMap<String, Listed> = BTreeMap::new();
    for tagged in index.tags() {
        let is_version = tagged.version().is_some();
        let listed = models.entry(tagged.name).or_default();
        if is_version {
            listed.versions.push(tagged.tag);
        } else {
            listed
                .aliases
                .insert(tagged.tag, tagged.digest.to_string().into());
        }
    }
    let list = models.into_iter().map(|(name, listed)| {
        let digest = default_digest(index, &name).map(|digest| digest.to_string());
        json!({
            "name": name,
            "versions": listed.versions,
            "aliases": listed.aliases,
            "digest": digest,
        })
    });
    json!({"models": list.collect::<Vec<_>>()})
}

fn default_digest(index: &Index, name: &str) -> Option<Digest> {
    index
        .resolve(&name.parse().ok()?)
        .ok()
        .map(|descriptor| descriptor.digest)
}

/// The versions of a model, from the highest down.
pub(crate) fn versions(index: &Index, name: &str) -> Vec<String> {
    let tags = index.tags().into_iter();
    tags.filter(|tag| tag.name == name && tag.version().is_some())
        .map(|tag| tag.tag)
        .collect()
}

/// `GET /v2/models/{m}`.
pub(crate) fn model(of: &Described) -> Value {
    let Described {
        config,
        signature,
        digest,
        index,
    } = of;
    let versions = versions(index, &config.name);
    let inputs: Vec<Value> = signature
        .inputs
        .iter()
        .map(|input| described(&input.name, input.kind, input.dtype, input.shape.as_deref()))
        .collect();
    let outputs: Vec<Value> = signature
        .outputs
        .iter()
        .map(|output| match output.kind {
            // The numbers; the keys come beside them.
            ValueKind::Maps => described(
                &output.name,
                ValueKind::Tensor,
                output.dtype,
                output.shape.as_deref(),
            ),
            kind => described(&output.name, kind, output.dtype, output.shape.as_deref()),
        })
        .collect();
    json!({
        "name": config.name,
        "versions": versions,
        "platform": "onnx_onnxv1",
        "inputs": inputs,
        "outputs": outputs,
        "properties": properties(config, signature, digest),
    })
}

/// An input or output. What is no tensor goes as JSON in BYTES: one text, of maps one for each where the
/// caller likes.
fn described(name: &str, kind: ValueKind, dtype: DType, dims: Option<&[Dim]>) -> Value {
    let (datatype, shape) = match kind {
        ValueKind::Tensor => (dtype, shape(dims)),
        ValueKind::Maps => (DType::String, vec![-1]),
        ValueKind::Sequence | ValueKind::Optional => (DType::String, vec![1]),
    };
    json!({"name": name, "datatype": datatype.name(), "shape": shape})
}

/// A free axis is -1; so is the one axis of a tensor whose rank is free, for
/// which the protocol has no word.
fn shape(shape: Option<&[Dim]>) -> Vec<i64> {
    let axis = |dim: &Dim| match dim {
        Dim::Fixed(length) => i64::try_from(*length).unwrap_or(i64::MAX),
        Dim::Symbol(_) | Dim::Free => -1,
    };
    shape.map_or_else(|| vec![-1], |dims| dims.iter().map(axis).collect())
}

/// Text by key, as the protocol has it.
fn properties(
    config: &ModelConfig,
    signature: &Signature,
    digest: &Digest,
) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::from([
        ("digest".to_owned(), digest.to_string()),
        ("mode".to_owned(), "strict".to_owned()),
        ("version".to_owned(), config.version.clone()),
    ]);
    if !config.description.is_empty() {
        properties.insert("description".into(), config.description.clone());
    }
    if !signature.optional.is_empty() {
        let names = signature.optional.iter().map(|spec| spec.name.as_str());
        properties.insert(
            "inputs.optional".into(),
            names.collect::<Vec<_>>().join(","),
        );
    }
    if let Some(pipeline) = &config.pipeline {
        properties.insert("predict.input".into(), pipeline.input.name().into());
        properties.insert("predict.kind".into(), pipeline.input.kind().into());
        let outputs: Vec<&str> = pipeline
            .outputs
            .iter()
            .map(twinfer::OutputStep::name)
            .collect();
        properties.insert("predict.outputs".into(), outputs.join(","));
        for parameter in &pipeline.parameters {
            properties.insert(
                format!("predict.parameter.{}", parameter.name),
                parameter.values.join(","),
            );
        }
    }
    let inputs = signature.inputs.iter().map(|i| ("input", &i.name, i.kind));
    let outputs = signature
        .outputs
        .iter()
        .map(|o| ("output", &o.name, o.kind));
    for (side, name, kind) in inputs.chain(outputs) {
        let word = match kind {
            ValueKind::Tensor => continue,
            ValueKind::Maps => "maps",
            ValueKind::Sequence => "sequence",
            ValueKind::Optional => "optional",
        };
        properties.insert(format!("{side}.{name}.kind"), word.into());
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_axes_are_minus_one() {
        assert_eq!(
            shape(Some(&[Dim::Symbol("N".into()), Dim::Fixed(3), Dim::Free])),
            [-1, 3, -1]
        );
        assert_eq!(shape(Some(&[])), Vec::<i64>::new());
        assert_eq!(shape(None), [-1]);
    }
}
